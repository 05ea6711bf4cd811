//! Moments between two durable steps, for tests that end the process there.
//!
//! Enters: a hook, once a process, from a test. Leaves: a call of it with the name of each moment.
//!
//! - `I-1` Without a hook nothing happens: one relaxed load a moment. Nothing but a program that
//!   links this library can set one: no variable of the environment, file or argument is read.
//! - `I-2` Each of [`NAMES`] stands at one place of the code.
//!
//! What a name begins with is what is being done, what follows is which step of it the moment is
//! before or behind. Steps that many share (`replace`, `sync`, `rename`, `remove`, `copy`) have names
//! of their own, which are reached from many places.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is called at each moment, with its name.
type Hook = fn(&'static str);

/// The names of all moments.
pub const NAMES: &[&str] = &[
    // A new database, and one that is opened.
    "create/folder/after",
    "create/mark/after",
    "create/clear/after",
    "create/tables/after",
    "create/rows/after",
    "create/unmark/before",
    "create/unmark/after",
    "open/before",
    "open/after",
    "upgrade/rows/after",
    "upgrade/write/before",
    "upgrade/write/after",
    // Blocks, seals and payloads.
    "commit/write/before",
    "commit/write/after",
    "seal/write/before",
    "seal/write/after",
    "unseal/write/before",
    "unseal/write/after",
    "bulk/write/before",
    "bulk/write/after",
    "log/sync/before",
    "log/sync/after",
    "tables/flush/before",
    "tables/flush/after",
    "tidy/compact/before",
    "tidy/compact/after",
    // Rows of the indexes to where they belong, by the log and by tables.
    "index/put/before",
    "index/put/after",
    "index/folder/before",
    "index/folder/after",
    "index/table/before",
    "index/table/after",
    "index/ingest/before",
    "index/ingest/after",
    "index/compact/after",
    "index/drop-files/after",
    "index/drop-rows/after",
    "index/number/after",
    "index/merge/after",
    // Small files, names and folders.
    "replace/create/before",
    "replace/write/before",
    "replace/sync/before",
    "replace/rename/before",
    "replace/rename/after",
    "sync/before",
    "sync/after",
    "rename/before",
    "rename/after",
    "remove/before",
    "remove/after",
    "copy/create/before",
    "copy/write/before",
    "copy/sync/before",
    "copy/rename/before",
    "copy/rename/after",
    // Copies of a database that is open here, and of one that another process has.
    "checkpoint/make/before",
    "checkpoint/make/after",
    "checkpoint/log/after",
    "link/folder/after",
    "link/log/after",
    "link/table/after",
    "link/list/after",
    "link/current/after",
    "link/scratch/after",
    "link/unlisted/after",
    "link/removed/after",
    // Backups.
    "backup/lock/after",
    "backup/draft/after",
    "backup/begin/after",
    "backup/inner/after",
    "backup/tables/after",
    "backup/sync/after",
    "backup/contents/before",
    "backup/contents/after",
    "backup/name/before",
    "backup/name/after",
    "backup/status/after",
    "backup/retain/before",
    "backup/retain/after",
    "backup/fail/before",
    "backup/fail/status",
    "backup/fail/removed",
    "backup/fail/cause",
    "backup/fail/after",
    // Restores.
    "restore/folder/after",
    "restore/mark/after",
    "restore/verify/after",
    "restore/link/before",
    "restore/link/after",
    "restore/copy/after",
    "restore/sync/after",
    "restore/name/after",
    "restore/remove/after",
    // Repairs.
    "repair/folder/after",
    "repair/link/after",
    "repair/keep/after",
    "repair/rename/before",
    "repair/rename/after",
    "repair/remove/after",
    // Archives.
    "export/folder/after",
    "export/lock/after",
    "export/drafts/after",
    "export/draft/before",
    "export/write/before",
    "export/sync/before",
    "export/rename/before",
    "export/rename/after",
    "export/files/after",
    "export/manifest/before",
    "export/manifest/after",
    "export/mark/before",
    "export/mark/cut",
    "export/mark/after",
    "export/remove/before",
    "export/remove/after",
];

static HAS_HOOK: AtomicBool = AtomicBool::new(false);

static HOOK: OnceLock<Hook> = OnceLock::new();

/// Has `hook` called at every moment from now on, on whatever thread reaches it; `false` if there is
/// one already.
pub fn set_hook(hook: Hook) -> bool {
    let is_first = HOOK.set(hook).is_ok();
    HAS_HOOK.store(true, Ordering::Release);
    is_first
}

/// That the moment with this name has come.
pub(crate) fn reached(name: &'static str) {
    if HAS_HOOK.load(Ordering::Relaxed) {
        call(name);
    }
}

#[cold]
fn call(name: &'static str) {
    if let Some(hook) = HOOK.get() {
        hook(name);
    }
}
