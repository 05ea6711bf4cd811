use std::collections::BTreeMap;
use std::io::Cursor;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicBool;
use std::sync::{LazyLock, Mutex, PoisonError};

use plait_engine::generate::{History as Generated, Plan};
use plait_engine::replay::source::{Binary, Source};
use plait_engine::replay::{Admission, Event, Replay, Summary};
use plait_engine::store::History;
use plait_engine::tree::Sealing;
use plait_engine::types::RunLength;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{ChainwebVersion, Engine, Header, Micros, Writer};
use tempfile::TempDir;
use testkit::block::dump;
use testkit::stored;

/// The network of the small history.
const NETWORK: ChainwebVersion = ChainwebVersion::Development;

/// Heights of the history, and of those the ones that databases begin with.
const HEIGHTS: u64 = 16;
const HELD: u64 = 12;

/// The blocks of a small history, parents first.
static HEADERS: LazyLock<Vec<Header>> = LazyLock::new(|| {
    let plan = Plan { forks: 0.2, fork_depth: 4, ..Plan::new(NETWORK, HEIGHTS) };
    Generated::new(&plan).unwrap_or_else(|error| panic!("{error}")).collect()
});

/// Databases that nothing was added to, by how they verify.
static IDLE: Mutex<BTreeMap<(Level, bool), [Way; 2]>> = Mutex::new(BTreeMap::new());

/// A database, and whether it takes blocks in order from the first record on.
struct Way {
    writer: Writer,
    folder: TempDir,
    in_order: bool,
}

/// What is said of an input.
#[derive(Debug, PartialEq)]
struct Told {
    summary: Summary,
    rejected: Vec<String>,
    error: Option<String>,
}

/// The blocks of the history that the databases of [`replay_both`] begin with a part of.
#[must_use]
pub fn history() -> &'static [Header] {
    &HEADERS
}

/// Replays an input into two equal databases with a small history: in order from its first record on,
/// and one by one; with `partial` any block may begin a part.
///
/// # Panics
///
/// If one says or stores something else than the other.
pub fn replay_both(level: Level, partial: bool, source: &dyn Fn() -> Option<Box<dyn Source>>) {
    let idle = || IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let ways = idle().remove(&(level, partial));
    let mut ways =
        ways.unwrap_or_else(|| [true, false].map(|in_order| Way::new(level, partial, in_order)));
    let told = ways.each_mut().map(|way| way.replay(level, partial, source));
    let [Some(in_order), Some(one_by_one)] = &told else {
        idle().insert((level, partial), ways);
        return;
    };
    assert_eq!(in_order, one_by_one, "in order and one by one");
    let Summary { stored: new, waiting, payloads, .. } = in_order.summary;
    if new + waiting + payloads == 0 {
        idle().insert((level, partial), ways);
        return;
    }
    let [in_order, one_by_one] = ways.map(|Way { writer, folder, .. }| {
        drop(writer);
        stored(folder.path())
    });
    assert!(in_order == one_by_one, "other blocks in order than one by one");
}

impl Way {
    fn new(level: Level, partial: bool, in_order: bool) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let history = if partial { History::Partial } else { History::Full };
        let sealing =
            Sealing { run_length: RunLength::new(NonZeroU32::MIN.saturating_add(3)), window: 5 };
        let opened = Engine::open_or_create_sealing(folder.path(), Some(NETWORK), history, sealing);
        let (writer, _) = opened.unwrap_or_else(|error| panic!("{error}"));
        let mut way = Self { writer, folder, in_order };
        let held: Vec<Header> = history_below(HELD).collect();
        let source = || {
            let input = Box::new(Cursor::new(dump(&held)));
            Some(Box::new(Binary::streamed("history".to_owned(), input)) as Box<dyn Source>)
        };
        let told = way.replay(level, partial, &source);
        assert!(told.is_some_and(|told| told.rejected.is_empty()), "a true history");
        way
    }

    fn replay(
        &mut self,
        level: Level,
        partial: bool,
        source: &dyn Fn() -> Option<Box<dyn Source>>,
    ) -> Option<Told> {
        let source = source()?;
        let verifier = Verifier::new(NETWORK, level, Micros::new(i64::MAX));
        let admission = if partial { Admission::Any } else { Admission::Genesis };
        let (stop, mut rejected) = (AtomicBool::new(false), Vec::new());
        let from = if self.in_order { 0 } else { u64::MAX };
        let mut replay = Replay::new(&mut self.writer, verifier, admission, true, &stop)
            .ordered_from(from)
            .committing(64);
        let mut tell = |event: Event<'_>| {
            if let Event::Rejected(rejection) | Event::Waiting(rejection) = event {
                rejected.push(rejection.to_string());
            }
        };
        let mut result = replay.run(source, &mut tell).map(|_| ());
        let Summary { stored, waiting, .. } = replay.summary();
        if result.is_ok() && stored + waiting > 0 {
            result = replay.finish(&mut tell).map(|_| ());
        }
        let (summary, error) = (replay.summary(), result.err().map(|error| error.to_string()));
        Some(Told { summary, rejected, error })
    }
}

fn history_below(height: u64) -> impl Iterator<Item = Header> {
    HEADERS.iter().filter(move |header| header.view().height().get() <= height).copied()
}
