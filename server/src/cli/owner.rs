//! The owner of the files of a database.
//!
//! A server usually runs as a user of its own. Files that root adds to its database belong to root, and the
//! server can neither read nor write them the next time it opens the database.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, absolute};

use rustix::process::geteuid;

/// Whether a folder belongs to this user.
pub(super) fn is_own(folder: &Path) -> bool {
    owner(folder) == Some(geteuid().as_raw())
}

/// Warns root before it writes to the database in a folder that belongs to another user.
pub(super) fn warn_root(folder: &Path) {
    if !geteuid().is_root() {
        return;
    }
    let Ok(folder) = absolute(folder) else { return };
    // The folder itself may not exist yet.
    let Some(owner) = folder.ancestors().find_map(owner).filter(|owner| *owner != 0) else {
        return;
    };
    let (folder, user) = (folder.display(), user_name(owner));
    tell!(
        "warning: {folder} belongs to user {user}, who cannot open the files that root adds to it\n\
         Run plait as that user (runuser -u {user} -- plait ...), or run afterwards: chown -R {user} {folder}"
    );
}

fn owner(folder: &Path) -> Option<u32> {
    fs::metadata(folder).ok().map(|data| data.uid())
}

/// The name of a user, or the number if there is no name.
pub(super) fn user_name(number: u32) -> String {
    let names = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = names.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    });
    found.unwrap_or_else(|| number.to_string())
}
