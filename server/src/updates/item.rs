//! What is in the log, and what it is for a subscriber.

use bytes::Bytes;

use super::Kind;
use super::render::{self, Entry, KEEP_ALIVE};

/// An item of the log.
#[derive(Debug)]
pub(super) enum Item {
    Block(Entry),
    /// An empty line for those of these kinds, at this position.
    Silence([bool; 2], Bytes),
}

/// What an item is for a subscriber.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) bytes: Bytes,
    /// The position behind it.
    pub(super) position: Bytes,
}

impl Item {
    /// Bytes of all of it.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Block(entry) => entry.len(),
            Self::Silence(_, position) => size_of::<Self>().saturating_add(position.len()),
        }
    }

    /// What it is for a subscriber whose last event had the position `last`, if positions it wants.
    pub(super) fn give(&self, kind: Kind, last: Option<&Bytes>) -> Option<Given> {
        match self {
            Self::Block(entry) => {
                let bytes = entry.event(kind, last.is_some())?;
                Some(Given { bytes, position: entry.position.clone() })
            }
            Self::Silence(kinds, position) => {
                let moved = last.is_some_and(|last| last != position);
                let bytes = if moved { render::mark(position) } else { KEEP_ALIVE };
                kind.of(*kinds).then(|| Given { bytes, position: position.clone() })
            }
        }
    }
}
