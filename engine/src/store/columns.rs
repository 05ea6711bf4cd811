/// The column families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Blocks kept one by one: [`LooseKey`](super::LooseKey) → header.
    Loose,
    /// Canonical blocks in runs: [`TrunkKey`](super::TrunkKey) → up to 256 headers.
    Trunk,
    /// Where the hash of a block is: hash → [`HeightValue`](super::HeightValue).
    Heights,
    /// What is to go to [`Column::Heights`]: [`UnindexedKey`](super::UnindexedKey) → any number of
    /// [`IndexEntry`](super::IndexEntry).
    Unindexed,
    /// How far a block is verified, where that is not fully: [`LooseKey`](super::LooseKey) →
    /// level, [`TrunkKey`](super::TrunkKey) → level of each block of the run.
    Levels,
    /// What blocks carry: [`PayloadKey`](super::PayloadKey) → the record of a payload.
    Payloads,
    /// Where the hash of a payload is: [`IndexEntry`](super::IndexEntry) → nothing.
    PayloadHeights,
    /// What is to go to [`Column::PayloadHeights`], like [`Column::Unindexed`].
    PayloadUnindexed,
    /// Blocks that wait for a parent or an adjacent parent: [`PendingKey`](super::PendingKey) →
    /// header, then where in its input it stood. No query sees them.
    Pending,
    /// What these blocks carry, as far as it came with them: [`PendingKey`](super::PendingKey) → the
    /// record of a payload.
    PendingPayloads,
    /// What the blocks of the trunk come to, up to the end of each run: [`TrunkKey`](super::TrunkKey) of
    /// the run → [`RunSums`](super::RunSums).
    Sums,
    /// What the database says of itself: name → value.
    Meta,
}

impl Column {
    /// Every column family.
    pub const ALL: [Self; 12] = [
        Self::Loose,
        Self::Trunk,
        Self::Heights,
        Self::Unindexed,
        Self::Levels,
        Self::Payloads,
        Self::PayloadHeights,
        Self::PayloadUnindexed,
        Self::Pending,
        Self::PendingPayloads,
        Self::Sums,
        Self::Meta,
    ];

    /// The name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loose => "loose",
            Self::Trunk => "trunk",
            Self::Heights => "heights",
            Self::Unindexed => "unindexed",
            Self::Levels => "levels",
            Self::Payloads => "payloads",
            Self::PayloadHeights => "payload_heights",
            Self::PayloadUnindexed => "payload_unindexed",
            Self::Pending => "pending",
            Self::PendingPayloads => "pending_payloads",
            Self::Sums => "sums",
            Self::Meta => "meta",
        }
    }
}
