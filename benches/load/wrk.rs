//! The load generator, <https://github.com/wg/wrk>.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use fixtures::{Target, find_program};

use crate::float;

/// What a run of it found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) requests_per_second: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
}

pub(crate) fn is_here() -> bool {
    find_program("wrk").is_some()
}

/// Asks for `target` over and over on `connections` that are kept alive.
pub(crate) fn run(target: &Target, connections: usize, time: Duration) -> Found {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("ask.lua");
    fs::write(&file, script(target)).expect("a new file");
    let output = Command::new(find_program("wrk").expect("wrk is installed"))
        .args(["--threads", "1", "--connections", &connections.to_string()])
        .args(["--duration", &format!("{}s", time.as_secs()), "--script"])
        .arg(file)
        .arg(format!("http://{}{}", target.address, target.path))
        .stderr(Stdio::inherit())
        .output()
        .expect("wrk runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("found "));
    let numbers = line.unwrap_or_else(|| panic!("wrk said:\n{text}")).split(' ');
    let numbers: Vec<u64> = numbers.map(|n| n.parse().expect("a number")).collect();
    let [requests, micros, errors, p50, p99] = numbers[..] else { panic!("wrk said:\n{text}") };
    assert_eq!(errors, 0, "wrk said:\n{text}");
    let [p50_micros, p99_micros] = [p50, p99].map(float);
    Found { requests_per_second: float(requests) * 1e6 / float(micros), p50_micros, p99_micros }
}

/// It sets what all requests are, so that no Lua runs while they are made.
fn script(target: &Target) -> String {
    let Target { method, accept, body, .. } = target;
    format!(
        r#"wrk.method = "{method}"
wrk.headers["Accept"] = "{accept}"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[{body}]]
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("found %d %d %d %d %d\n", summary.requests, summary.duration,
        e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99)))
end
"#
    )
}
