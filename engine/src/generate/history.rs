use zerocopy::byteorder::little_endian::U64;

use super::block::{self, Choice};
use super::carry::{self, Carrier, Content};
use super::crossings::Crossings;
use super::forks::{Forks, of_2_32};
use super::pace::Pace;
use super::random::{Random, Use};
use super::seal::seal_all;
use super::{Plan, PlanError};
use crate::header::{DEGREE, Header, HeaderRef, RawHeader};
use crate::payload::VerifiedPayload;
use crate::types::{BlockHeight, ChainId, ChainwebVersion, Grow, PayloadHash};
use crate::verify::Hasher;

/// The blocks of a [`Plan`], one after another.
///
/// # Shape
///
/// Ascending height, then ascending chain, then the canonical block before its siblings. So
/// parents and adjacent parents come first, and still do after a stable sort by chain as far as
/// parents go. Genesis blocks are left out: whoever knows the network has them.
///
/// # Cost
///
/// Memory for the canonical blocks of two heights and one block of each branch that still grows.
/// The blocks of a height are hashed at once, and where blocks are mined each takes some five tries.
#[derive(Debug)]
pub struct History {
    version: ChainwebVersion,
    seed: u64,
    /// The last height.
    heights: u64,
    /// How many of 2^32 blocks vote.
    votes: u64,
    payloads: bool,
    crossings: Crossings,
    mine: bool,
    hasher: Hasher,
    pace: Pace,
    forks: Forks,
    /// The highest canonical block of each chain; a chain that did not begin has its first there.
    below: Vec<Header>,
    /// Blocks of the height that is given out, and how many were.
    layer: Vec<RawHeader>,
    /// What they carry, if blocks carry something.
    carried: Vec<VerifiedPayload>,
    given: usize,
    height: BlockHeight,
}

impl History {
    /// The history that follows `plan`.
    ///
    /// # Errors
    ///
    /// [`PlanError`] if none can.
    pub fn new(plan: &Plan) -> Result<Self, PlanError> {
        plan.check()?;
        let below: Vec<Header> = plan.version.genesis_headers().collect();
        Ok(Self {
            version: plan.version,
            seed: plan.seed,
            heights: plan.heights,
            votes: of_2_32(plan.votes),
            payloads: plan.payloads,
            crossings: Crossings::default(),
            mine: plan.version.checks_pow(),
            hasher: Hasher::default(),
            pace: Pace::new(plan.version, plan.seed, &below),
            forks: Forks::new(plan),
            below,
            layer: Vec::new(),
            carried: Vec::new(),
            given: 0,
            height: BlockHeight::new(0),
        })
    }

    /// The blocks with what they carry: nothing, if the plan does not ask for it.
    pub fn blocks(mut self) -> impl Iterator<Item = (Header, Option<VerifiedPayload>)> {
        std::iter::from_fn(move || self.next_block())
    }

    fn next_block(&mut self) -> Option<(Header, Option<VerifiedPayload>)> {
        while self.given >= self.layer.len() {
            self.climb()?;
        }
        let (raw, payload) = (self.layer.get(self.given)?, self.carried.get(self.given));
        self.given.grow(1);
        Some((header(raw), payload.cloned()))
    }

    /// Makes all blocks of the next height; `None` at the end.
    fn climb(&mut self) -> Option<()> {
        let height = self.height.child().filter(|height| height.get() <= self.heights)?;
        self.height = height;
        self.layer.clear();
        self.carried.clear();
        self.given = 0;
        self.pace.tick(height);
        for chain in self.mined_chains() {
            self.extend(chain);
        }
        seal_all(&mut self.hasher, &mut self.layer, self.mine);
        let mut sealed = self.layer.iter();
        for chain in self.mined_chains() {
            if let (Some(tip), Some(raw)) = (self.below.get_mut(chain.index()), sealed.next()) {
                *tip = header(raw);
            }
            for (branch, raw) in self.forks.live(chain).iter_mut().zip(&mut sealed) {
                branch.tip = header(raw);
            }
        }
        let present = self.below.iter().map(Header::view);
        self.pace.look(height, present.filter(|header| header.height() == height));
        Some(())
    }

