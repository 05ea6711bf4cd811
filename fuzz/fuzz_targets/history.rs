//! Random histories in a database, stored in random commits, and random queries: by the oracle.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::Edge;
use libfuzzer_sys::fuzz_target;
use plait_engine::{
    BlockHash, BlockHeight, Bounds, BranchQuery, Cursor, Header, HeaderRef, Heights, Page,
    QueryError, RangeQuery, Records, Scan, Steps, UnknownLower, View,
};
use testkit::drawing::CHAIN;
use testkit::forest::{Forest, OTHER_CHAIN, Step};
use testkit::oracle::Unknown;
use testkit::planted::{Planted, assert_unknown};

/// Blocks of a history at most.
const BLOCKS_MAX: usize = 48;

/// Queries of a case at most.
const QUERIES_MAX: usize = 24;

#[derive(Arbitrary, Debug)]
struct Case {
    lowest: Edge,
    steps: Vec<Stroke>,
    /// How the blocks come: each number takes one out of what is left, and says whether a commit ends.
    arrival: Vec<(u8, bool)>,
    reopened: bool,
    queries: Vec<Query>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Stroke {
    Extend,
    ExtendMuch(u8),
    Sibling,
    ShallowFork(u8),
    DeepFork(u8),
    Root { above: u8, parent: u8 },
}

#[derive(Arbitrary, Clone, Debug)]
struct Query {
    upper: Vec<Pick>,
    lower: Vec<Pick>,
    min: Option<Mark>,
    max: Option<Mark>,
    cursor: Option<(bool, Pick)>,
    limit: u8,
    ignore: bool,
    chunk: u8,
}

/// A block that a query names.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Pick {
    Block(u8),
    OtherBlock(u8),
    Other(bool),
    Nobody(u8),
}

/// A height that a query names.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Mark {
    Near(u8),
    Any(Edge),
}

fuzz_target!(|case: Case| {
    let forest = Forest::new(case.lowest.get(), &steps(&case.steps));
    let planted = Planted::in_order(&forest, &commits(&forest, &case.arrival));
    let planted = if case.reopened { planted.reopen() } else { planted };
    let view = planted.view();
    lookups(&forest, &view);
    for query in case.queries.iter().take(QUERIES_MAX) {
        let branch = query.branch(&forest);
        let range =
            RangeQuery { heights: branch.heights, cursor: branch.cursor, limit: branch.limit };
        branches(&planted, &view, &branch, query.chunk.into());
        ranges(&planted, &view, &range, query.chunk.into());
        stats(&view, branch.heights, query.chunk.into());
    }
});

fn steps(strokes: &[Stroke]) -> Vec<Step> {
    let mut steps = Vec::new();
    for stroke in strokes {
        match *stroke {
            Stroke::Extend => steps.push(Step::Extend),
            Stroke::ExtendMuch(count) => {
                steps.extend(std::iter::repeat_n(Step::Extend, usize::from(count % 16)));
            }
            Stroke::Sibling => steps.push(Step::Sibling),
            Stroke::ShallowFork(number) => steps.push(Step::ShallowFork(number.into())),
            Stroke::DeepFork(number) => steps.push(Step::DeepFork(number.into())),
            Stroke::Root { above, parent } => {
                steps.push(Step::Root { above: (above % 12).into(), parent: 1 + parent % 3 });
            }
        }
    }
    steps.truncate(BLOCKS_MAX);
    steps
}

/// All blocks, in commits.
fn commits(forest: &Forest, arrival: &[(u8, bool)]) -> Vec<Vec<Header>> {
    let mut left: Vec<Header> = forest.blocks.iter().chain(&forest.others).copied().collect();
    let mut commits = vec![Vec::new()];
    for (number, ends) in arrival {
        if left.is_empty() {
            break;
        }
        let block = left.remove(usize::from(*number) % left.len());
        if let Some(last) = commits.last_mut() {
            last.push(block);
        }
        if *ends && commits.len() < 5 {
            commits.push(Vec::new());
        }
    }
    commits.push(left);
    commits
}

impl Pick {
    fn hash(self, forest: &Forest) -> BlockHash {
        let of = |blocks: &[Header], number: usize| {
            blocks.get(number % blocks.len()).map(|b| b.view().hash())
        };
        let hash = match self {
            Self::Block(number) | Self::OtherBlock(number) => of(&forest.blocks, number.into()),
            Self::Other(second) => of(&forest.others, second.into()),
            Self::Nobody(byte) => Some(BlockHash::new([byte; 32])),
        };
        hash.unwrap_or_else(|| BlockHash::new([0; 32]))
    }
}

