//! Commits at the tip and the cut after each: with a branch that forks on all chains, and without
//! one.

use std::hint::black_box;
use std::time::{Duration, Instant};

use fixtures::{Row, Rows, median};
use plait_engine::push::{Block, Pusher};
use plait_engine::store::History;
use plait_engine::verify::Level;
use plait_engine::{Engine, Header, HeaderRef, Micros, Reader};
use tempfile::TempDir;
use testkit::block::{NETWORK, braided};
use testkit::braid::braid;

/// Chains of the network.
pub(crate) const CHAINS: usize = 20;

/// The height above which the branch forks off.
pub(crate) const FORK: usize = 10;

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
    for block in straight[tip..].chunks(1) {
        commit.push((beside.push(block).0, alone.push(block).0));
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
pub(crate) fn branch(straight: &[Header], top: usize) -> Vec<Header> {
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
pub(crate) struct Growing {
    pusher: Pusher,
    reader: Reader,
    folder: TempDir,
}

impl Growing {
    pub(crate) fn new<'a>(blocks: impl Iterator<Item = &'a Header>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let opened = Engine::open_or_create(folder.path(), Some(NETWORK), History::Full);
        let (writer, reader) = opened.expect("a database");
        let pusher = Pusher::new(writer, Level::Hash, false);
        let mut growing = Self { pusher, reader, folder };
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

    /// Duration of a commit of these blocks, and the processor time of this thread, in microseconds.
    pub(crate) fn push(&mut self, blocks: &[Header]) -> (f64, f64) {
        let blocks: Vec<Block> = blocks.iter().map(|block| of(block.view())).collect();
        let (start, busy) = (Instant::now(), busy());
        self.add(&blocks);
        (start.elapsed().as_secs_f64() * 1e6, self::busy() - busy)
    }

    /// Milliseconds that it takes to open the database once more, and megabytes by which the
    /// process grows.
    pub(crate) fn open(&self) -> (f64, f64) {
        let (before, start) = (resident(), Instant::now());
        let opened = Engine::open_read_only(self.folder.path()).expect("a database");
        let time = start.elapsed().as_secs_f64() * 1e3;
        black_box(opened.view().cut(None).expect("a cut"));
        (time, resident() - before)
    }

    /// Microseconds that a read of the cut takes.
    pub(crate) fn cut(&self) -> f64 {
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

/// Processor time of this thread, in microseconds.
fn busy() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("it ascends").as_secs_f64() * 1e6
}

/// Resident memory of this process, in megabytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) / 1e3
}
