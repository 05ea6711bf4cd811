//! The nouns of the chain: small values with one meaning each, no I/O.
//!
//! Byte order is never a property of these types: [`header`](crate::header) stores them little
//! endian, [`store`](crate::store) keys them big endian.

mod chain;
mod grow;
mod hash;
mod height;
mod rank;
mod run;
mod time;
mod version;
mod work;

pub use chain::ChainId;
pub use grow::Grow;
pub use hash::{BlockHash, HashError, OutputsHash, PayloadHash, TransactionsHash};
pub use height::BlockHeight;
pub use rank::Rank;
pub use run::RunLength;
pub use time::Micros;
pub use version::ChainwebVersion;
pub use work::{Target, Weight};

/// Decodes unpadded base64url into exactly 32 bytes; see [`HashError`] for what is refused.
pub(crate) use hash::decode_32;

/// Base64url, written fast: any bytes, and many words at once.
pub(crate) use hash::{WORD_LEN, Words, push_base64url};

/// Base64url, read.
pub(crate) use hash::BASE64URL;
