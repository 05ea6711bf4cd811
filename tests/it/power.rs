//! Some of the power cuts of `make power-cuts`. They need root and loop devices; where these are
//! missing the test says so and is skipped.

use std::process::{Command, Stdio};

use testkit::process::binary;
use testkit::say;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/power/cuts.py");

/// Chooses the moments of the cuts.
const SEED: &str = "7";

#[test]
fn what_was_promised_outlives_power_cuts() {
    let mut script = Command::new("python3");
    script.arg(SCRIPT).arg("--plait").arg(binary()).args(["--cuts", "3", "--seed", SEED]);
    script.args(["--seconds", "3", "--heights", "6000", "--space", "3"]);
    let output = match script.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => {
            say(&format!("skipped: python3: {error}"));
            return;
        }
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{failed}");
    // That it was skipped, or how many cuts there were.
    say(said.lines().last().unwrap_or_default());
}