    /// The chains that have mined blocks at the present height.
    fn mined_chains(&self) -> impl Iterator<Item = ChainId> + use<> {
        let (version, height) = (self.version, self.height);
        version.chain_ids().filter(move |chain| version.genesis_height(*chain) < Some(height))
    }

    /// Makes the blocks of one chain at the present height: the canonical one, then the orphans.
    #[expect(clippy::expect_used, reason = "no choice of a later time leaves the rules")]
    fn extend(&mut self, chain: ChainId) {
        const RULED: &str = "time passes in every epoch, and no target is 0";
        let Self { version, height, votes, payloads, .. } = *self;
        let parent = highest(&self.below, chain);
        let adjacents = adjacents(version, &self.below, chain, height);
        let mut random = Random::new(self.seed, Use::Canonical, chain, height);
        let time = self.pace.time(parent.view(), &adjacents, height, &mut random);
        let hash = parent.view().hash();
        let carrier = Carrier { version, chain, height, parent: hash, time, crossing: 0 };
        let crossings = payloads.then_some(&self.crossings);
        let (choice, content) = choose(&carrier, votes, crossings, &mut random);
        let raw = block::above(version, parent.view(), &adjacents, choice);
        self.layer.push(raw.expect(RULED));
        if let Some(Content { payload, crossing, begun }) = content {
            self.crossings.record(chain, crossing, begun);
            self.carried.push(payload);
        }
        let mut random = Random::new(self.seed, Use::Forks, chain, height);
        for branch in self.forks.at(chain, height, parent, &mut random) {
            let time = branch.time(time, &mut random);
            let (parent, crossing) = (branch.tip.view().hash(), branch.crossing);
            let carrier = Carrier { parent, time, crossing, ..carrier };
            let crossings = payloads.then_some(&self.crossings);
            let (choice, content) = choose(&carrier, votes, crossings, &mut random);
            let raw = block::above(version, branch.tip.view(), &adjacents, choice);
            self.layer.push(raw.expect(RULED));
            if let Some(Content { payload, crossing, .. }) = content {
                branch.crossing = crossing;
                self.carried.push(payload);
            }
        }
    }
}

impl Iterator for History {
    type Item = Header;

    fn next(&mut self) -> Option<Header> {
        self.next_block().map(|(header, _)| header)
    }
}

impl std::iter::FusedIterator for History {}

/// The blocks below a block at `height` of `chain` on the neighbouring chains.
#[expect(clippy::expect_used, reason = "the caller takes its chains from the graphs")]
fn adjacents(
    version: ChainwebVersion,
    below: &[Header],
    chain: ChainId,
    height: BlockHeight,
) -> [HeaderRef<'_>; DEGREE] {
    let chains = version.parent_graph_at(chain, height).adjacent(chain);
    chains.expect("a mined block has a graph").map(|chain| highest(below, chain).view())
}

#[expect(clippy::expect_used, reason = "there is one for every chain from the beginning")]
fn highest(below: &[Header], chain: ChainId) -> &Header {
    below.get(chain.index()).expect("every chain has a highest block")
}

#[expect(clippy::expect_used, reason = "the graphs list their neighbours in ascending order")]
fn header(raw: &RawHeader) -> Header {
    Header::new(*raw).expect("adjacent parents are in ascending order")
}

