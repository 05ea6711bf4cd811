//! Archives: made in a moment, compared byte for byte, and what should be in them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use plait_engine::archive::{Export, FileHeights, Kind, Manifest, Reader, Summary};
use plait_engine::{BlockHeight, ChainId, Header, HeaderRef, Reader as Database};

/// Bytes in front of the records of a file.
pub const HEADER_LEN: usize = 48;

/// Exports what `reader` has, in files of so many heights.
///
/// # Panics
///
/// If that fails.
pub fn export(reader: &Database, dir: &Path, heights: u32) -> Summary {
    let heights = NonZeroU32::new(heights).map(FileHeights::new);
    let export = Export::new(reader, dir).heights(heights);
    export.run(&AtomicBool::new(false), &|_| {}).expect("an archive")
}

/// Every file of a folder, but for what an exporter notes for itself: that says how files look, which no two
/// archives have in common.
///
/// # Panics
///
/// If it cannot be read.
#[must_use]
pub fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = dir.read_dir().expect("a folder").map(|entry| entry.expect("a file"));
    let file = |entry: std::fs::DirEntry| {
        let bytes = std::fs::read(entry.path()).expect("a file to read");
        (entry.file_name().into_string().expect("a name of text"), bytes)
    };
    entries.filter(|entry| entry.file_name() != ".export").map(file).collect()
}

/// Whether a name ends with this, as in `plait` or `tmp`.
#[must_use]
pub fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

/// The headers of a file of an archive.
///
/// # Panics
///
/// If it is none.
#[must_use]
pub fn headers(bytes: &[u8]) -> Vec<Header> {
    let records = bytes[HEADER_LEN..].chunks(318);
    records.map(|record| HeaderRef::parse(record).expect("a record").to_owned()).collect()
}

/// All that an archive gives to a replay, in its order, a few records at a time.
///
/// # Panics
///
/// If it is damaged.
#[must_use]
pub fn read_all(dir: &Path) -> Vec<Header> {
    let mut reader = Reader::open(dir, BlockHeight::new(0), false).expect("an archive");
    let mut all = Vec::new();
    while let Some(records) = reader.next_records(100).expect("a sound archive") {
        assert_eq!(records.bytes.len(), records.places.len() * 318);
        let some = records.bytes.chunks(318).map(HeaderRef::parse);
        all.extend(some.map(|header| header.expect("a record").to_owned()));
    }
    assert_eq!(reader.position(), reader.size());
    all
}

/// Checks that an archive has exactly these blocks, divided by what the cut has below it, and in
/// the files that they belong to.
///
/// # Panics
///
/// If not.
pub fn assert_holds(dir: &Path, blocks: &[Header]) {
    let (manifest, _) = Manifest::read(dir).expect("a manifest");
    let by_hash: HashMap<_, _> =
        blocks.iter().map(|block| (block.view().hash(), block.view())).collect();
    let mut canonical = HashSet::new();
    for member in &manifest.cut {
        let mut next = by_hash.get(&member.rank.hash);
        while let Some(block) = next {
            canonical.insert(block.hash());
            let below = by_hash.get(&block.parent());
            let is_below = |below: &&HeaderRef<'_>| below.height().child() == Some(block.height());
            next = below.filter(is_below);
        }
    }
    let mut expected: BTreeMap<(ChainId, BlockHeight, Kind), Vec<Header>> = BTreeMap::new();
    for block in crate::sorted(blocks) {
        let (header, is_canonical) = (block.view(), canonical.contains(&block.view().hash()));
        let kind = if is_canonical { Kind::Canonical } else { Kind::Orphans };
        let from = manifest.heights.start(header.height());
        expected.entry((header.chain(), from, kind)).or_default().push(block);
    }
    let files = files(dir);
    let found: BTreeMap<_, _> = manifest
        .files
        .iter()
        .map(|entry| ((entry.chain, entry.from, entry.kind), headers(&files[&entry.name()])))
        .collect();
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(found == expected, "the files hold other blocks");
}
