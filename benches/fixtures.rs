//! What the benches run on: a history of the network `development` and a database that holds it.
//!
//! Both are the same in every run, and are made when a bench first asks for them.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench whose data cannot be made has nothing to say"
)]

use std::cell::OnceCell;
use std::env;
use std::time::Instant;

use plait_engine::{BlockHash, ChainId, Header, Reader};
use testkit::Database;
use testkit::block::{NETWORK, braided, genesis, sibling};

/// Headers of a page: the most that chainweb-node hands out at once.
pub const PAGE: usize = 360;

/// The chain that pages are read of.
pub const CHAIN: ChainId = ChainId::new(0);

/// Heights of the history, unless `BENCH_HEIGHTS` says otherwise.
const HEIGHTS: u64 = 20_000;

/// Heights from one block of [`CHAIN`] with a sibling to the next.
const SIBLING_EVERY: u64 = 100;

/// The nonces follow from it, and all else from them.
const SEED: u64 = 1848;

/// Heights of the history at least: enough for every page and for the dump of the replay.
const HEIGHTS_MIN: u64 = 5_000;

/// A size from the environment.
///
/// # Panics
///
/// If the variable is set and is no whole number.
#[must_use]
pub fn size(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().expect("a size is a whole number"))
}

/// The data of one run.
#[derive(Default)]
pub struct Fixtures {
    history: OnceCell<History>,
    database: OnceCell<Database>,
}

impl Fixtures {
    /// The history.
    pub fn history(&self) -> &History {
        self.history.get_or_init(|| timed("history", || History::new(heights())))
    }

    /// A database that holds the history, opened anew since it was written.
    pub fn reader(&self) -> &Reader {
        let database = self.database.get_or_init(|| {
            let history = self.history();
            timed("database", || {
                let mut database = Database::with_genesis();
                database.add(&history.headers);
                database.reopen()
            })
        });
        database.reader()
    }
}

/// Heights of the history, above genesis.
#[must_use]
pub fn heights() -> u64 {
    size("BENCH_HEIGHTS", HEIGHTS).max(HEIGHTS_MIN)
}

/// All twenty chains. Every hundredth block of [`CHAIN`] has a sibling, and at half of its height the
/// network forks: a second line goes on for a tenth of the heights.
pub struct History {
    headers: Vec<Header>,
    /// Of the line that goes on, by chain.
    tips: Vec<Header>,
    /// Of the other one, by chain.
    fork_tips: Vec<Header>,
}

impl History {
    fn new(heights: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(SEED);
        let mut headers: Vec<Header> = NETWORK.chain_ids().map(genesis).collect();
        let mut tips = headers.clone();
        let mut fork_tips = Vec::new();
        let fork = heights / 2..heights / 2 + heights / 10;
        for height in 1..=heights {
            if height == fork.start {
                fork_tips.clone_from(&tips);
            }
            if fork.contains(&height) {
                fork_tips = layer(&fork_tips, &mut random);
                headers.extend(&fork_tips);
            }
            tips = layer(&tips, &mut random);
            headers.extend(&tips);
            if height.is_multiple_of(SIBLING_EVERY) {
                headers.push(sibling(tips[CHAIN.index()].view(), random.u64(..)));
            }
        }
        Self { headers, tips, fork_tips }
    }

    /// The first `count` headers, as they stand in a dump: parents before children, chains mixed.
    #[must_use]
    pub fn first(&self, count: usize) -> &[Header] {
        &self.headers[..count]
    }

    /// The headers of [`CHAIN`].
    pub fn chain(&self) -> impl Iterator<Item = &Header> {
        self.headers.iter().filter(|header| header.view().chain() == CHAIN)
    }

    /// The tip of [`CHAIN`].
    #[must_use]
    pub fn tip(&self) -> BlockHash {
        self.tips[CHAIN.index()].view().hash()
    }

    /// The tip of the fork of [`CHAIN`].
    #[must_use]
    pub fn fork_tip(&self) -> BlockHash {
        self.fork_tips[CHAIN.index()].view().hash()
    }
}

/// The blocks right above `below`, which has one of each chain.
fn layer(below: &[Header], random: &mut fastrand::Rng) -> Vec<Header> {
    let block = |parent: &Header| {
        let mut neighbours = parent.view().adjacents().iter().map(|(chain, _)| chain.index());
        let adjacents = [(); 3].map(|()| neighbours.next().expect("three neighbours"));
        braided(parent.view(), adjacents.map(|chain| below[chain].view()), random.u64(..))
    };
    below.iter().map(block).collect()
}

fn timed<T>(what: &str, make: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let fixture = make();
    eprintln!("benches: {what} made in {:.1} s", start.elapsed().as_secs_f64());
    fixture
}
