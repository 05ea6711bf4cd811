//! Records that share fields → hashes and checks in a batch, by every backend → one by one.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use plait_engine::header::{AdjacentRecord, LEN, merkle};
use plait_engine::verify::{Backend, Checked, Hasher, Level, Verifier, pow_hash};
use plait_engine::{ChainId, ChainwebVersion, DecodeError, HeaderRef, Micros, RawHeader};
use zerocopy::{FromBytes, IntoBytes};

/// Records of one input at most: more than any backend has lanes, and some of several groups.
const RECORDS_MAX: usize = 50;

fuzz_target!(|batch: Batch| {
    for backend in Backend::available() {
        // The second time everything that repeats is in the memo.
        let mut hasher = Hasher::new(backend);
        for _ in 0..2 {
            hashes(&mut hasher, &batch.records);
            checks(&mut hasher, &batch);
        }
    }
});

/// Records, and by what they are checked.
#[derive(Debug)]
struct Batch {
    records: Vec<RawHeader>,
    version: ChainwebVersion,
    level: Level,
}

impl<'a> Arbitrary<'a> for Batch {
    /// The first record is a genesis block; each further one is a copy of one before it, altered in
    /// a few places, or bytes without any order.
    fn arbitrary(from: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (version, level) = (*from.choose(&ChainwebVersion::ALL)?, *from.choose(&Level::ALL)?);
        let chain = ChainId::new(from.int_in_range(0..=19)?);
        let mut records = Vec::new();
        records.extend(version.genesis_header(chain).map(|header| *header.view().raw()));
        while records.len() < RECORDS_MAX && !from.is_empty() {
            let mut record = records.get(from.choose_index(records.len())?).copied();
            if from.ratio(1, 16)? {
                record = RawHeader::read_from_bytes(from.bytes(LEN)?).ok().map(in_order);
            }
            let Some(mut record) = record else { break };
            for _ in 0..from.int_in_range(0..=3)? {
                let at = from.int_in_range(0..=LEN - 1)?;
                let bytes: [u8; 4] = from.arbitrary()?;
                record.as_mut_bytes().iter_mut().skip(at).zip(bytes).for_each(|(b, new)| *b = new);
            }
            records.push(record);
        }
        Ok(Self { records, version, level })
    }
}

/// The record with its adjacent parents on chains in ascending order, so that it is a header.
fn in_order(mut record: RawHeader) -> RawHeader {
    let [(_, a), (_, b), (_, c)] = record.adjacents.all();
    let [first, second, third] = [1, 2, 3].map(ChainId::new);
    record.adjacents = AdjacentRecord::new([(first, a), (second, b), (third, c)]);
    record
}

/// A batch has the hashes that its records have one by one.
fn hashes(hasher: &mut Hasher, records: &[RawHeader]) {
    let (mut blocks, mut works) = (Vec::new(), Vec::new());
    hasher.block_hashes(records, &mut blocks);
    hasher.pow_hashes(records, &mut works);
    assert_eq!((blocks.len(), works.len()), (records.len(), records.len()));
    for ((record, block), work) in records.iter().zip(blocks).zip(works) {
        if let Ok(header) = HeaderRef::new(record) {
            assert_eq!(block, merkle::block_hash(header), "{header:?}");
            assert_eq!(work, pow_hash(header), "{header:?}");
        }
    }
}

/// A batch is refused and passes as its records do one by one.
fn checks(hasher: &mut Hasher, batch: &Batch) {
    let verifier = Verifier::new(batch.version, batch.level, Micros::new(0));
    let mut found = Vec::new();
    verifier.check_many(hasher, &batch.records, &mut found);
    assert_eq!(found.len(), batch.records.len());
    for (record, found) in batch.records.iter().zip(&found) {
        let expected = HeaderRef::new(record).map(|header| verifier.check(header));
        assert_eq!(parts(found), parts(&expected), "{record:?}");
    }
}

fn parts<'a>(
    checked: &'a Result<Checked<'a>, DecodeError>,
) -> Result<(HeaderRef<'a>, String), &'a DecodeError> {
    checked.as_ref().map(|checked| (checked.header(), checked.failures().to_string()))
}
