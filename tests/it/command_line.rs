//! Error messages for wrong usage of the command line: they give advice and repeat nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use testkit::block::dump;
use testkit::braid::braid;
use testkit::process::{Outcome, plait, run};
use testkit::server::{Server, utf8};

/// A folder with a database, a dump, and the database's archive.
fn world() -> TempDir {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("dump"), dump(&braid(30))).unwrap();
    let replayed = in_folder(folder.path(), &["replay", "--db", "db", "--verify", "hash", "dump"]);
    assert_eq!(replayed.status, Some(0), "{}", replayed.err);
    let exported = in_folder(folder.path(), &["export", "--db", "db", "--out", "archive"]);
    assert_eq!(exported.status, Some(0), "{}", exported.err);
    folder
}

fn in_folder(folder: &Path, args: &[&str]) -> Outcome {
    let mut command = plait(args);
    command.current_dir(folder);
    testkit::process::finish(command.spawn().unwrap())
}

/// Asserts that a message has no two equal parts, where colons separate parts.
fn assert_said_once(err: &str, args: &[&str]) {
    for line in err.lines() {
        let mut parts: Vec<&str> = line.split(": ").map(str::trim).collect();
        parts.sort_unstable();
        let twice = parts.array_windows().find(|[one, other]| one == other && one.len() > 3);
        assert_eq!(twice, None, "plait {args:?}: {line}");
        for text in ["os error", "No such file", "Permission denied", "No space left"] {
            assert!(line.matches(text).count() <= 1, "plait {args:?}: {line}");
        }
    }
}

