//! The configuration file: what it sets, what wins over it, and what is wrong with it.

use std::path::PathBuf;

use tempfile::TempDir;
use testkit::process::{Outcome, finish, plait, run};
use testkit::server::{Server, utf8};

use crate::http_data::{BASE, database, on};

/// A file with this text, in a folder that goes with it.
fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("plait.yaml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// The line of `key` in what `plait config print` prints with these arguments and this variable.
fn printed(args: &[&str], variable: Option<(&str, &str)>, key: &str) -> String {
    let mut command = plait(["config", "print"]);
    command.args(args).envs(variable);
    let outcome = finish(command.spawn().unwrap());
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let line = outcome.out.lines().find(|line| line.trim().starts_with(&format!("{key}: ")));
    line.unwrap_or_else(|| panic!("no {key} in:\n{}", outcome.out)).trim().to_owned()
}

fn check(text: &str) -> Outcome {
    let (_folder, path) = file(text);
    run(["config", "check", utf8(&path)])
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let (_folder, path) = file("limits: {headTime: 1}\n");
    let config = ["--config", utf8(&path)];
    let variable = Some(("PLAIT_HEAD_TIME", "2"));
    let flag = [&config[..], &["--head-time", "3"]].concat();
    assert_eq!(printed(&[], None, "headTime"), "headTime: 10");
    assert_eq!(printed(&config, None, "headTime"), "headTime: 1");
    assert_eq!(printed(&config, variable, "headTime"), "headTime: 2");
    assert_eq!(printed(&flag, variable, "headTime"), "headTime: 3");
    assert_eq!(printed(&[], Some(("PLAIT_CONFIG", utf8(&path))), "headTime"), "headTime: 1");
    assert_eq!(printed(&["--log", "debug"], None, "level"), "level: debug");
}

#[test]
fn printed_file_is_right_and_prints_the_same() {
    let flags = ["--db", "a b", "--metrics", "[::1]:9", "--backup-api", "--stall-time", "0.25"];
    let printed = run([&["config", "print"][..], &flags].concat());
    assert_eq!(printed.status, Some(0), "{}", printed.err);
    let (_folder, path) = file(&printed.out);
    let checked = run(["config", "check", utf8(&path)]);
    assert_eq!((checked.status, checked.out.as_str()), (Some(0), "ok\n"), "{}", checked.err);
    let again = run(["config", "print", "--config", utf8(&path)]);
    assert_eq!(again.out, printed.out);
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_line() {
    check("backup:\n  api:\n    on: true\n")
        .assert_fails(2, &["plait.yaml:3:5: unknown key backup.api.on"]);
    check("limits:\n  reads: x\n")
        .assert_fails(2, &["plait.yaml:2:10: limits.reads", "whole number"]);
    check("metrics: {}\nmetrics: {}\n").assert_fails(2, &["plait.yaml:2:1: metrics", "twice"]);
    check("chainweb: {}\n").assert_fails(2, &["chainweb-node", "top level"]);
    check("limits:\n\treads: 1\n").assert_fails(2, &["plait.yaml:2:", "tab"]);
    run(["config", "check", "/"]).assert_fails(2, &["error: /", "directory", "name the file"]);
    check("limits:\n  bodybytes: 1\n")
        .assert_fails(2, &["limits.bodybytes, use limits.bodyBytes;"]);
    run(["config", "check", "/nowhere"]).assert_fails(2, &["/nowhere"]);
    let (_folder, path) = file("nonsense: 1\n");
    for command in [&["serve", "--db", "x"][..], &["config", "print"]] {
        let outcome = run([command, &["--config", utf8(&path)]].concat());
        outcome.assert_fails(2, &["plait.yaml:1:1: unknown key nonsense"]);
    }
}

#[test]
fn server_does_what_its_file_says() {
    let database = database();
    let (_folder, path) = file(&format!(
        "databaseDirectory: {:?}\nlimits: {{pageHashes: 2, uriBytes: 300}}\n\
         caches: {{blockBytes: 0, runBytes: 0}}\n",
        database.path()
    ));
    let server = Server::start(&database, &["--config", utf8(&path)]);
    let page: serde_json::Value = serde_json::from_slice(&server.get(&on(0, "hash")).body).unwrap();
    assert_eq!(page["limit"], 2);
    let long = format!("{BASE}/cut?{}", "x".repeat(300));
    assert_eq!(server.get(&long).status, 414);
}

#[test]
fn server_without_anything_to_serve_is_refused() {
    run(["serve"]).assert_fails(2, &["neither a database nor an archive", "--db"]);
}
