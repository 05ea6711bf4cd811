use std::sync::atomic::AtomicU64;

use http::StatusCode;

/// What a request is for, as far as it is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `health-check`.
    Health,
    /// `ready`.
    Ready,
    /// `info`.
    Info,
    /// `config`.
    Config,
    /// `openapi.json`.
    OpenApi,
    /// `cut`.
    Cut,
    /// `cut/peer`.
    CutPeers,
    /// `hash`.
    Hashes,
    /// `hash/branch`.
    HashBranch,
    /// `header`.
    Headers,
    /// `header/branch`.
    HeaderBranch,
    /// `header/{hash}`.
    Header,
    /// `block`.
    Blocks,
    /// `block/branch`.
    BlockBranch,
    /// `payload/{hash}`.
    Payload,
    /// `payload/{hash}/outputs`.
    Outputs,
    /// `payload/batch`.
    PayloadBatch,
    /// `payload/outputs/batch`.
    OutputsBatch,
    /// `stats`.
    Stats,
    /// `state`.
    State,
    /// The page at `/`, and what it is made of.
    Explorer,
    /// `header/updates`.
    HeaderUpdates,
    /// `block/updates`.
    BlockUpdates,
    /// `archive`.
    Archive,
    /// `make-backup` and `check-backup`.
    Backup,
    /// Nothing that is there.
    #[default]
    Other,
}

impl Endpoint {
    /// All of them, in the order of their declaration.
    pub(super) const ALL: [Self; 26] = [
        Self::Health,
        Self::Ready,
        Self::Info,
        Self::Config,
        Self::OpenApi,
        Self::Cut,
        Self::CutPeers,
        Self::Hashes,
        Self::HashBranch,
        Self::Headers,
        Self::HeaderBranch,
        Self::Header,
        Self::Blocks,
        Self::BlockBranch,
        Self::Payload,
        Self::Outputs,
        Self::PayloadBatch,
        Self::OutputsBatch,
        Self::Stats,
        Self::State,
        Self::Explorer,
        Self::HeaderUpdates,
        Self::BlockUpdates,
        Self::Archive,
        Self::Backup,
        Self::Other,
    ];

    /// As a label.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Health => "health-check",
            Self::Ready => "ready",
            Self::Info => "info",
            Self::Config => "config",
            Self::OpenApi => "openapi.json",
            Self::Cut => "cut",
            Self::CutPeers => "cut/peer",
            Self::Hashes => "hash",
            Self::HashBranch => "hash/branch",
            Self::Headers => "header",
            Self::HeaderBranch => "header/branch",
            Self::Header => "header/{hash}",
            Self::Blocks => "block",
            Self::BlockBranch => "block/branch",
            Self::Payload => "payload/{hash}",
            Self::Outputs => "payload/{hash}/outputs",
            Self::PayloadBatch => "payload/batch",
            Self::OutputsBatch => "payload/outputs/batch",
            Self::Stats => "stats",
            Self::State => "state",
            Self::Explorer => "explorer",
            Self::HeaderUpdates => "header/updates",
            Self::BlockUpdates => "block/updates",
            Self::Archive => "archive",
            Self::Backup => "backup",
            Self::Other => "other",
        }
    }
}

/// One of something for each endpoint.
#[derive(Debug, Default)]
pub(super) struct PerEndpoint<T>([T; Endpoint::ALL.len()]);

impl<T> PerEndpoint<T> {
    /// That of `endpoint`.
    #[expect(clippy::indexing_slicing, reason = "there is one for each")]
    pub(super) const fn of(&self, endpoint: Endpoint) -> &T {
        &self.0[endpoint as usize]
    }

    /// Each with its endpoint.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Endpoint, &T)> {
        Endpoint::ALL.into_iter().map(|endpoint| (endpoint, self.of(endpoint)))
    }
}

/// The status of a request whose client went before there was an answer: nginx's.
pub(crate) const GONE: u16 = 499;

/// The statuses of our answers, the common ones first, and [`GONE`].
const STATUSES: [u16; 18] =
    [200, 304, 404, 206, 503, 400, GONE, 204, 405, 406, 408, 413, 414, 415, 416, 431, 500, 202];

/// A counter for each status.
#[derive(Debug, Default)]
pub(super) struct PerStatus {
    counts: [AtomicU64; STATUSES.len()],
    other: AtomicU64,
}

impl PerStatus {
    /// That of `status`.
    pub(super) fn of(&self, status: StatusCode) -> &AtomicU64 {
        let at = STATUSES.iter().position(|other| *other == status.as_u16());
        at.and_then(|at| self.counts.get(at)).unwrap_or(&self.other)
    }

    /// Each with its label.
    pub(super) fn iter(&self) -> impl Iterator<Item = (String, &AtomicU64)> {
        let known = STATUSES.iter().map(u16::to_string).zip(&self.counts);
        known.chain([("other".to_owned(), &self.other)])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn endpoints_are_in_the_order_of_their_declaration() {
        for (at, endpoint) in Endpoint::ALL.into_iter().enumerate() {
            assert_eq!(endpoint as usize, at);
        }
    }

    #[test]
    fn statuses_are_counted_apart_and_strange_ones_together() {
        let counts = PerStatus::default();
        for status in [200, 200, 503, 418, 299] {
            counts.of(StatusCode::from_u16(status).unwrap()).fetch_add(1, Relaxed);
        }
        let counted: Vec<(String, u64)> = counts
            .iter()
            .map(|(label, count)| (label, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(counted, [("200", 2), ("503", 1), ("other", 2)].map(|(l, n)| (l.to_owned(), n)));
    }
}