#[test]
fn every_failure_says_what_is_wrong_once_and_what_to_do() {
    let folder = world();
    let network = ["generate", "--network", "development", "--heights"];
    let generate = |rest: &[&'static str]| [&network[..], rest].concat();
    let commands: &[(Vec<&str>, &[&str])] = &[
        (vec!["replay", "--db", "x", "nosuch.bin"], &["No such file", "Check the name"]),
        (vec!["replay", "--db", "x", "/etc/passwd"], &["does not look like headers"]),
        (vec!["replay", "--db", "x", "--format", "node", "dump"], &["dump: is a file"]),
        (vec!["replay", "--db", "dump", "dump"], &["dump is not a folder"]),
        (vec!["replay", "--db", "/proc/x", "dump"], &["/proc/x"]),
        (vec!["serve", "--db", "nosuch"], &["no database in nosuch", "plait replay"]),
        (vec!["serve", "--db", "dump"], &["dump is not a folder"]),
        (vec!["serve", "--db", "db", "--config", "nosuch.yaml"], &["No such file"]),
        (vec!["serve", "--db", "db", "--listen", "no.such.invalid:1"], &["cannot resolve"]),
        (vec!["info", "--db", "dump"], &["dump is not a folder", "Name the folder"]),
        (vec!["info", "--db", "nosuch"], &["no database in nosuch"]),
        (vec!["stats", "--db", "nosuch"], &["no database in nosuch"]),
        (vec!["verify", "--db", "nosuch"], &["no database in nosuch"]),
        (vec!["verify", "nosuch"], &["no archive in nosuch", "plait export"]),
        (vec!["verify"], &["<--db <DIR>|ARCHIVE>"]),
        (
            vec!["verify", "--db", "db", "archive"],
            &["plait verify --db DIR or plait verify ARCHIVE"],
        ),
        (vec!["export", "--db", "nosuch", "--out", "x"], &["no database in nosuch"]),
        (vec!["export", "--db", "db", "--out", "dump"], &["dump"]),
        (vec!["export", "--db", "db", "--out", "/proc/x"], &["/proc/x"]),
        (vec!["backup", "list", "--backups", "dump"], &["dump"]),
        (vec!["backup", "make", "--db", "nosuch"], &["no database in nosuch"]),
        (vec!["backup", "check", "1", "--db", "db"], &["1"]),
        (vec!["restore", "latest", "--db", "db", "--to", "x"], &["no backup", "backup make"]),
        (vec!["repair", "--db", "nosuch"], &["no database in nosuch"]),
        (vec!["config", "check", "nosuch.yaml"], &["No such file", "Check the name"]),
        (vec!["follow", "http://127.0.0.1:1", "--db", "x", "--once"], &["127.0.0.1:1"]),
        (vec!["follow", "node", "--db", "x"], &["as in http://127.0.0.1:1848"]),
        (vec!["push", "127.0.0.1:1", "dump"], &["127.0.0.1:1", "--ingest"]),
        (vec!["push", "127.0.0.1:1", "nosuch"], &["No such file"]),
        (generate(&["abc", "--out", "x"]), &["expected a whole number from 1 to 6000000"]),
        (generate(&["5", "--forks", "5", "--out", "x"]), &["from 0 to 1, as in 0.05 for 5 %"]),
        (generate(&["5", "--out", "nosuch/x"]), &["No such file"]),
        (generate(&["5", "--out", "-", "--json"]), &["--json needs --out FILE"]),
        (vec!["stats", "--db", "db", "--min-height", "10", "--max-height", "5"], &["is empty"]),
        (vec!["man", "nosuch"], &["there is no command plait nosuch"]),
        (vec!["man", "--out", "nosuch"], &["No such file"]),
        (vec!["completions", "tcsh"], &["possible values: bash"]),
    ];
    for (args, texts) in commands {
        let outcome = in_folder(folder.path(), args);
        assert_eq!(outcome.status, Some(2), "plait {args:?}: {}", outcome.err);
        for text in *texts {
            assert!(
                outcome.err.contains(text),
                "plait {args:?}: {text:?} is not in: {}",
                outcome.err
            );
        }
        assert!(outcome.err.lines().count() >= 2, "no advice: plait {args:?}: {}", outcome.err);
        assert_said_once(&outcome.err, args);
        assert_eq!(outcome.out, "", "plait {args:?}");
    }
    assert!(!folder.path().join("x").exists(), "a command that fails leaves nothing");
}

#[test]
fn a_restore_into_a_file_names_the_file() {
    let folder = world();
    let made = in_folder(folder.path(), &["backup", "make", "--db", "db"]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let restore = ["restore", "latest", "--db", "db", "--to", "dump"];
    in_folder(folder.path(), &restore).assert_fails(2, &["dump is not a folder", "is empty or"]);
    let listed = in_folder(folder.path(), &["backup", "list", "--db", "db", "--json"]);
    let line: Value = serde_json::from_str(listed.out.trim_end()).unwrap();
    assert_eq!(line["status"], "backup-done");
}

#[test]
fn blocks_that_are_pushed_to_the_api_are_sent_to_the_other_port() {
    let folder = world();
    let server = Server::with(&["--db", utf8(&folder.path().join("db"))]);
    let outcome = in_folder(folder.path(), &["push", &server.url(), "dump"]);
    outcome.assert_fails(2, &["404", "may be the address of the API", "--ingest"]);
}

#[test]
fn an_export_that_finds_nothing_new_says_so() {
    let folder = world();
    let export = ["export", "--db", "db", "--out", "archive"];
    let again = in_folder(folder.path(), &export);
    assert!(again.err.contains(" 20 files unchanged"), "{}", again.err);
    fs::remove_dir_all(folder.path().join("archive")).unwrap();
    let first = in_folder(folder.path(), &export);
    assert!(first.err.starts_with("exported 620 headers in "), "{}", first.err);
    assert!(first.err.contains(" s: 20 files of 198,"), "{}", first.err);
    assert!(first.err.ends_with(" bytes written\n"), "{}", first.err);
}

#[test]
fn a_flag_that_a_full_history_does_not_need_is_named() {
    let folder = world();
    for (flags, named) in [
        (&["--allow-partial"][..], "--allow-partial has no effect unless"),
        (&["--root", "sI6c8YyJ48Poan9J7F6-u9bRJ5Ss5XLZP3wa_jBLRi0"], "--root has no effect unless"),
    ] {
        let args = [&["replay", "--db", "db", "--verify", "hash"], flags, &["dump"]].concat();
        let outcome = in_folder(folder.path(), &args);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert!(outcome.err.contains("note: db has a full history"), "{}", outcome.err);
        assert!(outcome.err.contains(named), "{}", outcome.err);
    }
    let args = ["replay", "--db", "db", "--verify", "hash", "dump"];
    assert!(!in_folder(folder.path(), &args).err.contains("note: "));
    let args = ["replay", "--db", "new", "--verify", "hash", "--allow-partial", "dump"];
    assert!(!in_folder(folder.path(), &args).err.contains("note: "));
}

/// The objects that a command prints, one per line.
fn objects(outcome: &Outcome) -> Vec<Value> {
    outcome.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn verify_and_generate_print_objects_for_machines() {
    let folder = world();
    let verified = in_folder(folder.path(), &["verify", "--db", "db", "--json", "--level", "hash"]);
    assert_eq!((verified.status, verified.err.as_str()), (Some(0), ""));
    let summary = objects(&verified).pop().unwrap();
    assert_eq!(summary["event"], "summary");
    assert_eq!((&summary["blocks"], &summary["broken"]), (&620.into(), &0.into()));
    assert_eq!((&summary["flaws"], &summary["stopped"]), (&0.into(), &false.into()));

    let archive = in_folder(folder.path(), &["verify", "archive", "--json", "--level", "hash"]);
    assert_eq!((archive.status, archive.err.as_str()), (Some(0), ""));
    let summary = objects(&archive).pop().unwrap();
    assert_eq!((&summary["filesChecked"], &summary["filesDamaged"]), (&20.into(), &0.into()));
    assert_eq!((&summary["blocks"], &summary["hash"]), (&620.into(), &620.into()));

    let files: Vec<_> = fs::read_dir(folder.path().join("archive")).unwrap().collect();
    let damaged = files.into_iter().map(|file| file.unwrap().path());
    let is_run = |path: &PathBuf| path.extension().is_some_and(|of| of == "plait");
    let damaged = damaged.filter(is_run).min().unwrap();
    let mut bytes = fs::read(&damaged).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let archive = in_folder(folder.path(), &["verify", "archive", "--json", "--level", "hash"]);
    assert_eq!(archive.status, Some(1));
    let found = objects(&archive);
    let is_named = |object: &Value| object["event"] == "damaged" && object["text"].is_string();
    assert!(found.iter().any(is_named), "{found:?}");
    assert_eq!(found.last().unwrap()["filesDamaged"], 1);

    let args = ["generate", "--network", "development", "--heights", "5", "--out", "new", "--json"];
    let made = in_folder(folder.path(), &args);
    let [object] = &objects(&made)[..] else { panic!("one object: {}", made.out) };
    assert_eq!((made.err.as_str(), &object["headers"]), ("", &100.into()));
    assert_eq!((&object["bytes"], &object["network"]), (&31800.into(), &"development".into()));
}

#[test]
fn completions_and_manual_pages_are_of_every_command() {
    let help = run(["--help"]).out;
    let commands = help.split_once("Commands:").unwrap().1.split_once("\n\n").unwrap().0;
    let commands = commands.lines().filter_map(|line| line.strip_prefix("  "));
    let commands: Vec<&str> = commands
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() > 12, "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = run(["completions", shell]);
        assert_eq!((script.status, script.err.as_str()), (Some(0), ""));
        assert!(commands.iter().all(|command| script.out.contains(command)), "{shell}");
    }
    let folder = TempDir::new().unwrap();
    assert_eq!(run(["man", "--out", utf8(folder.path())]).status, Some(0));
    let page = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    for command in commands {
        let own = page(&format!("plait-{command}.1"));
        assert!(own.contains(".TH") && own.contains(".SH SYNOPSIS"), "{command}");
        assert!(page("plait.1").contains(command));
        assert_eq!(run(["man", command]).out, own, "{command}");
    }
    assert_eq!(run(["man", "backup", "list"]).out, page("plait-backup-list.1"));
    assert_eq!(run(["man"]).out, page("plait.1"));
}

#[test]
fn help_is_of_the_command_and_its_paragraphs_are_whole() {
    let follow = run(["follow", "--help"]).out;
    assert!(follow.contains("Folder of the database; created if there is none"), "{follow}");
    assert!(!follow.contains("only the archive is served"), "{follow}");
    assert!(run(["serve", "--help"]).out.contains("only the archive"));
    for command in [
        "serve",
        "replay",
        "follow",
        "push",
        "generate",
        "export",
        "verify",
        "info",
        "stats",
        "backup",
        "restore",
        "repair",
        "config",
        "completions",
        "man",
    ] {
        let help = run([command, "--help"]).out;
        let lines: Vec<&str> = help.lines().collect();
        for [line, next] in lines.array_windows() {
            // A word that fits on the line before must not begin a new line.
            let first = next.split_whitespace().next().unwrap_or_default();
            let is_text = |line: &str| line.starts_with(|first: char| first.is_alphanumeric());
            let fits = line.chars().count() + 1 + first.chars().count() <= 80;
            let ends = line.ends_with(':') || first.is_empty();
            assert!(!is_text(line) || !is_text(next) || !fits || ends, "{command}: {line}\n{next}");
        }
    }
}
