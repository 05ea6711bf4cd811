use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;

/// The body of a request that pushes: pieces as they come.
#[derive(Debug)]
pub struct Blocks(mpsc::Receiver<io::Result<Bytes>>);

impl Blocks {
    /// A body of these pieces.
    #[must_use]
    pub const fn new(pieces: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self(pieces)
    }
}

impl Body for Blocks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
