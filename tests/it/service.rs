//! The service of `deploy/` and the procedure of `docs/operations.md`: the user of the unit loads
//! the database before the unit starts.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use testkit::block::{NETWORK, dump};
use testkit::braid::braid;
use testkit::process::{Outcome, binary, finish};
use testkit::say;
use testkit::server::{Server, utf8};
use testkit::vectors::workspace;

/// The user that represents the service's, by name and number.
const USER: &str = "nobody";
const NOBODY: u32 = 65_534;

/// Blocks of the input.
const BLOCKS: u64 = 120;

/// A machine with a copy of the program, an input, and the folder of the service's state.
struct Machine {
    folder: TempDir,
}

impl Machine {
    /// `None` if this user may not switch to another.
    fn new() -> Option<Self> {
        let machine = Self { folder: TempDir::new().unwrap() };
        let open = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        open(machine.folder.path());
        fs::copy(binary(), machine.path("plait")).unwrap();
        open(&machine.path("plait"));
        fs::write(machine.path("all"), dump(&braid(BLOCKS))).unwrap();
        let state = machine.path("state");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, Permissions::from_mode(0o750)).unwrap();
        let is_user = chown(&state, Some(NOBODY), Some(NOBODY)).is_ok();
        let run = Command::new("runuser").args(["-u", USER, "--", "true"]).status();
        if is_user && run.is_ok_and(|status| status.success()) {
            return Some(machine);
        }
        say("skipped: no other user, or no runuser");
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `plait` with this `umask`, run through the command `by`.
    fn plait(&self, umask: &str, by: &[&str], args: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]);
        command.args(by).arg(self.path("plait")).args(args).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The same, as the unit runs it.
    fn of_unit(&self, args: &[&str]) -> Command {
        let mut command = self.plait("027", &[], args);
        command.uid(NOBODY).gid(NOBODY);
        command
    }

    fn run_by(&self, umask: &str, by: &[&str], args: &[&str]) -> Outcome {
        finish(self.plait(umask, by, args).spawn().unwrap())
    }
}

#[test]
fn database_that_the_user_of_the_service_loads_is_served_and_one_that_root_writes_to_is_not() {
    let Some(machine) = Machine::new() else { return };
    let (db, all) = (machine.path("state/db"), machine.path("all"));
    let (db, all) = (utf8(&db), utf8(&all));
    let serve = ["serve", "--db", db, "--listen", "127.0.0.1:0"];
    // If the unit starts too early, it reports what is missing, and systemd restarts it.
    let early = finish(machine.of_unit(&serve).spawn().unwrap());
    assert_eq!(early.status, Some(2));
    assert!(early.err.contains("no database in"), "{}", early.err);

    let network = ["--network", NETWORK.name(), "--verify", "hash"];
    let load = [&["replay", "--db", db], &network[..], &[all]].concat();
    let loaded = machine.run_by("022", &["runuser", "-u", USER, "--"], &load);
    assert_eq!(loaded.status, Some(0), "{}", loaded.err);
    let served = || {
        let server = Server::of_command(machine.of_unit(&serve));
        assert_eq!(server.get("/health-check").status, 200);
    };
    served();

    let by_root = machine.run_by("077", &[], &load);
    assert_eq!(by_root.status, Some(0), "{}", by_root.err);
    let warning = format!("warning: {db} belongs to user {USER}, who cannot open");
    assert!(by_root.err.contains(&warning), "{}", by_root.err);
    assert!(!loaded.err.contains("warning: "), "{}", loaded.err);
    let refused = finish(machine.of_unit(&serve).spawn().unwrap());
    assert_eq!(refused.status, Some(2), "{}", refused.err);
    assert!(refused.err.contains("cannot be read by user nobody"), "{}", refused.err);
    // The advice covers all files of root, not only the first one that is met.
    let advice = refused.err.split("chown ").nth(1).unwrap_or_else(|| panic!("{}", refused.err));
    let words: Vec<&str> = advice.split_whitespace().collect();
    assert_eq!(words, ["-R", USER, db], "{}", refused.err);
    assert!(Command::new("chown").args(words).status().unwrap().success());
    served();
}

/// The position of `what` in `text`.
fn place(text: &str, what: &str) -> usize {
    text.find(what).unwrap_or_else(|| panic!("{what:?} is not there"))
}

#[test]
fn manual_loads_the_database_as_the_user_of_the_service_before_it_starts() {
    let manual = fs::read_to_string(workspace().join("docs/operations.md")).unwrap();
    let unit = fs::read_to_string(workspace().join("deploy/plait.service")).unwrap();
    let docker = fs::read_to_string(workspace().join("deploy/Dockerfile")).unwrap();
    // A user that exists before the unit starts, so that commands can run as that user.
    assert!(unit.contains("\nUser=plait\n") && !unit.contains("\nDynamicUser=yes\n"), "{unit}");
    let steps = ["useradd ", "runuser -u plait -- plait replay ", "systemctl enable --now plait"];
    assert!(steps.map(|step| place(&manual, step)).is_sorted(), "the order of {steps:?}");
    for text in [&manual, &docker] {
        let (load, serve) =
            (place(text, "plait replay --db /data/db"), "127.0.0.1:1848:1848 plait");
        assert!(load < place(text, serve), "a container serves before it has a database");
    }
    // Root writes nothing between stopping and starting the unit.
    let restore = &manual[place(&manual, "systemctl stop plait")..];
    let restore = &restore[..place(restore, "systemctl start plait")];
    assert!(restore.contains("runuser -u plait -- plait restore "), "{restore}");
}

#[test]
fn units_are_right_for_systemd() {
    let version = Command::new("systemd-analyze").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        return say("skipped: there is no systemd-analyze");
    }
    let folder = TempDir::new().unwrap();
    let names = ["plait.service", "plait.socket", "plait-metrics.socket"];
    for name in names {
        let unit = fs::read_to_string(workspace().join("deploy").join(name)).unwrap();
        let unit = unit.replace("/usr/local/bin/plait", utf8(&binary()));
        fs::write(folder.path().join(name), unit).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").args(names.map(|name| folder.path().join(name)));
    let output = verify.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("plait"), "{said}");
}
