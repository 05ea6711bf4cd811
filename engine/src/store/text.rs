//! Parses RocksDB's error messages, the only form in which it reports errors.
//!
//! Its code and subcode appear only as the first words, so an error number is recognized by the text of
//! `strerror`, which RocksDB puts last:
//!
//! ```text
//! IO error: No space left on device: While appending to file: db/000012.log: No space left on device
//! └ code ─┘ └ subcode, not always ─┘ └ what it was doing ───┘ └ path ─────┘ └ strerror ───────────┘
//! ```
//!
//! A test in `tests/it/causes.rs` pins the version of RocksDB that these texts belong to.

use std::path::PathBuf;

use crate::cause::{Cause, Fault};

/// Texts of `strerror`, and their error numbers.
const NUMBERS: [(&str, i32); 12] = [
    ("No space left on device", libc::ENOSPC),
    ("Disk quota exceeded", libc::EDQUOT),
    ("File too large", libc::EFBIG),
    ("Permission denied", libc::EACCES),
    ("Operation not permitted", libc::EPERM),
    ("Read-only file system", libc::EROFS),
    ("Input/output error", libc::EIO),
    ("Too many open files in system", libc::ENFILE),
    ("Too many open files", libc::EMFILE),
    ("Cannot allocate memory", libc::ENOMEM),
    ("No such file or directory", libc::ENOENT),
    ("Stale file handle", libc::ESTALE),
];

/// An error of RocksDB, in parts.
pub(super) struct RocksText<'a> {
    /// The first line: what follows are files and numbers for those who wrote it.
    line: &'a str,
}

impl<'a> RocksText<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { line: text.lines().next().unwrap_or_default().trim_end() }
    }

    /// The text of `strerror` in it, with its number, and what stands before it.
    fn number(&self) -> Option<(&'a str, &'static str, i32)> {
        let found = NUMBERS.iter().filter_map(|(text, number)| {
            let at = self.line.rfind(text)?;
            Some((self.line.get(..at)?, *text, *number))
        });
        found.max_by_key(|(before, ..)| before.len())
    }

    fn is_corruption(&self) -> bool {
        self.line.starts_with("Corruption")
    }

    /// Whether another process, or this one, has the lock.
    pub(super) fn is_lock(&self) -> bool {
        self.line.contains("lock hold by current process") || self.line.contains("While lock file")
    }

    /// What kind of trouble it is, and with which file.
    pub(super) fn fault(&self) -> Fault {
        let number = self.number();
        let path = number.and_then(|(before, ..)| path(before)).map(PathBuf::from);
        let cause = match number {
            _ if self.is_lock() => Cause::Locked,
            Some((_, _, number)) => Cause::of_number(number),
            None if self.is_corruption() => Cause::Damage,
            None => Cause::Other,
        };
        Fault { cause, path }
    }

    /// The same in a line for people: what happened to which file, without what RocksDB was doing.
    pub(super) fn brief(&self) -> String {
        if let Some((before, text, _)) = self.number() {
            return path(before).map_or_else(|| text.to_owned(), |path| format!("{path}: {text}"));
        }
        match self.line.split_once("Corruption: ") {
            Some((_, damage)) => format!("the database is damaged: {damage}"),
            None => format!("RocksDB: {}", self.line),
        }
    }
}

/// The path that ends a text such as `While appending to file: PATH: `.
fn path(before: &str) -> Option<&str> {
    let before = before.strip_suffix(": ")?;
    // What RocksDB was doing has no colon in it.
    let (_, path) = before.rsplit_once(": ")?;
    (path.contains('/') || path.contains('.')).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_rocksdb_are_told_apart_by_their_error_numbers() {
        let full = "IO error: No space left on device: While appending to file: \
                    /db/0/rocksDb/000012.log: No space left on device";
        let cases = [
            (full, Cause::DiskFull, "/db/0/rocksDb/000012.log: No space left on device"),
            (
                "IO error: While open a file for appending: db/000009.sst: Read-only file system",
                Cause::ReadOnly,
                "db/000009.sst: Read-only file system",
            ),
            (
                "IO error: While opening a file for sequentially reading: db/CURRENT: Permission \
                 denied",
                Cause::Permission,
                "db/CURRENT: Permission denied",
            ),
            (
                "IO error: While open a file for random read: db/000004.sst: Too many open files",
                Cause::OpenFiles,
                "db/000004.sst: Too many open files",
            ),
            (
                "IO error: While fdatasync: db/000004.log: Input/output error",
                Cause::Device,
                "db/000004.log: Input/output error",
            ),
            (
                "IO error: While lock file: db/LOCK: Resource temporarily unavailable",
                Cause::Locked,
                "RocksDB: IO error: While lock file: db/LOCK: Resource temporarily unavailable",
            ),
            (
                "Corruption: block checksum mismatch: stored = 1, computed = 2  in db/000004.sst \
                 offset 0 size 9",
                Cause::Damage,
                "the database is damaged: block checksum mismatch: stored = 1, computed = 2  in \
                 db/000004.sst offset 0 size 9",
            ),
            ("Invalid argument: x\nVersionEdit {\n", Cause::Other, "RocksDB: Invalid argument: x"),
        ];
        for (text, cause, brief) in cases {
            let text = RocksText::new(text);
            assert_eq!((text.fault().cause, text.brief()), (cause, brief.to_owned()));
        }
        let path = Some(PathBuf::from("/db/0/rocksDb/000012.log"));
        assert_eq!(RocksText::new(full).fault(), Fault { cause: Cause::DiskFull, path });
    }
}
