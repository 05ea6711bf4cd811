//! Advice for every cause of an error: one table, shared by all commands.
//!
//! Enters: an error that knows its [`Cause`], and what the command was doing. Leaves: one line that says
//! what happened to which file, and one that says what to do next. `docs/operations.md` has the table for
//! users; `tests/it/causes.rs` triggers each row with real file systems, limits and permissions.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use plait::folder;
use plait_engine::cause::{Cause, Classified, Fault, chain};
use rustix::fs::{Access, access};
use rustix::process::geteuid;

use super::owner::{is_own, user_name};

/// What an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The database of the command.
    Database,
    /// The same, of a command that verifies all of it.
    Verified,
    /// What is read into it.
    Input,
    /// An archive or a dataset.
    Archive,
    /// A backup, or the folder of them.
    Backup,
    /// A file that is written.
    Output,
    /// A configuration file.
    Settings,
}

/// What to do about an error.
#[derive(Debug)]
pub(super) struct Advice {
    fault: Fault,
    text: Cow<'static, str>,
}

impl Advice {
    /// By the cause of `error`; `otherwise` if the table has no row for it.
    pub(super) fn of(error: &impl Classified, subject: Subject, otherwise: &'static str) -> Self {
        let fault = error.fault();
        match advice(&fault, subject) {
            Some(text) => Self { fault, text: text.into() },
            None => otherwise.into(),
        }
    }

    /// What to do about a fault of the database, after a message that names it already.
    pub(super) fn for_database(fault: &Fault, otherwise: &'static str) -> Self {
        advice(fault, Subject::Database).map_or_else(|| otherwise.into(), Self::from)
    }

    /// The same advice, with `text` before it.
    pub(super) fn after(self, text: &str) -> Self {
        Self { text: format!("{text} {}", self.text).into(), ..self }
    }

    /// What happened, in one line.
    pub(super) fn headline(&self, error: &dyn Error) -> String {
        headline(&self.fault, &chain(error))
    }
}

impl From<&'static str> for Advice {
    fn from(text: &'static str) -> Self {
        Self { fault: Fault::OTHER, text: text.into() }
    }
}

impl From<String> for Advice {
    fn from(text: String) -> Self {
        Self { fault: Fault::OTHER, text: text.into() }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The table. Where it depends on what the command was doing, the row says so.
fn advice(fault: &Fault, subject: Subject) -> Option<String> {
    let text = match fault.cause {
        Cause::DiskFull => "Make room there, then run the same command again.",
        Cause::Quota => {
            "Raise the quota of this user or delete some of its files, then run the same command again."
        }
        Cause::FileSize => {
            "Raise the file size limit of this process: ulimit -f unlimited, or LimitFSIZE= of the \
             unit. Then run the same command again."
        }
        Cause::Permission => return Some(permission(fault, subject)),
        Cause::ReadOnly if subject == Subject::Database => {
            "Mount it for writing (if the system made it read-only, check the disk first), or name a \
             folder on another file system. plait serve --read-only serves it and writes nothing."
        }
        Cause::ReadOnly => {
            "Mount it for writing (if the system made it read-only, check the disk first), or name a \
             folder on another file system."
        }
        Cause::Device => {
            "The disk or its connection fails: see dmesg and smartctl. Stop writing to it, and \
             restore a backup on another disk."
        }
        Cause::OpenFiles => {
            "Raise the limit of open files: ulimit -n 65536, or LimitNOFILE= of the unit; \
             fs.file-max if the system's limit was reached."
        }
        Cause::Memory => {
            "Give this process more memory (ulimit -v, MemoryMax= of the unit), or lower \
             caches.blockBytes and caches.runBytes."
        }
        Cause::Damage => damage(subject),
        Cause::Locked => match subject {
            Subject::Database | Subject::Verified => {
                "Stop the plait serve, replay or follow that has it open, or name another folder."
            }
            Subject::Input => "Stop the node, or replay a backup of its database.",
            _ => "Wait until the other process has ended, then run the same command again.",
        },
        Cause::Missing => missing(subject),
        Cause::Format if subject == Subject::Archive => {
            "Use the release that made it, or export into another folder."
        }
        Cause::Format => "Use the release that made it, or replay its source into a new folder.",
        Cause::Other => return None,
    };
    Some(text.to_owned())
}

const fn damage(subject: Subject) -> &'static str {
    match subject {
        Subject::Archive => {
            "Download the file again from the source of the archive. Or, if you have the database, \
             delete that file and run plait export again."
        }
        Subject::Backup => {
            "Choose another backup, and check the disk: plait backup list prints all."
        }
        Subject::Input => "Take another copy of the input, and check the disk.",
        Subject::Verified | Subject::Database | Subject::Output | Subject::Settings => {
            "Check the disk, then restore a backup (plait restore latest --db DIR --to NEW), or \
             replay the source into a new folder."
        }
    }
}

const fn missing(subject: Subject) -> &'static str {
    match subject {
        Subject::Database | Subject::Verified => {
            "Restore a backup (plait restore latest --db DIR --to NEW), or replay the source into \
             a new folder."
        }
        Subject::Input => "Check the name: no such file or folder exists.",
        Subject::Archive => {
            "Name the folder with manifest.json, or make an archive: plait export --db DIR --out DIR"
        }
        Subject::Settings => "Check the name, or make one: plait config print > FILE",
        Subject::Backup | Subject::Output => "Make the folder first, or name another one.",
    }
}

