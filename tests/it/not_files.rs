//! FIFOs, sockets, devices and folders in place of files: nothing waits for them, and each is named.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use testkit::archive::{export, files, has_extension};
use testkit::block::dump;
use testkit::braid::braid;
use testkit::process::{finish, replay, replay_command, run};
use testkit::{Database, sorted, stored};

use crate::rocks::node_db;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// What may be in place of a file.
const KINDS: [&str; 4] = ["fifo", "socket", "device", "folder"];

/// Puts something else in place of the file at `path`.
fn replace(path: &Path, kind: &str) {
    let _ = fs::remove_file(path);
    match kind {
        "fifo" => {
            let made = Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success(), "mkfifo {}", path.display());
        }
        // A name of a socket has at most 107 bytes.
        "socket" => {
            let short = folder();
            drop(UnixListener::bind(short.path().join("s")).unwrap());
            fs::rename(short.path().join("s"), path).unwrap();
        }
        "device" => symlink("/dev/zero", path).unwrap(),
        _ => fs::create_dir(path).unwrap(),
    }
}

fn restore(path: &Path, bytes: &[u8]) {
    if path.is_dir() {
        fs::remove_dir(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
    fs::write(path, bytes).unwrap();
}

fn archive() -> (Database, TempDir) {
    let mut database = Database::with_genesis();
    database.add(&braid(5));
    let archive = folder();
    export(database.reader(), archive.path(), 4);
    (database, archive)
}

#[test]
fn in_an_archive_neither_verify_nor_replay_nor_export_waits_for_them() {
    let (database, archive) = archive();
    let dir = archive.path();
    let whole = files(dir);
    let file = whole.keys().find(|name| has_extension(name, "plait")).unwrap();
    for name in [file.as_str(), "manifest.json"] {
        for kind in KINDS {
            replace(&dir.join(name), kind);
            let what = format!("{kind} for {name}");
            let outcome = run(["verify".as_ref(), dir.as_os_str()]);
            let status = if name == file { 1 } else { 2 };
            assert_eq!(outcome.status, Some(status), "{what}: {}", outcome.err);
            assert!(outcome.err.contains(name), "{what}: {}", outcome.err);
            let outcome = replay(folder().path(), [dir]);
            assert_eq!(outcome.status, Some(2), "{what}: {}", outcome.err);
            assert!(outcome.err.contains("not a regular file"), "{what}: {}", outcome.err);
            restore(&dir.join(name), &whole[name]);
        }
    }
    // An export makes the file anew, but of a folder.
    for kind in ["fifo", "socket"] {
        replace(&dir.join(file), kind);
        export(database.reader(), dir, 4);
        assert!(fs::read(dir.join(file)).unwrap() == whole[file], "{kind}");
    }
    let outcome = run(["verify".as_ref(), "--level".as_ref(), "hash".as_ref(), dir.as_os_str()]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
}

#[test]
fn an_export_neither_waits_for_its_mark_nor_writes_anything_if_that_is_no_file() {
    let (database, _archive) = archive();
    let db = database.close();
    let db = db.path().to_str().unwrap();
    for (format, mark) in [("archive", ".export"), ("parquet", "chainwebVersion=development/_lock")]
    {
        for kind in KINDS {
            let out = folder();
            let mark = out.path().join(mark);
            fs::create_dir_all(mark.parent().unwrap()).unwrap();
            replace(&mark, kind);
            let args = ["export", "--db", db, "--format", format, "--out"];
            let args = args.iter().map(AsRef::as_ref).chain([out.path().as_os_str()]);
            let outcome = run(args);
            let what = format!("{kind}, {format}: {}", outcome.err);
            assert_eq!(outcome.status, Some(2), "{what}");
            let text = format!("{}: not a regular file", mark.display());
            assert!(outcome.err.contains(&text), "{what}");
            let left = mark.parent().unwrap().read_dir().unwrap().count();
            assert_eq!(left, 1, "{what}");
        }
    }
}

#[test]
fn in_a_database_of_a_node_or_of_ours_nothing_waits_for_them() {
    let (node, own, headers) = (folder(), folder(), braid(20));
    let db = node_db(node.path(), &headers[..200]);
    db.flush();
    db.put_all(&headers[200..]);
    drop(db);
    let input = folder();
    fs::write(input.path().join("dump"), dump(&headers)).unwrap();
    let outcome = replay(own.path(), [input.path().join("dump")]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    for (dir, is_own) in [(node.path().to_owned(), false), (own.path().join("0/rocksDb"), true)] {
        for (name, bytes) in files(&dir) {
            if !(has_extension(&name, "sst")
                || has_extension(&name, "log")
                || name.starts_with("MANIFEST"))
            {
                continue;
            }
            for kind in ["fifo", "device"] {
                replace(&dir.join(&name), kind);
                let outcome = if is_own {
                    run(["info".as_ref(), "--db".as_ref(), own.path().as_os_str()])
                } else {
                    replay(folder().path(), [&dir])
                };
                let what = format!("{kind} for {name}: {}", outcome.err);
                assert_eq!(outcome.status, Some(2), "{what}");
                assert!(outcome.err.contains("not a regular file"), "{what}");
                assert!(outcome.err.contains(&name), "{what}");
                restore(&dir.join(&name), &bytes);
            }
        }
    }
    let outcome = replay(folder().path(), [node.path()]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
}

#[test]
fn in_a_backup_nothing_waits_for_them() {
    let (db, backups, input) = (folder(), folder(), folder());
    fs::write(input.path().join("dump"), dump(&braid(5))).unwrap();
    assert_eq!(replay(db.path(), [input.path().join("dump")]).status, Some(0));
    let command = |args: &[&str]| {
        let start = ["backup"].into_iter().chain(args.iter().copied()).map(AsRef::as_ref);
        run(start.chain(["--backups".as_ref(), backups.path().as_os_str()]))
    };
    let made = command(&["make", "--db", db.path().to_str().unwrap()]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let id = made.out.trim().to_owned();
    let backup = backups.path().join(&id);
    for name in ["contents.json", "status", "0/rocksDb/CURRENT"] {
        let bytes = fs::read(backup.join(name)).unwrap();
        for kind in ["fifo", "device", "folder"] {
            replace(&backup.join(name), kind);
            let listed = command(&["list"]);
            assert_eq!(listed.status, Some(0), "{kind} for {name}: {}", listed.err);
            let checked = command(&["check", "--verify", &id]);
            assert!(
                matches!(checked.status, Some(1 | 2)),
                "{kind} for {name}: {:?} {}",
                checked.status,
                checked.err
            );
            restore(&backup.join(name), &bytes);
        }
    }
    assert_eq!(command(&["check", "--verify", &id]).status, Some(0));
}

#[test]
fn a_fifo_on_the_command_line_is_a_dump_like_any_other() {
    let (db, input, headers) = (folder(), folder(), braid(5));
    let fifo = input.path().join("dump");
    replace(&fifo, "fifo");
    let child = replay_command(db.path(), [&fifo]).stdin(Stdio::null()).spawn().unwrap();
    // Opening it waits for the command to open it, too.
    fs::write(&fifo, dump(&headers)).unwrap();
    let outcome = finish(child);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()), sorted(&headers));
}

#[test]
fn an_input_that_ends_early_never_ends_like_a_whole_one() {
    let headers = braid(5);
    let bytes = dump(&headers);
    let input = folder();
    let path = input.path().join("dump");
    for len in [bytes.len() - 1, bytes.len() - 317, bytes.len() - 319] {
        fs::write(&path, &bytes[..len]).unwrap();
        let db = folder();
        let outcome = replay(db.path(), [&path]);
        outcome.assert_fails(1, &["the input ends within a record"]);
        assert_eq!(stored(db.path()), sorted(&headers[..len / 318]));
    }
    // An archive that lacks a file of its highest range, and one of its lowest.
    let (_, archive) = archive();
    let whole = files(archive.path());
    let names: Vec<&String> = whole.keys().filter(|name| has_extension(name, "plait")).collect();
    for name in [names[0], names[names.len() - 1]] {
        fs::remove_file(archive.path().join(name)).unwrap();
        let outcome = replay(folder().path(), [archive.path()]);
        outcome.assert_fails(2, &[name, "the file is missing"]);
        let outcome =
            replay(folder().path(), ["--keep-going".as_ref(), archive.path().as_os_str()]);
        outcome.assert_fails(1, &[name, "the file is missing"]);
        fs::write(archive.path().join(name), &whole[name]).unwrap();
    }
}

#[test]
fn an_archive_without_its_manifest_and_a_node_without_its_first_file_are_named() {
    let (_, archive) = archive();
    fs::remove_file(archive.path().join("manifest.json")).unwrap();
    let outcome = replay(folder().path(), [archive.path()]);
    outcome.assert_fails(2, &["manifest.json is missing", "Name the folder with manifest.json"]);
    let node = folder();
    let db = node.path().join("0/rocksDb");
    fs::create_dir_all(&db).unwrap();
    drop(node_db(&db, &braid(3)));
    let current = db.join("CURRENT");
    fs::remove_file(&current).unwrap();
    let said = format!("{} is missing", current.display());
    for place in [node.path(), db.as_path()] {
        let outcome = replay(folder().path(), [place]);
        outcome.assert_fails(2, &[&said, "Take another copy of the whole folder"]);
    }
    // A folder that never had one.
    let outcome = replay(folder().path(), [folder().path()]);
    outcome.assert_fails(2, &["no chainweb-node database here"]);
}
