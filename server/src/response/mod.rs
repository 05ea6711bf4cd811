//! Answers: bodies, JSON, and the heads around them.
//!
//! Enters: pages of the engine, streams behind [`Source`], errors. Leaves: `Response<Body>`.
//!
//! - `I-1` A page is sent as the slices that the engine lends: no copy for `octet-stream`.
//! - `I-2` A stream holds what was read for it and not yet sent, at most two steps of its source.
//! - `I-3` Every answer, of whatever status, has the headers that [`Stamp`] adds.

mod body;
mod events;
mod head;
mod json;
mod octets;
mod payload;
mod stats;

pub(crate) use body::Body;
pub(crate) use events::EventSource;
pub(crate) use head::{
    Stamp, asset, current_text, error, events, file, immutable, json, last, link_next,
    not_modified, octets, page, preflight, revalidated, shared_json, stream, streamed, text,
    without_body,
};
pub(crate) use json::{cut, hashes, header, headers};
pub(crate) use octets::{Cut, Source, Step, Stream};
pub(crate) use payload::{
    Blocks, Form, List, begin_blocks, block_len, blocks, end_blocks, payload, payloads,
    push_next_block,
};
pub use stats::stats_json;
