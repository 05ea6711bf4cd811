//! `HeaderRef` → [`Verified`]: whether a header is what it claims, by the rules of its network.
//!
//! Enters: a header, the blocks below it, the time. Leaves: a [`Verified`], or every rule that is
//! broken. Pure: nothing here reads a store or a clock.
//!
//! - `I-1` Only this module makes a [`Verified`], so nobody checks twice.
//! - `I-2` A header that breaks several rules reports all of them, in the reference's order.
//! - `I-3` A [`Verified`] states the level that was really reached.
//! - `I-4` What a [`Hasher`] makes of many records is what is made of each alone, whatever it was
//!   given before and whatever the machine.
//!
//! # Source
//!
//! `Chainweb.BlockHeader.Validation` of chainweb-node 2.32.

mod backend;
mod batch;
#[cfg(target_arch = "x86_64")]
mod blake2s;
mod braid;
pub(crate) mod difficulty;
mod error;
mod intrinsic;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod level;
mod lineage;
mod memo;
mod pow;
mod sha512;
pub(crate) mod votes;

pub use backend::Backend;
pub use batch::Hasher;
pub use braid::Adjacents;
pub use difficulty::difficulty;
pub use error::{Failure, Failures};
pub use level::Level;
pub use lineage::Parent;
pub use pow::pow_hash;

use crate::header::{Header, HeaderRef, merkle};
use crate::types::{BlockHash, ChainId, ChainwebVersion, Micros};

/// A header that passed every rule of its level.
#[derive(Clone, Copy, Debug)]
pub struct Verified<'a> {
    header: HeaderRef<'a>,
    level: Level,
}

impl<'a> Verified<'a> {
    /// The header.
    #[must_use]
    pub const fn header(self) -> HeaderRef<'a> {
        self.header
    }

    /// The level that it passed.
    #[must_use]
    pub const fn level(self) -> Level {
        self.level
    }
}

/// What the header alone shows: half of a verification.
#[derive(Clone, Debug)]
pub struct Checked<'a> {
    header: HeaderRef<'a>,
    failures: Failures,
}

impl<'a> Checked<'a> {
    /// The header.
    #[must_use]
    pub const fn header(&self) -> HeaderRef<'a> {
        self.header
    }

    /// The rules that it breaks so far, and this one.
    #[must_use]
    pub fn with(mut self, failure: Failure) -> Failures {
        self.failures.push(failure);
        self.failures
    }

    /// The rules that it breaks so far.
    #[must_use]
    pub const fn failures(&self) -> &Failures {
        &self.failures
    }
}

/// The rules of one network at one level, as of one time.
#[derive(Clone, Debug)]
pub struct Verifier {
    version: ChainwebVersion,
    level: Level,
    now: Micros,
    genesis: Vec<Header>,
}

impl Verifier {
    /// The rules of `version` at `level`; blocks that were made after `now` are in the future.
    #[must_use]
    pub fn new(version: ChainwebVersion, level: Level, now: Micros) -> Self {
        Self { version, level, now, genesis: version.genesis_headers().collect() }
    }

    /// The same rules at another level.
    #[must_use]
    pub fn at(&self, level: Level) -> Self {
        Self { level, ..self.clone() }
    }

    /// Takes another time for the present one.
    pub const fn set_now(&mut self, now: Micros) {
        self.now = now;
    }

    /// The present time.
    #[must_use]
    pub const fn now(&self) -> Micros {
        self.now
    }

    /// The same rules without a present time: no block is in the future.
    #[must_use]
    pub fn at_any_time(&self) -> Self {
        Self { now: Micros::new(i64::MAX), ..self.clone() }
    }

    /// The level.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Whether `header` is the first block of its chain.
    #[must_use]
    pub fn is_genesis(&self, header: HeaderRef<'_>) -> bool {
        let genesis = self.genesis.get(header.chain().index());
        genesis.is_some_and(|genesis| genesis.view() == header)
    }

    /// The genesis block of `chain`, if this is its hash.
    #[must_use]
    pub fn genesis_block(&self, chain: ChainId, hash: BlockHash) -> Option<Header> {
        self.genesis.get(chain.index()).filter(|header| header.view().hash() == hash).copied()
    }

