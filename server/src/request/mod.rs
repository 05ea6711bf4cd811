//! What a request asks for, checked: query parameters, bounds, body, media type.
//!
//! Enters: the text that a client sent. Leaves: values that the engine takes, or an
//! [`Error`](crate::error::Error) that says what was wrong.

mod accept;
mod batch;
mod body;
mod bounds;
mod budget;
mod condition;
mod framing;
mod params;
mod range;
mod resume;
mod rule;

pub(crate) use accept::{Media, negotiate};
pub(crate) use batch::{Asked, parse_batch};
pub(crate) use body::{BodyLimits, discard, pass_over, read_json};
pub(crate) use bounds::parse_bounds;
pub(crate) use budget::{BodyBudget, BodyShare};
pub(crate) use condition::is_known;
pub(crate) use framing::check_framing;
pub(crate) use params::{Params, PeerRange};
pub(crate) use range::Wanted;
pub(crate) use resume::Resume;
pub(crate) use rule::QueryRule;
