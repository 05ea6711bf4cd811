//! Common names of what can be wrong with a disk, for error messages and the log.
//!
//! Enters: the cause of an error, and its text. Leaves: one line with the name first. The command line adds
//! the causes that depend on the user.

use std::path::Path;

use plait_engine::cause::{Cause, Fault};
use plait_engine::output::free_bytes;

/// Names the problem in front of `chain`, the text of the error; `None` if the text says enough.
#[must_use]
pub fn headline(fault: &Fault, chain: &str) -> Option<String> {
    let name = match (fault.cause, fault.path.as_deref()) {
        (Cause::DiskFull, Some(path)) => {
            if let Ok(free) = free_bytes(path) {
                let (folder, free) = (folder(path).display(), bytes(free));
                return Some(format!("the disk is full: {folder} has only {free} free ({chain})"));
            }
            "the disk is full"
        }
        (Cause::DiskFull, None) => "the disk is full",
        (Cause::ReadOnly, _) => "the file system is read-only",
        (Cause::Device, _) => "the disk fails",
        (Cause::Memory, _) => "too little memory",
        _ => return None,
    };
    Some(format!("{name}: {chain}"))
}

/// The nearest folder that exists: that of a file, or above one that is to be made.
#[must_use]
pub fn folder(path: &Path) -> &Path {
    let found = path.ancestors().find(|above| above.is_dir());
    found.unwrap_or(Path::new("."))
}

/// A number of bytes, rounded, with a unit.
#[must_use]
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if number < 1000 {
        return format!("{number} B");
    }
    // Tenths of the unit, rounded down.
    let (mut tenths, mut unit) = (number / 100, UNITS[0]);
    for larger in UNITS.iter().skip(1) {
        if tenths < 10_000 {
            break;
        }
        (tenths, unit) = (tenths / 1000, larger);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bytes_are_written_for_people() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (786_432, "786.4 kB"),
            (999_999, "999.9 kB"),
            (1_234_567_890, "1.2 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(number), text, "{number}");
        }
    }

    #[test]
    fn a_full_disk_is_named_with_what_is_free_there() {
        let folder = tempfile::tempdir().unwrap();
        let fault = Fault::new(Cause::DiskFull, &folder.path().join("0/rocksDb/000012.log"));
        let line = headline(&fault, "x: No space left on device").unwrap();
        let begin = format!("the disk is full: {} has only ", folder.path().display());
        assert!(line.starts_with(&begin), "{line}");
        assert!(line.ends_with(" free (x: No space left on device)"), "{line}");
        assert_eq!(headline(&Fault::OTHER, "x"), None);
    }
}
