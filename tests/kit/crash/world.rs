use std::collections::{BTreeSet, HashMap};

use plait_engine::generate::{Branch, History as Generated, Plan};
use plait_engine::replay::Admission;
use plait_engine::store::History;
use plait_engine::tree::Sealing;
use plait_engine::types::RunLength;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{BlockHash, BlockHeight, ChainId, Header, HeaderRef, Micros, VerifiedPayload};

use super::Random;
use crate::block::NETWORK;

/// A block, by its place in the history that was made for it.
pub type Number = u32;

/// Some blocks.
pub type Set = BTreeSet<Number>;

/// The time by which blocks are verified: after all of them.
pub(super) const NOW: Micros = Micros::new(i64::MAX);

/// What a database is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole history, by every rule; a block may come before those that it stands on, and waits.
    Full,
    /// A whole history whose blocks stand on their parents alone: branches grow far ahead.
    Hashed,
    /// Parts of a history, in any order.
    Partial,
}

/// All blocks that a database may ever get, and the order in which they are given to it.
pub struct World {
    /// What the database is of.
    pub kind: Kind,
    /// The blocks.
    pub blocks: Vec<(Header, VerifiedPayload)>,
    /// All of them, in the order in which they come.
    pub order: Vec<Number>,
    by_hash: HashMap<BlockHash, Number>,
    genesis: HashMap<BlockHash, Header>,
}

