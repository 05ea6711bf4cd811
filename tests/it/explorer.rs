//! The explorer: its modules under node, and its pages in a headless chromium. Tests whose program
//! is missing print this and are skipped.

use std::process::{Command, Stdio};

use testkit::process::binary;
use testkit::say;
use testkit::server::utf8;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/browser");

/// The exit status of a script that finds no browser.
const SKIPPED: i32 = 77;

fn is_there(tool: &str) -> bool {
    let run = Command::new(tool).arg("--version").stdin(Stdio::null()).output();
    run.is_ok_and(|output| output.status.success())
}

/// Runs a script of the folder to its end.
fn run(tool: &str, args: &[&str]) {
    if !is_there(tool) {
        return say(&format!("skipped: there is no {tool}"));
    }
    let mut command = Command::new(tool);
    let output = command.args(args).current_dir(SOURCE).stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if output.status.code() == Some(SKIPPED) {
        return say(said.trim());
    }
    assert!(output.status.success(), "{args:?}:\n{said}");
}

/// Runs one check of a script that drives a browser.
fn browse(script: &str, check: &str) {
    run("python3", &[script, "--plait", utf8(&binary()), check]);
}

#[test]
fn modules_of_the_explorer_do_what_their_comments_say() {
    run("node", &["--test", "explorer.test.mjs"]);
}

#[test]
fn eight_tabs_over_http_1_share_one_event_stream() {
    browse("try_tabs.py", "workers");
}

#[test]
fn eight_tabs_without_shared_workers_share_one_event_stream() {
    browse("try_tabs.py", "insecure");
}

#[test]
fn another_tab_takes_over_when_the_one_with_the_stream_crashes() {
    browse("try_tabs.py", "crash");
}

#[test]
fn going_away_and_coming_back_leaves_no_event_stream_behind() {
    for check in ["visits", "relay-visits"] {
        browse("try_tabs.py", check);
    }
}

#[test]
fn a_tab_that_is_hidden_for_long_catches_up_when_it_is_seen_again() {
    browse("try_tabs.py", "hidden");
}

#[test]
fn a_tab_without_an_event_stream_asks_for_the_cut() {
    browse("try_tabs.py", "polled");
}

#[test]
fn a_tab_without_a_connection_says_what_may_be_the_matter() {
    browse("try_tabs.py", "starved");
}

#[test]
fn statistics_of_mainnet_are_shown_up_to_any_cut() {
    for check in ["statistics-0", "statistics-300", "statistics-30000"] {
        browse("try_pages.py", check);
    }
}

#[test]
fn statistics_that_are_refused_are_shown_with_the_reason() {
    for check in ["reason", "fewer-steps"] {
        browse("try_pages.py", check);
    }
}

#[test]
fn statistics_of_a_partial_history_begin_at_its_lowest_height() {
    browse("try_pages.py", "partial-statistics");
}

#[test]
fn the_braid_of_a_partial_history_begins_at_its_lowest_height() {
    browse("try_pages.py", "partial-braid");
}

#[test]
fn heights_of_seven_digits_are_whole_on_a_phone() {
    browse("try_pages.py", "labels");
}
