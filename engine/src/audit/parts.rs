use zerocopy::FromBytes;
use zerocopy::byteorder::big_endian::U64;

use crate::store::IndexEntry;
use crate::types::Grow;

/// Parts of all hashes, by their first bits.
pub(super) const PARTS: usize = 1 << BITS;

const BITS: u32 = 12;

/// What is in each part: how many entries, and a sum over them that does not depend on their order.
///
/// Sums of different entries are equal once in 2^64 times, unless somebody looks for such entries.
#[derive(Clone)]
pub(super) struct Parts(Box<[Sum]>);

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) count: u64,
    sum: u128,
}

impl Default for Parts {
    fn default() -> Self {
        Self(vec![Sum::default(); PARTS].into())
    }
}

impl Parts {
    pub(super) fn add(&mut self, entry: &IndexEntry) {
        if let Some(part) = self.0.get_mut(part(&entry.hash)) {
            part.count.grow(1);
            part.sum = part.sum.wrapping_add(mixed(entry));
        }
    }

    pub(super) fn merge(mut self, other: &Self) -> Self {
        for (part, other) in self.0.iter_mut().zip(&other.0) {
            part.count.grow(other.count);
            part.sum = part.sum.wrapping_add(other.sum);
        }
        self
    }

    /// The parts that are not equal, and how many entries the larger of the two has.
    pub(super) fn differing<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (usize, u64)> + 'a {
        let pairs = self.0.iter().zip(&other.0).enumerate();
        let differing = pairs.filter(|(_, (part, other))| part != other);
        differing.map(|(number, (part, other))| (number, part.count.max(other.count)))
    }
}

/// The part of this hash.
pub(super) fn part(hash: &[u8; 32]) -> usize {
    let [first, ..] = words(hash);
    usize::try_from(first >> (u64::BITS - BITS)).unwrap_or(0)
}

/// All of an entry in one number, in which small differences become large ones.
fn mixed(entry: &IndexEntry) -> u128 {
    let [a, b, c, d] = words(&entry.hash);
    let place = (entry.place.height().get() ^ 0x9e37_79b9_7f4a_7c15)
        .wrapping_add(u64::from(entry.place.chain().get()).rotate_left(40));
    let product = |left: u64, right: u64| u128::from(left).wrapping_mul(u128::from(right));
    let low = product(a ^ place, b ^ 0xd6e8_feb8_6659_fd93);
    let high = product(c ^ place.rotate_left(32), d ^ 0xa076_1d64_78bd_642f);
    low ^ high.rotate_left(64)
}

fn words(hash: &[u8; 32]) -> [u64; 4] {
    <[U64; 4]>::read_from_bytes(hash).map_or([0; 4], |words| words.map(U64::get))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::HeightValue;
    use crate::types::{BlockHeight, ChainId};

    fn entry() -> impl Strategy<Value = IndexEntry> {
        (any::<[u8; 32]>(), 0..20_u32, 0..1000_u64).prop_map(|(hash, chain, height)| IndexEntry {
            hash,
            place: HeightValue::new(ChainId::new(chain), BlockHeight::new(height)),
        })
    }

    fn parts<'a>(entries: impl IntoIterator<Item = &'a IndexEntry>) -> Parts {
        let mut parts = Parts::default();
        entries.into_iter().for_each(|entry| parts.add(entry));
        parts
    }

    proptest! {
        #[test]
        fn parts_are_equal_in_any_order_and_differ_by_any_change(
            entries in prop::collection::vec(entry(), 1..40),
            which: prop::sample::Index,
            (byte, bit) in (0..44_usize, 0..8),
        ) {
            let all = parts(&entries);
            let (some, rest) = entries.split_at(which.index(entries.len()));
            let halves = parts(rest).merge(&parts(some.iter().rev()));
            prop_assert_eq!(all.differing(&halves).count(), 0);
            let fewer = parts(entries.iter().skip(1));
            let number = part(&entries[0].hash);
            prop_assert!(all.differing(&fewer).map(|(number, _)| number).eq([number]));
            let mut other = entries.clone();
            let at = which.index(entries.len());
            let mut bytes = <[u8; 44]>::read_from_bytes(zerocopy::IntoBytes::as_bytes(&other[at])).unwrap();
            bytes[byte] ^= 1_u8 << bit;
            other[at] = IndexEntry::read_from_bytes(&bytes).unwrap();
            prop_assert!(all.differing(&parts(&other)).count() > 0);
        }
    }
}
