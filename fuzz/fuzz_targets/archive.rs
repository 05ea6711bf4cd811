//! An archive that somebody has altered, with and without a new seal on its manifest; and manifests of
//! any text.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

use arbitrary::{Arbitrary, Unstructured};
use fuzz::replay_both;
use libfuzzer_sys::fuzz_target;
use plait_engine::archive::{Checksum, Event, MANIFEST, Manifest, Reader, check};
use plait_engine::replay::source::{Reading, open};
use plait_engine::verify::{Level, Verifier};
use plait_engine::{BlockHeight, ChainwebVersion, Header, HeaderRef, Micros};
use tempfile::TempDir;
use testkit::{archive, sorted, tree};

/// What an archive is written into, so that a moment is enough for it.
struct Made {
    folder: TempDir,
    files: BTreeMap<String, Vec<u8>>,
    headers: Vec<Header>,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let tree = tree("0-1-2-3-4-5-6-7-8-9  2-3a-4a-5a  4a-5b");
    let (database, drawing) = (tree.database(), tree.drawing());
    let labels = "0 1 2 3 4 5 6 7 8 9 3a 4a 5a 5b".split(' ');
    let headers: Vec<Header> = labels.map(|label| *drawing.header(label)).collect();
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    archive::export(database.reader(), folder.path(), 4);
    let mut files = archive::files(folder.path());
    // What the exporter notes for itself is no part of an archive.
    files.retain(|name, _| !name.starts_with('.'));
    Made { folder, files, headers: sorted(&headers) }
});

/// Changes of an archive, and how it is read then.
#[derive(Arbitrary, Debug)]
struct Case<'a> {
    /// Whether the manifest is sealed again.
    seal: bool,
    from: u8,
    records_max: u8,
    changes: Vec<Change<'a>>,
}

#[derive(Arbitrary, Debug)]
struct Change<'a> {
    file: u8,
    at: u16,
    /// Bytes that go; they are replaced by as many of `new` as there are.
    cut: u8,
    new: &'a [u8],
    /// Whether the file goes as a whole.
    remove: bool,
}

// A text that may be a manifest, as it is or with the seal that it needs; or changes.
fuzz_target!(|data: &[u8]| match data {
    [b'0', text @ ..] => manifest(text),
    [b'1', text @ ..] => manifest(&sealed(text)),
    [_, case @ ..] => {
        if let Ok(case) = Case::arbitrary_take_rest(Unstructured::new(case)) {
            case.check();
        }
    }
    [] => {}
});

impl Case<'_> {
    fn check(&self) {
        let Self { seal, from, records_max, ref changes } = *self;
        let altered = altered(changes, seal);
        let same = altered == MADE.files;
        write(&altered);
        let sound = checked(MADE.folder.path());
        assert!(!same || sound, "an archive that nobody altered");
        // A seal is no secret, so a manifest may say less than it did.
        assert!(same || seal || !sound, "a change that is not found");
        let from = BlockHeight::new(from.into());
        read(MADE.folder.path(), from, usize::from(records_max).max(1), sound);
        // In order from the first record on, and one by one; the parents of its blocks are not there.
        let level = if records_max % 2 == 0 { Level::None } else { Level::Hash };
        replay_both(level, false, &|| {
            let reading = Reading { keep_going: true, ..Reading::default() };
            open(MADE.folder.path(), ChainwebVersion::Development, reading).ok()
        });
        write(&MADE.files);
    }
}

/// What parses is what is rendered, but for its layout; and it is what it says.
fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    let rendered = manifest.render();
    assert!(Manifest::parse(rendered.as_bytes()).is_ok_and(|again| again == manifest));
    let places = manifest.files.iter().map(|entry| (entry.chain, entry.from, entry.kind));
    assert!(places.is_sorted(), "files in another order than theirs");
    for entry in &manifest.files {
        let name = entry.name();
        assert!(!name.contains(['/', '\\']) && !name.starts_with('.'), "{name} leads elsewhere");
        assert!(entry.records > 0 && entry.first <= entry.last);
    }
}

/// The text as a manifest with a seal that fits.
fn sealed(text: &[u8]) -> Vec<u8> {
    let end = text.windows(14).rposition(|some| some == b"  \"checksum\": ");
    let text = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    let sum = Checksum::of(text);
    [text, format!("  \"checksum\": \"{sum}\"\n}}\n").as_bytes()].concat()
}

fn altered(changes: &[Change<'_>], seal: bool) -> BTreeMap<String, Vec<u8>> {
    let mut files = MADE.files.clone();
    for change in changes.iter().take(4) {
        let number = usize::from(change.file) % files.len();
        let Some(name) = files.keys().nth(number).cloned() else { continue };
        if change.remove {
            files.remove(&name);
        } else if let Some(bytes) = files.get_mut(&name) {
            let at = usize::from(change.at) % (bytes.len() + 1);
            let end = (at + usize::from(change.cut)).min(bytes.len());
            bytes.splice(at..end, change.new.iter().copied());
        }
        if files.is_empty() {
            break;
        }
    }
    if seal && let Some(manifest) = files.get_mut(MANIFEST) {
        *manifest = sealed(manifest);
    }
    files
}

fn write(files: &BTreeMap<String, Vec<u8>>) {
    let dir = MADE.folder.path();
    for name in MADE.files.keys() {
        let path = dir.join(name);
        match files.get(name) {
            Some(bytes) => fs::write(path, bytes),
            None => fs::remove_file(path).or(Ok(())),
        }
        .unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Whether the check of an archive finds nothing.
fn checked(dir: &Path) -> bool {
    let verifier =
        |manifest: &Manifest| Verifier::new(manifest.version, Level::Hash, Micros::new(i64::MAX));
    let mut told = 0;
    let report = check(dir, verifier, &AtomicBool::new(false), &mut |event| {
        told += u64::from(matches!(event, Event::Damaged(..) | Event::Broken(..)));
    });
    let Ok(report) = report else { return false };
    assert_eq!(report.damaged + report.broken, told, "what is counted is told");
    assert_eq!(report.is_sound(), told == 0);
    report.is_sound()
}

/// What is read is what was written, by ascending height; and all of it, if the archive is sound.
fn read(dir: &Path, from: BlockHeight, records_max: usize, is_sound: bool) {
    for keep_going in [false, true] {
        let Ok(mut reader) = Reader::open(dir, from, keep_going) else {
            assert!(!is_sound, "a sound archive that cannot be read");
            return;
        };
        let (mut last, mut all) = (BlockHeight::new(0), Vec::new());
        let failed = loop {
            match reader.next_records(records_max) {
                Ok(None) => break false,
                Ok(Some(records)) => {
                    assert!(records.places.len() <= records_max && !records.places.is_empty());
                    assert_eq!(records.bytes.len(), records.places.len() * 318);
                    for bytes in records.bytes.chunks(318) {
                        let Ok(header) = HeaderRef::parse(bytes) else { panic!("no header") };
                        assert!(from <= header.height() && last <= header.height());
                        last = header.height();
                        all.push(header.to_owned());
                    }
                }
                Err(_) => break true,
            }
        };
        let failed = failed || !reader.skipped().is_empty();
        assert!(!(is_sound && failed), "a sound archive that cannot be read");
        let known =
            |header: &Header| MADE.headers.binary_search_by_key(&place(header), place).is_ok();
        assert!(!is_sound || all.iter().all(known), "a sound archive with other blocks");
    }
}

fn place(header: &Header) -> (plait_engine::ChainId, plait_engine::Rank) {
    (header.view().chain(), header.view().rank())
}
