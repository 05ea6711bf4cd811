/// How much of the protocol is checked before a header is stored. Its place in the graph and the
/// link to the block below are checked at every level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing else: the source is trusted.
    None,
    /// Block hash and proof of work.
    Hash,
    /// Every rule of the reference.
    #[default]
    Full,
}

impl Level {
    /// Every level, the least first.
    pub const ALL: [Self; 3] = [Self::None, Self::Hash, Self::Full];

    /// The number, as it stands on disk.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Hash => 1,
            Self::Full => 2,
        }
    }

    /// The level with this number, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.code() == code)
    }

    /// The name, as it stands on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hash => "hash",
            Self::Full => "full",
        }
    }
}
