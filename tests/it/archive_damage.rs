//! Damaged archives: what is wrong is found and named, and the rest is of use.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use plait_engine::archive::{self, ArchiveError, Event, Manifest, Reader, Report};
use plait_engine::verify::{Level, Verifier};
use plait_engine::{BlockHeight, Micros};
use tempfile::TempDir;
use testkit::archive::{HEADER_LEN, export, files, has_extension};
use testkit::braid::braid_with_orphans;
use testkit::process::replay;
use testkit::{Database, sorted, stored};

use crate::archive::{folder, verify};

const MANIFEST: &str = "manifest.json";

/// An archive of some forty small files.
fn small() -> TempDir {
    let mut database = Database::with_genesis();
    database.add(&braid_with_orphans(5, 3));
    let archive = folder();
    export(database.reader(), archive.path(), 4);
    archive
}

/// What a check says: files it names, blocks it names, and the counts; or why there is none.
fn check(dir: &Path) -> Result<(Vec<String>, Vec<String>, Report), ArchiveError> {
    let (mut damaged, mut broken) = (Vec::new(), Vec::new());
    let now = Micros::new(i64::MAX);
    let verifier = |manifest: &Manifest| Verifier::new(manifest.version, Level::Hash, now);
    let report =
        archive::check(dir, verifier, &AtomicBool::new(false), &mut |event| match event {
            Event::Damaged(name, _) => damaged.push(name),
            Event::Broken(place, ..) => broken.push(place),
            Event::Begin { .. } | Event::Progress(_) | Event::Unlisted(_) => {}
        })?;
    Ok((damaged, broken, report))
}

/// Checks that exactly this file is found wrong, and no block besides.
fn assert_names(dir: &Path, name: &str, what: &str) {
    match check(dir) {
        Err(ArchiveError::Manifest { path, .. }) if name == MANIFEST => {
            assert_eq!(path, dir.join(MANIFEST), "{what}");
        }
        Err(error) => panic!("{name}, {what}: {error}"),
        Ok((damaged, broken, _)) => {
            assert_eq!((damaged, broken), (vec![name.to_owned()], vec![]), "{what}");
        }
    }
}

/// The next of a row of numbers that look random.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn one_flipped_bit_in_any_file_is_found_and_the_file_is_named() {
    let archive = small();
    let dir = archive.path();
    let (whole, mut state) = (files(dir), 7);
    let (damaged, broken, report) = check(dir).unwrap();
    assert!(damaged.is_empty() && broken.is_empty() && report.sound == 60, "{report:?}");
    let mut flipped = 0;
    for (name, bytes) in whole.iter().filter(|(name, _)| !name.starts_with('.')) {
        let len = bytes.len() as u64;
        // A bit of every byte of headers and, in steps, of the manifest; some more of all.
        let steps = if name == MANIFEST { (0..len).step_by(7).collect() } else { Vec::new() };
        let heads = if name == MANIFEST { 0..0 } else { 0..HEADER_LEN as u64 };
        let some: Vec<u64> = (0..12).map(|_| next(&mut state) % len).collect();
        let tail = len.saturating_sub(120)..len;
        let tail = if name == MANIFEST { tail } else { 0..0 };
        let heads = heads.filter(|at| (at + flipped) % 5 == 0).collect::<Vec<_>>();
        for at in steps.into_iter().chain(heads).chain(some).chain(tail) {
            let bit = 1 << (next(&mut state) % 8);
            let mut other = bytes.clone();
            other[usize::try_from(at).unwrap()] ^= bit;
            fs::write(dir.join(name), other).unwrap();
            assert_names(dir, name, &format!("bit {bit} of byte {at}"));
            flipped += 1;
        }
        fs::write(dir.join(name), bytes).unwrap();
    }
    assert!(flipped > 2000, "{flipped}");
    assert!(check(dir).unwrap().2.is_sound());
}

#[test]
fn every_byte_of_a_file_counts() {
    let archive = small();
    let dir = archive.path();
    let whole = files(dir);
    let (name, bytes) = whole.iter().find(|(name, _)| name.contains("orphans")).unwrap();
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1 << (at % 8);
        fs::write(dir.join(name), other).unwrap();
        assert_names(dir, name, &format!("byte {at}"));
    }
}

