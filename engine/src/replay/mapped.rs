//! A file as memory: our one `unsafe` outside of vector code.

use std::fs::File;
use std::io;

use memmap2::{Advice, Mmap};

/// A file mapped to read.
pub struct Mapped(Mmap);

impl Mapped {
    /// Maps `file`.
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
    pub fn new(file: &File) -> io::Result<Self> {
        #[expect(unsafe_code, reason = "mapping a file is unsafe by nature; see above")]
        // SAFETY: the contract above; the bytes are only ever read, and any bytes are valid.
        let map = unsafe { Mmap::map(file) }?;
        // A hint only: the kernel may read ahead further than it would.
        let _ = map.advise(Advice::Sequential);
        Ok(Self(map))
    }

    /// The bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
