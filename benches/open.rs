//! How long it takes to open a database that is not in memory, with more and more headers in it.
#![expect(clippy::expect_used, reason = "a bench that goes wrong ends the run")]

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use fixtures::{CHAIN, Fixtures, Row, Rows, Shape, data, median};
use plait_engine::{Engine, RangeQuery};
use rustix::fs::{Advice, fadvise};

fn main() {
    let shape = Shape::from_env();
    let fixtures = Fixtures::new(shape);
    let mut rows = Rows::new("open");
    // Nothing but what is sealed gets more from one to the next.
    for part in [50, 5, 1] {
        measure(&mut rows, "sealed", &data::plain(shape.braided / part), shape);
    }
    measure(&mut rows, "cold", &fixtures.data().database(), shape);
}

fn measure(rows: &mut Rows, what: &str, folder: &Path, shape: Shape) {
    let (headers, loose) = count(folder);
    let rounds = if shape.is_quick() { 3 } else { 7 };
    let times: Vec<f64> = (0..rounds).map(|_| open(folder)).collect();
    let name = format!("open/{what}/headers={headers}");
    let note = format!("{}, {loose} blocks not sealed", size(folder));
    rows.push(Row::new(name, median(times), "s").note(note));
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

/// Headers, and those of them that are not sealed.
fn count(folder: &Path) -> (u64, u64) {
    let reader = Engine::open_read_only(folder).expect("the database opens");
    let view = reader.view();
    let chains = || reader.version().chain_ids();
    let headers: u64 = chains().map(|chain| view.block_count(chain)).sum();
    let sealed: u64 = chains().map(|chain| view.sealed_count(chain)).sum();
    (headers, headers - sealed)
}
