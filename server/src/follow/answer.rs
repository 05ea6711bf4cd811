use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::client::Limits;
use super::error::{FollowError, broken};
use crate::clock::after;
use crate::meter::Meter;

/// Bytes that must arrive within each time limit: a trickle is not enough.
const PROGRESS_BYTES: usize = 16 << 10;

/// Bytes of a piece below which it counts as a crumb: taking a piece costs as much time as some hundred bytes.
const PIECE_BYTES: usize = 64;

/// Bytes by which the crumbs of an answer may be too short, all together: 16,000 pieces of a byte.
const CRUMB_BYTES_MAX: usize = 1 << 20;

/// The first capacity of a buffer for a body, in bytes.
const ROOM: usize = 1 << 20;

/// The type of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// Headers of 318 bytes.
    Octets,
    /// JSON.
    Json,
    /// Server-sent events.
    Events,
    /// Something else.
    Other,
}

/// The answer of a node, of which the head has arrived.
#[derive(Debug)]
pub(super) struct Answer {
    path: String,
    status: StatusCode,
    media: Media,
    body: Incoming,
    limits: Limits,
    /// The time left for the next bytes that count as progress.
    left: Duration,
    /// Bytes since that time began.
    came: usize,
    /// Bytes by which pieces were shorter than [`PIECE_BYTES`].
    crumbs: usize,
    /// The meter of its connection.
    meter: Option<Meter>,
}

impl Answer {
    pub(super) fn new(path: &str, response: Response<Incoming>, limits: Limits) -> Self {
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let media = match essence.to_ascii_lowercase().as_str() {
            "application/octet-stream" => Media::Octets,
            "application/json" => Media::Json,
            "text/event-stream" => Media::Events,
            _ => Media::Other,
        };
        let (path, status) = (path.to_owned(), response.status());
        let meter = response.extensions().get::<Meter>().cloned();
        let (body, left, came, crumbs) = (response.into_body(), limits.stall, 0, 0);
        let answer = Self { path, status, media, body, limits, left, came, crumbs, meter };
        answer.note();
        answer
    }

    /// Notes that a part of the answer has arrived.
    fn note(&self) {
        if let Some(meter) = &self.meter {
            meter.reset();
        }
    }

    /// The status.
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// The type of the body.
    pub(super) const fn media(&self) -> Media {
        self.media
    }

    /// Returns the answer if its status is a success.
    ///
    /// # Errors
    ///
    /// [`FollowError::Status`].
    pub(super) fn successful(self) -> Result<Self, FollowError> {
        if self.status == StatusCode::OK {
            return Ok(self);
        }
        Err(FollowError::Status { path: self.path, status: self.status })
    }

    /// The requested path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Reads the whole body as JSON, of at most `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// [`FollowError`] if the body has another type, is longer, or does not end in time.
    pub(super) async fn json(self, bytes_max: usize) -> Result<Bytes, FollowError> {
        if self.media == Media::Json {
            return self.whole(bytes_max).await;
        }
        Err(FollowError::content(&self.path, "expected JSON"))
    }

    /// Reads the whole body, of at most `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// As for [`Answer::json`].
    pub(super) async fn whole(mut self, bytes_max: usize) -> Result<Bytes, FollowError> {
        // Allocated once, because the allocator keeps the old memory of a buffer that grows; pages that
        // are not written take no memory.
        let mut whole = BytesMut::with_capacity(bytes_max.min(ROOM));
        let (end, time) = (after(Instant::now(), self.limits.whole), self.limits.whole);
        while let Some(piece) = self.piece().await? {
            if whole.len().saturating_add(piece.len()) > bytes_max {
                let wrong = format!("the answer is longer than {bytes_max} bytes");
                return Err(FollowError::content(&self.path, wrong));
            }
            whole.extend_from_slice(&piece);
            if Instant::now() > end {
                return Err(FollowError::Timeout { path: self.path, time });
            }
        }
        Ok(whole.freeze())
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    ///
    /// [`FollowError::Timeout`] if they do not arrive in time, [`FollowError::Broken`] if the body
    /// is cut, [`FollowError::Content`] if it comes in crumbs, or [`FollowError::Crumbs`] while
    /// another node can be asked.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, FollowError> {
        let begin = Instant::now();
        loop {
            let left = self.left.saturating_sub(begin.elapsed());
            let frame = match timeout(left, self.body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    let why = "the connection broke before the answer was complete";
                    return Err(broken(&self.path, &error, why));
                }
                Err(_) => {
                    let (path, time) = (self.path.clone(), self.limits.stall);
                    return Err(FollowError::Timeout { path, time });
                }
            };
            let Ok(data) = frame.into_data() else { continue };
            self.note();
            self.crumbs = self.crumbs.saturating_add(PIECE_BYTES.saturating_sub(data.len()));
            if self.crumbs > CRUMB_BYTES_MAX {
                return Err(self.crumbled());
            }
            self.came = self.came.saturating_add(data.len());
            // Only the time spent waiting here counts: the caller may be slow itself.
            self.left = self.left.saturating_sub(begin.elapsed());
            if self.came >= PROGRESS_BYTES {
                (self.came, self.left) = (0, self.limits.stall);
            }
            return Ok(Some(data));
        }
    }

    /// The error that the answer comes in crumbs.
    fn crumbled(&self) -> FollowError {
        let (path, wrong) =
            (self.path.clone(), format!("it comes in pieces of less than {PIECE_BYTES} bytes"));
        if self.limits.are_brief {
            FollowError::Crumbs { path, wrong }
        } else {
            FollowError::Content { path, wrong }
        }
    }

    /// The next bytes of a stream, which may be silent for up to `silence`.
    ///
    /// # Errors
    ///
    /// As for [`Answer::piece`].
    pub(super) async fn event_bytes(
        &mut self,
        silence: Duration,
    ) -> Result<Option<Bytes>, FollowError> {
        (self.came, self.left) = (0, silence);
        self.piece().await
    }

    /// Notes that a stream has brought something new, so that its crumbs up to here do not count.
    pub(super) const fn forgive_crumbs(&mut self) {
        self.crumbs = 0;
    }
}
