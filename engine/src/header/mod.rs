//! Bytes ↔ nouns, without copying: the 318-byte header and its text forms.
//!
//! Enters: bytes, text. Leaves: [`HeaderRef`], text.
//!
//! - `I-1` The bytes on the wire, in a dump, in the store and in a body are the same bytes.
//! - `I-2` A header has one binary form: what decodes is what encodes. So a header whose adjacent
//!   parents are not in ascending order of chain is refused, though the reference sorts it.
//! - `I-3` Every form is read back to the same 318 bytes.

mod adjacents;
mod error;
mod layout;
pub mod merkle;
pub mod text;
mod view;

pub use adjacents::{AdjacentRecord, DEGREE};
pub use error::{DecodeError, TextError};
pub use layout::{LEN, RawHeader, WORK_LEN};
pub use view::{Header, HeaderRef};
