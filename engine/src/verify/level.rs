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
