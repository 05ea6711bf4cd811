use std::io::Cursor;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use plait_engine::replay::source::Binary;
use plait_engine::replay::{Admission, Event, Replay, Summary};
use plait_engine::store::History;
use plait_engine::tree::Sealing;
use plait_engine::types::RunLength;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{
    Engine, Header, HeaderRef, Micros, RangeQuery, Reader, VerifiedPayload, Writer,
};
use tempfile::TempDir;

use crate::block::{NETWORK, dump};

/// The time by which blocks are verified: after all of them.
const NOW: Micros = Micros::new(i64::MAX);

/// A database of its own folder, which is removed with it.
pub struct Database {
    writer: Writer,
    reader: Reader,
    folder: TempDir,
}

impl Database {
    /// An empty one for a partial history, with short runs, so that few blocks make some.
    #[must_use]
    pub fn empty() -> Self {
        Self::sealing(4, 5)
    }

    /// An empty one for a partial history with runs of this many heights, and this many at the tip
    /// that are not sealed.
    #[must_use]
    pub fn sealing(run_length: u32, window: u64) -> Self {
        let run_length = NonZeroU32::new(run_length).expect("a run has blocks");
        let run_length = RunLength::new(run_length);
        Self::create(History::Partial, Sealing { run_length, window })
    }

    /// One for a full history: it has the genesis blocks of all chains. Its runs are those of real
    /// databases.
    #[must_use]
    pub fn with_genesis() -> Self {
        Self::create(History::Full, Sealing::default())
    }

    fn create(history: History, sealing: Sealing) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, network) = (folder.path(), Some(NETWORK));
        let opened = Engine::open_or_create_sealing(path, network, history, sealing);
        let (writer, reader) = opened.expect("a new database");
        Self { writer, reader, folder }
    }

    /// Stores `headers`, in one commit unless there are very many; any of them may begin a part of
    /// its own.
    pub fn add<'a>(&mut self, headers: impl IntoIterator<Item = &'a Header>) -> Summary {
        let input = Box::new(Cursor::new(dump(headers)));
        let source = Binary::streamed("memory".to_owned(), input);
        let (verifier, stop) = (Verifier::new(NETWORK, Level::Hash, NOW), AtomicBool::new(false));
        let mut replay = Replay::new(&mut self.writer, verifier, Admission::Any, false, &stop);
        let summary = replay.run(Box::new(source), &mut |event| {
            if let Event::Rejected(rejection) = event {
                panic!("{rejection}");
            }
        });
        self.writer.publish();
        summary.expect("the database takes it")
    }

    /// Stores what a block carries, without showing it.
    pub fn add_payload(&mut self, header: &Header, payload: VerifiedPayload) {
        let staged = self.writer.stage_payload(header.view(), payload);
        staged.and_then(|_| self.writer.commit()).expect("the database takes it");
    }

    /// Closes the database and opens it again.
    #[must_use]
    pub fn reopen(self) -> Self {
        let Self { writer, reader, folder } = self;
        drop((writer, reader));
        let (writer, reader) = Engine::open(folder.path()).expect("the database opens again");
        Self { writer, reader, folder }
    }

    /// Closes the database and keeps its folder.
    #[must_use]
    pub fn close(self) -> TempDir {
        self.folder
    }

    /// What answers queries.
    #[must_use]
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Every header of the database in `folder`, by chain and then by rank.
#[must_use]
pub fn stored(folder: &Path) -> Vec<Header> {
    let reader = Engine::open_read_only(folder).expect("a database");
    let view = reader.view();
    let query = RangeQuery { limit: usize::MAX, ..RangeQuery::default() };
    let chain = |chain| {
        let page = view.range_headers(chain, &query).expect("a chain to read");
        page.items.iter().map(HeaderRef::to_owned).collect::<Vec<_>>()
    };
    reader.version().chain_ids().flat_map(chain).collect()
}

/// `headers` by chain and then by rank, each once.
#[must_use]
pub fn sorted<'a>(headers: impl IntoIterator<Item = &'a Header>) -> Vec<Header> {
    let mut headers: Vec<Header> = headers.into_iter().copied().collect();
    headers.sort_by_key(|header| (header.view().chain(), header.view().rank()));
    headers.dedup();
    headers
}
