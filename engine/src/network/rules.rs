use crate::types::{BlockHeight, ChainwebVersion, Micros};

/// A rule that holds below a height: `None` if it never held.
type Below = Option<u64>;

fn is_below(height: BlockHeight, below: Below) -> bool {
    below.is_some_and(|below| height.get() < below)
}

/// Which rule holds at which height.
///
/// # Source
///
/// `Chainweb.Version.Guards` and `Chainweb.Version.*` of chainweb-node 2.32. Each guard is true
/// below a height; which height it is asked about is part of the rule that asks.
impl ChainwebVersion {
    /// The time between two blocks of a chain that difficulty adjustment aims at.
    #[must_use]
    pub const fn block_delay(self) -> Micros {
        Micros::new(30_000_000)
    }

    /// Blocks of a difficulty epoch.
    #[must_use]
    pub const fn window(self) -> u64 {
        120
    }

    /// Whether mined blocks must meet their target.
    #[must_use]
    pub const fn checks_pow(self) -> bool {
        match self {
            Self::Mainnet01 | Self::Testnet04 | Self::RecapDevelopment => true,
            Self::Development => false,
        }
    }

    /// Whether the second block of a chain begins an epoch, to make up for the creation time of
    /// the genesis blocks, which lies long before it.
    #[must_use]
    pub const fn fixes_first_epoch(self) -> bool {
        match self {
            Self::RecapDevelopment | Self::Development => true,
            Self::Mainnet01 | Self::Testnet04 => false,
        }
    }

    /// Whether an epoch that takes far too long ends early, by the height of the parent.
    #[must_use]
    pub fn slow_epoch_guard(self, parent: BlockHeight) -> bool {
        is_below(
            parent,
            match self {
                Self::Mainnet01 => Some(80_000),
                Self::Testnet04 | Self::RecapDevelopment | Self::Development => None,
            },
        )
    }

    /// Whether epochs end with the creation time of the new block rather than of its parent, by
    /// the height of the parent.
    #[must_use]
    pub fn old_target_guard(self, parent: BlockHeight) -> bool {
        is_below(
            parent,
            match self {
                Self::Mainnet01 => Some(452_820),
                Self::Testnet04 | Self::RecapDevelopment | Self::Development => None,
            },
        )
    }

    /// Whether each chain adjusts its difficulty alone, by the height of the block.
    #[must_use]
    pub fn old_da_guard(self, height: BlockHeight) -> bool {
        is_below(
            height,
            match self {
                Self::Mainnet01 => Some(771_414),
                Self::Testnet04 => Some(318_204),
                Self::RecapDevelopment => Some(13),
                Self::Development => None,
            },
        )
    }

    /// Whether a block may carry anything in its feature flags, by its height.
    #[must_use]
    pub fn skip_feature_flag_guard(self, height: BlockHeight) -> bool {
        is_below(
            height,
            match self {
                Self::Mainnet01 => Some(530_500),
                Self::Testnet04 | Self::RecapDevelopment | Self::Development => None,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_end_at_their_heights() {
        let main = ChainwebVersion::Mainnet01;
        let at = BlockHeight::new;
        assert!(main.slow_epoch_guard(at(79_999)) && !main.slow_epoch_guard(at(80_000)));
        assert!(main.old_target_guard(at(452_819)) && !main.old_target_guard(at(452_820)));
        assert!(main.old_da_guard(at(771_413)) && !main.old_da_guard(at(771_414)));
        assert!(main.skip_feature_flag_guard(at(530_499)));
        assert!(!main.skip_feature_flag_guard(at(530_500)));
        assert!(!ChainwebVersion::Development.old_da_guard(at(0)));
        assert!(ChainwebVersion::RecapDevelopment.old_da_guard(at(12)));
        assert!(!ChainwebVersion::RecapDevelopment.old_da_guard(at(13)));
    }
}
