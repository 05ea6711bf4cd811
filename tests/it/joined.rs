//! `View::joined`: the blocks that join on the way from one past to another, against sets.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use plait_engine::{
    BlockHash, BlockHeight, ChainId, Header, HeaderRef, Joined, Past, Position, QueryError, Rank,
    View,
};
use proptest::prelude::*;
use proptest::sample::Index;
use testkit::Database;
use testkit::block::{child, genesis, root};

/// The chains that blocks are drawn on, of the twenty that there are.
const CHAINS: [u32; 3] = [2, 7, 19];

/// Blocks of some chains with forks and more than one part, parents before children.
#[derive(Clone, Debug)]
struct Web(Vec<Header>);

fn webs(blocks_max: usize) -> impl Strategy<Value = Web> {
    let step = (0..CHAINS.len(), 0..14_u8, any::<Index>());
    prop::collection::vec(step, 1..blocks_max).prop_map(|steps| {
        let mut chains: Vec<Vec<Header>> = vec![Vec::new(); CHAINS.len()];
        let mut all = Vec::new();
        for (nonce, (at, kind, index)) in (1..).zip(steps) {
            let (id, blocks) = (ChainId::new(CHAINS[at]), &mut chains[at]);
            let block = match (blocks.len(), kind) {
                (0, 0..7) => genesis(id),
                (0, _) | (_, 0) => {
                    root(id, BlockHeight::new(3 + index.index(9) as u64), kind, nonce)
                }
                (len, 1) => child(blocks[index.index(len)].view(), nonce),
                (len, 2 | 3) => child(blocks[len - 1 - index.index(len.min(5))].view(), nonce),
                (len, _) => child(blocks[len - 1].view(), nonce),
            };
            if !blocks.contains(&block) {
                blocks.push(block);
                all.push(block);
            }
        }
        Web(all)
    })
}

impl Web {
    /// The past of some blocks: of each chain any one, or none.
    fn past(&self, choices: &[Option<Index>; CHAINS.len()]) -> Past {
        let tops = CHAINS.iter().zip(choices).filter_map(|(chain, choice)| {
            let blocks: Vec<_> = self.0.iter().map(Header::view).collect();
            let blocks: Vec<_> =
                blocks.into_iter().filter(|block| block.chain().get() == *chain).collect();
            let choice = choice.as_ref().filter(|_| !blocks.is_empty())?;
            let block = blocks[choice.index(blocks.len())];
            Some((block.chain(), block.rank()))
        });
        Past::new(tops)
    }

    /// All blocks of a past, by walking parents.
    fn walk(&self, past: &Past) -> BTreeSet<(BlockHeight, ChainId, BlockHash)> {
        let blocks: BTreeMap<BlockHash, HeaderRef<'_>> =
            self.0.iter().map(|block| (block.view().hash(), block.view())).collect();
        let mut found = BTreeSet::new();
        for (chain, rank) in past.tops() {
            let mut at = rank.hash;
            while let Some(block) = blocks.get(&at) {
                found.insert((block.height(), chain, at));
                at = block.parent();
            }
        }
        found
    }

    /// The blocks of `to` that are not of `from`, by height, then by chain: of each chain there is one
    /// of a height.
    fn joined(&self, from: &Past, to: &Past) -> Vec<(BlockHeight, ChainId, BlockHash)> {
        self.walk(to).difference(&self.walk(from)).copied().collect()
    }
}

/// All that joins, in chunks, with checks of what is said on the way.
fn all(
    mut joined: Joined,
    view: impl Fn() -> View,
    mut chunk: impl FnMut() -> usize,
) -> Vec<(BlockHeight, ChainId, BlockHash)> {
    let mut found = Vec::new();
    let expected = joined.len();
    assert_eq!(joined.is_empty(), expected == 0);
    loop {
        let (chunk, left) = (chunk(), joined.len());
        let Some(records) = joined.next(&view(), chunk).unwrap() else { break };
        assert!(records.len() <= chunk.max(CHAINS.len()) && !records.is_empty());
        assert_eq!(joined.len(), left - records.len() as u64);
        found.extend(records.iter().map(|block| (block.height(), block.chain(), block.hash())));
    }
    assert!(joined.is_empty());
    assert_eq!(found.len() as u64, expected);
    found
}

fn choices() -> impl Strategy<Value = [Option<Index>; CHAINS.len()]> {
    prop::array::uniform3(prop::option::weighted(0.9, any::<Index>()))
}

