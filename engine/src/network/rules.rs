use crate::types::{ChainwebVersion, Micros};

impl ChainwebVersion {
    /// The time between two blocks of a chain that difficulty adjustment aims at.
    #[must_use]
    pub const fn block_delay(self) -> Micros {
        Micros::new(30_000_000)
    }

    /// Whether mined blocks must meet their target.
    #[must_use]
    pub const fn checks_pow(self) -> bool {
        match self {
            Self::Mainnet01 | Self::Testnet04 | Self::RecapDevelopment => true,
            Self::Development => false,
        }
    }
}
