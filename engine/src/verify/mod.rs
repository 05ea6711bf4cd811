//! `HeaderRef` → [`Verified`]: whether a header is what it claims, by the rules of its network.
//!
//! Enters: a header, the block below it. Leaves: a [`Verified`], or every rule that is broken.
//! Pure: nothing here reads a store or a clock.
//!
//! - `I-1` Only this module makes a [`Verified`], so nobody checks twice.
//! - `I-2` A header that breaks several rules reports all of them, in the reference's order.

mod braid;
mod error;
mod level;
mod lineage;
mod pow;

pub use error::{Failure, Failures};
pub use level::Level;
pub use lineage::Parent;
pub use pow::pow_hash;

use crate::header::{Header, HeaderRef, merkle};
use crate::types::ChainwebVersion;

/// A header that passed every rule of its [`Level`].
#[derive(Clone, Copy, Debug)]
pub struct Verified<'a>(HeaderRef<'a>);

impl<'a> Verified<'a> {
    /// The header.
    #[must_use]
    pub const fn header(self) -> HeaderRef<'a> {
        self.0
    }
}

/// A header that passed the rules that need nothing but the header itself.
#[derive(Clone, Copy, Debug)]
pub struct Intrinsic<'a>(HeaderRef<'a>);

impl<'a> Intrinsic<'a> {
    /// The header.
    #[must_use]
    pub const fn header(self) -> HeaderRef<'a> {
        self.0
    }
}

/// The rules of one network at one level.
#[derive(Clone, Debug)]
pub struct Verifier {
    version: ChainwebVersion,
    level: Level,
    genesis: Vec<Header>,
}

impl Verifier {
    /// The rules of `version` at `level`.
    #[must_use]
    pub fn new(version: ChainwebVersion, level: Level) -> Self {
        Self { version, level, genesis: version.genesis_headers().collect() }
    }

    /// Whether `header` is the first block of its chain.
    #[must_use]
    pub fn is_genesis(&self, header: HeaderRef<'_>) -> bool {
        let genesis = self.genesis.get(header.chain().index());
        genesis.is_some_and(|genesis| genesis.view() == header)
    }

