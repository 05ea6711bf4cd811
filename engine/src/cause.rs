//! The kind of an error, the same for every part of the program that reports it.
//!
//! Enters: an error. Leaves: a [`Cause`], for which the command line has one piece of advice, and the path
//! that it concerns; or its chain of causes in one line.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// A kind of trouble. Each needs something else to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There is no room on the file system.
    DiskFull,
    /// This user may not take more of the file system.
    Quota,
    /// This process may not write longer files.
    FileSize,
    /// This user may not do that to the file or folder.
    Permission,
    /// The file system takes no writes.
    ReadOnly,
    /// The disk, or what is between, fails.
    Device,
    /// This process, or the system, has as many files open as it may.
    OpenFiles,
    /// There is too little memory.
    Memory,
    /// What is on the disk is not what was written.
    Damage,
    /// Another process has it.
    Locked,
    /// A file or folder is not there.
    Missing,
    /// It was made by a release with another format.
    Format,
    /// Anything else: the error itself has to say what to do.
    Other,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::DiskFull,
        Self::Quota,
        Self::FileSize,
        Self::Permission,
        Self::ReadOnly,
        Self::Device,
        Self::OpenFiles,
        Self::Memory,
        Self::Damage,
        Self::Locked,
        Self::Missing,
        Self::Format,
        Self::Other,
    ];

    /// A name for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DiskFull => "disk-full",
            Self::Quota => "quota",
            Self::FileSize => "file-size",
            Self::Permission => "permission",
            Self::ReadOnly => "read-only",
            Self::Device => "device",
            Self::OpenFiles => "open-files",
            Self::Memory => "memory",
            Self::Damage => "damage",
            Self::Locked => "locked",
            Self::Missing => "missing",
            Self::Format => "format",
            Self::Other => "other",
        }
    }

    /// Whether it may say something of the data that was to be read. What else is in the way, such as too few
    /// open files, is no finding: the data may be whole.
    #[must_use]
    pub const fn is_of_data(self) -> bool {
        matches!(self, Self::Damage | Self::Missing | Self::Format | Self::Other)
    }

    /// The cause of an error of the system.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Self::of_number(number),
            None => match error.kind() {
                io::ErrorKind::StorageFull => Self::DiskFull,
                io::ErrorKind::QuotaExceeded => Self::Quota,
                io::ErrorKind::FileTooLarge => Self::FileSize,
                io::ErrorKind::PermissionDenied => Self::Permission,
                io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
                io::ErrorKind::OutOfMemory => Self::Memory,
                io::ErrorKind::NotFound => Self::Missing,
                _ => Self::Other,
            },
        }
    }

    pub(crate) const fn of_number(number: i32) -> Self {
        match number {
            libc::ENOSPC => Self::DiskFull,
            libc::EDQUOT => Self::Quota,
            libc::EFBIG => Self::FileSize,
            libc::EACCES | libc::EPERM => Self::Permission,
            libc::EROFS => Self::ReadOnly,
            libc::EIO | libc::ENODEV | libc::ENXIO | libc::ESTALE | libc::EREMOTEIO => Self::Device,
            libc::EMFILE | libc::ENFILE => Self::OpenFiles,
            libc::ENOMEM => Self::Memory,
            libc::ENOENT => Self::Missing,
            _ => Self::Other,
        }
    }
}

/// The cause of an error, and the file or folder that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of trouble it is.
    pub cause: Cause,
    /// The file or folder, where that is known.
    pub path: Option<PathBuf>,
}

impl Fault {
    /// None of the causes that are known by themselves.
    pub const OTHER: Self = Self { cause: Cause::Other, path: None };

    /// An error of the system about a file or folder.
    #[must_use]
    pub fn io(path: &Path, error: &io::Error) -> Self {
        Self::new(Cause::of(error), path)
    }

    /// A cause, of a file or folder.
    #[must_use]
    pub fn new(cause: Cause, path: &Path) -> Self {
        Self { cause, path: Some(path.to_owned()) }
    }
}

/// An error that knows its cause.
pub trait Classified: Error {
    /// The cause, and what it is about.
    fn fault(&self) -> Fault;
}

impl Classified for io::Error {
    fn fault(&self) -> Fault {
        Fault { cause: Cause::of(self), path: None }
    }
}

/// An error and what caused it, each said once: many errors have the text of their cause in their own.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text += ": ";
            text += &cause_text;
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_are_told_apart_by_their_numbers_or_their_kinds() {
        for (number, cause) in [
            (libc::ENOSPC, Cause::DiskFull),
            (libc::EDQUOT, Cause::Quota),
            (libc::EFBIG, Cause::FileSize),
            (libc::EACCES, Cause::Permission),
            (libc::EPERM, Cause::Permission),
            (libc::EROFS, Cause::ReadOnly),
            (libc::EIO, Cause::Device),
            (libc::EMFILE, Cause::OpenFiles),
            (libc::ENOMEM, Cause::Memory),
            (libc::ENOENT, Cause::Missing),
            (libc::EINVAL, Cause::Other),
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(Cause::of(&error), cause, "{error}");
            let again = io::Error::new(error.kind(), "with other words");
            if !matches!(number, libc::EIO | libc::EMFILE | libc::EINVAL) {
                assert_eq!(Cause::of(&again), cause, "{error}");
            }
        }
    }

    #[test]
    fn a_chain_says_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{path}: {source}")]
        struct Named {
            path: &'static str,
            source: io::Error,
        }
        #[derive(Debug, thiserror::Error)]
        #[error("cannot begin")]
        struct Begin(#[from] Named);
        let source = io::Error::from_raw_os_error(libc::ENOENT);
        let error = Begin::from(Named { path: "dump", source });
        assert_eq!(chain(&error), "cannot begin: dump: No such file or directory (os error 2)");
    }
}