/// What happened, in one line: the common name of the problem first, then the system's message.
fn headline(fault: &Fault, chain: &str) -> String {
    match (fault.cause, fault.path.as_deref()) {
        (Cause::Quota, _) => format!("the disk quota of user {} is used up: {chain}", user()),
        (Cause::Permission, Some(path)) => {
            let (culprit, verb) = culprit(path);
            format!("{} cannot be {verb} by user {}: {}", culprit.display(), user(), denial(chain))
        }
        _ => plait::headline(fault, chain).unwrap_or_else(|| chain.to_owned()),
    }
}

/// What the system says when it denies something.
fn denial(chain: &str) -> &'static str {
    if chain.contains("Operation not permitted") {
        "Operation not permitted"
    } else {
        "Permission denied"
    }
}

fn permission(fault: &Fault, subject: Subject) -> String {
    let Some(path) = fault.path.as_deref() else {
        return "Run it as a user with the permission, or grant it to this user.".to_owned();
    };
    let (culprit, _) = culprit(path);
    let user = user();
    if subject != Subject::Input {
        // A command that another user ran, such as a replay as root, leaves more than one such
        // file.
        let database = database_of(path).filter(|database| culprit.starts_with(database));
        if let Some(database) = database.filter(|database| is_own(database)) {
            return format!(
                "Another user, such as root, has run plait on this database. Make {user} the owner of \
                 all its files: chown -R {user} {}",
                database.display()
            );
        }
        let culprit = database.unwrap_or(&culprit).display();
        return format!(
            "Run it as the user who owns that path, or change its owner: chown -R {user} {culprit}"
        );
    }
    // Another program writes it, and needs it to stay its own.
    let (all, rights) =
        if culprit == path || !path.starts_with(&culprit) { ("-R ", "rX") } else { ("", "x") };
    let folder = culprit.parent().filter(|folder| folder.join("CURRENT").exists());
    let culprit = folder.unwrap_or(&culprit).display();
    format!(
        "Run it as the user who owns that path, or let this user read it: setfacl {all}-m \
         u:{user}:{rights} {culprit}; or let every user read it: chmod {all}o+{rights} {culprit}"
    )
}

/// The outermost folder above `path` that keeps this user out, or `path` itself; and what cannot be done
/// to it.
fn culprit(path: &Path) -> (PathBuf, &'static str) {
    let mut above: Vec<&Path> =
        path.ancestors().filter(|above| !above.as_os_str().is_empty()).collect();
    above.reverse();
    for part in above {
        let Ok(data) = fs::symlink_metadata(part) else { break };
        let wanted =
            if data.is_dir() { Access::READ_OK | Access::EXEC_OK } else { Access::READ_OK };
        // A folder on the way need only be searched.
        let wanted = if data.is_dir() && part != path { Access::EXEC_OK } else { wanted };
        if access(part, wanted).is_err() {
            return (part.to_owned(), "read");
        }
    }
    (folder_or_file(path), "written")
}

/// The folder of the database that has the file, if one has.
fn database_of(path: &Path) -> Option<&Path> {
    path.ancestors().find(|above| above.ends_with("0/rocksDb"))?.ancestors().nth(2)
}

/// The database that has the file; else the file, if it is there, or the folder where it cannot be made.
fn folder_or_file(path: &Path) -> PathBuf {
    if let Some(database) = database_of(path).filter(|database| database.is_dir()) {
        return database.to_owned();
    }
    if fs::symlink_metadata(path).is_ok() { path.to_owned() } else { folder(path).to_owned() }
}

/// The name of this user, or the number where there is none.
fn user() -> String {
    user_name(geteuid().as_raw())
}

/// A number with a comma after each three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().saturating_sub(at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_but_others_has_advice_for_whatever_it_is_about() {
        let subjects = [
            Subject::Database,
            Subject::Verified,
            Subject::Input,
            Subject::Archive,
            Subject::Backup,
            Subject::Output,
            Subject::Settings,
        ];
        for cause in Cause::ALL {
            for subject in subjects {
                let fault = Fault::new(cause, Path::new("/tmp"));
                let text = advice(&fault, subject);
                assert_eq!(text.is_none(), cause == Cause::Other, "{cause:?} {subject:?}");
                let text = text.unwrap_or_default();
                assert!(!text.contains("  ") && text.lines().count() <= 1, "{text:?}");
            }
        }
    }

    #[test]
    fn numbers_are_written_for_people() {
        for (number, text) in
            [(0, "0"), (786, "786"), (786_412, "786,412"), (1_000_000, "1,000,000")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