/// The header fields that the miner of a block chooses, and the payload, if blocks have one: it can
/// continue `crossings`.
#[expect(clippy::expect_used, reason = "payloads here are some kilobytes")]
fn choose(
    carrier: &Carrier,
    votes: u64,
    crossings: Option<&Crossings>,
    random: &mut Random,
) -> (Choice, Option<Content>) {
    let words = [(); 4].map(|()| U64::new(random.next()));
    let (nonce, vote) = (random.next(), random.happens(votes));
    let [first, ..] = words;
    let content = crossings.map(|crossings| {
        // A stream of its own: what is carried changes no other choice.
        let content = carry::payload(carrier, crossings, &mut Random::from(first.get()));
        content.expect("a small payload has a record")
    });
    let drawn = PayloadHash::new(zerocopy::transmute!(words));
    let hash = content.as_ref().map_or(drawn, |content| content.payload.hash());
    (Choice { time: carrier.time, payload: hash, nonce, vote }, content)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap, HashSet};

    use ruint::aliases::U256;
    use sha2::{Digest, Sha256};

    use super::super::Branch;
    use super::*;
    use crate::types::{BlockHash, Micros, Target};
    use crate::verify::votes;
    use crate::verify::{Adjacents, Failure, Level, Parent, Verifier};

    const MAIN: ChainwebVersion = ChainwebVersion::Mainnet01;
    const DEVELOPMENT: ChainwebVersion = ChainwebVersion::Development;
    const RECAP: ChainwebVersion = ChainwebVersion::RecapDevelopment;

    /// The end of mainnet01.
    const NOW: Micros = Micros::new(1_763_249_175_000_000);

    fn generate(plan: &Plan) -> Vec<Header> {
        History::new(plan).unwrap().collect()
    }

    /// As [`generate`], but without the proof of work.
    fn draft(plan: &Plan) -> Vec<Header> {
        let mut history = History::new(plan).unwrap();
        history.mine = false;
        history.collect()
    }

    /// Checks every header at the highest level upon those before it, and upon the `first` ones;
    /// gives the names of the rules that any of them breaks.
    fn broken(
        version: ChainwebVersion,
        first: &[Header],
        headers: &[Header],
    ) -> HashSet<&'static str> {
        let verifier = Verifier::new(version, Level::Full, NOW);
        let mut known: HashMap<BlockHash, &Header> =
            first.iter().map(|header| (header.view().hash(), header)).collect();
        let mut broken = HashSet::new();
        for header in headers {
            let view = header.view();
            let parent = Parent::Block(known[&view.parent()].view());
            let [a, b, c] = view.adjacents().iter().collect::<Vec<_>>().try_into().unwrap();
            let adjacents = [a, b, c].map(|(_, hash)| known[&hash].view());
            let adjacents = Adjacents::Blocks(adjacents);
            match verifier.conclude(verifier.check(view), parent, adjacents) {
                Ok(passed) => assert_eq!(passed.level(), Level::Full),
                Err(failures) => broken.extend(failures.iter().map(Failure::name)),
            }
            assert!(known.insert(view.hash(), header).is_none(), "{view:?} twice");
        }
        broken
    }

    fn assert_valid(version: ChainwebVersion, headers: &[Header]) {
        let genesis: Vec<Header> = version.genesis_headers().collect();
        assert_eq!(broken(version, &genesis, headers), HashSet::new());
    }

    /// The heaviest header of each chain.
    fn tips(headers: &[Header]) -> BTreeMap<ChainId, HeaderRef<'_>> {
        let mut tips = BTreeMap::new();
        for header in headers {
            let tip = tips.entry(header.view().chain()).or_insert(header.view());
            if header.view().weight() > tip.weight() {
                *tip = header.view();
            }
        }
        tips
    }

    /// The canonical blocks: those that the heaviest of each chain stand on.
    fn canonical(headers: &[Header]) -> Vec<Header> {
        let mut wanted: HashSet<BlockHash> =
            tips(headers).into_values().map(HeaderRef::hash).collect();
        let descending = headers.iter().rev();
        let mut found: Vec<Header> = descending
            .filter(|header| {
                let found = wanted.contains(&header.view().hash());
                found && wanted.insert(header.view().parent())
            })
            .copied()
            .collect();
        found.reverse();
        found
    }

    /// The targets of one chain, where they change.
    fn targets(headers: &[Header], chain: u32) -> Vec<(u64, Target)> {
        let chain = headers.iter().map(Header::view).filter(|header| header.chain().get() == chain);
        let mut targets: Vec<_> =
            chain.map(|header| (header.height().get(), header.target())).collect();
        targets.dedup_by_key(|(_, target)| *target);
        targets
    }

    #[test]
    fn headers_of_the_main_network_follow_every_rule() {
        let forks = Plan { forks: 0.05, fork_depth: 300, ..Plan::new(MAIN, 3000) };
        for seed in 0..2 {
            let headers = generate(&Plan { seed, ..forks.clone() });
            assert!(headers.len() > 30_000);
            assert_valid(MAIN, &headers);
        }
    }

    #[test]
    fn headers_of_the_test_network_follow_every_rule() {
        let version = ChainwebVersion::Testnet04;
        let plan = Plan { forks: 0.1, fork_depth: 20, votes: 0.5, ..Plan::new(version, 1000) };
        assert_valid(version, &generate(&plan));
    }

    #[test]
    fn headers_of_the_development_network_follow_every_rule() {
        let plan = Plan { forks: 0.1, fork_depth: 2000, ..Plan::new(DEVELOPMENT, 2500) };
        let headers = generate(&plan);
        assert_valid(DEVELOPMENT, &headers);
    }

    #[test]
    fn headers_across_the_change_of_graphs_follow_every_rule_but_proof_of_work() {
        let plan = Plan { forks: 0.2, fork_depth: 40, votes: 0.1, ..Plan::new(RECAP, 1000) };
        let headers = draft(&plan);
        let genesis: Vec<Header> = RECAP.genesis_headers().collect();
        assert_eq!(broken(RECAP, &genesis, &headers), HashSet::from(["IncorrectPow"]));
        assert_eq!(canonical(&headers).len(), 10 * 1000 + 10 * 940);
        let later = headers.iter().map(Header::view).filter(|header| header.height().get() > 72);
        assert!(later.map(difficulty).all(|tries| (1..40).contains(&tries)));
    }

    #[test]
    #[ignore = "takes 200 million hashes"]
    fn blocks_across_the_change_of_graphs_are_mined() {
        assert_valid(RECAP, &generate(&Plan { forks: 0.01, ..Plan::new(RECAP, 200) }));
    }

    #[test]
    fn headers_of_every_era_follow_every_rule() {
        let eras = [
            (MAIN, [80_000, 452_820, 530_500, 576_000, 771_414, 851_804].as_slice()),
            (ChainwebVersion::Testnet04, [1000, 57_600, 318_204, 332_354].as_slice()),
            (DEVELOPMENT, [14_400, 100_000].as_slice()),
        ];
        for (version, heights) in eras {
            for height in heights {
                let plan = Plan {
                    forks: 0.2,
                    fork_depth: 250,
                    seed: *height,
                    votes: 0.9,
                    ..Plan::new(version, height + 250)
                };
                let (first, headers) = from_height(&plan, height - 250, 6);
                assert_eq!(broken(version, &first, &headers), HashSet::new(), "{version} {height}");
                let tips = tips(&headers);
                assert!(tips.values().all(|tip| tip.height().get() == plan.heights));
                let forked = tips.values().all(|tip| votes::number(*tip) == 1);
                assert_eq!(forked, *height % 14_400 == 0, "{version} {height}");
            }
        }
    }

    /// The history from a height on, upon blocks that stand in for those below.
    fn from_height(plan: &Plan, height: u64, tries: u64) -> (Vec<Header>, Vec<Header>) {
        let mut history = History::new(plan).unwrap();
        history.height = BlockHeight::new(height);
        for first in &mut history.below {
            let mut raw = *first.view().raw();
            raw.height = height.into();
            raw.target = Target::new(U256::MAX / U256::from(tries)).to_le();
            raw.feature_flags = (9_600_000 << 32).into();
            raw.hash = crate::header::merkle::hash_of(&raw);
            *first = super::header(&raw);
        }
        history.pace = Pace::new(plan.version, plan.seed, &history.below);
        (history.below.clone(), history.collect())
    }

    fn difficulty(header: HeaderRef<'_>) -> u64 {
        crate::verify::difficulty::difficulty(header.target()).unwrap().saturating_to()
    }

    #[test]
    fn equal_plans_make_equal_bytes_that_are_valid() {
        let sums = ChainwebVersion::ALL.map(|version| {
            let plan = Plan { forks: 0.2, fork_depth: 9, votes: 0.5, ..Plan::new(version, 26) };
            let headers = generate(&plan);
            assert_valid(version, &headers);
            let mut sum = Sha256::new();
            for header in &headers {
                sum.update(header.view().as_bytes());
            }
            BlockHash::new(sum.finalize().into()).to_string()
        });
        let golden = [
            "s4dUq9qRTyl1jc13nFsZL_hLHDguBzAyRaFm0lJlEKM",
            "d1xVUeZVuSHubuuZCX7zHrR5Gd9VfZqE9NF53u1R8o0",
            "PFO4dfp7PhiSycK-1r4k1qZQsZ3wCqt7AmPKbgn4yjg",
            "SWpNoxu5dprXR5Vc0KYdgcc7rgeOf7PniUyamjgUK-g",
        ];
        assert_eq!(sums, golden);
    }

    #[test]
    fn canonical_blocks_depend_on_neither_forks_nor_heights() {
        let plan = Plan::new(MAIN, 300);
        let headers = generate(&plan);
        assert_eq!(headers.len() as u64, plan.canonical_blocks());
        let forks = Plan { forks: 1.0, fork_depth: 50, ..plan.clone() };
        assert_eq!(canonical(&generate(&forks)), headers);
        assert_eq!(generate(&Plan { heights: 200, ..plan.clone() }), headers[..2000]);
        assert_ne!(generate(&Plan { seed: 1, ..plan }), headers);
    }

    #[test]
    fn canonical_tips_are_the_heaviest_and_branches_end_below_them() {
        for (version, seed) in [(MAIN, 1), (MAIN, 2), (DEVELOPMENT, 3)] {
            let plan = Plan { seed, forks: 0.5, fork_depth: 600, ..Plan::new(version, 700) };
            let headers = generate(&plan);
            let orphans = headers.len() as u64 - plan.canonical_blocks();
            assert!(orphans > plan.canonical_blocks() / 10);
            let tips = tips(&headers);
            assert!(tips.values().all(|tip| tip.height().get() == plan.heights));
            let top = headers.iter().filter(|header| header.view().height().get() == plan.heights);
            assert_eq!(top.count(), tips.len());
        }
    }

    #[test]
    fn orphans_are_as_many_as_planned() {
        for (forks, fork_depth) in [(0.01, 1), (0.3, 8), (3.0, 1)] {
            let plan = Plan { forks, fork_depth, ..Plan::new(DEVELOPMENT, 600) };
            let orphans = generate(&plan).len() as u64 - plan.canonical_blocks();
            let ratio = orphans * 100 * (1 << 32) / (plan.canonical_blocks() * of_2_32(forks));
            assert!((80..=120).contains(&ratio), "{forks} {fork_depth}: {ratio} %");
        }
    }

    #[test]
    fn branches_are_where_the_plan_has_them() {
        let chain = ChainId::new(7);
        let branch =
            |height, depth, count| Branch { chain, height: BlockHeight::new(height), depth, count };
        let branches = vec![branch(5, 1, 500), branch(2, 290, 2), branch(5, 2, 1)];
        let plan = Plan { branches, ..Plan::new(DEVELOPMENT, 300) };
        let headers = generate(&plan);
        assert_valid(DEVELOPMENT, &headers);
        let at = |height| {
            let headers = headers.iter().map(Header::view);
            headers.filter(|h| h.chain() == chain && h.height().get() == height).count()
        };
        assert_eq!([1, 2, 5, 6, 7, 291, 292].map(at), [1, 3, 504, 4, 3, 3, 1]);
        assert_eq!(headers.len() as u64, plan.canonical_blocks() + 500 + 580 + 2);
    }

    #[test]
    fn targets_move_both_ways_and_stay_in_reach() {
        for (version, easy, hard) in [(MAIN, 1, 40), (DEVELOPMENT, 1 << 10, 1 << 24)] {
            let headers = draft(&Plan::new(version, 6000));
            let targets = targets(&headers, 4);
            let up = targets.windows(2).filter(|pair| pair[0].1 < pair[1].1).count();
            let down = targets.len() - 1 - up;
            assert!(up > 5 && down > 5, "{version}: {up} up, {down} down");
            let tries = headers.iter().map(|header| difficulty(header.view()));
            assert!(tries.into_iter().all(|tries| (easy..hard).contains(&tries)), "{version}");
        }
    }

    #[test]
    fn long_pauses_adjust_difficulty_within_an_epoch() {
        let targets = targets(&draft(&Plan::new(MAIN, 6000)), 0);
        let within = targets.iter().filter(|(height, _)| *height > 120 && height % 120 != 0);
        assert!(within.count() > 2, "{targets:?}");
    }

    #[test]
    fn chains_are_made_at_their_usual_pace() {
        for (version, percent_max) in [(MAIN, 250), (RECAP, 110), (DEVELOPMENT, 105)] {
            let headers = draft(&Plan::new(version, 5000));
            let time = |height| {
                let mut headers = headers.iter().map(Header::view);
                headers.find(|h| h.height().get() == height).unwrap().creation_time().get()
            };
            let percent = (time(5000) - time(1000)) / (4000 * 300_000);
            assert!((90..=percent_max).contains(&percent), "{version}: {percent} %");
        }
    }

    #[test]
    fn chain_by_chain_parents_still_come_first() {
        let plan = Plan { forks: 0.3, fork_depth: 9, ..Plan::new(RECAP, 70) };
        let mut headers = draft(&plan);
        headers.sort_by_key(|header| header.view().chain());
        let mut known: HashSet<BlockHash> =
            RECAP.genesis_headers().map(|header| header.view().hash()).collect();
        for header in &headers {
            assert!(known.contains(&header.view().parent()));
            known.insert(header.view().hash());
        }
    }

    #[test]
    fn blocks_carry_what_their_headers_name_and_follow_every_rule() {
        let plan = Plan { forks: 0.3, fork_depth: 5, payloads: true, ..Plan::new(MAIN, 60) };
        let blocks: Vec<_> = History::new(&plan).unwrap().blocks().collect();
        let (mut headers, mut transactions) = (Vec::new(), 0);
        for (header, payload) in &blocks {
            let payload = payload.as_ref().unwrap();
            payload.view().check().unwrap();
            payload.belongs_to(header.view()).unwrap();
            assert!(payload.view().has_outputs());
            transactions += payload.view().transaction_count();
            headers.push(*header);
        }
        assert!(transactions > headers.len(), "some carry several transactions");
        assert_valid(MAIN, &headers);
        assert_eq!(headers, generate(&plan), "payloads or not, these are its headers");
        let without = generate(&Plan { payloads: false, ..plan.clone() });
        let same = |(header, bare): (&Header, &Header)| {
            (header.view().rank().height, header.view().chain())
                == (bare.view().rank().height, bare.view().chain())
        };
        assert!(headers.len() == without.len() && headers.iter().zip(&without).all(same));
        let bare = History::new(&Plan { payloads: false, ..plan }).unwrap().blocks();
        assert!(bare.into_iter().all(|(_, payload)| payload.is_none()));
    }
}
