//! The published JavaScript library `chainweb`, unchanged, against the server. It needs node, npm
//! and either the registry or a cache of it; where these are missing the test says so and is skipped.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use testkit::say;
use testkit::server::{Replayed, Server};

use crate::http_data::{vectors, world};

pub(crate) const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/compat");

/// A folder with these scripts and the library, or the reason why there is none.
pub(crate) fn installed(scripts: &[&str]) -> Result<TempDir, String> {
    for tool in ["node", "npm"] {
        let version = Command::new(tool).arg("--version").stdin(Stdio::null()).output();
        if !version.is_ok_and(|output| output.status.success()) {
            return Err(format!("there is no {tool}"));
        }
    }
    let folder = TempDir::new().unwrap();
    for name in [&["package.json", "package-lock.json"], scripts].concat() {
        std::fs::copy(Path::new(SOURCE).join(name), folder.path().join(name)).unwrap();
    }
    let mut install = Command::new("npm");
    install.args(["ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"]);
    install.args([
        "--fetch-retries=1",
        "--fetch-timeout=20000",
        "--fetch-retry-mintimeout=500",
        "--fetch-retry-maxtimeout=2000",
    ]);
    let output = install.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
    if output.status.success() {
        return Ok(folder);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("error"))
        .filter(|line| !line.contains("complete log"))
        .take(3)
        .collect();
    Err(format!("npm cannot install the packages of tests/compat: {}", said.join("; ")))
}

fn run(folder: &TempDir, script: &str, server: &Server, network: &str, chain: &str) {
    let mut command = Command::new("node");
    command.arg(script).arg(format!("http://{}", server.address())).args([network, chain]);
    let output = command.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "chain {chain} of {network}:\n{said}{failed}");
    say(said.lines().last().unwrap_or_default());
}

#[test]
fn published_library_works_unchanged() {
    let folder = match installed(&["run.mjs", "payloads.mjs"]) {
        Ok(folder) => folder,
        Err(reason) => {
            say(&format!("skipped: {reason}"));
            return;
        }
    };
    // A partial history, so that the cut is the tips of the two chains.
    let trees = [&world().forked, &world().long];
    let dump = trees.map(|tree| [tree.records(&[0]), tree.dump()].concat()).concat();
    let database = Replayed::new("development", dump, &["--format", "binary", "--allow-partial"]);
    let drawn = Server::start(&database, &[]);
    for chain in ["0", "1"] {
        run(&folder, "run.mjs", &drawn, "development", chain);
    }
    let Some(real) = vectors("node-db") else { return };
    let flags = ["--format", "node", "--allow-partial"];
    let database = Replayed::of("mainnet01", &real, &flags);
    let server = Server::start(&database, &[]);
    for chain in ["0", "7", "19"] {
        run(&folder, "run.mjs", &server, "mainnet01", chain);
        run(&folder, "payloads.mjs", &server, "mainnet01", chain);
    }
}
