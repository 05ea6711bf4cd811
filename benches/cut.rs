//! Commits at the tip and the cut after each: with a branch that forks on all chains, and without
//! one.

use std::hint::black_box;
use std::time::Instant;

use fixtures::{Row, Rows, median};
use plait_engine::push::{Block, Pusher};
use plait_engine::store::History;
use plait_engine::verify::Level;
use plait_engine::{Engine, Header, HeaderRef, Micros, Reader};
use tempfile::TempDir;
use testkit::block::{NETWORK, braided};
use testkit::braid::braid;

/// Chains of the network.
const CHAINS: usize = 20;

/// The height above which the branch forks off.
const FORK: usize = 10;

/// Blocks per commit while the database is filled, before anything is timed.
const BATCH: usize = 2_000;

/// Calls per measurement: a single call is too short.
const CALLS: u32 = 100;

pub(crate) fn measure(rows: &mut Rows, is_quick: bool) {
    let (heights, commits) = if is_quick { (300, 100) } else { (4_000, 600) };
    let straight = braid((heights + commits / CHAINS) as u64);
    let tip = (heights + 1) * CHAINS;
    let other = branch(&straight, heights - 100);
    let mut beside = Growing::new(straight[CHAINS..tip].iter().chain(&other));
    let mut alone = Growing::new(straight[CHAINS..tip].iter());
    let (mut commit, mut cut) = (Vec::new(), Vec::new());
    for block in &straight[tip..] {
        commit.push((beside.push(block), alone.push(block)));
        cut.push((beside.cut(), alone.cut()));
    }
    let note = format!("B: without a branch of {} heights on all chains", heights - 100 - FORK);
    for (name, pairs) in [("commit", &commit), ("read", &cut)] {
        let name = format!("pairs/cut/{name}_beside_split:{name}");
        rows.push(Row::pairs(name, "us", pairs).note(note.clone()));
    }
    let read = median(cut.iter().map(|(beside, _)| *beside).collect());
    rows.push(Row::new("pairs/cut/read", read, "us").note("right after a commit of one block"));
}

/// A branch on all chains that forks off this history and ends at height `top`.
fn branch(straight: &[Header], top: usize) -> Vec<Header> {
    let mut blocks = straight[FORK * CHAINS..(FORK + 1) * CHAINS].to_vec();
    for _ in FORK..top {
        let below = blocks[blocks.len() - CHAINS..].to_vec();
        for block in &below {
            let named = block.view().adjacents().all();
            let adjacents = named.map(|(chain, _)| below[chain.index()].view());
            blocks.push(braided(block.view(), adjacents, 1));
        }
    }
    blocks.split_off(CHAINS)
}

/// A database that receives blocks by push.
struct Growing {
    pusher: Pusher,
    reader: Reader,
    _folder: TempDir,
}

impl Growing {
    fn new<'a>(blocks: impl Iterator<Item = &'a Header>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let opened = Engine::open_or_create(folder.path(), Some(NETWORK), History::Full);
        let (writer, reader) = opened.expect("a database");
        let pusher = Pusher::new(writer, Level::Hash, false);
        let mut growing = Self { pusher, reader, _folder: folder };
        let blocks: Vec<Block> = blocks.map(|block| of(block.view())).collect();
        for some in blocks.chunks(BATCH) {
            growing.add(some);
        }
        growing
    }

    fn add(&mut self, blocks: &[Block]) {
        let outcomes = self.pusher.push(blocks, Micros::new(i64::MAX)).expect("the disk takes it");
        assert!(outcomes.iter().all(plait_engine::push::Outcome::is_held), "every block is right");
    }

    /// Duration of a commit of one block, in microseconds.
    fn push(&mut self, block: &Header) -> f64 {
        let start = Instant::now();
        self.add(&[of(block.view())]);
        start.elapsed().as_secs_f64() * 1e6
    }

    /// Duration of a read of the cut, in microseconds.
    fn cut(&self) -> f64 {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(self.reader.view().cut(None).expect("a cut"));
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
    }
}

fn of(header: HeaderRef<'_>) -> Block {
    Block::from(*header.raw())
}