#[test]
fn files_that_are_cut_or_longer_or_gone_or_swapped_are_named() {
    let archive = small();
    let dir = archive.path();
    let whole = files(dir);
    let names: Vec<&String> = whole.keys().filter(|name| has_extension(name, "plait")).collect();
    for name in &names {
        let (path, bytes) = (dir.join(name), &whole[*name]);
        for len in [0, 1, HEADER_LEN - 1, HEADER_LEN, bytes.len() - 318, bytes.len() - 1] {
            fs::write(&path, &bytes[..len]).unwrap();
            assert_names(dir, name, &format!("cut to {len}"));
        }
        for more in [1, 318] {
            fs::write(&path, [&bytes[..], &vec![0; more]].concat()).unwrap();
            assert_names(dir, name, &format!("{more} bytes more"));
        }
        fs::remove_file(&path).unwrap();
        assert_names(dir, name, "gone");
        fs::create_dir(&path).unwrap();
        assert_eq!(check(dir).unwrap().0, [(*name).clone()], "a folder");
        fs::remove_dir(&path).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    let same_length = |a: &&&String, b: &&&String| whole[**a].len() == whole[**b].len();
    let pairs = names.iter().flat_map(|a| names.iter().map(move |b| (a, b)));
    let pairs = pairs.filter(|(a, b)| a < b && same_length(a, b)).step_by(37);
    let mut swapped = 0;
    for (a, b) in pairs {
        fs::write(dir.join(a), &whole[*b]).unwrap();
        fs::write(dir.join(b), &whole[*a]).unwrap();
        assert_eq!(check(dir).unwrap().0, [(*a).clone(), (*b).clone()]);
        fs::write(dir.join(a), &whole[*a]).unwrap();
        fs::write(dir.join(b), &whole[*b]).unwrap();
        swapped += 1;
    }
    assert!(swapped > 10, "{swapped}");
    for len in [0, 1, whole[MANIFEST].len() - 1] {
        fs::write(dir.join(MANIFEST), &whole[MANIFEST][..len]).unwrap();
        assert_names(dir, MANIFEST, &format!("cut to {len}"));
    }
}

#[test]
fn the_command_names_what_is_wrong_and_fails() {
    let archive = small();
    let dir = archive.path();
    let whole = files(dir);
    let names: Vec<&String> = whole.keys().filter(|name| name.contains("canonical")).collect();
    let mut bytes = whole[names[3]].clone();
    bytes[HEADER_LEN + 318 + 100] ^= 4;
    fs::write(dir.join(names[3]), bytes).unwrap();
    fs::remove_file(dir.join(names[8])).unwrap();
    let outcome = verify(dir, &["--level", "hash"]);
    let flaw = format!("damaged: {}: the checksum is ", names[3]);
    let gone = format!("damaged: {}: the file is missing", names[8]);
    let record = "; record 1, height ";
    outcome.assert_fails(
        1,
        &[&flaw, &gone, record, "the block hash is not", " 2 damaged", " 0 broken"],
    );
    fs::write(dir.join(MANIFEST), "{}").unwrap();
    verify(dir, &[]).assert_fails(1, &["manifest.json: the manifest does not end with a checksum"]);
}

#[test]
fn the_rest_of_a_damaged_archive_is_of_use() {
    let archive = small();
    let dir = archive.path();
    let whole = files(dir);
    let all = testkit::archive::read_all(dir);
    let names: Vec<&String> = whole.keys().filter(|name| name.contains("canonical")).collect();
    let lost = [names[4], names[9]];
    fs::write(dir.join(lost[0]), vec![0; whole[lost[0]].len()]).unwrap();
    fs::remove_file(dir.join(lost[1])).unwrap();
    let mut reader = Reader::open(dir, BlockHeight::new(0), true).unwrap();
    let (mut rest, mut skipped) = (Vec::new(), Vec::new());
    while let Some(records) = reader.next_records(50).unwrap() {
        let headers = records.bytes.chunks(318).map(plait_engine::HeaderRef::parse);
        rest.extend(headers.map(|header| header.unwrap().to_owned()));
        skipped.extend(reader.skipped());
    }
    assert_eq!(skipped.iter().map(|(name, _)| name).collect::<Vec<_>>(), lost);
    assert_eq!(reader.position(), reader.size());
    let of_lost = lost.iter().flat_map(|name| testkit::archive::headers(&whole[*name]));
    assert_eq!(sorted(&rest.iter().copied().chain(of_lost).collect::<Vec<_>>()), sorted(&all));
    // Without leave to go on it is an error that names the file.
    let mut reader = Reader::open(dir, BlockHeight::new(0), false).unwrap();
    let error = std::iter::from_fn(|| reader.next_records(50).transpose()).find_map(Result::err);
    let error = error.unwrap().to_string();
    assert!(error.contains(lost[0]), "{error}");
    // So it is for a replay.
    let db = folder();
    let outcome = replay(db.path(), [dir]);
    outcome.assert_fails(2, &[lost[0], "--keep-going"]);
    let db = folder();
    let outcome = replay(db.path(), ["--keep-going".as_ref(), dir.as_os_str()]);
    outcome.assert_fails(1, &[lost[0], lost[1], "the file is missing", "rejected by rule: File 2"]);
    assert!(stored(db.path()).len() > 20, "{}", outcome.err);
}

/// The manifest with something else in place of a text, sealed again.
fn altered(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from}");
    let seal = "  \"checksum\": \"";
    let body = &text[..text.rfind(seal).unwrap()];
    let body = body.replacen(from, to, 1);
    let checksum = archive::Checksum::of(body.as_bytes());
    format!("{body}{seal}{checksum}\"\n}}\n")
}

