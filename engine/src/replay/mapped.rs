//! A file as memory: our one `unsafe` outside of vector code.

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

/// A part of a file, mapped to read.
pub(super) struct Mapped(Mmap);

impl Mapped {
    /// Maps `len` bytes of `file` from `offset` on, a multiple of the size of a page, and reads them
    /// ahead: page by page as they are touched would take longer.
    ///
    /// # Safety
    ///
    /// Sound as long as nobody shortens or alters the file while it is mapped. That cannot be had
    /// from the operating system, so it is asked of the operator, as every program that maps files
    /// does: a dump is not written to while it is replayed. A file that is altered makes a wrong
    /// header, which verification refuses; one that is shortened ends the process by `SIGBUS`,
    /// which the store outlives as it does any crash.
    ///
    /// # Errors
    ///
    /// What the system says, for example for an empty file.
    pub(super) fn new(file: &File, offset: u64, len: usize) -> io::Result<Self> {
        let mut options = MmapOptions::new();
        options.offset(offset).len(len).populate();
        #[expect(unsafe_code, reason = "mapping a file is unsafe by nature; see above")]
        // SAFETY: the contract above; the bytes are only ever read, and any bytes are valid.
        let map = unsafe { options.map(file) }?;
        Ok(Self(map))
    }

    /// The bytes.
    #[must_use]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}
