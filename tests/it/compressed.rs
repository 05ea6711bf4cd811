//! Dumps that are compressed with gzip or zstd, from files and pipes, whole and damaged; and what else is
//! told from a dump by its content.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use plait_engine::Engine;
use plait_engine::replay::source::{self, Reading, Source};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use testkit::block::{NETWORK, dump, lines};
use testkit::braid::braid;
use testkit::process::{plait, replay_file, run, run_measured, run_with_input};
use testkit::server::utf8;
use testkit::{say, sorted, stored};

use crate::push_http::{folder, taking};

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// An archive of tar with one file.
fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 512];
    head[..name.len()].copy_from_slice(name.as_bytes());
    let size = format!("{:011o}", bytes.len());
    head[124..135].copy_from_slice(size.as_bytes());
    head[257..265].copy_from_slice(b"ustar\x0000");
    [&head, bytes, &[0; 1024]].concat()
}

#[test]
fn compressed_dumps_are_read_as_they_are() {
    let headers = braid(12);
    for (name, plain) in [("binary", dump(&headers)), ("json", lines(&headers))] {
        let (first, second) = plain.split_at(plain.len() / 3);
        for (format, packed) in [
            ("gzip", gzip(&plain)),
            ("gzip, members", [gzip(first), gzip(b""), gzip(second)].concat()),
            ("zstd", zstd(&plain)),
            ("zstd, frames", [zstd(first), zstd(second)].concat()),
        ] {
            let db = folder();
            let outcome = replay_file(db.path(), &[], "dump", &packed);
            assert_eq!(outcome.status, Some(0), "{name}, {format}: {}", outcome.err);
            assert_eq!(stored(db.path()), sorted(&headers), "{name}, {format}");
            let db = folder();
            let command = plait(["replay", "--db", utf8(db.path()), "--verify", "hash", "-"]);
            let outcome = run_with_input(command, packed);
            assert_eq!(outcome.status, Some(0), "{name}, {format}: {}", outcome.err);
            assert_eq!(stored(db.path()), sorted(&headers), "{name}, {format}, from a pipe");
        }
    }
}

#[test]
fn a_compressed_dump_that_is_cut_off_or_damaged_is_an_error_and_what_came_before_stays() {
    let headers = braid(1200);
    for plain in [dump(&headers), lines(&headers)] {
        for (format, packed) in [("gzip", gzip(&plain)), ("zstd", zstd(&plain))] {
            let mut damaged = packed.clone();
            let at = damaged.len() * 3 / 4;
            damaged[at..at + 64].fill(0xA5);
            let cut = &packed[..packed.len() * 3 / 4];
            for (bytes, text) in [(cut, "data ends early"), (damaged.as_slice(), "data is damaged")]
            {
                let db = folder();
                let outcome = replay_file(db.path(), &["--keep-going"], "dump", bytes);
                // Damage may decompress to something: then it is the checksum that is wrong, or a value.
                outcome.assert_fails(2, &[&format!("the {format} {text}")]);
                let kept = stored(db.path()).len();
                // A decoder of zstd keeps its window to itself.
                assert!(kept > headers.len() / 8, "{format}: {kept} of {}", headers.len());
            }
        }
    }
}

#[test]
fn reading_goes_on_in_the_middle_of_a_compressed_file() {
    let headers = braid(500);
    let dir = folder();
    for (number, packed) in [
        gzip(&dump(&headers)),
        zstd(&dump(&headers)),
        gzip(&lines(&headers)),
        zstd(&lines(&headers)),
    ]
    .into_iter()
    .enumerate()
    {
        let file = dir.path().join(number.to_string());
        fs::write(&file, packed).unwrap();
        let open = || source::open(&file, NETWORK, Reading::default()).unwrap();
        let rest = |source: &mut dyn Source| {
            let mut hashes = Vec::new();
            while let Some(chunk) = source.next(1000).unwrap() {
                let places = (0..chunk.records().len()).map(|record| chunk.place(record));
                let records = chunk.records().iter().map(|raw| raw.hash);
                hashes.extend(records.zip(places.map(|place| place.to_string())));
            }
            hashes
        };
        let whole = rest(&mut *open());
        assert_eq!(whole.len(), headers.len());
        let (mut source, mut before) = (open(), 0);
        assert!(source.name().is_some());
        while let Some(chunk) = source.next(3000).unwrap() {
            before += chunk.len();
            let mut source = open();
            assert!(source.resume(chunk.end()).unwrap());
            assert!(rest(&mut *source) == whole[before..], "file {number}, from {before} on");
        }
    }
}

