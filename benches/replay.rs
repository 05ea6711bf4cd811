//! A dump → a database: map, decode, verify, link, commit, sync.

use std::cell::OnceCell;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use criterion::{BatchSize, Criterion, SamplingMode};
use plait_engine::generate::{self, Plan};
use plait_engine::replay::source::{self, Reading};
use plait_engine::replay::{Admission, Replay};
use plait_engine::store::History;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{Engine, Header, Micros, RangeQuery, Reader, Records, Writer};
use tempfile::TempDir;
use testkit::block::{NETWORK, dump};

use crate::headers;

const HEADERS: usize = 100_000;

pub(crate) fn stage(criterion: &mut Criterion) {
    let input = OnceCell::new();
    let mut group = criterion.benchmark_group("replay/commit");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.throughput(headers(HEADERS));
    for level in [Level::Full, Level::Hash, Level::None] {
        let checked = OnceCell::new();
        group.bench_function(format!("level={}", level.name()), |bencher| {
            let (headers, input) = input.get_or_init(|| {
                let headers = generated();
                let input = Input::new(&headers);
                (headers, input)
            });
            checked.get_or_init(|| Database::new().replay(input, level).check(headers));
            let replay = |database: Database| database.replay(input, level);
            bencher.iter_batched(Database::new, replay, BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// The beginning of a history that is valid at every level, genesis blocks first.
fn generated() -> Vec<Header> {
    let plan = Plan { forks: 0.01, fork_depth: 50, ..Plan::new(NETWORK, HEADERS as u64 / 20) };
    let mined = generate::History::new(&plan).expect("a plan that can be followed");
    NETWORK.genesis_headers().chain(mined).take(HEADERS).collect()
}

/// A dump of the form `binary`.
struct Input {
    file: PathBuf,
    _folder: TempDir,
}

impl Input {
    fn new(headers: &[Header]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("dump.bin");
        fs::write(&file, dump(headers)).expect("the dump is written");
        Self { file, _folder: folder }
    }
}

/// A new database.
struct Database {
    writer: Writer,
    reader: Reader,
    _folder: TempDir,
}

impl Database {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let opened = Engine::open_or_create(folder.path(), Some(NETWORK), History::Full);
        let (writer, reader) = opened.expect("a new database");
        Self { writer, reader, _folder: folder }
    }

    fn replay(mut self, input: &Input, level: Level) -> Self {
        let source =
            source::open(&input.file, NETWORK, Reading::default()).expect("the dump opens");
        let (verifier, stop) =
            (Verifier::new(NETWORK, level, Micros::new(i64::MAX)), AtomicBool::new(false));
        let writer = &mut self.writer;
        let mut replay = Replay::new(writer, verifier, Admission::Genesis, false, &stop);
        replay.run(source, &mut |_| ()).expect("the dump is replayed");
        let summary = replay.finish(&mut |_| ()).expect("the dump is replayed");
        assert_eq!(summary.stored + summary.known, HEADERS as u64, "{summary:?}");
        self.writer.publish();
        self
    }

    /// It holds these headers, in order of chain and rank, and no other.
    fn check(&self, headers: &[Header]) {
        let mut expected: Vec<_> = headers.iter().map(Header::view).collect();
        expected.sort_unstable_by_key(|header| (header.chain(), header.rank()));
        let everything = RangeQuery { limit: usize::MAX, ..RangeQuery::default() };
        let chain = |chain| self.reader.view().range_headers(chain, &everything).expect("a chain");
        let stored: Vec<_> = NETWORK.chain_ids().map(|id| chain(id).items).collect();
        assert!(stored.iter().flat_map(Records::iter).eq(expected));
    }
}
