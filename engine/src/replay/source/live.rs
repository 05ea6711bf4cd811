//! Inputs that may stay open while nothing comes: pipes, sockets and terminals.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Time that records wait for more to come, at most.
const IDLE: Duration = Duration::from_millis(100);

/// An input whose reads fail with [`ErrorKind::WouldBlock`] from time to time while there is nothing
/// to read, instead of waiting for ever. Nothing is lost: the next read goes on.
pub(super) struct Live {
    file: File,
    /// When a read failed so last.
    failed: Instant,
}

impl Live {
    pub(super) fn new(file: File) -> Self {
        Self { file, failed: Instant::now() }
    }

    /// Standard input, without the buffer of the library: one cannot see whether that is empty.
    pub(super) fn stdin() -> io::Result<Self> {
        Ok(Self::new(io::stdin().as_fd().try_clone_to_owned()?.into()))
    }

    /// Whether a read does not wait, or not any more within this time. It does not at the end either.
    fn is_ready(&self, within: Duration) -> io::Result<bool> {
        let within = Timespec { tv_sec: 0, tv_nsec: within.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
        Ok(poll(&mut fds, Some(&within))? > 0)
    }
}

impl Read for Live {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_ready(Duration::ZERO)? {
            // However often little comes: what came before waits no longer.
            let left = IDLE.saturating_sub(self.failed.elapsed());
            if !self.is_ready(left)? {
                self.failed = Instant::now();
                return Err(ErrorKind::WouldBlock.into());
            }
        }
        self.file.read(buffer)
    }
}

/// Waits until something comes, for readers to which everything else is a failure.
pub(super) struct Patient<R>(pub(super) R);

impl<R: Read> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::super::{Place, Reading, stream};
    use super::*;
    use crate::generate::{History, Plan};
    use crate::header::{RawHeader, text};
    use crate::store::MarkedAt;
    use crate::types::ChainwebVersion;

    const NETWORK: ChainwebVersion = ChainwebVersion::Development;

    /// Fails before every byte.
    struct Drops {
        read: Cursor<Vec<u8>>,
        is_due: bool,
    }

    impl Read for Drops {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.is_due = !self.is_due;
            if self.is_due {
                return Err(ErrorKind::WouldBlock.into());
            }
            (&mut self.read).take(1).read(buffer)
        }
    }

    /// The records with their places, the place behind all, and the number of chunks.
    fn read(input: Box<dyn Read + Send>) -> (Vec<(Place, RawHeader)>, MarkedAt, usize) {
        let mut source = stream("x".to_owned(), input, None, Reading::default()).unwrap();
        let (mut records, mut end, mut chunks) = (Vec::new(), MarkedAt::default(), 0);
        while let Some(chunk) = source.next(1000).unwrap() {
            assert_eq!(chunk.len(), chunk.records().len(), "{:?}", chunk.first_wrong());
            let each = chunk.records().iter().enumerate();
            records.extend(each.map(|(number, raw)| (chunk.place(number), *raw)));
            (end, chunks) = (chunk.end(), chunks + 1);
        }
        (records, end, chunks)
    }

    fn inputs() -> [Vec<u8>; 4] {
        let headers: Vec<_> = History::new(&Plan::new(NETWORK, 3)).unwrap().collect();
        let (mut binary, mut lines, mut array) = (Vec::new(), Vec::new(), b"[".to_vec());
        for header in &headers {
            binary.extend_from_slice(header.view().as_bytes());
            text::push_object(&mut lines, header.view(), NETWORK);
            lines.push(b'\n');
            text::push_string(&mut array, header.view());
            array.push(b',');
        }
        // A chunk ends with its last record: it lacks a line feed that arrives later.
        lines.pop();
        array.pop();
        array.push(b']');
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&binary).unwrap();
        [binary, lines, array, encoder.finish().unwrap()]
    }

    #[test]
    fn drops_are_read_as_what_comes_at_once() {
        for (bytes, chunks) in inputs().into_iter().zip([60, 60, 1, 1]) {
            let at_once = read(Box::new(Cursor::new(bytes.clone())));
            let drops = read(Box::new(Drops { read: Cursor::new(bytes), is_due: false }));
            assert_eq!((at_once.0.len(), at_once.2), (60, 1));
            assert!((drops.0, drops.1) == (at_once.0, at_once.1));
            assert_eq!(drops.2, chunks);
        }
    }

    #[test]
    fn what_is_cut_off_is_told_at_the_end_alone() {
        let [binary, ..] = inputs();
        let len = binary.len() - 1;
        let input = Drops { read: Cursor::new(binary[..len].to_vec()), is_due: false };
        let mut source = stream("x".to_owned(), Box::new(input), None, Reading::default()).unwrap();
        for _ in 0..59 {
            let chunk = source.next(1000).unwrap().unwrap();
            assert!(chunk.is_early() && chunk.first_wrong().is_none());
        }
        let last = source.next(1000).unwrap().unwrap();
        assert!(!last.is_early() && last.records().is_empty() && last.first_wrong().is_some());
        assert!(source.next(1000).unwrap().is_none());
    }

    #[test]
    fn a_pipe_that_is_open_does_not_wait_for_ever() {
        let (output, mut input) = io::pipe().unwrap();
        let mut live = Live::new(std::os::fd::OwnedFd::from(output).into());
        let mut buffer = [0; 8];
        let idle = |read: io::Result<usize>| read.unwrap_err().kind() == ErrorKind::WouldBlock;
        assert!(idle(live.read(&mut buffer)));
        input.write_all(b"abc").unwrap();
        assert_eq!(live.read(&mut buffer).unwrap(), 3);
        assert!(idle(live.read(&mut buffer)));
        drop(input);
        assert_eq!(live.read(&mut buffer).unwrap(), 0);
    }
}
