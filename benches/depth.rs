//! Commits and the cut in databases with branches that split on all chains, by the depth of the
//! split.

use std::time::Instant;

use fixtures::{Row, Rows, median};
use plait_engine::Header;
use testkit::braid::braid;

use crate::cut::{CHAINS, FORK, Growing, branch};

/// Heights of the split; 0 means a single branch.
const DEPTHS: [usize; 6] = [0, 100, 750, 2_000, 8_000, 21_500];

/// Heights by which one branch is above the other when the measurement begins.
const AHEAD: usize = 300;

/// Heights of blocks that are committed one by one.
const SINGLE: usize = 20;

/// Heights that are committed one height at a time.
const TOGETHER: usize = 100;

/// Heights that the lower branch gains in the end, until it is sealed instead of the other.
const OVERTAKING: usize = 1_400;

/// A database with two branches that split on all chains.
struct Split {
    depth: usize,
    growing: Growing,
    /// Blocks still to be committed: of the higher branch, and of the lower one.
    rest: [Vec<Header>; 2],
}

/// For each depth: durations of one kind of commits, processor times of each, and durations of reading the cut after each.
type Times = Vec<[Vec<f64>; 3]>;

pub(crate) fn measure(rows: &mut Rows, is_quick: bool) {
    let depths = if is_quick { &DEPTHS[..3] } else { &DEPTHS };
    let most = depths.iter().max().expect("depths");
    let straight = braid((FORK + most + AHEAD + SINGLE + TOGETHER) as u64);
    let beside = branch(&straight, FORK + most + OVERTAKING);
    let mut splits: Vec<Split> =
        depths.iter().map(|depth| Split::new(*depth, &straight, &beside)).collect();
    for (name, number) in [("higher", 0), ("lower", 1)] {
        let times = commits(&mut splits, number, SINGLE * CHAINS, 1);
        save(rows, &splits, &times, &format!("{name}_branch_1_block"));
        let times = commits(&mut splits, number, TOGETHER, CHAINS);
        save(rows, &splits, &times, &format!("{name}_branch_1_height"));
    }
    for split in &splits {
        let (open, memory) = split.growing.open();
        let row = Row::new(format!("pairs/cut/depth={}/open", split.depth), open, "ms");
        rows.push(row.note(format!("the process grew by {memory:.0} MB")));
    }
    let times = commits(&mut splits, 1, OVERTAKING - SINGLE - TOGETHER, CHAINS);
    save(rows, &splits, &times, "overtaking_1_height");
}

/// Commits `blocks` blocks of a branch to each of the databases in turns, `count` times.
fn commits(splits: &mut [Split], branch: usize, count: usize, blocks: usize) -> Times {
    let mut times: Times = splits.iter().map(|_| [const { Vec::new() }; 3]).collect();
    for _ in 0..count {
        for (split, [commit, busy, cut]) in splits.iter_mut().zip(&mut times) {
            if split.rest[branch].is_empty() {
                continue;
            }
            let some: Vec<Header> = split.rest[branch].drain(..blocks).collect();
            let (all, thread) = split.growing.push(&some);
            commit.push(all);
            busy.push(thread);
            cut.push(split.growing.cut());
        }
    }
    times
}

fn save(rows: &mut Rows, splits: &[Split], times: &Times, name: &str) {
    for (split, [commit, busy, cut]) in splits.iter().zip(times) {
        if commit.is_empty() {
            continue;
        }
        let note = format!(
            "processor time {:.0} us, of 99 in 100 at most {:.0} us, of all {:.0} us; the longest took {:.0} us; \
             the cut {:.2} us",
            median(busy.clone()),
            below(busy, 0.99),
            below(busy, 1.0),
            below(commit, 1.0),
            median(cut.clone())
        );
        let name = format!("pairs/cut/depth={}/{name}", split.depth);
        rows.push(Row::new(name, median(commit.clone()), "us").note(note));
    }
}

/// The time that this share of the commits does not exceed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a few thousand times"
)]
fn below(times: &[f64], share: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * share) as usize]
}

impl Split {
    /// Makes a database in which the branch with the blocks `beside` splits from `straight`, which
    /// is higher.
    fn new(depth: usize, straight: &[Header], beside: &[Header]) -> Self {
        let start = Instant::now();
        let (tip, low) = ((FORK + depth + AHEAD + 1) * CHAINS, depth * CHAINS);
        let growing = Growing::new(straight[CHAINS..tip].iter().chain(&beside[..low]));
        let end = (tip + (SINGLE + TOGETHER) * CHAINS).min(straight.len());
        let lower = if depth == 0 { &[] } else { &beside[low..low + OVERTAKING * CHAINS] };
        eprintln!("{depth} heights: made in {:?}", start.elapsed());
        Self { depth, growing, rest: [straight[tip..end].to_vec(), lower.to_vec()] }
    }
}
