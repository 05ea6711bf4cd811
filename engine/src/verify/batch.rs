use zerocopy::byteorder::big_endian;

use super::backend::{Backend, Kind, Lanes, Nodes};
#[cfg(target_arch = "x86_64")]
use super::blake2s;
use super::intrinsic::Hashes;
use super::memo::Table;
use super::{Checked, Level, Verifier, pow};
use crate::header::{DecodeError, HeaderRef, RawHeader};
use crate::types::BlockHash;

/// Records whose fields are looked up together.
const BLOCK: usize = 256;

/// Hashes many headers at once: what one thread needs for it.
///
/// # Cost
///
/// A header has 22 hashes of one block. Seven of them are of fields that repeat from header to
/// header and are looked up among those that were made before; 15 are made in lanes, a header in
/// each. A field that does not repeat costs its hash and a failed lookup. A number of records that
/// is not a multiple of the lanes costs as much as the next that is. Memory is bounded, whatever
/// the input: at most 1.5 MB, and two hashes for each record of the largest batch.
///
/// # Source
///
/// The scalar twins: [`merkle::block_hash`](crate::header::merkle::block_hash),
/// [`pow_hash`](super::pow_hash) and [`Verifier::check`].
#[derive(Debug)]
pub struct Hasher {
    backend: Backend,
    memo: Memo,
    /// What [`Verifier::check_many`] asked for last.
    blocks: Vec<BlockHash>,
    works: Vec<BlockHash>,
}

/// What repeats.
#[derive(Debug)]
struct Memo {
    flags: Table<1, 1>,
    height: Table<1, 1>,
    /// What a chain keeps for a difficulty epoch: its number and network, the start of the epoch
    /// and the target. Of these the leaves of target and chain, and the node above the leaves of
    /// network and epoch, which are neighbours.
    epoch: Table<6, 3>,
    /// Where in the tables the fields of a block of headers are.
    places: Vec<Places>,
}

#[derive(Clone, Copy, Debug)]
struct Places {
    flags: u32,
    height: u32,
    epoch: u32,
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new(Backend::best())
    }
}

impl Hasher {
    /// A hasher that uses this backend.
    #[must_use]
    pub fn new(backend: Backend) -> Self {
        Self { backend, memo: Memo::new(), blocks: Vec::new(), works: Vec::new() }
    }

