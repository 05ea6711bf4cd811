use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::Activity;
use super::bare;
use super::half_closed::HalfClosed;
use crate::metrics::{Endpoint, Metrics};
use crate::response::Stamp;

/// A socket that reports what happens on it, and that closes without losing the last answer.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    activity: Arc<Activity>,
    half_closed: Arc<HalfClosed>,
    stamp: Stamp,
    metrics: Metrics,
    /// The last write waits for the client.
    is_blocked: bool,
    /// What is still to be written in place of an answer of hyper's own, and how many bytes that
    /// answer had.
    instead: Option<(Bytes, usize)>,
    is_shut: bool,
    lingers: bool,
}

impl Socket {
    /// The socket of a connection.
    pub(super) fn new(
        stream: TcpStream,
        activity: Arc<Activity>,
        half_closed: Arc<HalfClosed>,
        stamp: Stamp,
        metrics: Metrics,
    ) -> Self {
        Self {
            stream,
            activity,
            half_closed,
            stamp,
            metrics,
            is_blocked: false,
            instead: None,
            is_shut: false,
            lingers: false,
        }
    }

    /// Hands the end of the input over to hyper, unless a response is in progress.
    fn poll_end(&self) -> Poll<io::Result<()>> {
        // The reset of a client that is gone, after the first byte was sent to it.
        if let Some(error) = self.stream.take_error()? {
            return Poll::Ready(Err(error));
        }
        let is_awaited = self.activity.is_answering() || self.is_blocked;
        if is_awaited && !self.activity.is_http2() && !self.half_closed.is_starved() {
            self.half_closed.withhold();
            return Poll::Pending;
        }
        self.half_closed.hand_over();
        Poll::Ready(Ok(()))
    }

    /// Writes what stands for an answer of hyper's own, if this is one; hyper is told that all of
    /// its bytes are written once all of ours are.
    fn poll_instead(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_none() && !self.activity.is_answering() {
            let (status, bytes) = bare::replaced(bufs, &self.stamp)?;
            self.metrics.counters().request(Endpoint::Other, status, 0, Duration::ZERO);
            self.instead = Some((bytes.into(), bufs.iter().map(|buf| buf.len()).sum()));
        }
        let (bytes, len) = self.instead.as_mut()?;
        while !bytes.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(written)) => bytes.advance(written),
                other => return Some(other),
            }
        }
        let len = *len;
        self.instead = None;
        Some(Poll::Ready(Ok(len)))
    }

    fn report(&mut self, written: &Poll<io::Result<usize>>) {
        self.is_blocked = written.is_pending();
        match written {
            Poll::Ready(Ok(bytes)) => self.activity.wrote(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.activity.block(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.half_closed.has_ended() {
            return self.poll_end();
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.read();
        } else if matches!(polled, Poll::Ready(Ok(()))) && buf.remaining() > 0 {
            self.half_closed.end();
            return self.poll_end();
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match self.poll_instead(cx, &[IoSlice::new(buf)]) {
            Some(polled) => polled,
            None => Pin::new(&mut self.stream).poll_write(cx, buf),
        };
        self.report(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match self.poll_instead(cx, bufs) {
            Some(polled) => polled,
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        };
        self.report(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes after it has written everything.
        if !self.activity.is_answering() && self.half_closed.hand_over() {
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Shuts the socket down for writing, then reads what the client still sends until it closes.
    ///
    /// A socket that is closed with unread bytes is reset, and a reset makes the client's system
    /// throw away what it has not read: the 413 to a body that is still on its way, say.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.is_shut = true;
            self.lingers = self.activity.close();
        }
        if !self.lingers {
            return Poll::Ready(Ok(()));
        }
        let mut sink = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut sink);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => self.activity.read(),
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.activity.must_reset()
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!("a cut stream may look whole to its client: {error}");
        }
    }
}