fn step(past: &mut Past, (height, chain, hash): (BlockHeight, ChainId, BlockHash)) {
    past.set(chain, Rank { height, hash });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_joins_is_what_walking_parents_finds(
        web in webs(120),
        (run_length, window) in (1..6_u32, 0..9_u64),
        ways in prop::collection::vec((choices(), choices(), 1..40_usize), 1..12),
    ) {
        let mut database = Database::sealing(run_length, window);
        database.add(&web.0);
        let view = database.reader().view();
        for (from, to, chunk) in ways {
            let (from, to) = (web.past(&from), web.past(&to));
            let expected = web.joined(&from, &to);
            let joined = view.joined(&from, &to).unwrap();
            let start = joined.start().clone();
            prop_assert_eq!(&all(joined, || view.clone(), || chunk), &expected);
            // What stays and what joins is all there is, and each step is a past.
            let mut past = start;
            let mut walked = web.walk(&past);
            prop_assert!(walked.is_subset(&web.walk(&from)) && walked.is_subset(&web.walk(&to)));
            for block in expected {
                step(&mut past, block);
                walked.insert(block);
                prop_assert_eq!(&web.walk(&past), &walked);
            }
            prop_assert_eq!(past, to);
        }
    }

    #[test]
    fn whoever_stops_anywhere_goes_on_with_the_rest(
        web in webs(60),
        (from, to) in (choices(), choices()),
    ) {
        let mut database = Database::sealing(3, 4);
        database.add(&web.0);
        let view = database.reader().view();
        let (from, to) = (web.past(&from), web.past(&to));
        let joined = view.joined(&from, &to).unwrap();
        let mut past = joined.start().clone();
        let blocks = all(joined, || view.clone(), || 5);
        for (at, block) in blocks.iter().enumerate() {
            step(&mut past, *block);
            let text = past.position().to_string();
            let position: Position = text.parse().unwrap();
            let again = view.past_at(&position).unwrap().unwrap();
            prop_assert_eq!(&again, &past);
            let rest = view.joined(&again, &to).unwrap();
            prop_assert_eq!(rest.start(), &past);
            prop_assert_eq!(all(rest, || view.clone(), || 7), &blocks[at + 1..]);
        }
    }

    #[test]
    fn blocks_that_come_meanwhile_change_nothing(
        web in webs(120),
        split in 10..60_usize,
        (from, to) in (choices(), choices()),
        chunk in 1..12_usize,
    ) {
        // Parents come before children, so nothing comes below.
        let first = Web(web.0[..split.min(web.0.len())].to_vec());
        let (from, to) = (first.past(&from), first.past(&to));
        let expected = first.joined(&from, &to);
        let mut database = Database::sealing(2, 1);
        database.add(&first.0);
        let mut joined = database.reader().view().joined(&from, &to).unwrap();
        let mut later = web.0[first.0.len()..].chunks(9);
        let mut found = Vec::new();
        while let Some(records) = joined.next(&database.reader().view(), chunk).unwrap() {
            found.extend(records.iter().map(|block| (block.height(), block.chain(), block.hash())));
            if let Some(more) = later.next() {
                database.add(more);
            }
        }
        prop_assert_eq!(found, expected);
    }
}

/// A straight line of a chain.
fn line(chain: u32, count: usize) -> Vec<Header> {
    let first = genesis(ChainId::new(chain));
    std::iter::successors(Some(first), |block| Some(child(block.view(), 0))).take(count).collect()
}

fn top(block: &Header) -> (ChainId, Rank) {
    (block.view().chain(), block.view().rank())
}

#[test]
fn blocks_join_by_height_then_by_chain() {
    let (a, b) = (line(0, 6), line(4, 4));
    let mut database = Database::empty();
    database.add(a.iter().chain(&b));
    let view = database.reader().view();
    let joined = |from: &[&Header], to: &[&Header]| {
        let past = |blocks: &[&Header]| Past::new(blocks.iter().map(|block| top(block)));
        let joined = view.joined(&past(from), &past(to)).unwrap();
        let blocks = all(joined, || view.clone(), || 100);
        blocks.iter().map(|(h, chain, _)| (h.get(), chain.get())).collect::<Vec<_>>()
    };
    assert_eq!(joined(&[&a[2], &b[1]], &[&a[5], &b[3]]), [(2, 4), (3, 0), (3, 4), (4, 0), (5, 0)]);
    assert_eq!(joined(&[&a[5]], &[&a[2]]), [], "what leaves does not join");
    assert_eq!(joined(&[&a[5]], &[&b[1]]), [(0, 4), (1, 4)], "nor does what is gone");
    assert_eq!(joined(&[], &[&b[0]]), [(0, 4)]);
}

