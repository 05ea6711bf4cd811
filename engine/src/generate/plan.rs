use super::PlanError;
use crate::types::{BlockHeight, ChainId, ChainwebVersion};

/// Orphans for each canonical block at most.
const FORKS_MAX: f64 = 100.0;

/// Heights that end well before 2025-11-15 at 30 seconds a block, from July 2019.
const HEIGHTS_IN_TIME: u64 = 6_000_000;

/// What a history is made of. Equal plans make equal bytes, on every machine.
///
/// The canonical blocks depend on network, seed, votes and payloads alone: more heights add blocks above, and
/// forks add blocks beside them.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The network; it begins with its true genesis blocks.
    pub version: ChainwebVersion,
    /// The height of the last block of every chain. Branches end below it, cut short if need be.
    pub heights: u64,
    /// Chooses one of the many histories of this form.
    pub seed: u64,
    /// Orphans for each canonical block, on average.
    pub forks: f64,
    /// Blocks of a random branch at most. Short ones are common, each doubling in length is
    /// equally likely, and some leave from other branches.
    pub fork_depth: u64,
    /// Branches at chosen places, besides the random ones.
    pub branches: Vec<Branch>,
    /// The share of the blocks that vote for the next fork, where blocks may.
    pub votes: f64,
    /// Whether blocks carry something: else the payload hashes in their headers are random, and
    /// those of nothing.
    pub payloads: bool,
}

/// Branches beside the canonical chain that leave it at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The chain.
    pub chain: ChainId,
    /// The height of their first blocks, which are siblings of the canonical one.
    pub height: BlockHeight,
    /// Blocks of each.
    pub depth: u64,
    /// How many there are.
    pub count: u64,
}

impl Plan {
    /// A plan without forks, votes and payloads, with seed 0.
    #[must_use]
    pub const fn new(version: ChainwebVersion, heights: u64) -> Self {
        Self {
            version,
            heights,
            seed: 0,
            forks: 0.0,
            fork_depth: 1,
            branches: Vec::new(),
            votes: 0.0,
            payloads: false,
        }
    }

    /// The number of canonical blocks, without the genesis blocks.
    #[must_use]
    pub fn canonical_blocks(&self) -> u64 {
        let chains = self.version.chain_ids();
        let firsts = chains.filter_map(|chain| self.version.genesis_height(chain));
        firsts.map(|first| self.heights.saturating_sub(first.get())).sum()
    }

    /// Checks that a history can follow the plan.
    ///
    /// # Errors
    ///
    /// [`PlanError`] says what it asks too much.
    pub fn check(&self) -> Result<(), PlanError> {
        let (version, got) = (self.version, self.heights);
        let new_chains = version.genesis_height(ChainId::new(10)).map_or(0, BlockHeight::get);
        let (max, hashes) = match version {
            ChainwebVersion::Mainnet01 => (new_chains, "2^48"),
            ChainwebVersion::Testnet04 => (new_chains, "2^35"),
            ChainwebVersion::RecapDevelopment | ChainwebVersion::Development => (u64::MAX, ""),
        };
        if got > max {
            return Err(PlanError::Work { version, got, max, hashes });
        }
        if got > HEIGHTS_IN_TIME {
            return Err(PlanError::Time { version, got, max: HEIGHTS_IN_TIME });
        }
        if !(0.0..=FORKS_MAX).contains(&self.forks) {
            return Err(PlanError::Forks { got: self.forks, max: FORKS_MAX });
        }
        if self.fork_depth == 0 {
            return Err(PlanError::ForkDepth);
        }
        if !(0.0..=1.0).contains(&self.votes) {
            return Err(PlanError::Votes { got: self.votes });
        }
        self.branches.iter().try_for_each(|branch| self.check_branch(*branch))
    }

    fn check_branch(&self, Branch { chain, height, depth, .. }: Branch) -> Result<(), PlanError> {
        let first = self.version.genesis_height(chain);
        let end = height.get().checked_add(depth);
        let fits = first.is_some_and(|first| height > first)
            && depth > 0
            && end.is_some_and(|end| end <= self.heights);
        if fits { Ok(()) } else { Err(PlanError::Branch { chain, height, depth }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_that_cannot_be_mined_are_refused_with_the_reason() {
        let check = |version, heights| Plan::new(version, heights).check();
        for (version, max) in
            [(ChainwebVersion::Mainnet01, 852_054), (ChainwebVersion::Testnet04, 332_604)]
        {
            assert_eq!(check(version, max), Ok(()));
            let error = check(version, max + 1).unwrap_err().to_string();
            assert!(
                error.contains(&max.to_string()) && error.contains("hashes a block"),
                "{error}"
            );
        }
        assert_eq!(check(ChainwebVersion::Development, 6_000_000), Ok(()));
        assert!(check(ChainwebVersion::Development, 6_000_001).is_err());
    }

    #[test]
    fn branches_that_do_not_fit_are_refused() {
        let check = |chain, height, depth| {
            let branch = Branch {
                chain: ChainId::new(chain),
                height: BlockHeight::new(height),
                depth,
                count: 1,
            };
            let plan = Plan::new(ChainwebVersion::RecapDevelopment, 100);
            Plan { branches: vec![branch], ..plan }.check().is_ok()
        };
        assert!(check(0, 1, 99) && check(0, 99, 1) && check(10, 61, 39));
        assert!(!check(0, 0, 1) && !check(0, 1, 100) && !check(0, 1, 0) && !check(20, 5, 1));
        assert!(!check(10, 60, 1), "a genesis block has no siblings");
        assert!(!check(0, u64::MAX, u64::MAX));
    }

    #[test]
    fn rates_that_are_none_are_refused() {
        let plan = Plan::new(ChainwebVersion::Development, 1);
        for rate in [-0.1, 101.0, f64::NAN, f64::INFINITY] {
            assert!(Plan { forks: rate, ..plan.clone() }.check().is_err());
            assert!(Plan { votes: rate, ..plan.clone() }.check().is_err());
        }
        assert!(Plan { fork_depth: 0, ..plan }.check().is_err());
    }

    #[test]
    fn canonical_blocks_are_counted_from_the_beginning_of_each_chain() {
        let count =
            |heights| Plan::new(ChainwebVersion::RecapDevelopment, heights).canonical_blocks();
        assert_eq!([count(0), count(60), count(61)], [0, 600, 620]);
    }
}
