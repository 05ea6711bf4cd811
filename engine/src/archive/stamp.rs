use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, UNIX_EPOCH};

/// More than a step of any file system's clock.
const CLOCK_STEP: Duration = Duration::from_millis(100);

/// How a file looked when its bytes were compared with its checksum.
///
/// Whatever replaces a file, or writes into it, changes at least one of these: another file under its name
/// has another inode number, and the time of change is set by the system alone. Damage by the disk
/// changes none of them, and is for `plait verify` to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    inode: u64,
    /// Seconds and nanoseconds of the last change of its bytes, and of anything about it.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(data: &Metadata) -> Self {
        Self {
            bytes: data.len(),
            inode: data.ino(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }

    /// Whether another change would show: the clock of a file system goes in steps of some milliseconds, so
    /// that two changes in one step have one time.
    pub(super) fn is_settled(&self) -> bool {
        let (seconds, nanos) = self.changed;
        let changed = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok());
        let changed = changed
            .and_then(|(seconds, nanos)| UNIX_EPOCH.checked_add(Duration::new(seconds, nanos)));
        // A time in the future is that of another clock.
        changed.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > CLOCK_STEP)
    }

    /// Adds a line for the file with this name.
    pub(super) fn push(&self, name: &str, text: &mut String) {
        let Self { bytes, inode, modified, changed } = self;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name} {bytes} {inode} {} {} {} {}",
            modified.0, modified.1, changed.0, changed.1
        );
    }

    /// The stamps of these lines by name. A line that is none says nothing.
    pub(super) fn read<'a>(lines: impl Iterator<Item = &'a str>) -> HashMap<String, Self> {
        lines.filter_map(Self::line).collect()
    }

    fn line(line: &str) -> Option<(String, Self)> {
        let mut words = line.split(' ');
        let name = words.next()?.to_owned();
        let (bytes, inode) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let mut time = || Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?));
        let (modified, changed) = (time()?, time()?);
        Some((name, Self { bytes, inode, modified, changed }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written_and_changes_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let stamp = Stamp::of(&path.metadata().unwrap());
        let mut text = String::new();
        stamp.push("file", &mut text);
        assert_eq!(Stamp::read(text.lines()), HashMap::from([("file".to_owned(), stamp)]));
        // The same bytes, length and time under the same name.
        let other = folder.path().join("other");
        std::fs::write(&other, "one").unwrap();
        let time = path.metadata().unwrap().modified().unwrap();
        std::fs::File::options().write(true).open(&other).unwrap().set_modified(time).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_ne!(Stamp::of(&path.metadata().unwrap()), stamp);
        for line in ["", "file", "file 1 2 3 4 5", "file 1 2 3 4 5 x", "file -1 2 3 4 5 6"] {
            assert!(Stamp::read(line.lines()).is_empty(), "{line}");
        }
    }
}