#[test]
fn what_decompresses_without_end_is_read_without_being_held() {
    // Some gigabytes of each, in pieces that are compressed once.
    const PIECE: usize = 64 << 20;
    const PIECES: usize = 24;
    for (name, first, filler) in [("white space", "", b' '), ("a string", "\"", b'A')] {
        let member = gzip(&vec![filler; PIECE]);
        let frame = zstd(&vec![filler; PIECE]);
        for (format, head, packed) in
            [("gzip", gzip(first.as_bytes()), member), ("zstd", zstd(first.as_bytes()), frame)]
        {
            let db = folder();
            let flags = ["--network", "development", "--format", "json", "-"];
            let command = plait([&["replay", "--db", utf8(db.path())][..], &flags].concat());
            let (outcome, most) = run_measured(command, move |input| {
                input.write_all(&head)?;
                (0..PIECES).try_for_each(|_| input.write_all(&packed))
            });
            let expected = i32::from(!first.is_empty());
            assert_eq!(outcome.status, Some(expected), "{name}, {format}: {}", outcome.err);
            let Some(most) = most else { return say("skipped: the system tells no memory") };
            say(&format!("{name}, {format}: {} MB at most", most >> 20));
            assert!(most < 512 << 20, "{name}, {format}: {most} bytes");
        }
    }
}

#[test]
fn other_formats_are_named_with_what_to_do() {
    let headers = braid(1);
    let tar = tar("headers.bin", &dump(&headers));
    let dir = folder();
    let db = dir.path().join("db");
    for (bytes, texts) in [
        (tar.clone(), ["is a tar archive", "tar -xf"]),
        (gzip(&tar), ["is a tar archive", "tar -xf"]),
        (zstd(&tar), ["is a tar archive", "tar -xf"]),
        (gzip(&gzip(&dump(&headers))), ["is compressed twice", "gzip -dc"]),
        (b"BZh91AY&SY".to_vec(), ["bzip2", "bzip2 -dc"]),
        (b"\xFF\xFE{\0\"\0".to_vec(), ["UTF-16", "iconv"]),
    ] {
        let file = dir.path().join("input");
        fs::write(&file, &bytes).unwrap();
        run(["replay", "--db", utf8(&db), utf8(&file)]).assert_fails(2, &texts);
        assert!(!Engine::exists(&db).unwrap() && !Path::new(&db).exists());
        let command = plait(["replay", "--db", utf8(&db), "-"]);
        run_with_input(command, bytes).assert_fails(2, &texts);
    }
    for bytes in [&b"\x1f\x8b\x08\0\0\0\0\0"[..], b"\x28\xb5\x2f\xfd"] {
        let outcome = replay_file(&db, &[], "dump.gz", bytes);
        outcome.assert_fails(2, &["data ends early"]);
        assert!(!Engine::exists(&db).unwrap());
    }
}

#[test]
fn compressed_files_are_pushed() {
    let headers = crate::push::generated(5, 1, 0.0);
    let dir = folder();
    let socket = dir.path().join("push");
    let _server = taking(&dir.path().join("db"), &["--ingest", utf8(&socket)]);
    for (name, packed, counts) in [
        ("dump.gz", gzip(&dump(&headers)), "stored 100, 0 already there"),
        ("lines.zst", zstd(&lines(&headers)), "stored 0, 100 already there"),
    ] {
        let file = dir.path().join(name);
        fs::write(&file, &packed).unwrap();
        let outcome = run(["push", utf8(&socket), utf8(&file)]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert!(outcome.err.contains(counts), "{}", outcome.err);
        fs::write(&file, &packed[..packed.len() / 2]).unwrap();
        let outcome = run(["push", utf8(&socket), utf8(&file)]);
        outcome.assert_fails(2, &["data ends early"]);
    }
}
