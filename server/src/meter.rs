//! Counts the bytes that a server sends without answering.
//!
//! Enters: a stream of bytes. Leaves: the same stream, which fails once too many bytes came without
//! an answer.
//!
//! HTTP/1.1 lets a server send without end and without ever answering: interim responses (`100 Continue`,
//! `103 Early Hints`), or zeros or blanks in front of the size of a chunk. A client reads all of that as
//! fast as it comes, which takes a whole core until some timeout ends it, and again at the next try. So
//! every read is counted, and whenever a head or a piece of a body arrives, the count goes back to zero:
//!
//! ```text
//! read 17 ─ head ─ read 8,192 ─ piece ─ read 900 …       counts: 17, 0, 8,192, 0, 900 …
//! read 400,000 ─ read 400,000 ─ read 400,000: fails      more than a mebibyte without any answer
//! ```

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that may come without an answer: more than the HTTP client reads ahead.
const VAIN_BYTES_MAX: usize = 1 << 20;

/// Counts the bytes that came since the last piece of an answer.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<AtomicUsize>);

impl Meter {
    /// Notes that a part of an answer has arrived.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Counts `bytes` more, and returns whether the count is within the limit.
    fn allows(&self, bytes: usize) -> bool {
        self.0.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= VAIN_BYTES_MAX
    }
}

/// A connection that counts its reads.
#[derive(Debug)]
pub struct Metered<S> {
    stream: S,
    meter: Meter,
}

impl<S> Metered<S> {
    /// Gives `stream` a meter of its own.
    pub fn new(stream: S) -> Self {
        Self { stream, meter: Meter::default() }
    }

    /// Its meter.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let came = buf.filled().len().saturating_sub(before);
        if !self.meter.allows(came) {
            let text = format!("{VAIN_BYTES_MAX} bytes came without an answer");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}

impl<S: Connection> Connection for Metered<S> {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.meter())
    }
}
