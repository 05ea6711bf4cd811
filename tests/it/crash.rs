//! Some of the cycles of `make crash`, and that its failpoints are those of the code.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{UnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use plait_engine::backup::{Backups, Status};
use plait_engine::failpoint::{self, NAMES};
use testkit::crash::{Crash, Every};
use testkit::say;
use testkit::vectors::workspace;

/// What is killed.
const CHILD: &str = env!("CARGO_BIN_EXE_crash");

/// Processes that are killed, and some more for failpoints that none of them reached.
const CYCLES: u64 = 50;

/// Chooses what they do.
const SEED: u64 = 7;

#[test]
fn what_was_said_to_be_done_outlives_the_process_and_nothing_else_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let crash = Crash::new(Path::new(CHILD), folder.path(), SEED, Every::Reached);
    match crash.run(CYCLES, &mut |_| ()) {
        // The last line but one says how many.
        Ok(summary) => say(summary.to_string().lines().rev().nth(1).unwrap_or_default()),
        Err(error) => {
            let kept = folder.keep();
            panic!("{error}\nkept in {}", kept.display());
        }
    }
}

thread_local! {
    /// Where this thread panics.
    static ENDS_AT: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Does `work` up to a failpoint, as a process that is killed there does it.
fn up_to(name: &'static str, work: impl FnOnce() + UnwindSafe) {
    failpoint::set_hook(|reached| {
        let ends = ENDS_AT.get() == Some(reached);
        assert!(!ends, "the end of this thread");
    });
    ENDS_AT.set(Some(name));
    let ended = catch_unwind(work);
    ENDS_AT.set(None);
    assert!(ended.is_err(), "{name} was not reached");
}

#[test]
fn a_job_that_was_killed_frees_its_room_though_the_next_one_is_killed_while_it_does_so() {
    for name in ["backup/fail/before", "backup/fail/status", "backup/fail/removed"] {
        for folder_name in ["17", ".17.tmp"] {
            let dir = tempfile::tempdir().unwrap();
            let left = dir.path().join(folder_name);
            fs::create_dir_all(left.join("0/rocksDb")).unwrap();
            fs::write(left.join("0/rocksDb/000009.sst"), "much").unwrap();
            fs::write(left.join("status"), "backup-in-progress").unwrap();
            let (backups, id) = (Backups::new(dir.path()), "17".parse().unwrap());
            up_to(name, || drop(backups.begin()));
            assert_eq!(backups.status(&id).unwrap(), Some(Status::Failed), "{name}");
            drop(backups.begin().unwrap());
            let room = dir.path().join("17/0");
            assert!(!room.exists() && room.with_file_name("error").exists(), "{name}");
            assert!(!dir.path().join(".17.tmp").exists(), "{name}");
            assert_eq!(backups.status(&id).unwrap(), Some(Status::Failed), "{name}");
        }
    }
}

/// How often each failpoint stands in the code of the engine.
fn in_code() -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut folders = vec![workspace().join("engine/src")];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (inner, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
        folders.extend(inner);
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            for (_, rest) in
                text.match_indices("reached(\"").map(|(at, call)| text.split_at(at + call.len()))
            {
                *counts.entry(rest.split('"').next().unwrap().to_owned()).or_insert(0) += 1;
            }
        }
    }
    counts
}

#[test]
fn every_failpoint_has_a_name_and_stands_at_one_place() {
    let expected: BTreeMap<String, usize> =
        NAMES.iter().map(|name| ((*name).to_owned(), 1)).collect();
    assert_eq!(in_code(), expected);
    assert!(expected.len() == NAMES.len() && NAMES.len() > 90, "{}", NAMES.len());
}

#[test]
fn every_change_of_the_database_is_between_two_failpoints() {
    // What writes, in the modules that the crash test is about.
    let writes = [
        ".write(batch)",
        "write_unlogged(batch)",
        "write_opt(batch",
        "flush_cfs_opt(",
        "ingest_external_file",
        "compact_range_cf(",
        "delete_range_cf(",
        "delete_file_in_range_cf(",
        "create_checkpoint",
        "fs::rename(",
        "sync_all()",
        "remove_dir_all(",
        "File::create(&",
    ];
    let files = [
        "durable.rs",
        "store/mod.rs",
        "store/live.rs",
        "store/pending.rs",
        "store/index/sort.rs",
        "write/mod.rs",
        "write/seal.rs",
        "write/bulk/commit.rs",
        "backup/disk.rs",
        "archive/draft.rs",
        "archive/target.rs",
    ];
    let mut found = 0;
    for file in files {
        let text = fs::read_to_string(workspace().join("engine/src").join(file)).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        let lines: Vec<&str> = code.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let is_definition = line.trim_start().starts_with("fn ") || line.contains("pub fn ");
            if is_definition || !writes.iter().any(|write| line.contains(write)) {
                continue;
            }
            found += 1;
            let near = &lines[at.saturating_sub(8)..lines.len().min(at + 9)];
            assert!(
                near.iter().any(|line| line.contains("reached(\"")),
                "{file}, line {}: {line}",
                at + 1
            );
        }
    }
    assert!(found > 25, "{found}");
}
