use clap::ValueEnum;
use plait_engine::verify::Level;

/// [`Level`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum VerifyLevel {
    /// Every rule of the chain.
    Full,
    /// Block hash, proof of work, and place in the graph.
    Hash,
    /// The place in the graph only: for a source that you trust.
    None,
}

impl From<VerifyLevel> for Level {
    fn from(level: VerifyLevel) -> Self {
        match level {
            VerifyLevel::Full => Self::Full,
            VerifyLevel::Hash => Self::Hash,
            VerifyLevel::None => Self::None,
        }
    }
}