#[test]
fn a_hostile_manifest_is_refused_and_reserves_nothing() {
    let archive = small();
    let dir = archive.path();
    let text = fs::read_to_string(dir.join(MANIFEST)).unwrap();
    let entries: Vec<&str> = text.lines().filter(|line| line.contains("\"name\"")).collect();
    let name = |line: &str| line.split('"').nth(3).unwrap().to_owned();
    let (one, two) = (name(entries[0]), name(entries[1]));
    let field = |line: &str, key: &str| {
        let rest = line.split_once(&format!("\"{key}\":")).unwrap().1;
        format!("\"{key}\":{}", rest.split([',', '}']).next().unwrap())
    };
    let huge = u64::MAX.to_string();
    let mut cases: Vec<(String, String)> = vec![
        (one.clone(), "../../etc/passwd".to_owned()),
        (one.clone(), "/etc/passwd".to_owned()),
        (one.clone(), format!("x/{one}")),
        (one.clone(), two.clone()),
        (one.clone(), String::new()),
        (field(entries[0], "records"), format!("\"records\":{huge}")),
        (field(entries[0], "bytes"), format!("\"bytes\":{huge}")),
        (field(entries[0], "from"), format!("\"from\":{huge}")),
        (field(entries[0], "chain"), "\"chain\":4294967295".to_owned()),
        (field(entries[0], "chain"), "\"chain\":1".to_owned()),
        (field(entries[0], "kind"), "\"kind\":\"orphans\"".to_owned()),
        ("\"heights\": 4".to_owned(), "\"heights\": 0".to_owned()),
        ("\"heights\": 4".to_owned(), format!("\"heights\": {huge}")),
        ("\"heights\": 4".to_owned(), "\"heights\": 8".to_owned()),
        ("\"history\": \"full\"".to_owned(), "\"history\": \"none\"".to_owned()),
        ("\"network\": \"development\"".to_owned(), "\"network\": \"mainnet02\"".to_owned()),
        ("\"format\": 1".to_owned(), "\"format\": 2".to_owned()),
        ("\"format\": 1".to_owned(), "\"format\": 1,\n  \"more\": 1".to_owned()),
        (format!("{}\n", entries[0]), String::new()),
        (entries[1].to_owned(), entries[0].to_owned()),
        ("\"files\": [".to_owned(), "\"files\": [[[[[[[[[[[[[[[[".to_owned()),
    ];
    let cut = text.lines().find(|line| line.trim_start().starts_with("{\"chain\":0,")).unwrap();
    cases.push((format!("{cut}\n"), String::new()));
    cases.push((field(cut, "height"), "\"height\":3".to_owned()));
    for (from, to) in cases {
        fs::write(dir.join(MANIFEST), altered(&text, &from, &to)).unwrap();
        assert_names(dir, MANIFEST, &format!("{from} is {to}"));
    }
    fs::write(dir.join(MANIFEST), altered(&text, "\"format\": 1", "\"format\": 2")).unwrap();
    verify(dir, &[]).assert_fails(1, &["format version 2, this release reads 1"]);
    // One that says that it is another archive altogether is not believed either.
    let files: BTreeMap<_, _> = files(dir);
    fs::write(
        dir.join(MANIFEST),
        altered(&text, "\"network\": \"development\"", "\"network\": \"mainnet01\""),
    )
    .unwrap();
    let (damaged, _, report) = check(dir).unwrap();
    assert_eq!((damaged.len(), report.sound), (files.len() - 1, 0));
}

#[test]
fn blocks_that_are_wrong_though_their_file_is_as_written_are_named() {
    // Stored without a look at adjacent parents, which exist nowhere: no cut has these blocks.
    let mut drawing = testkit::drawing::Drawing::default();
    let mut database = Database::with_genesis();
    let blocks = drawing.draw("0-1-2-3-4-5-6 2-3a");
    database.add(&blocks);
    let archive = folder();
    export(database.reader(), archive.path(), 4);
    let outcome = verify(archive.path(), &["--level", "full"]);
    outcome.assert_fails(
        1,
        &["-orphans-", ", record 1: chain 0, height 2, block ", "MissingAdjacentParent"],
    );
    assert_eq!(verify(archive.path(), &["--level", "hash"]).status, Some(0));
}
