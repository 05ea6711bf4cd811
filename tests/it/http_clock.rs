//! A clock that is corrected while a server runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;
use testkit::http::{Client, Request};
use testkit::process::plait;
use testkit::say;
use testkit::server::{Server, utf8};

use crate::http_data::{BASE, database};

/// Adds to the time of day, for one process, the seconds in the file that `SECONDS_FILE` names.
const SHIFT: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    long result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME) {
        const char *name = getenv("SECONDS_FILE");
        int file = name ? open(name, O_RDONLY) : -1;
        char text[32] = {0};
        if (file >= 0) {
            if (read(file, text, sizeof text - 1) > 0) time->tv_sec += atol(text);
            close(file);
        }
    }
    return (int)result;
}
"#;

/// A library that puts a clock forward where it is loaded before all others; `None`, and a line that
/// says so, without a C compiler.
fn shifting(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("shift.c"), folder.join("shift.so"));
    fs::write(&source, SHIFT).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .status();
    if !compiled.is_ok_and(|status| status.success()) {
        say("skipped: cc cannot make a library");
        return None;
    }
    Some(library)
}

/// The moments that an answer names: its `Date`, and its `X-Server-Timestamp`.
fn moments(client: &mut Client, target: &str) -> (Duration, Duration) {
    let answer = client.ask(&Request::get(target));
    let date = httpdate::parse_http_date(answer.header("Date").unwrap()).unwrap();
    let stamp = answer.header("X-Server-Timestamp").unwrap().parse().unwrap();
    (date.duration_since(UNIX_EPOCH).unwrap(), Duration::from_secs(stamp))
}

#[test]
fn date_goes_back_with_a_clock_that_is_corrected() {
    const DAY: Duration = Duration::from_hours(24);
    let folder = TempDir::new().unwrap();
    let Some(library) = shifting(folder.path()) else { return };
    let shift = folder.path().join("shift");
    let database = database();
    let db = database.path();
    let mut command = plait(["serve", "--listen", "127.0.0.1:0", "--db", utf8(&db)]);
    command.args(["--metrics", "127.0.0.1:0"]);
    command.env("LD_PRELOAD", &library).env("SECONDS_FILE", &shift);
    fs::write(&shift, DAY.as_secs().to_string()).unwrap();
    let server = Server::of_command(command);
    let before = UNIX_EPOCH.elapsed().unwrap();
    // All threads of the server have written a date by then.
    let mut clients: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    let cut = format!("{BASE}/cut");
    for at in 0..80 {
        let (date, stamp) = moments(&mut clients[at % 8], &cut);
        assert_eq!(date, stamp);
        assert!(date + Duration::from_secs(1) > before + DAY, "the clock is a day ahead");
    }
    let watched = |_| {
        let answer = Client::connect(server.watched()).ask(&Request::get("/health-check"));
        httpdate::parse_http_date(answer.header("Date").unwrap()).unwrap()
    };
    assert!((0..20).map(watched).all(|date| date > UNIX_EPOCH + before + DAY / 2));
    fs::write(&shift, "0").unwrap();
    for at in 0..80 {
        let (date, stamp) = moments(&mut clients[at % 8], &cut);
        assert_eq!(date, stamp, "both are of one moment");
        assert!(date < before + DAY / 2, "the clock is right again");
    }
    assert!((0..20).map(watched).all(|date| date < UNIX_EPOCH + before + DAY / 2));
}
