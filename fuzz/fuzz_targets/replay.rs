//! Copies of true blocks with altered fields, taken in order from the first record on, and one by one.
#![no_main]

use std::io::Cursor;

use arbitrary::Arbitrary;
use fuzz::{Edge, history, replay_both};
use libfuzzer_sys::fuzz_target;
use plait_engine::header::{RawHeader, merkle};
use plait_engine::replay::source::{Binary, Source};
use plait_engine::verify::Level;
use plait_engine::{BlockHash, RawHeader as Raw};
use zerocopy::{FromBytes, IntoBytes};

/// Records of a case at most.
const RECORDS_MAX: usize = 24;

#[derive(Arbitrary, Debug)]
struct Case {
    level: u8,
    partial: bool,
    records: Vec<Record>,
}

/// A block of the history, and what is changed of it.
#[derive(Arbitrary, Debug)]
struct Record {
    block: u16,
    changes: Vec<Change>,
    /// Whether it has the hash that its fields ask for.
    sealed: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Change {
    Height(Edge),
    Created(Edge),
    EpochStart(Edge),
    Nonce(Edge),
    Flags(Edge),
    Chain(u8),
    Parent(u16),
    Weight(u8),
    Target(u8),
    Bit(u16),
}

fuzz_target!(|case: Case| {
    let level = Level::ALL.into_iter().cycle().nth(case.level.into()).unwrap_or_default();
    let mut bytes = Vec::new();
    for record in case.records.iter().take(RECORDS_MAX) {
        bytes.extend_from_slice(record.made().as_bytes());
    }
    if bytes.is_empty() {
        return;
    }
    replay_both(level, case.partial, &|| {
        let input = Box::new(Cursor::new(bytes.clone()));
        Some(Box::new(Binary::streamed("memory".to_owned(), input)) as Box<dyn Source>)
    });
});

/// The block of the history with this number.
fn block(number: u16) -> &'static RawHeader {
    let headers = history();
    let header = headers.iter().cycle().nth(number.into());
    header.unwrap_or_else(|| panic!("a history has blocks")).view().raw()
}

impl Record {
    fn made(&self) -> Raw {
        let mut raw = *block(self.block);
        for change in self.changes.iter().take(4) {
            change.apply(&mut raw);
        }
        if self.sealed
            && let Ok(header) = plait_engine::Header::new(raw)
        {
            raw.hash = merkle::block_hash(header.view());
        }
        raw
    }
}

impl Change {
    fn apply(self, raw: &mut Raw) {
        match self {
            Self::Height(edge) => raw.height = edge.get().into(),
            Self::Created(edge) => raw.creation_time = edge.get().cast_signed().into(),
            Self::EpochStart(edge) => raw.epoch_start = edge.get().cast_signed().into(),
            Self::Nonce(edge) => raw.nonce = edge.get().into(),
            Self::Flags(edge) => raw.feature_flags = edge.get().into(),
            Self::Chain(chain) => raw.chain = u32::from(chain).into(),
            Self::Parent(number) if number == u16::MAX => raw.parent = BlockHash::new([7; 32]),
            Self::Parent(number) => raw.parent = block(number).hash,
            Self::Weight(byte) => raw.weight[usize::from(byte) % 32] ^= 1 << (byte / 32),
            Self::Target(byte) => raw.target[usize::from(byte) % 32] ^= 1 << (byte / 32),
            Self::Bit(bit) => {
                let mut bytes = raw.as_bytes().to_vec();
                let bit = usize::from(bit) % (bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                *raw = Raw::read_from_bytes(&bytes).unwrap_or(*raw);
            }
        }
    }
}
