use bytes::Bytes;
use zerocopy::FromBytes;

use crate::header::{HeaderRef, LEN, RawHeader};

/// Slices shorter than this are copied together: on its way out each would cost more than that.
const SLICE_BYTES_MIN: usize = 16 << 10;

/// Headers of a result, as slices of whole 318-byte records.
#[derive(Clone, Debug, Default)]
pub struct Records(Vec<Bytes>);

impl Records {
    /// The number of headers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|slice| slice.len() / LEN).sum()
    }

    /// Whether there is no header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The headers, in the order of the result.
    pub fn iter(&self) -> impl Iterator<Item = HeaderRef<'_>> {
        self.0.iter().flat_map(|slice| records(slice))
    }

    /// The last header.
    #[must_use]
    pub fn last(&self) -> Option<HeaderRef<'_>> {
        self.0.last().and_then(|slice| records(slice).next_back())
    }

    /// The bytes, without copying them.
    #[must_use]
    pub fn into_slices(self) -> Vec<Bytes> {
        self.0
    }
}

/// What was checked one by one when it was read.
fn records(slice: &[u8]) -> impl DoubleEndedIterator<Item = HeaderRef<'_>> {
    slice.chunks_exact(LEN).filter_map(|record| {
        RawHeader::ref_from_bytes(record).ok().and_then(|raw| HeaderRef::new(raw).ok())
    })
}

/// Where a result is put together: up to some number of records, and the one after them.
pub(super) struct Sink {
    slices: Vec<Bytes>,
    /// Records that no slice has yet.
    open: Vec<u8>,
    /// Records that it still takes.
    left: usize,
    is_cut: bool,
}

impl Sink {
    /// Room for `limit` records, and one more that says that there are more.
    pub(super) const fn new(limit: usize) -> Self {
        Self { slices: Vec::new(), open: Vec::new(), left: limit.saturating_add(1), is_cut: false }
    }

    /// Records that it still takes.
    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// Appends records, as many as it takes.
    pub(super) fn push(&mut self, records: &Bytes) {
        let len = records.len().min(self.left.saturating_mul(LEN));
        if len < SLICE_BYTES_MIN {
            self.push_copy(records);
        } else {
            self.close();
            self.slices.push(records.slice(..len));
            self.take(len);
        }
    }

    /// The same for records that are lent.
    pub(super) fn push_copy(&mut self, records: &[u8]) {
        let len = records.len().min(self.left.saturating_mul(LEN));
        self.open.extend_from_slice(records.get(..len).unwrap_or_default());
        self.take(len);
    }

    fn take(&mut self, len: usize) {
        self.left = self.left.saturating_sub(len / LEN);
        self.is_cut = self.left == 0;
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.slices.push(std::mem::take(&mut self.open).into());
        }
    }

    /// The records, and the one after them if the result goes on.
    pub(super) fn finish(mut self) -> (Records, Option<Bytes>) {
        self.close();
        let mut next = None;
        if self.is_cut
            && let Some(mut last) = self.slices.pop()
        {
            next = Some(last.split_off(last.len().saturating_sub(LEN)));
            self.slices.extend((!last.is_empty()).then_some(last));
        }
        (Records(self.slices), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(limit: usize, pushes: &[usize]) -> (Vec<usize>, bool) {
        let mut sink = Sink::new(limit);
        for records in pushes {
            sink.push(&Bytes::from(vec![0; records * LEN]));
        }
        let (records, next) = sink.finish();
        (records.into_slices().iter().map(|slice| slice.len() / LEN).collect(), next.is_some())
    }

    #[test]
    fn sink_takes_its_limit_and_says_whether_there_is_more() {
        assert_eq!(sink(3, &[1, 1]), (vec![2], false));
        assert_eq!(sink(3, &[1, 2]), (vec![3], false));
        assert_eq!(sink(3, &[1, 9]), (vec![3], true));
        assert_eq!(sink(0, &[1]), (vec![], true));
        assert_eq!(sink(100, &[60, 60]), (vec![60, 40], true));
        assert_eq!(sink(60, &[60, 1]), (vec![60], true));
        assert_eq!(sink(usize::MAX, &[60, 1, 60]), (vec![60, 1, 60], false));
    }
}
