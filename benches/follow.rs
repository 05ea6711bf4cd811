//! Catching up with another Plait over the loopback, against a replay of the same history from a file:
//! two commands in turns, each into a new database, the server on the same cores.
#![expect(clippy::expect_used, reason = "a bench that goes wrong ends the run")]

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use fixtures::{Plait, Row, Rows, Shape, data, plait};
use plait_engine::Engine;
use testkit::block::NETWORK;

fn main() {
    let (headers, rounds) =
        if Shape::from_env().is_quick() { (200_000, 1) } else { (4_000_000, 3) };
    let dump = data::dump_file(headers);
    let folder = tempfile::tempdir_in(data::root()).expect("a folder beside the data");
    let (first, db) = (folder.path().join("first"), folder.path().join("db"));
    replay(&dump, &first);
    let upstream = Plait::serve(&first);
    let url = format!("http://{}", upstream.address);
    let pair = |_| {
        let followed = rate(headers, &db, &["follow", &url, "--once", "--db"], None);
        (
            followed,
            rate(headers, &db, &["replay", "--network", NETWORK.name(), "--db"], Some(&dump)),
        )
    };
    let pairs: Vec<_> = (0..rounds).map(pair).collect();
    let mut rows = Rows::new("follow");
    let note = "the peer: plait replay of the same headers from a file";
    rows.push(Row::pairs("follow/catch_up", "headers/s", &pairs).note(note));
}

fn replay(dump: &Path, db: &Path) {
    let mut command = plait(["replay", "--network", NETWORK.name(), "--db"]);
    let status = command.arg(db).arg(dump).stderr(Stdio::null()).status();
    assert!(status.expect("plait runs").success());
}

/// Headers a second of a command that fills the database in `db`, from its start to its end.
fn rate(headers: u64, db: &Path, args: &[&str], last: Option<&Path>) -> f64 {
    let _ = fs::remove_dir_all(db);
    let mut command = plait(args);
    command.arg(db).args(last).stderr(Stdio::null());
    let start = Instant::now();
    assert!(command.status().expect("plait runs").success(), "{args:?}");
    let seconds = start.elapsed().as_secs_f64();
    let reader = Engine::open_read_only(db).expect("a database");
    let view = reader.view();
    let blocks: u64 = NETWORK.chain_ids().map(|chain| view.block_count(chain)).sum();
    assert!(blocks >= headers, "{blocks} of {headers} blocks");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let headers = headers as f64;
    headers / seconds
}
