//! What the documents tell people to run, run against a server that fails now and then.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;
use testkit::block::dump;
use testkit::braid::braid_with_orphans;
use testkit::http::Request;
use testkit::process::binary;
use testkit::say;
use testkit::server::{Replayed, Server, utf8};
use testkit::vectors::workspace;

use crate::archive::plait_export;
use crate::http_data::{OCTETS, on};
use crate::push::generated;

/// What a proxy does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Nothing: it hands the answer on.
    None,
    /// It answers with this status, and a page of text about as long as an answer.
    Status(u16),
    /// It hands on the first half of the body, and breaks the connection.
    Truncated,
    /// It breaks the connection before it has answered.
    Broken,
}

/// A proxy before a server that fails as `plan` says: by the path, and by how often it was asked for.
struct Proxy {
    address: SocketAddr,
    failed: Arc<AtomicU64>,
}

impl Proxy {
    fn start(
        server: SocketAddr,
        plan: impl Fn(&str, u64) -> Trouble + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let failed = Arc::new(AtomicU64::new(0));
        let (counter, asked) = (Arc::clone(&failed), Mutex::new(Vec::<String>::new()));
        // It ends with the process: nothing connects any more when its test is over.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut stream = stream;
                let Some((request, path)) = read_request(&mut stream) else { continue };
                let times = {
                    let mut asked = asked.lock().unwrap();
                    asked.push(path.clone());
                    asked.iter().filter(|other| **other == path).count() as u64
                };
                let trouble = plan(&path, times);
                if trouble != Trouble::None {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                // A client that goes first is no failure here.
                let _ = answer(&mut stream, server, &request, trouble);
            }
        });
        Self { address, failed }
    }

    fn failures(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// A request without a body, and its path.
fn read_request(stream: &mut TcpStream) -> Option<(String, String)> {
    let (mut head, mut byte) = (Vec::new(), [0; 1]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8(head).ok()?;
    let path = head.split(' ').nth(1)?.to_owned();
    Some((head, path))
}

fn answer(
    stream: &mut TcpStream,
    server: SocketAddr,
    request: &str,
    trouble: Trouble,
) -> std::io::Result<()> {
    let ending = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let whole = || {
        let mut upstream = TcpStream::connect(server)?;
        upstream.write_all(ending.as_bytes())?;
        let mut bytes = Vec::new();
        upstream.read_to_end(&mut bytes).map(|_| bytes)
    };
    match trouble {
        Trouble::None => stream.write_all(&whole()?),
        Trouble::Broken => Ok(()),
        Trouble::Truncated => {
            let bytes = whole()?;
            let body = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0) + 4;
            stream.write_all(&bytes[..usize::midpoint(body, bytes.len())])
        }
        Trouble::Status(status) => {
            let page = "<html>The server is away for a while.</html>\n".repeat(20);
            write!(
                stream,
                "HTTP/1.1 {status} Trouble\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{page}",
                page.len()
            )
        }
    }
}

/// The indented lines of a document that follow each other from the one with `begin` on.
fn lines_of(document: &str, begin: &str) -> String {
    let text = fs::read_to_string(workspace().join(document)).unwrap();
    let lines = text.lines().skip_while(|line| !(line.starts_with("    ") && line.contains(begin)));
    let lines: Vec<&str> = lines.map_while(|line| line.strip_prefix("    ")).collect();
    assert!(!lines.is_empty(), "{document} has no {begin}");
    lines.join("\n")
}

/// Runs `script` in `folder` as a user would, with `plait` on the path.
fn shell(script: &str, folder: &Path) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    let tools = binary().parent().unwrap().to_owned();
    Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", utf8(&tools)))
        .env("no_proxy", "*")
        .output()
        .unwrap()
}

fn has_curl() -> bool {
    let has = Command::new("curl").arg("--version").output().is_ok();
    if !has {
        say("skipped: there is no curl");
    }
    has
}

#[test]
fn the_mirror_script_of_the_readme_ends_with_a_whole_archive_whatever_the_server_does() {
    if !has_curl() {
        return;
    }
    // By every rule, as `plait verify` checks it.
    let blocks = generated(300, 1, 0.05);
    let database = Replayed::new("development", dump(&blocks), &[]);
    let archive = TempDir::new().unwrap();
    let exported = plait_export(&database.path(), archive.path(), &["--file-heights", "256"]);
    assert_eq!(exported.status, Some(0), "{}", exported.err);
    let server = Server::of_archive(archive.path());
    // Of every sixth file the first answer fails, each time in another way, and one fails so often that
    // curl gives up; so does the manifest once.
    let seen = Mutex::new(Vec::<String>::new());
    let proxy = Proxy::start(server.address(), move |path, times| {
        let at = {
            let mut seen = seen.lock().unwrap();
            if !seen.iter().any(|other| other == path) {
                seen.push(path.to_owned());
            }
            seen.iter().position(|other| other == path).unwrap()
        };
        match (at, times) {
            (0, 1) => Trouble::Status(503),
            (9, 1..=6) => Trouble::Status(500),
            (at, 1) if at % 6 == 1 => {
                [Trouble::Truncated, Trouble::Status(404), Trouble::Status(502), Trouble::Broken]
                    [at / 6 % 4]
            }
            _ => Trouble::None,
        }
    });
    let script = lines_of("README.md", "url=http://127.0.0.1:1848/archive");
    let script = script.replace("http://127.0.0.1:1848", &format!("http://{}", proxy.address));
    // Waits that grow are not what is tested.
    let script = script.replace("--retry 5", "--retry 5 --retry-delay 1");
    let mirror = TempDir::new().unwrap();
    let mut runs = 0;
    loop {
        let ran = shell(&script, mirror.path());
        runs += 1;
        let is_whole = ran.status.success();
        // A manifest is there once all that it names is.
        assert_eq!(mirror.path().join("manifest.json").exists(), is_whole, "{ran:?}");
        if is_whole {
            break;
        }
        assert!(runs < 8, "the mirror never gets whole: {}", String::from_utf8_lossy(&ran.stderr));
    }
    assert!(runs > 1, "curl was to give up once");
    assert!(proxy.failures() > 9, "{}", proxy.failures());
    let names = |folder: &Path| -> BTreeSet<String> {
        let entries = folder.read_dir().unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with('.')).collect()
    };
    assert_eq!(names(mirror.path()), names(archive.path()), "no part is left");
    for name in names(archive.path()) {
        let (there, here) = (archive.path().join(&name), mirror.path().join(&name));
        assert!(fs::read(there).unwrap() == fs::read(here).unwrap(), "{name}");
    }
    let again = shell(&script, mirror.path());
    assert!(again.status.success(), "once more, with nothing new: {again:?}");
}