    /// Checks what the header alone can show: its hash, its proof of work, and its place in
    /// the graph. The costly part; it may run on any thread.
    ///
    /// # Errors
    ///
    /// [`Failures`] with every rule that is broken.
    pub fn intrinsic<'a>(&self, header: HeaderRef<'a>) -> Result<Intrinsic<'a>, Failures> {
        let mut failures = Failures::default();
        if header.version_code() != self.version.code() {
            failures.push(Failure::VersionMismatch {
                got: header.version_code(),
                expected: self.version.code(),
            });
        }
        if self.level == Level::Hash {
            let expected = merkle::block_hash(header);
            if header.hash() != expected {
                failures.push(Failure::IncorrectHash { got: header.hash(), expected });
            }
            if self.version.checks_pow() && !self.is_genesis(header) && !pow::holds(header) {
                failures.push(Failure::IncorrectPow { got: pow_hash(header) });
            }
        }
        braid::check(header, self.version, &mut failures);
        failures.into_result().map(|()| Intrinsic(header))
    }

    /// Checks the header against the block below it.
    ///
    /// # Errors
    ///
    /// [`Failures`] with every rule that is broken.
    pub fn lineage<'a>(
        &self,
        header: Intrinsic<'a>,
        parent: Parent<'_>,
    ) -> Result<Verified<'a>, Failures> {
        let header = header.header();
        self.lineage_failures(header, parent).into_result().map(|()| Verified(header))
    }

    /// Every rule that a header breaks, of which [`Verifier::intrinsic`] gave the `first` ones.
    #[must_use]
    pub fn all_failures(
        &self,
        header: HeaderRef<'_>,
        parent: Parent<'_>,
        mut first: Failures,
    ) -> Failures {
        let lineage = self.lineage_failures(header, parent);
        lineage.iter().for_each(|failure| first.push(*failure));
        first
    }

    fn lineage_failures(&self, header: HeaderRef<'_>, parent: Parent<'_>) -> Failures {
        let mut failures = Failures::default();
        match parent {
            Parent::Block(parent) => lineage::check(header, parent, &mut failures),
            Parent::Missing if self.is_genesis(header) => {}
            Parent::Missing => failures.push(Failure::MissingParent { parent: header.parent() }),
            Parent::Admitted => {}
        }
        failures
    }

    /// The first blocks of the network, which hold by definition.
    pub fn genesis<'a>(
        &self,
        headers: impl Iterator<Item = HeaderRef<'a>>,
    ) -> impl Iterator<Item = Verified<'a>> {
        headers.filter(|header| self.is_genesis(*header)).map(Verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BlockHash, BlockHeight, ChainId};

    const MAIN: ChainwebVersion = ChainwebVersion::Mainnet01;

    fn names(result: Result<Intrinsic<'_>, Failures>) -> Vec<&'static str> {
        result.err().map_or_else(Vec::new, |failures| failures.iter().map(Failure::name).collect())
    }

    fn genesis(chain: u32) -> Header {
        MAIN.genesis_header(ChainId::new(chain)).unwrap()
    }

    #[test]
    fn genesis_blocks_need_no_proof_of_work() {
        for version in ChainwebVersion::ALL {
            let verifier = Verifier::new(version, Level::Hash);
            for header in version.genesis_headers() {
                let header = verifier.intrinsic(header.view()).unwrap();
                assert!(verifier.lineage(header, Parent::Missing).is_ok());
            }
        }
    }

    #[test]
    fn a_header_reports_every_rule_it_breaks() {
        let verifier = Verifier::new(MAIN, Level::Hash);
        let mut raw = *genesis(12).view().raw();
        raw.height = 7.into();
        raw.target = [0; 32];
        let altered = Header::new(raw).unwrap();
        let failures = names(verifier.intrinsic(altered.view()));
        assert_eq!(failures, ["IncorrectHash", "IncorrectPow", "UnknownChain"]);
        assert_eq!(altered.view().height(), BlockHeight::new(7));
    }

    #[test]
    fn other_adjacent_chains_are_found_though_the_hash_does_not_cover_them() {
        let verifier = Verifier::new(ChainwebVersion::Development, Level::Hash);
        let header = ChainwebVersion::Development.genesis_header(ChainId::new(0)).unwrap();
        let mut raw = *header.view().raw();
        let hashes: Vec<BlockHash> = raw.adjacents.iter().map(|(_, hash)| hash).collect();
        let moved = [(5, 0), (10, 1), (16, 2)].map(|(chain, i)| (ChainId::new(chain), hashes[i]));
        raw.adjacents = crate::header::AdjacentRecord::new(moved);
        let altered = Header::new(raw).unwrap();
        assert_eq!(merkle::block_hash(altered.view()), header.view().hash());
        assert_eq!(names(verifier.intrinsic(altered.view())), ["AdjacentChainMismatch"]);
    }

    #[test]
    fn a_header_of_another_network_is_refused_at_every_level() {
        for level in [Level::Hash, Level::None] {
            let verifier = Verifier::new(ChainwebVersion::Testnet04, level);
            assert!(names(verifier.intrinsic(genesis(0).view())).contains(&"VersionMismatch"));
        }
    }

    #[test]
    fn a_block_without_parent_is_missing_it_unless_admitted() {
        let verifier = Verifier::new(MAIN, Level::None);
        let mut raw = *genesis(0).view().raw();
        raw.height = 1.into();
        raw.parent = genesis(0).view().hash();
        raw.hash = BlockHash::new([9; 32]);
        let child = Header::new(raw).unwrap();
        let child = verifier.intrinsic(child.view()).unwrap();
        assert!(verifier.lineage(child, Parent::Missing).is_err());
        assert!(verifier.lineage(child, Parent::Admitted).is_ok());
        assert!(verifier.lineage(child, Parent::Block(genesis(0).view())).is_ok());
        let other = verifier.lineage(child, Parent::Block(genesis(1).view())).unwrap_err();
        assert_eq!(
            other.iter().map(Failure::name).collect::<Vec<_>>(),
            ["ChainMismatch", "MissingParent"]
        );
    }
}
