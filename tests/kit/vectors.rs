//! Where test data lies.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::say;

/// The folder of the public chain's test vectors: `PLAIT_VECTORS`, or `../shared/vectors` beside
/// the workspace. `None`, and a line that says so, if there is none.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("PLAIT_VECTORS") {
        let folder = PathBuf::from(named);
        assert!(folder.is_dir(), "PLAIT_VECTORS names {}, which is no folder", folder.display());
        return Some(folder);
    }
    let beside = workspace().join("../shared/vectors");
    if !beside.is_dir() {
        say("skipped: no test vectors; name their folder in PLAIT_VECTORS");
        return None;
    }
    Some(beside)
}

/// The root of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("this package lies in a workspace")
}

/// The real headers that are part of the repository, as JSON lines.
#[must_use]
pub fn user_docs() -> PathBuf {
    workspace().join("tests/vectors/mainnet01-user-docs.jsonl")
}

/// Path and content of every file below `folder`.
#[must_use]
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder to read") {
        let path = entry.expect("an entry to read").path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            let bytes = fs::read(&path).expect("a file to read");
            files.insert(path, bytes);
        }
    }
    files
}

/// Copies the files of `from` into the new folder `to`, so that they can be written.
pub fn copy(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        let path = to.join(path.strip_prefix(from).expect("a file below the folder"));
        fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a new folder");
        fs::write(path, bytes).expect("a new file");
    }
}