impl World {
    /// The one that `seed` chooses.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(&[seed, 1]);
        let kind = random.one(&[Kind::Full, Kind::Full, Kind::Hashed, Kind::Partial]);
        let heights = 20 + random.below(16);
        let branches: Vec<Branch> = (0..4).map(|_| branch(heights, &mut random)).collect();
        let plan = Plan {
            seed,
            forks: 0.06,
            fork_depth: 5,
            branches: branches.clone(),
            payloads: true,
            ..Plan::new(NETWORK, heights)
        };
        let generated = Generated::new(&plan).expect("a plan that a history follows");
        let carried = |(header, payload): (Header, Option<_>)| {
            (header, payload.expect("every block carries something"))
        };
        let blocks: Vec<(Header, VerifiedPayload)> = generated.blocks().map(carried).collect();
        let by_hash =
            (0..).zip(&blocks).map(|(number, (header, _))| (header.view().hash(), number));
        let by_hash: HashMap<BlockHash, Number> = by_hash.collect();
        let genesis = NETWORK.genesis_headers().map(|header| (header.view().hash(), header));
        let genesis = genesis.collect();
        let mut world = Self { kind, blocks, order: Vec::new(), by_hash, genesis };
        world.order = world.ordered(&mut random);
        world
    }

    /// The header of a block.
    #[must_use]
    pub fn header(&self, number: Number) -> HeaderRef<'_> {
        self.blocks[number as usize].0.view()
    }

    /// What it carries.
    #[must_use]
    pub fn payload(&self, number: Number) -> &VerifiedPayload {
        &self.blocks[number as usize].1
    }

    /// The block with this hash.
    #[must_use]
    pub fn find(&self, hash: &BlockHash) -> Option<Number> {
        self.by_hash.get(hash).copied()
    }

    /// The first blocks of the network, if the database has them from the start.
    #[must_use]
    pub fn genesis(&self) -> Vec<Header> {
        if self.kind == Kind::Partial {
            Vec::new()
        } else {
            self.genesis.values().copied().collect()
        }
    }

    /// Where the history begins.
    #[must_use]
    pub fn history(&self) -> History {
        if self.kind == Kind::Partial { History::Partial } else { History::Full }
    }

    /// How far blocks are verified.
    #[must_use]
    pub fn level(&self) -> Level {
        if self.kind == Kind::Full { Level::Full } else { Level::Hash }
    }

    /// Which blocks a replay stores without those below them.
    #[must_use]
    pub fn admission(&self) -> Admission {
        if self.kind == Kind::Partial { Admission::Any } else { Admission::Genesis }
    }

    /// What verifies them.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier::new(NETWORK, self.level(), NOW)
    }

    /// Short runs, so that few blocks make some.
    #[must_use]
    pub fn sealing() -> Sealing {
        let four = std::num::NonZeroU32::new(4).expect("it is not 0");
        Sealing { run_length: RunLength::new(four), window: 5 }
    }

    /// Whether all that a block stands on is held.
    #[must_use]
    pub fn is_connected(&self, number: Number, held: &Set) -> bool {
        let header = self.header(number);
        let has = |hash: BlockHash, genesis: bool| {
            self.find(&hash).map_or_else(
                || genesis && self.genesis.contains_key(&hash),
                |number| held.contains(&number),
            )
        };
        let parent = has(header.parent(), self.kind != Kind::Partial);
        let mut adjacents = header.adjacents().iter();
        parent && (self.kind != Kind::Full || adjacents.all(|(_, hash)| has(hash, true)))
    }

    /// Adds those of `pool` that stand on what is held, and on each other; what is left over.
    pub fn connect(&self, held: &mut Set, pool: &Set) -> Set {
        // Parents and neighbours below have smaller numbers.
        let mut left = Set::new();
        for number in pool {
            if self.is_connected(*number, held) {
                held.insert(*number);
            } else if !held.contains(number) {
                left.insert(*number);
            }
        }
        left
    }

    fn ordered(&self, random: &mut Random) -> Vec<Number> {
        let on_branch = self.long_branches();
        let bands: Vec<u64> = (0..10).map(|_| random.below(1000)).collect();
        let ahead = 40 + random.below(60);
        let mut keys: Vec<(u64, Number)> = Vec::new();
        for number in 0..u32::try_from(self.blocks.len()).expect("some hundred blocks") {
            let height = self.header(number).height().get();
            let fork = on_branch.get(&number).copied();
            let key = match (self.kind, fork) {
                (Kind::Partial, _) => {
                    bands[usize::try_from(height / 5).unwrap_or(0)] * 1000 + height
                }
                (_, None) => 100 + 10 * height,
                (Kind::Full, Some(_)) => 85 + 10 * height,
                // As far ahead as can be above its first block.
                (Kind::Hashed, Some(fork)) => {
                    (100 + 10 * height).saturating_sub(ahead).max(91 + 10 * fork)
                }
            };
            keys.push((key, number));
        }
        keys.sort_unstable();
        keys.into_iter().map(|(_, number)| number).collect()
    }

    /// The blocks that stand beside the canonical ones, on branches of six blocks and more, and the
    /// height at which each branch begins.
    fn long_branches(&self) -> HashMap<Number, u64> {
        let mut canonical = BTreeSet::new();
        for chain in NETWORK.chain_ids() {
            let on_chain = self.blocks.iter().filter(|(header, _)| header.view().chain() == chain);
            let mut at =
                on_chain.map(|(h, _)| h.view()).max_by_key(|h| (h.weight().get(), h.height()));
            while let Some(header) = at {
                canonical.insert(header.hash());
                at = self.find(&header.parent()).map(|number| self.header(number));
            }
        }
        let (mut first, mut lengths) = (HashMap::new(), HashMap::new());
        for (number, (header, _)) in (0..).zip(&self.blocks) {
            let header = header.view();
            if canonical.contains(&header.hash()) {
                continue;
            }
            let parent = self.find(&header.parent());
            let fork = parent.and_then(|parent| first.get(&parent).copied());
            let fork = fork.unwrap_or((header.chain(), header.height().get()));
            first.insert(number, fork);
            *lengths.entry(fork).or_insert(0) += 1;
        }
        first.retain(|_, fork| lengths[fork] >= 6);
        first.into_iter().map(|(number, (_, height))| (number, height)).collect()
    }
}

/// A branch that leaves low and ends high.
fn branch(heights: u64, random: &mut Random) -> Branch {
    let first = 2 + random.below(6);
    Branch {
        chain: ChainId::new(u32::try_from(random.below(20)).unwrap_or(0)),
        height: BlockHeight::new(first),
        depth: heights - first - random.below(8),
        count: 1,
    }
}
