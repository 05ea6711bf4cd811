//! One flipped bit in any file of a database.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use plait_engine::store::Store;
use plait_engine::{Engine, Header, RangeQuery};
use tempfile::TempDir;
use testkit::braid::braid_with_orphans;
use testkit::{Database, sorted};

fn all(dir: &Path) -> Result<Vec<Header>, String> {
    let reader = Engine::open_read_only(dir).map_err(|e| format!("{e:?}"))?;
    let view = reader.view();
    let mut found = Vec::new();
    for chain in reader.version().chain_ids() {
        let query = RangeQuery { limit: usize::MAX, ..RangeQuery::default() };
        let page = view.range_headers(chain, &query).map_err(|e| format!("read {e:?}"))?;
        found.extend(page.items.iter().map(plait_engine::HeaderRef::to_owned));
    }
    Ok(found)
}

fn copied(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    copy(from, to.path());
    to
}
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &to) } else { fs::copy(&path, &to).map(|_| ()).unwrap() }
    }
}

#[test]
fn explore() {
    let mut database = Database::sealing(16, 5);
    let blocks = braid_with_orphans(30, 4);
    let (first, rest) = blocks.split_at(blocks.len() / 2);
    database.add(first);
    let mut database = database.reopen();
    for some in rest.chunks(60) {
        database.add(some);
    }
    let dir = copied(database.path());
    drop(database);
    let whole = sorted(&blocks);
    assert!(all(dir.path()).unwrap() == whole);
    let files: Vec<PathBuf> =
        fs::read_dir(Store::path(dir.path())).unwrap().map(|e| e.unwrap().path()).collect();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(&file).unwrap();
        let mut kinds: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        if name.ends_with("sst") || name.ends_with("blob") {
            continue;
        }
        let step = (bytes.len() / 250).max(1);
        eprintln!("-- {name} {}", bytes.len());
        for at in (0..bytes.len().min(80)).chain((80..bytes.len()).step_by(step)) {
            let mut other = bytes.clone();
            other[at] ^= 1 << (at % 8);
            fs::write(&file, other).unwrap();
            let what = match all(dir.path()) {
                Ok(found) if found == whole => "same".to_owned(),
                Ok(found) => format!(
                    "fewer, {}",
                    if found.iter().all(|b| whole.contains(b)) { "subset" } else { "WRONG" }
                ),
                Err(error) => error.chars().filter(|c| !c.is_ascii_digit()).take(220).collect(),
            };
            let entry = kinds.entry(what).or_insert((0, at));
            entry.0 += 1;
        }
        fs::write(&file, &bytes).unwrap();
        eprintln!("== {name} {} bytes", bytes.len());
        for (what, (count, at)) in kinds {
            eprintln!("   {count} first at {at}: {what}");
        }
    }
}