#[test]
fn the_stream_of_the_readme_is_whole_where_curl_says_so() {
    if !has_curl() {
        return;
    }
    let blocks = braid_with_orphans(300, 20);
    let database = Replayed::new("development", dump(&blocks), &[]);
    let server = Server::start(&database, &[]);
    let direct = server.ask(&Request::get(on(0, "header")).accept(OCTETS)).body;
    let proxy = Proxy::start(server.address(), |_, times| match times {
        1 => Trouble::Truncated,
        2 => Trouble::Status(503),
        3 => Trouble::Broken,
        _ => Trouble::None,
    });
    let command = lines_of("README.md", "-o chain0.bin");
    let command = command.replace("http://127.0.0.1:1848", &format!("http://{}", proxy.address));
    let command = command.replace("mainnet01", "development");
    let folder = TempDir::new().unwrap();
    let ran = shell(&command.replace("--retry 5", "--retry 5 --retry-delay 1"), folder.path());
    assert!(ran.status.success(), "{ran:?}");
    assert!(fs::read(folder.path().join("chain0.bin")).unwrap() == direct);
    assert_eq!(proxy.failures(), 3);
    // What does not get better is no file, and no success.
    let away = Proxy::start(server.address(), |_, _| Trouble::Status(503));
    let command = command.replace(&proxy.address.to_string(), &away.address.to_string());
    let folder = TempDir::new().unwrap();
    let ran = shell(&command.replace("--retry 5", "--retry 1"), folder.path());
    assert!(!ran.status.success() && !folder.path().join("chain0.bin").exists(), "{ran:?}");
}

#[test]
fn every_command_in_the_documents_that_keeps_an_answer_refuses_errors() {
    let root = workspace();
    let mut documents: Vec<String> =
        ["README.md", "SECURITY.md", "scripts/run.sh"].map(str::to_owned).into();
    for folder in ["docs", "deploy", "server/src/cli"] {
        for entry in root.join(folder).read_dir().unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if root.join(folder).join(&name).is_file() {
                documents.push(format!("{folder}/{name}"));
            }
        }
    }
    let mut commands = 0;
    for document in documents {
        let text = fs::read_to_string(root.join(&document)).unwrap().replace("\\\n", " ");
        for line in text.lines().map(str::trim) {
            assert!(
                !line.starts_with("wget ") && !line.starts_with("aria2c "),
                "{document}: {line}"
            );
            let Some((_, command)) = line.split_once("curl -") else { continue };
            commands += 1;
            let command = format!("-{command}");
            // A flag of one letter, alone or among others.
            let has = |letter: char| {
                let words = command.split([' ', '"', ')']);
                let mut short =
                    words.filter(|word| word.starts_with('-') && !word.starts_with("--"));
                short.any(|word| word.contains(letter))
            };
            let discards = command.contains("/dev/null") || line.contains("$(");
            assert!(discards || !has('s') || has('S'), "{document} hides errors: {line}");
            assert!(!has('C'), "{document} resumes a file that may be another by now: {line}");
            let keeps = has('o') || has('O') || line.ends_with('|');
            assert!(!keeps || discards || has('f'), "{document} keeps an error page: {line}");
        }
    }
    assert!(commands > 8, "{commands} commands");
}

#[test]
fn a_push_by_curl_fails_where_the_server_refuses_it() {
    if !has_curl() {
        return;
    }
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("new.bin"), [0; 318]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let refusing = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (head, _) = read_request(&mut stream).unwrap();
        assert!(head.starts_with("POST /push "), "{head}");
        stream
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .unwrap();
        // To the end, so that nothing is reset.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let command = lines_of("README.md", "/push").lines().last().unwrap().to_owned();
    let command = command.replace("http://127.0.0.1:1850", &format!("http://{address}"));
    let ran = shell(&command, folder.path());
    assert!(!ran.status.success() && !ran.stderr.is_empty(), "{ran:?}");
    refusing.join().unwrap();
}
