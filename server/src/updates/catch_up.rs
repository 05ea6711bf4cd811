//! What a subscriber has missed, from the database.

use std::collections::VecDeque;

use bytes::Bytes;
use plait_engine::{Header, HeaderRef, Joined, Past, QueryError, Reader};

use super::Kind;
use super::item::Given;
use super::log::Log;
use super::render::{self, Entry};

/// Headers that are read at once.
const HEADERS: usize = 64;

/// Bytes of events from which on no more are rendered.
const CHUNK_BYTES: usize = 64 << 10;

/// Reads what joins behind a past, up to where the log is.
#[derive(Debug)]
pub(super) struct CatchUp {
    kind: Kind,
    /// Behind the last event.
    past: Past,
    way: Option<Way>,
}

/// The way to a past that the log has.
#[derive(Debug)]
struct Way {
    joined: Joined,
    /// Blocks that are read and not rendered.
    headers: VecDeque<Header>,
    /// The item of the log that comes behind, and the past before it.
    to: (u64, Past),
}

/// What was read.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) events: VecDeque<Given>,
    pub(super) then: Then,
}

/// How it goes on.
#[derive(Debug)]
pub(super) enum Then {
    /// There may be more in the database.
    Read(CatchUp),
    /// With this item of the log.
    Follow(u64),
}

impl CatchUp {
    /// What joins behind `past`.
    pub(super) const fn new(kind: Kind, past: Past) -> Self {
        Self { kind, past, way: None }
    }

    /// The next events. There are none only if the log comes next.
    ///
    /// Every part is read from the database as it is then. Where the log has forgotten the past that
    /// was the aim, it goes on to where the log is by now.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`]; blocks are never removed, so none is unknown.
    pub(super) fn read(mut self, reader: &Reader, log: &Log) -> Result<Chunk, QueryError> {
        let (mut events, mut bytes, mut unheard) = (VecDeque::new(), 0, 0_usize);
        loop {
            let Some(way) = &mut self.way else {
                // Nobody catches up with a log that has not begun.
                let Some(to) = log.head() else { break };
                let joined = reader.view().joined(&self.past, &to.1)?;
                self.way = Some(Way { joined, headers: VecDeque::new(), to });
                continue;
            };
            let Some(header) = way.next(reader)? else {
                if log.holds(way.to.0) {
                    return Ok(Chunk { events, then: Then::Follow(way.to.0) });
                }
                self.way = None;
                continue;
            };
            let header = header.view();
            self.past.set(header.chain(), header.rank());
            let entry = Entry::read(&reader.view(), header, &self.past, self.kind == Kind::Blocks)?;
            if let Some(event) = entry.event(self.kind, true) {
                bytes = event.len().saturating_add(bytes);
                events.push_back(Given { bytes: event, position: entry.position });
            } else {
                unheard = unheard.saturating_add(1);
            }
            if unheard >= HEADERS && events.is_empty() {
                // So that the client has a say in how fast it goes on.
                let position = Bytes::from(self.past.position().to_string());
                events.push_back(Given { bytes: render::mark(&position), position });
                break;
            }
            if bytes >= CHUNK_BYTES {
                break;
            }
        }
        Ok(Chunk { events, then: Then::Read(self) })
    }
}

impl Way {
    fn next(&mut self, reader: &Reader) -> Result<Option<Header>, QueryError> {
        if self.headers.is_empty()
            && let Some(records) = self.joined.next(&reader.view(), HEADERS)?
        {
            self.headers.extend(records.iter().map(HeaderRef::to_owned));
        }
        Ok(self.headers.pop_front())
    }
}
