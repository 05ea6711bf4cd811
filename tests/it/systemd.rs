//! What a service manager is told, and the sockets that it gives.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use testkit::http::{Client, Request};
use testkit::process::{binary, plait};
use testkit::server::{Server, Signal, utf8};

use crate::http_data::database;

const LONG: Duration = Duration::from_secs(20);

/// The next thing that the manager is told.
fn told(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let len = socket.recv(&mut bytes).expect("the server tells something");
    String::from_utf8(bytes[..len].to_vec()).unwrap()
}

/// What it is told, up to what begins with `end`.
fn told_until(socket: &UnixDatagram, end: &str) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let next = told(socket);
        let last = next.starts_with(end);
        all.push(next);
        if last {
            return all;
        }
    }
}

#[test]
fn manager_is_told_when_the_server_is_ready_alive_and_stopping() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let database = database();
    let mut command = plait(["serve", "--listen", "127.0.0.1:0", "--db", utf8(&database.path())]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000").stdout(Stdio::null());
    let mut server = Server::of_command(command);
    let before = told_until(&socket, "READY=1\n");
    assert!(before.iter().any(|text| text.starts_with("STATUS=Opening")), "{before:?}");
    assert!(before.last().unwrap().contains(&server.address().to_string()), "{before:?}");
    for _ in 0..3 {
        assert_eq!(told(&socket), "WATCHDOG=1\n");
    }
    server.signal(Signal::TERM);
    let after = told_until(&socket, "STOPPING=1\n");
    assert!(after.iter().all(|text| !text.contains("READY=1")), "{after:?}");
    assert!(server.wait(LONG).expect("it ends").success(), "{}", server.log());
}

#[test]
fn manager_that_does_not_listen_is_no_reason_to_fail() {
    let database = database();
    let mut command = plait(["serve", "--listen", "127.0.0.1:0", "--db", utf8(&database.path())]);
    command.env("NOTIFY_SOCKET", "/nowhere/notify").stdout(Stdio::null());
    assert_eq!(Server::of_command(command).get("/info").status, 200);
}

/// A server that has these sockets as its third and fourth file, as systemd gives them.
fn activated(names: &str, first: TcpListener, second: TcpListener, db: &str) -> Command {
    let script = "export LISTEN_PID=$$; exec 3<&0 4<&1 0</dev/null 1>/dev/null; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", utf8(&binary()), "serve", "--db", db]);
    command.args(["--listen", "192.0.2.1:1"]);
    command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", names);
    command.stdin(OwnedFd::from(first)).stdout(OwnedFd::from(second)).stderr(Stdio::piped());
    command
}

#[test]
fn sockets_of_the_manager_are_used_by_their_names() {
    let database = database();
    for (names, first_is_api) in [("api:metrics", true), ("metrics:plait.socket", false)] {
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let sockets = [bind(), bind()];
        let [first, second] = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        let (api, metrics) = if first_is_api { (first, second) } else { (second, first) };
        // Whoever connects before the server is there waits for it.
        let mut early = Client::connect(api);
        let [first, second] = sockets;
        let path = database.path();
        let server = Server::of_command(activated(names, first, second, utf8(&path)));
        assert_eq!(server.address(), api, "{names}");
        assert_eq!(server.watched(), metrics, "{names}");
        assert_eq!(early.ask(&Request::get("/info")).status, 200);
        assert_eq!(server.metric("plait_ready"), Some(1.0));
    }
}

#[test]
fn files_that_are_no_sockets_are_refused() {
    let script = "export LISTEN_PID=$$; exec 3</dev/null; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", utf8(&binary()), "serve", "--archive", "x"]);
    let output = command.env("LISTEN_FDS", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not a socket"), "{said}");
}
