//! Names of backups, and a folder of backups with anything in it.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use plait_engine::backup::{BackupId, Backups, Status};
use tempfile::TempDir;

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    name: &'a str,
    status: Option<&'a str>,
    known_status: Option<u8>,
    contents: Option<&'a [u8]>,
    cause: Option<&'a [u8]>,
    lock: Option<&'a [u8]>,
}

static FOLDER: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::tempdir().unwrap_or_else(|error| panic!("{error}")));

const STATUSES: [&str; 3] = ["backup-done", "backup-in-progress", "backup-failed"];

fuzz_target!(|case: Case<'_>| {
    name(case.name);
    let dir = FOLDER.path().join("backups");
    case.make(&dir).unwrap_or_else(|error| panic!("{error}"));
    let backups = Backups::new(&dir);
    let Ok(id) = "17".parse::<BackupId>() else { panic!("a name is refused") };
    let text = case.status();
    let status = backups.status(&id);
    if let Ok(status) = status {
        // Nothing is in progress, since nobody runs a job; and done is what says so.
        assert_ne!(status, Some(Status::InProgress), "{text:?}");
        let is_done = text.is_some_and(|text| text.trim() == "backup-done");
        assert_eq!(status == Some(Status::Done), is_done, "{text:?}");
    }
    if let Ok(listed) = backups.list() {
        assert!(listed.len() <= 1);
        assert!(listed.iter().all(|listed| listed.id == id
            && Some(listed.status) == status.as_ref().ok().copied().flatten()));
    }
    // Nothing in the folder is a database, so whatever the contents say, it is none.
    assert!(backups.running().is_ok_and(|running| running.is_none()));
    let _ = fs::remove_dir_all(&dir);
});

/// The slow twin: 1 to 64 characters, each one of these.
fn name(text: &str) {
    const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    let expected =
        (1..=64).contains(&text.chars().count()) && text.chars().all(|c| ALPHABET.contains(c));
    let id = text.parse::<BackupId>();
    assert_eq!(id.is_ok(), expected, "{text:?}");
    if let Ok(id) = id {
        assert_eq!((id.as_str(), id.to_string()), (text, text.to_owned()));
        assert_eq!(id.micros(), text.parse().ok());
        let folder = Path::new("/backups");
        assert_eq!(Backups::new(folder).path(&id).parent(), Some(folder), "{text} leads elsewhere");
    }
}

impl Case<'_> {
    fn status(&self) -> Option<&str> {
        let known =
            self.known_status.and_then(|number| STATUSES.get(usize::from(number) % 3).copied());
        known.or(self.status)
    }

    fn make(&self, dir: &Path) -> std::io::Result<()> {
        let own = dir.join("17");
        fs::create_dir_all(&own)?;
        let write = |path: &Path, bytes: Option<&[u8]>| {
            bytes.map_or(Ok(()), |bytes| fs::write(path, bytes))
        };
        write(&own.join("status"), self.status().map(str::as_bytes))?;
        write(&own.join("contents.json"), self.contents)?;
        write(&own.join("error"), self.cause)?;
        write(&dir.join(".lock"), self.lock)
    }
}