#[test]
fn positions_of_what_is_not_held_are_told_apart() {
    let blocks = line(0, 20);
    let mut database = Database::sealing(4, 4);
    database.add(&blocks[..15]);
    let view = database.reader().view();
    let at = |past: Past| view.past_at(&past.position()).unwrap();
    let known = Past::new([top(&blocks[3]), (ChainId::new(3), top(&genesis(ChainId::new(3))).1)]);
    assert_eq!(at(Past::new([top(&blocks[3])])), Ok(Past::new([top(&blocks[3])])));
    let unknown = |past: Past| {
        let unknown = at(past).unwrap_err();
        (unknown.chain().get(), unknown.height().get())
    };
    assert_eq!(unknown(known), (3, 0), "no block of that chain is held");
    assert_eq!(unknown(Past::new([top(&blocks[17])])), (0, 17));
    let other = child(blocks[6].view(), 99);
    assert_eq!(unknown(Past::new([top(&other)])), (0, 7));
    let strange = (ChainId::new(63), top(&other).1);
    assert_eq!(unknown(Past::new([strange])), (63, 7));
    let joined = view.joined(&Past::default(), &Past::new([top(&other)]));
    assert!(matches!(joined, Err(QueryError::UnknownHash(hash)) if hash == other.view().hash()));
}

#[test]
fn block_that_is_not_held_may_be_held_only_by_views_that_have_one_like_it() {
    let blocks = line(0, 60);
    let orphans = [3, 22].map(|height: usize| child(blocks[height - 1].view(), 99));
    // Heights below 18 are sealed, and then those below 54.
    let mut database = Database::sealing(4, 4);
    database.add(&blocks[..25]);
    let view = database.reader().view();
    let ahead = [&blocks[25], &blocks[30], &blocks[58]];
    let unknown = |block: &Header| {
        view.past_at(&Past::new([top(block)]).position()).unwrap().expect_err("it is not held")
    };
    let may_hold =
        |database: &Database, block: &Header| database.reader().view().may_hold(&unknown(block));
    for block in ahead.into_iter().chain(&orphans) {
        assert!(!may_hold(&database, block));
    }
    let before = database.reader().view().shown();
    database.add([&blocks[25]]);
    assert!(database.reader().view().shown() > before);
    assert!(may_hold(&database, &blocks[25]) && !may_hold(&database, &blocks[30]));
    // Blocks that are sealed as soon as they arrive are found.
    database.add(&blocks[26..]);
    assert!(ahead.iter().all(|block| may_hold(&database, block)));
    // For an orphan at a sealed height the search does not read the disk, and finds it when it
    // arrives.
    assert!(!may_hold(&database, &orphans[0]), "it was sealed when that was asked first");
    database.add(&orphans);
    assert!(orphans.iter().all(|block| may_hold(&database, block)));
    let nowhere = (ChainId::new(63), top(&blocks[3]).1);
    let unknown = view.past_at(&Past::new([nowhere]).position()).unwrap().unwrap_err();
    assert!(!database.reader().view().may_hold(&unknown));
}

/// Two blocks above `parent` whose hashes begin alike: of so many some do.
fn alike(parent: HeaderRef<'_>) -> [Header; 2] {
    let mut seen: HashMap<[u8; 4], Header> = HashMap::new();
    for nonce in 0.. {
        let block = child(parent, nonce);
        let prefix = *block.view().hash().as_bytes().first_chunk().unwrap();
        if let Some(other) = seen.insert(prefix, block) {
            return [other, block];
        }
    }
    unreachable!("all prefixes are seen some time")
}

#[test]
fn siblings_that_begin_alike_are_not_taken_for_each_other() {
    let parent = genesis(ChainId::new(1));
    let [one, other] = alike(parent.view());
    let mut database = Database::empty();
    database.add([&parent, &one]);
    let past = Past::new([top(&one)]);
    let at = |database: &Database| database.reader().view().past_at(&past.position()).unwrap();
    assert_eq!(at(&database), Ok(past.clone()));
    database.add([&other]);
    assert!(at(&database).is_err(), "it may be either");
}
