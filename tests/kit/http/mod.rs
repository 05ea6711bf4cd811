//! A small HTTP/1.1 client on a raw socket. It sends any bytes, right or wrong, and keeps an answer as
//! it stood on the wire: the case of header names, chunks, trailers, how the connection ended.

mod client;
mod events;
mod message;

pub use client::{Client, Ended};
pub use events::{Event, Events, Sent};
pub use message::{Request, Response};
