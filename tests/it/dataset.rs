//! Datasets of Parquet files, read by the reader of the format's own project.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use num_bigint::BigUint;
use parquet::data_type::{ByteArray, Decimal};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use plait_engine::archive::FileHeights;
use plait_engine::header::{AdjacentRecord, RawHeader};
use plait_engine::{BlockHash, ChainId, ChainwebVersion, Header, Reader};
use plait_parquet::{Export, Summary};
use testkit::archive::has_extension;

/// A row: its header made again, whether it is an orphan, and what it says of its difficulty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// The header.
    pub(crate) header: Header,
    /// Whether it is marked as an orphan.
    pub(crate) orphan: bool,
    /// Its difficulty, where there is one.
    pub(crate) difficulty: Option<BigUint>,
}

/// Exports what `reader` has with files of so many heights.
pub(crate) fn export(reader: &Reader, dir: &Path, heights: u32) -> Summary {
    let heights = FileHeights::new(heights.try_into().unwrap());
    let export = Export::new(reader, dir).heights(heights);
    export.run(&AtomicBool::new(false), &|_| {}).unwrap()
}

/// All files below `dir` with what is in them.
pub(crate) fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let below = files(&path).into_iter();
            found.extend(below.map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

/// The rows of each file of the dataset in `dir`, by its name.
pub(crate) fn read_all(dir: &Path) -> BTreeMap<String, Vec<Read>> {
    let names = files(dir).into_keys().filter(|name| has_extension(name, "parquet"));
    names.map(|name| (name.clone(), read(dir, &name))).collect()
}

fn read(dir: &Path, name: &str) -> Vec<Read> {
    let value = |key: &str| {
        let mut parts = name.split('/').filter_map(|part| part.split_once('='));
        parts.find(|(name, _)| *name == key).unwrap().1
    };
    let version = ChainwebVersion::from_name(value("chainwebVersion")).unwrap();
    let chain = ChainId::new(value("chainId").parse().unwrap());
    let file = fs::File::open(dir.join(name)).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| header(&row.unwrap(), version, chain)).collect()
}

fn header(row: &Row, version: ChainwebVersion, chain: ChainId) -> Read {
    let fields: BTreeMap<&str, &Field> =
        row.get_column_iter().map(|(name, field)| (name.as_str(), field)).collect();
    let genesis = version.genesis_header(chain).unwrap();
    let mut raw: RawHeader = *genesis.view().raw();
    let number = |name: &str| match fields[name] {
        Field::Long(number) | Field::TimestampMicros(number) => *number,
        Field::ULong(number) => number.cast_signed(),
        other => panic!("{name}: {other:?}"),
    };
    let hash = |name: &str| bytes(fields[name]);
    raw.feature_flags.set(number("featureFlags").cast_unsigned());
    raw.creation_time.set(number("creationTime"));
    raw.parent = BlockHash::new(hash("parent"));
    let Field::MapInternal(adjacents) = fields["adjacents"] else { panic!("no map") };
    let adjacents: Vec<(ChainId, BlockHash)> = adjacents
        .entries()
        .iter()
        .map(|(chain, hash)| match chain {
            Field::Int(chain) => (ChainId::new(chain.cast_unsigned()), BlockHash::new(bytes(hash))),
            other => panic!("{other:?}"),
        })
        .collect();
    raw.adjacents = AdjacentRecord::new(adjacents.try_into().unwrap());
    raw.target = hash("target");
    raw.target.reverse();
    raw.payload_hash = plait_engine::PayloadHash::new(hash("payloadHash"));
    raw.chain.set(chain.get());
    let weight = decimal(fields["weight"]).unwrap_or_default().to_bytes_le();
    raw.weight = [0; 32];
    raw.weight[..weight.len()].copy_from_slice(&weight);
    raw.height.set(number("height").cast_unsigned());
    raw.epoch_start.set(number("epochStart"));
    raw.nonce.set(number("nonce").cast_unsigned());
    raw.hash = BlockHash::new(hash("hash"));
    let orphan = matches!(fields["orphan"], Field::Bool(true));
    let header = Header::new(raw).unwrap();
    Read { header, orphan, difficulty: decimal(fields["difficulty"]) }
}

fn bytes(field: &Field) -> [u8; 32] {
    let Field::Bytes(bytes) = field else { panic!("{field:?}") };
    bytes.data().try_into().unwrap()
}

/// A number, whose bytes are signed and never of one below zero.
fn decimal(field: &Field) -> Option<BigUint> {
    let number = match field {
        Field::Null => return None,
        Field::Decimal(number) => number,
        other => panic!("{other:?}"),
    };
    let Decimal::Bytes { value, precision: 38, scale: 0 } = number else { panic!("{number:?}") };
    let value: &ByteArray = value;
    assert!(value.data()[0] < 0x80);
    Some(BigUint::from_bytes_be(value.data()))
}