    /// Appends the block hash that belongs to the fields of each record, whatever hash it states.
    pub fn block_hashes(&mut self, records: &[RawHeader], out: &mut Vec<BlockHash>) {
        out.reserve(records.len());
        match self.backend.0 {
            Kind::Scalar(lanes) => self.memo.hash(lanes, records, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(lanes) => self.memo.hash(lanes, records, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(lanes) => self.memo.hash(lanes, records, out),
        }
    }

    /// Appends the [`pow_hash`](super::pow_hash) of each record.
    pub fn pow_hashes(&mut self, records: &[RawHeader], out: &mut Vec<BlockHash>) {
        out.reserve(records.len());
        match self.backend.0 {
            Kind::Scalar(_) => pow::one_by_one(records, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(lanes) => blake2s::pow_hashes(lanes, records, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(lanes) => blake2s::pow_hashes(lanes, records, out),
        }
    }
}

impl Verifier {
    /// Appends what [`HeaderRef::new`] and then [`Verifier::check`] make of each record. Faster by
    /// far, as it hashes many headers at once.
    pub fn check_many<'a>(
        &self,
        hasher: &mut Hasher,
        records: &'a [RawHeader],
        out: &mut Vec<Result<Checked<'a>, DecodeError>>,
    ) {
        let (mut blocks, mut works) =
            (std::mem::take(&mut hasher.blocks), std::mem::take(&mut hasher.works));
        blocks.clear();
        works.clear();
        if self.level >= Level::Hash {
            hasher.block_hashes(records, &mut blocks);
            if self.version.checks_pow() {
                hasher.pow_hashes(records, &mut works);
            }
        }
        out.extend(records.iter().enumerate().map(|(index, record)| {
            let header = HeaderRef::new(record)?;
            let work = works.get(index).copied();
            let known = blocks.get(index).map(|block| Hashes { block: *block, work });
            Ok(self.checked(header, known))
        }));
        (hasher.blocks, hasher.works) = (blocks, works);
    }
}

impl Memo {
    fn new() -> Self {
        Self {
            flags: Table::new(),
            height: Table::new(),
            epoch: Table::new(),
            places: Vec::with_capacity(BLOCK),
        }
    }

    fn hash<const N: usize>(
        &mut self,
        lanes: impl Lanes<N>,
        records: &[RawHeader],
        out: &mut Vec<BlockHash>,
    ) {
        for records in records.chunks(BLOCK) {
            self.look_up(records);
            self.settle(lanes);
            for (records, places) in records.chunks(N).zip(self.places.chunks(N)) {
                let ([record, ..], [place, ..]) = (records, places) else { return };
                let (mut group, mut at) = ([record; N], [place; N]);
                group.iter_mut().zip(records).for_each(|(slot, record)| *slot = record);
                at.iter_mut().zip(places).for_each(|(slot, place)| *slot = place);
                let roots = self.roots(lanes, group, at);
                out.extend((0..records.len()).map(|lane| block_hash(roots.lane(lane))));
            }
        }
    }

    /// Finds where the fields of all records are, or will be.
    fn look_up(&mut self, records: &[RawHeader]) {
        let Self { flags, height, epoch, places } = self;
        let more = records.len();
        flags.make_room(more);
        height.make_room(more);
        epoch.make_room(more);
        places.clear();
        places.extend(records.iter().map(|record| {
            let chain = u64::from(record.version.get()) << 32 | u64::from(record.chain.get());
            let [a, b, c, d] = words(record.target);
            Places {
                flags: flags.place([record.feature_flags.get()]),
                height: height.place([record.height.get()]),
                epoch: epoch.place([chain, whole(record.epoch_start), a, b, c, d]),
            }
        }));
    }

    /// Makes the hashes of the fields that were not there.
    fn settle<const N: usize>(&mut self, lanes: impl Lanes<N>) {
        self.flags.settle(|[flags]| [eight(lanes, 0x0006, flags)]);
        self.height.settle(|[height]| [eight(lanes, 0x0003, height)]);
        self.epoch.settle(|[chain, start, a, b, c, d]| {
            let version = four(lanes, 0x0008, chain.map(|both| both >> 32));
            let chain = four(lanes, 0x0002, chain.map(|both| both & u64::from(u32::MAX)));
            let target = thirty_two(lanes, 0x0011, &Nodes([a, b, c, d]));
            [target, chain, lanes.join(&version, &eight(lanes, 0x0019, start))]
        });
    }

    /// The Merkle roots of `N` headers.
    fn roots<const N: usize>(
        &self,
        lanes: impl Lanes<N>,
        group: [&RawHeader; N],
        at: [&Places; N],
    ) -> Nodes<N> {
        let join = |left: &Nodes<N>, right: &Nodes<N>| lanes.join(left, right);
        let time = eight(lanes, 0x0007, group.map(|record| whole(record.creation_time)));
        let weight = Nodes::new(group.map(|record| words(record.weight)));
        let weight = thirty_two(lanes, 0x0004, &weight);
        let nonce = eight(lanes, 0x0020, group.map(|record| record.nonce.get()));
        let parent = Nodes::new(group.map(|record| words(*record.parent.as_bytes())));
        let payload = Nodes::new(group.map(|record| words(*record.payload_hash.as_bytes())));
        let adjacents = group.map(|record| record.adjacents.all().map(|(_, hash)| hash));
        let adjacent = |hash: &BlockHash| words(*hash.as_bytes());
        let [a, b, c] = [
            Nodes::new(adjacents.each_ref().map(|[a, _, _]| adjacent(a))),
            Nodes::new(adjacents.each_ref().map(|[_, b, _]| adjacent(b))),
            Nodes::new(adjacents.each_ref().map(|[_, _, c]| adjacent(c))),
        ];
        let flags = Nodes::new(at.map(|at| self.flags.nodes(at.flags)[0]));
        let height = Nodes::new(at.map(|at| self.height.nodes(at.height)[0]));
        let kept = at.map(|at| self.epoch.nodes(at.epoch));
        let [target, chain, epoch] = [
            Nodes::new(kept.map(|nodes| nodes[0])),
            Nodes::new(kept.map(|nodes| nodes[1])),
            Nodes::new(kept.map(|nodes| nodes[2])),
        ];
        let first = join(&join(&flags, &time), &join(&parent, &target));
        let second = join(&join(&payload, &chain), &join(&weight, &height));
        let third = join(&join(&epoch, &join(&nonce, &a)), &join(&b, &c));
        join(&join(&first, &second), &third)
    }
}

/// The bytes of a number of eight bytes as they lie, as a little-endian number.
fn whole(field: zerocopy::byteorder::little_endian::I64) -> u64 {
    field.get().cast_unsigned()
}

/// 32 bytes as SHA-512 sees them.
fn words(bytes: [u8; 32]) -> [u64; 4] {
    let words: [big_endian::U64; 4] = zerocopy::transmute!(bytes);
    words.map(big_endian::U64::get)
}

fn block_hash(words: [u64; 4]) -> BlockHash {
    BlockHash::new(zerocopy::transmute!(words.map(big_endian::U64::new)))
}

/// What a leaf begins with: a zero byte and the tag.
const fn prefix(tag: u16) -> u64 {
    (tag as u64) << 40
}

/// Leaves of four bytes; `values` are little-endian numbers.
fn four<const N: usize>(lanes: impl Lanes<N>, tag: u16, values: [u64; N]) -> Nodes<N> {
    let word = |value: u64| prefix(tag) | value.swap_bytes() >> 24 | 0x80;
    lanes.short(&[values.map(word)], 7 * 8)
}

/// Leaves of eight bytes; `values` are little-endian numbers.
fn eight<const N: usize>(lanes: impl Lanes<N>, tag: u16, values: [u64; N]) -> Nodes<N> {
    let values = values.map(u64::swap_bytes);
    let end = |value: u64| value << 40 | 0x80 << 32;
    lanes.short(&[values.map(|value| prefix(tag) | value >> 24), values.map(end)], 11 * 8)
}

/// Leaves of 32 bytes.
fn thirty_two<const N: usize>(lanes: impl Lanes<N>, tag: u16, values: &Nodes<N>) -> Nodes<N> {
    let [a, b, c, d] = &values.0;
    let next = |before: &[u64; N], word: &[u64; N]| {
        let mut both = *before;
        both.iter_mut().zip(word).for_each(|(both, word)| *both = *both << 40 | *word >> 24);
        both
    };
    let words = [
        a.map(|word| prefix(tag) | word >> 24),
        next(a, b),
        next(b, c),
        next(c, d),
        d.map(|word| word << 40 | 0x80 << 32),
    ];
    lanes.short(&words, 35 * 8)
}

#[cfg(test)]
mod tests {
    use blake2s_simd::blake2s;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use zerocopy::{FromBytes, IntoBytes};

    use super::*;
    use crate::header::{LEN, WORK_LEN, merkle};
    use crate::types::{ChainId, ChainwebVersion, Micros};

    const NOW: Micros = Micros::new(1_764_000_000_000_000);

    /// Every backend makes of `records` what is made of them one by one.
    fn check(records: &[RawHeader]) {
        let expected: Vec<_> = records.iter().map(merkle::hash_of).collect();
        for backend in Backend::available() {
            let mut hasher = Hasher::new(backend);
            for _ in 0..2 {
                let mut found = Vec::new();
                hasher.block_hashes(records, &mut found);
                assert_eq!(found, expected, "{}", backend.name());
            }
            let mut found = Vec::new();
            hasher.pow_hashes(records, &mut found);
            for (record, found) in records.iter().zip(found) {
                let mut expected = *blake2s(&record.as_bytes()[..WORK_LEN]).as_array();
                expected.reverse();
                assert_eq!(found, BlockHash::new(expected), "{}", backend.name());
            }
            check_verifiers(&mut hasher, records);
        }
    }

    fn check_verifiers(hasher: &mut Hasher, records: &[RawHeader]) {
        for (version, level) in ChainwebVersion::ALL.iter().flat_map(|v| Level::ALL.map(|l| (v, l)))
        {
            let verifier = Verifier::new(*version, level, NOW);
            let mut found = Vec::new();
            verifier.check_many(hasher, records, &mut found);
            assert_eq!(found.len(), records.len());
            for (record, found) in records.iter().zip(found) {
                let expected = HeaderRef::new(record).map(|header| verifier.check(header));
                let parts = |checked: Checked<'_>| (*checked.header.raw(), checked.failures);
                assert_eq!(found.map(parts), expected.map(parts));
            }
        }
    }

    /// Bytes without any order.
    fn random(count: usize) -> Vec<RawHeader> {
        let mut state = 7_u64;
        let mut bytes = vec![0; count * LEN];
        for byte in &mut bytes {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        <[RawHeader]>::ref_from_bytes(&bytes).unwrap().to_vec()
    }

    /// Genesis blocks of all networks, which share fields, then blocks that do so less and less.
    fn repeating(count: usize) -> Vec<RawHeader> {
        let genesis: Vec<RawHeader> = ChainwebVersion::ALL
            .iter()
            .flat_map(|version| version.genesis_headers())
            .map(|header| *header.view().raw())
            .collect();
        let mut all: Vec<RawHeader> = genesis.iter().cycle().take(count).copied().collect();
        for (index, raw) in (0_u32..).zip(&mut all) {
            raw.height = u64::from(index / 20).into();
            raw.epoch_start = i64::from(index / 300).into();
            raw.nonce = u64::from(index).into();
            raw.feature_flags = (u64::from(index % 7) << 32).into();
        }
        all
    }

    #[test]
    fn every_number_of_headers_is_hashed_as_one_by_one() {
        let (random, repeating) = (random(30), repeating(30));
        for count in 0..=30 {
            check(&random[..count]);
            check(&repeating[..count]);
        }
    }

    #[test]
    fn hashes_stay_right_when_the_memo_is_full() {
        let random = random(6_000);
        let mixed: Vec<RawHeader> =
            random.into_iter().zip(repeating(6_000)).flat_map(|(a, b)| [a, b]).collect();
        let expected: Vec<_> = mixed.iter().map(merkle::hash_of).collect();
        for backend in Backend::available() {
            let (mut hasher, mut found) = (Hasher::new(backend), Vec::new());
            for records in mixed.chunks(1777) {
                hasher.block_hashes(records, &mut found);
            }
            assert!(found == expected, "{}", backend.name());
        }
    }

    #[test]
    fn genesis_blocks_pass_in_a_batch() {
        let verifier = Verifier::new(ChainwebVersion::Mainnet01, Level::Full, NOW);
        let genesis: Vec<RawHeader> =
            verifier.genesis().map(|block| *block.header().raw()).collect();
        let mut out = Vec::new();
        verifier.check_many(&mut Hasher::default(), &genesis, &mut out);
        assert!(out.iter().all(|checked| checked.as_ref().unwrap().failures().is_empty()));
        assert_eq!(out[3].as_ref().unwrap().header().chain(), ChainId::new(3));
    }

    proptest! {
        /// Bytes anywhere are altered, so that some fields repeat and some nearly do.
        #[test]
        fn altered_headers_are_hashed_as_one_by_one(
            count in 1_usize..40,
            altered in vec((any::<prop::sample::Index>(), any::<u8>()), 0..60),
        ) {
            let mut records = repeating(count);
            let bytes = records.as_mut_bytes();
            for (index, byte) in &altered {
                bytes[index.index(bytes.len())] = *byte;
            }
            check(&records);
        }
    }
}