    /// Checks what the header alone can show. The costly part; it may run on any thread.
    #[must_use]
    pub fn check<'a>(&self, header: HeaderRef<'a>) -> Checked<'a> {
        let hashes = || intrinsic::Hashes { block: merkle::block_hash(header), work: None };
        self.checked(header, (self.level >= Level::Hash).then(hashes))
    }

    /// [`Verifier::check`] of a header whose hashes are known, if the level asks for them.
    fn checked<'a>(&self, header: HeaderRef<'a>, hashes: Option<intrinsic::Hashes>) -> Checked<'a> {
        let mut failures = Failures::default();
        let (got, expected) = (header.version_code(), self.version.code());
        if got != expected {
            failures.push(Failure::VersionMismatch { got, expected });
        }
        intrinsic::check(self, header, hashes, &mut failures);
        Checked { header, failures }
    }

    /// Checks the header against the blocks below it, as far as the level asks for them.
    ///
    /// The level that is reached is `hash` at most for a block that was admitted without them.
    ///
    /// # Errors
    ///
    /// [`Failures`] with every rule that is broken, those found by [`Verifier::check`] too.
    pub fn conclude<'a>(
        &self,
        checked: Checked<'a>,
        parent: Parent<'_>,
        adjacents: Adjacents<'_>,
    ) -> Result<Verified<'a>, Failures> {
        let Checked { header, mut failures } = checked;
        if self.is_genesis(header) {
            return failures.into_result().map(|()| Verified { header, level: self.level });
        }
        // What is missing is reported alone: the rest may look different once it is there.
        if let (Adjacents::Missing(chain, hash), Level::Full) = (adjacents, self.level) {
            return Err(Failure::MissingAdjacentParent { chain, hash }.into());
        }
        let mut level = self.level;
        match parent {
            Parent::Block(parent) => {
                lineage::check(self.level, header, parent, &mut failures);
                match (&adjacents, self.level) {
                    (Adjacents::Blocks(blocks), Level::Full) => {
                        braid::check(header, parent, blocks, &mut failures);
                    }
                    _ => level = level.min(Level::Hash),
                }
            }
            Parent::Missing => {
                return Err(Failure::MissingParent { parent: header.parent() }.into());
            }
            Parent::Admitted => level = level.min(Level::Hash),
        }
        failures.into_result().map(|()| Verified { header, level })
    }

    /// The first blocks of the network, which hold by definition.
    pub fn genesis(&self) -> impl Iterator<Item = Verified<'_>> {
        self.genesis.iter().map(|header| Verified { header: header.view(), level: Level::Full })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BlockHeight;

    const MAIN: ChainwebVersion = ChainwebVersion::Mainnet01;
    const NOW: Micros = Micros::new(1_764_000_000_000_000);

    fn verifier(version: ChainwebVersion, level: Level) -> Verifier {
        Verifier::new(version, level, NOW)
    }

    fn names(failures: &Failures) -> Vec<&'static str> {
        failures.iter().map(Failure::name).collect()
    }

    fn genesis(chain: u32) -> Header {
        MAIN.genesis_header(ChainId::new(chain)).unwrap()
    }

    #[test]
    fn genesis_blocks_hold_without_parents_and_proof_of_work() {
        for (version, level) in
            ChainwebVersion::ALL.iter().flat_map(|v| Level::ALL.map(|l| (*v, l)))
        {
            let verifier = verifier(version, level);
            for header in version.genesis_headers() {
                let checked = verifier.check(header.view());
                let adjacent = header.view().adjacents().iter().next().unwrap();
                let adjacents = Adjacents::Missing(adjacent.0, adjacent.1);
                let outcome = verifier.conclude(checked, Parent::Missing, adjacents).unwrap();
                assert_eq!(outcome.level(), level);
            }
        }
    }

    #[test]
    fn a_header_reports_every_rule_it_breaks() {
        let mut raw = *genesis(12).view().raw();
        raw.height = 7.into();
        raw.target = [0; 32];
        let altered = Header::new(raw).unwrap();
        let verifier = verifier(MAIN, Level::Hash);
        let checked = verifier.check(altered.view());
        assert_eq!(names(checked.failures()), ["IncorrectHash", "IncorrectPow", "UnknownChain"]);
        assert_eq!(altered.view().height(), BlockHeight::new(7));
    }

    #[test]
    fn other_adjacent_chains_are_found_though_the_hash_does_not_cover_them() {
        let verifier = verifier(ChainwebVersion::Development, Level::None);
        let header = ChainwebVersion::Development.genesis_header(ChainId::new(0)).unwrap();
        let mut raw = *header.view().raw();
        let hashes: Vec<BlockHash> = raw.adjacents.iter().map(|(_, hash)| hash).collect();
        let moved = [(5, 0), (10, 1), (16, 2)].map(|(chain, i)| (ChainId::new(chain), hashes[i]));
        raw.adjacents = crate::header::AdjacentRecord::new(moved);
        let altered = Header::new(raw).unwrap();
        assert_eq!(merkle::block_hash(altered.view()), header.view().hash());
        assert_eq!(names(verifier.check(altered.view()).failures()), ["AdjacentChainMismatch"]);
    }

    #[test]
    fn a_header_of_another_network_is_refused_at_every_level() {
        for level in Level::ALL {
            let checked = genesis(0);
            let verifier = verifier(ChainwebVersion::Testnet04, level);
            let checked = verifier.check(checked.view());
            assert!(names(checked.failures()).contains(&"VersionMismatch"));
        }
    }

    #[test]
    fn a_block_without_parent_is_missing_it_unless_admitted() {
        let verifier = verifier(MAIN, Level::None);
        let mut raw = *genesis(0).view().raw();
        raw.height = 1.into();
        raw.parent = genesis(0).view().hash();
        raw.hash = BlockHash::new([9; 32]);
        let child = Header::new(raw).unwrap();
        let conclude = |parent: Parent<'_>| {
            verifier.conclude(verifier.check(child.view()), parent, Adjacents::Admitted)
        };
        assert_eq!(names(&conclude(Parent::Missing).unwrap_err()), ["MissingParent"]);
        assert!(conclude(Parent::Admitted).is_ok());
        assert!(conclude(Parent::Block(genesis(0).view())).is_ok());
        let other = conclude(Parent::Block(genesis(1).view())).unwrap_err();
        assert_eq!(names(&other), ["ChainMismatch"]);
    }

    #[test]
    fn what_was_admitted_is_not_fully_verified() {
        let verifier = Verifier::new(ChainwebVersion::Development, Level::Full, NOW);
        let mut raw =
            *ChainwebVersion::Development.genesis_header(ChainId::new(0)).unwrap().view().raw();
        raw.height = 1000.into();
        raw.hash = merkle::hash_of(&raw);
        let header = Header::new(raw).unwrap();
        let outcome = verifier
            .conclude(verifier.check(header.view()), Parent::Admitted, Adjacents::Admitted)
            .unwrap();
        assert_eq!(outcome.level(), Level::Hash);
    }
}
