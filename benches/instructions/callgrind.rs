use std::process::{Command, Stdio};
use std::{env, fs};

use fixtures::find_program;

/// The versions of the compiler and of valgrind, if there is one.
pub(crate) fn tools() -> Option<String> {
    let valgrind = first_line(Command::new(find_program("valgrind")?).arg("--version"));
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Some(format!("{}, {valgrind}", first_line(Command::new(rustc).arg("--version"))))
}

fn first_line(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("a compiler and valgrind run");
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
}

/// Counts the instructions of one call of `symbol`, with all that it calls, in a run of `operation`.
pub(crate) fn count(operation: &str, symbol: &str) -> u64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("callgrind.out");
    let output = Command::new(find_program("valgrind").expect("valgrind is installed"))
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(format!("--toggle-collect=*{symbol}*"))
        .arg(env::current_exe().expect("a program is a file"))
        .args(["--run", operation])
        .stdin(Stdio::null())
        .output()
        .expect("valgrind runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "valgrind failed on {operation}:\n{text}");
    let found = fs::read_to_string(file).expect("callgrind writes what it found");
    let total = found.lines().find_map(|line| line.strip_prefix("summary: "));
    let total = total.and_then(|text| text.trim().parse().ok()).expect("callgrind sums up");
    assert!(total > 0, "callgrind did not meet {symbol}:\n{text}");
    total
}
