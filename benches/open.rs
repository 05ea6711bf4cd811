//! How long it takes to open a database that is not in memory, with more and more headers in it.
#![expect(clippy::expect_used, reason = "a bench that goes wrong ends the run")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fixtures::{CHAIN, Fixtures, Row, Rows, Shape, data, median};
use plait_engine::{Engine, RangeQuery};
use rustix::fs::{Advice, fadvise};

fn main() {
    let shape = Shape::from_env();
    let fixtures = Fixtures::new(shape);
    let mut rows = Rows::new("open");
    let mut sizes: Vec<PathBuf> =
        [50, 10].map(|part| data::plain(shape.braided / part)).into_iter().collect();
    sizes.push(fixtures.data().database());
    for folder in sizes {
        let headers = count(&folder);
        let times: Vec<f64> =
            (0..if shape.is_quick() { 3 } else { 7 }).map(|_| open(&folder)).collect();
        let name = format!("open/cold/headers={headers}");
        rows.push(Row::new(name, median(times), "s").note(size(&folder)));
    }
}

/// Opens it as `plait serve` does and reads one header; nothing of it is in the system's memory.
fn open(folder: &Path) -> f64 {
    forget(folder);
    let start = Instant::now();
    let (_writer, reader) = Engine::open(folder).expect("the database opens");
    let query = RangeQuery { limit: 1, ..RangeQuery::default() };
    let page = reader.view().range_headers(CHAIN, &query).expect("a page");
    let time = start.elapsed();
    assert_eq!(page.items.len(), 1);
    time.as_secs_f64()
}

/// Has the system drop what it holds of the files.
fn forget(folder: &Path) {
    for (path, _) in data::files(folder) {
        let file = File::open(path).expect("a file to read");
        // What is not on disk yet cannot be dropped.
        file.sync_all().expect("the disk takes it");
        fadvise(&file, 0, None, Advice::DontNeed).expect("the system takes advice");
    }
}

fn size(folder: &Path) -> String {
    let bytes: u64 = data::files(folder).iter().map(|(_, bytes)| bytes).sum();
    format!("{} MB on disk", bytes / 1_000_000)
}

fn count(folder: &Path) -> u64 {
    let reader = Engine::open_read_only(folder).expect("the database opens");
    let view = reader.view();
    reader.version().chain_ids().map(|chain| view.block_count(chain)).sum()
}
