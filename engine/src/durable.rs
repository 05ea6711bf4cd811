//! Files and names that outlive a crash.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::failpoint::reached;

/// What names of files in the making end with.
const UNFINISHED: &str = ".tmp";

/// Writes a file in one step: whoever reads it sees the old bytes or the new ones, after a crash as
/// well. Its name is durable after [`sync`] of the folder.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(draft_name(&name));
    reached("replace/create/before");
    let written = File::create(&draft).and_then(|mut file| {
        reached("replace/write/before");
        file.write_all(bytes)?;
        reached("replace/sync/before");
        file.sync_all()?;
        reached("replace/rename/before");
        fs::rename(&draft, path)
    });
    reached("replace/rename/after");
    written.inspect_err(|_| {
        let _ = fs::remove_file(&draft);
    })
}

/// Makes a file, or the names in a folder, durable.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    reached("sync/before");
    File::open(path)?.sync_all()?;
    reached("sync/after");
    Ok(())
}

/// The name of a file in the making that is to have this name.
pub(crate) fn draft_name(name: &str) -> String {
    format!(".{name}{UNFINISHED}")
}

/// Whether a name is that of a file in the making.
pub(crate) fn is_draft(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(UNFINISHED)
}
