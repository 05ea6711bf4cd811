use bytes::Bytes;
use plait_engine::replay::source::Record;

use super::batch::{Cutter, Form};

/// The records of a body that comes in these pieces, of JSON lines or of headers of 318 bytes, taken so
/// many at a time.
pub fn records(
    pieces: &[&[u8]],
    are_lines: bool,
    line_bytes_max: usize,
    records_max: usize,
) -> Vec<Record> {
    let form = if are_lines { Form::Lines } else { Form::Octets };
    let mut cutter = Cutter::new(form, line_bytes_max);
    let mut records = Vec::new();
    for piece in pieces {
        cutter.push(&Bytes::copy_from_slice(piece));
        let mut some = Vec::new();
        while cutter.cut(&mut some, records_max.max(1)) {
            records.append(&mut some);
        }
        records.append(&mut some);
    }
    cutter.finish(&mut records);
    records
}
