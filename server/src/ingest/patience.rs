use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::socket::Stream;
use crate::clock::after;

/// How long what a client still sends is read and thrown away once all is said.
const LINGER_TIME: Duration = Duration::from_secs(5);

/// A connection that breaks if the client takes nothing of what is written for too long, and that
/// closes without losing what was written last.
#[derive(Debug)]
pub(super) struct Patient {
    stream: Stream,
    time: Duration,
    /// Runs while the client is waited for.
    waits: Option<Pin<Box<Sleep>>>,
    /// Runs once nothing more is written.
    lingers: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    pub(super) const fn new(stream: Stream, time: Duration) -> Self {
        Self { stream, time, waits: None, lingers: None }
    }

    /// What was polled, or an error if it is pending for too long.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waits = None;
            return polled;
        }
        let time = self.time;
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(time)));
        if waits.as_mut().poll(cx).is_ready() {
            // It breaks once; hyper closes it then.
            waits.as_mut().reset(after(Instant::now(), time));
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.in_time(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Shuts it down for writing, then reads on for a while: a socket that is closed with unread
    /// bytes is reset, and a reset makes the client's system throw away what it has not read.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, lingers, .. } = &mut *self;
        let lingers = if let Some(lingers) = lingers {
            lingers
        } else {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            lingers.insert(Box::pin(sleep(LINGER_TIME)))
        };
        let mut sink = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut sink);
            match Pin::new(&mut *stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    if lingers.is_elapsed() {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return lingers.as_mut().poll(cx).map(Ok),
            }
        }
    }
}
