use bytes::Bytes;

use super::sse::Parser;

/// The events of a stream that comes in these pieces, by type and data, and whether it was read to its
/// end.
pub fn events(pieces: &[&[u8]], event_bytes_max: usize) -> (Vec<(String, String)>, bool) {
    let mut parser = Parser::new(event_bytes_max);
    let mut events = Vec::new();
    for piece in pieces {
        parser.push(&Bytes::copy_from_slice(piece));
        loop {
            match parser.next() {
                Ok(Some(event)) => events.push((event.name, event.data)),
                Ok(None) => break,
                Err(_) => return (events, false),
            }
        }
    }
    (events, true)
}
