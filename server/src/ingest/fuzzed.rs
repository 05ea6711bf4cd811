use bytes::Bytes;
use plait_engine::replay::source::{Record, Records};

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
    let mut take = |some: &mut Records| {
        some.settle();
        records.append(&mut std::mem::take(some).list);
    };
    for piece in pieces {
        cutter.push(&Bytes::copy_from_slice(piece));
        let mut some = Records::default();
        while cutter.cut(&mut some, records_max.max(1)) {
            take(&mut some);
        }
        take(&mut some);
    }
    let mut some = Records::default();
    cutter.finish(&mut some);
    take(&mut some);
    records
}
