//! The items of the log, and the bytes that a subscriber gets for them.

use bytes::Bytes;

use super::Kind;
use super::render::{self, Entry, KEEP_ALIVE};

/// An item of the log.
#[derive(Debug)]
pub(super) enum Item {
    Block(Entry),
    /// An empty line for subscribers of these kinds, at this position.
    Silence([bool; 2], Bytes),
}

/// The bytes of an item for one subscriber.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) bytes: Bytes,
    /// The position after the item.
    pub(super) position: Bytes,
}

impl Item {
    /// The bytes that the item occupies.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Block(entry) => entry.len(),
            Self::Silence(_, position) => size_of::<Self>().saturating_add(position.len()),
        }
    }

    /// The bytes for a subscriber whose last event had the position `last`; `None` if the
    /// subscriber gets no positions.
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
