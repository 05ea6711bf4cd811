use std::fs;
use std::path::Path;
use std::process::Command;

use fixtures::{Shape, data};

/// What a reader has to know about a run, as pairs.
pub(crate) fn facts(command: &str) -> Vec<(&'static str, String)> {
    let shape = Shape::from_env();
    let data = format!(
        "{}: twenty chains to height {}, chain 0 to {}, a fork of it {} deep, 10,080 siblings",
        shape.name, shape.braided, shape.top, shape.fork
    );
    let mut facts = vec![
        ("commit", commit()),
        ("command", format!("`{command}`")),
        ("data", data),
        ("processor", processor()),
        ("memory", proc_line("/proc/meminfo", "MemTotal").unwrap_or_default()),
        ("disk", disk()),
        ("kernel", said("uname", &["-sr"])),
        ("compiler", said("rustc", &["--version"])),
    ];
    let nginx = fixtures::find_program("nginx").map(|program| {
        let output = Command::new(program).arg("-v").output().expect("nginx runs");
        String::from_utf8_lossy(&output.stderr).trim().to_owned()
    });
    facts.push(("nginx", nginx.unwrap_or_else(|| "not installed".to_owned())));
    facts
}

fn commit() -> String {
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"]);
    let dirty = !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
    if dirty { format!("{commit}, with changes that are not committed") } else { commit }
}

fn processor() -> String {
    let model = proc_line("/proc/cpuinfo", "model name").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{model}, {cores} cores")
}

fn disk() -> String {
    let root = data::root();
    let root = root.to_string_lossy();
    let device = said("findmnt", &["-no", "SOURCE,FSTYPE", "-T", &root]);
    let name = device.split_whitespace().next().and_then(|path| path.strip_prefix("/dev/"));
    let rotates = name.and_then(|name| {
        let file = Path::new("/sys/block").join(name).join("queue/rotational");
        fs::read_to_string(file).ok()
    });
    let kind = match rotates.as_deref().map(str::trim) {
        Some("0") => ", does not rotate",
        Some("1") => ", reported as rotating",
        _ => "",
    };
    format!("{}{kind}", device.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn proc_line(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn said(program: &str, args: &[&str]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(program).args(args).current_dir(folder).output();
    output.map_or(String::new(), |out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}
