//! Opens regular files only.
//!
//! Opening a FIFO waits until somebody writes into it, which may be never; a device may have no end.
//! If a folder has another kind of file where a regular one is expected, that is damage, and must neither
//! hang a command nor block a thread of the server.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens the regular file at `path` to read it. Symbolic links are followed.
///
/// # Errors
///
/// What the system says, and [`ErrorKind::InvalidInput`] for a folder, a FIFO, a socket or a device.
pub fn open(path: &Path) -> io::Result<File> {
    // So opening a FIFO returns at once; regular files do not know the flag.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    // Opening a socket fails.
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => not_regular(),
        _ => error,
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

/// Opens the regular file at `path` to read and write it, for whoever locks it; makes it if it is not
/// there.
///
/// # Errors
///
/// As for [`open`].
pub fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let file = options.custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO | libc::EISDIR) => not_regular(),
        _ => error,
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

/// Reads a regular file of at most `bytes_max` bytes.
///
/// # Errors
///
/// As for [`open`], and [`ErrorKind::InvalidData`] if it is longer: [`ErrorKind::FileTooLarge`] is
/// about a limit of this process on what it writes.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let text = format!("the file has over {bytes_max} bytes");
        return Err(io::Error::new(ErrorKind::InvalidData, text));
    }
    Ok(bytes)
}

/// Reads a regular file of at most `bytes_max` bytes of text.
///
/// # Errors
///
/// As for [`read`], and [`ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, bytes_max)?);
    text.map_err(|_| io::Error::new(ErrorKind::InvalidData, "the file is not text"))
}

/// That there is something else where a regular file should be.
pub(crate) fn not_regular() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "not a regular file")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_regular_files_are_opened_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
        let _socket = UnixListener::bind(path("socket")).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        for name in ["file", "link"] {
            assert_eq!(read_text(&path(name), 4).unwrap(), "text");
            assert_eq!(read(&path(name), 3).unwrap_err().kind(), ErrorKind::InvalidData);
        }
        for name in ["fifo", "socket", "folder"] {
            assert_eq!(open(&path(name)).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
            let error = open_or_create(&path(name)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error}");
        }
        let device = open(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(device.kind(), ErrorKind::InvalidInput);
        assert_eq!(open(&path("none")).unwrap_err().kind(), ErrorKind::NotFound);
        drop(open_or_create(&path("none")).unwrap());
        drop(open_or_create(&path("file")).unwrap());
        assert_eq!(read_text(&path("file"), 4).unwrap(), "text");
    }
}
