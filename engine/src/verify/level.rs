/// How much of the protocol is checked before a header is stored. The link to the block below is
/// checked at every level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Block hash and proof of work.
    Hash,
    /// Nothing: the source is trusted.
    None,
}

impl Level {
    /// The name, as it stands on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::None => "none",
        }
    }
}
