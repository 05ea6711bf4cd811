/// The column families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Blocks kept one by one: [`LooseKey`](super::LooseKey) → header.
    Loose,
    /// Canonical blocks in runs: [`TrunkKey`](super::TrunkKey) → up to 256 headers.
    Trunk,
    /// Where a hash is: hash → [`HeightValue`](super::HeightValue).
    Heights,
    /// What the database says of itself: name → value.
    Meta,
}

impl Column {
    /// Every column family.
    pub const ALL: [Self; 4] = [Self::Loose, Self::Trunk, Self::Heights, Self::Meta];

    /// The name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loose => "loose",
            Self::Trunk => "trunk",
            Self::Heights => "heights",
            Self::Meta => "meta",
        }
    }
}