impl Query {
    fn branch(&self, forest: &Forest) -> BranchQuery {
        let hashes = |picks: &[Pick]| picks.iter().take(6).map(|pick| pick.hash(forest)).collect();
        let lowest = forest.blocks.first().map_or(0, |block| block.view().height().get());
        let height = |mark: Mark| {
            BlockHeight::new(match mark {
                Mark::Near(above) => lowest.saturating_add(above.into()).saturating_sub(4),
                Mark::Any(edge) => edge.get(),
            })
        };
        BranchQuery {
            bounds: Bounds { upper: hashes(&self.upper), lower: hashes(&self.lower) },
            heights: Heights { min: self.min.map(height), max: self.max.map(height) },
            cursor: self.cursor.map(|(inclusive, pick)| {
                let hash = pick.hash(forest);
                if inclusive { Cursor::Inclusive(hash) } else { Cursor::Exclusive(hash) }
            }),
            unknown_lower: if self.ignore { UnknownLower::Ignore } else { UnknownLower::Refuse },
            limit: if self.limit > 250 { usize::MAX } else { self.limit.into() },
        }
    }
}

/// Every block is found on its chain and on no other; the tip is the heaviest.
fn lookups(forest: &Forest, view: &View) {
    for (block, chain, other) in forest
        .blocks
        .iter()
        .map(|block| (block, CHAIN, OTHER_CHAIN))
        .chain(forest.others.iter().map(|block| (block, OTHER_CHAIN, CHAIN)))
    {
        let hash = block.view().hash();
        assert!(matches!(view.header(chain, &hash), Ok(Some(found)) if found == *block), "{hash}");
        assert!(matches!(view.header(other, &hash), Ok(None)), "{hash} on another chain");
    }
    assert_eq!(view.block_count(CHAIN), forest.blocks.len() as u64);
    let heaviest = forest.blocks.iter().map(|block| block.view().weight()).max();
    let tip = view.tip(CHAIN).and_then(|tip| view.header(CHAIN, &tip.hash).ok().flatten());
    assert_eq!(tip.map(|tip| tip.view().weight()), heaviest, "the tip is not the heaviest");
}

/// Sums of runs are those of every header.
fn stats(view: &View, heights: Heights, step: u64) {
    let Some(steps) = Steps::of(view, &[CHAIN], heights, Some(step)) else { return };
    let (quick, slow) = (view.stats(&[CHAIN], steps), view.stats_by_scan(&[CHAIN], steps));
    assert!(
        matches!((&quick, &slow), (Ok(quick), Ok(slow)) if quick == slow),
        "{quick:?} {slow:?}"
    );
}

fn branches(planted: &Planted, view: &View, query: &BranchQuery, chunk: usize) {
    let answers = Answers {
        hashes: view.branch_hashes(CHAIN, query),
        headers: view.branch_headers(CHAIN, query),
        scan: view.branch_scan(CHAIN, query),
    };
    let all = BranchQuery { limit: usize::MAX, ..query.clone() };
    let expected = planted.oracle.branch_page(query).and_then(|page| {
        let all = planted.oracle.branch_page(&all)?;
        Ok((page, all.items))
    });
    answers.check(planted, view, expected, chunk);
}

fn ranges(planted: &Planted, view: &View, query: &RangeQuery, chunk: usize) {
    let answers = Answers {
        hashes: view.range_hashes(CHAIN, query),
        headers: view.range_headers(CHAIN, query),
        scan: view.range_scan(CHAIN, query),
    };
    let all = RangeQuery { limit: usize::MAX, ..*query };
    let expected = planted.oracle.range_page(query).and_then(|page| {
        let all = planted.oracle.range_page(&all)?;
        Ok((page, all.items))
    });
    answers.check(planted, view, expected, chunk);
}

/// What a view says to a query, in every form.
struct Answers {
    hashes: Result<Page<Vec<BlockHash>>, QueryError>,
    headers: Result<Page<Records>, QueryError>,
    scan: Result<Scan, QueryError>,
}

impl Answers {
    /// Compares them with the page that is right and with all that the query asks for.
    fn check(
        self,
        planted: &Planted,
        view: &View,
        expected: Result<(Page<Vec<BlockHash>>, Vec<BlockHash>), Unknown>,
        chunk: usize,
    ) {
        let (page, all) = match expected {
            Ok(expected) => expected,
            Err(unknown) => {
                assert_unknown(self.hashes, &unknown);
                assert_unknown(self.headers, &unknown);
                return assert_unknown(self.scan, &unknown);
            }
        };
        let (Ok(hashes), Ok(headers), Ok(mut scan)) = (self.hashes, self.headers, self.scan) else {
            panic!("a page of known blocks is refused");
        };
        assert_eq!(hashes, page);
        planted.assert_headers(&headers.items, &page.items);
        assert_eq!(headers.next, page.next);
        let mut scanned = Vec::new();
        while let Ok(Some(records)) = scan.next(view, chunk) {
            assert!(!records.is_empty() && records.len() <= chunk.max(1));
            scanned.extend(records.iter().map(HeaderRef::hash));
        }
        assert_eq!(scanned, all, "a stream");
    }
}
