//! The command starts. Whole-system tests are in `tests/it`; this file also makes `cargo test` build
//! the binary that they run, which it does only for a package with a test like this one.

use std::process::Command;

#[test]
fn the_command_says_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_plait")).arg("--version").output().unwrap();
    let expected = format!("plait {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    assert!(output.status.success());
}
