//! nginx, Varnish and `HAProxy` in front of the server, with their defaults and as
//! `docs/operations.md` configures them. The configuration comes from there, and so does the table
//! of their behaviour.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use plait_engine::Header;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use testkit::block::dump;
use testkit::http::{Client, Events, Request, Response};
use testkit::say;
use testkit::server::{Replayed, Server, utf8};

use crate::archive::plait_export;
use crate::http_abuse::SHAPES;
use crate::http_data::{BASE, JSON, NOBODY, OBJECT, OCTETS, Tree, on};
use crate::push::generated;
use crate::push_http::{assert_sum, client, folder, request, taking};

const MANUAL: &str = include_str!("../../docs/operations.md");

/// Far longer than any step takes.
const LONG: Duration = Duration::from_secs(30);

/// The columns of the table.
const COLUMNS: [(Kind, bool); 6] = [
    (Kind::Nginx, false),
    (Kind::Nginx, true),
    (Kind::Varnish, false),
    (Kind::Varnish, true),
    (Kind::Haproxy, false),
    (Kind::Haproxy, true),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nginx,
    Varnish,
    Haproxy,
}

impl Kind {
    const fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Varnish => "varnishd",
            Self::Haproxy => "haproxy",
        }
    }

    /// Whether it is installed; a line says so if it is not.
    fn is_there(self) -> bool {
        let flag = if self == Self::Varnish { "-V" } else { "-v" };
        let run = Command::new(self.program()).arg(flag).stdin(Stdio::null()).output();
        let is_there = run.is_ok_and(|output| output.status.success());
        if !is_there {
            say(&format!("skipped: there is no {}", self.program()));
        }
        is_there
    }
}

/// The code block of this language in the manual, with the parts that depend on the machine
/// replaced.
fn documented(language: &str, replacements: &[(&str, String)]) -> String {
    let fence = format!("```{language}\n");
    let (_, rest) = MANUAL.split_once(&fence).expect("the manual has a configuration");
    let (code, _) = rest.split_once("```").unwrap();
    replacements.iter().fold(code.to_owned(), |code, (from, to)| {
        assert!(code.contains(from), "{from:?} is not in the manual");
        code.replace(from, to)
    })
}

/// A proxy in front of a server, with its own port and folder.
struct Proxy {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Proxy {
    fn start(kind: Kind, is_documented: bool, server: SocketAddr) -> Self {
        Self::configured(kind, |address, dir| {
            configuration(kind, is_documented, server, address, dir)
        })
    }

    /// One whose configuration `make` makes of its address and folder.
    fn configured(kind: Kind, make: impl FnOnce(SocketAddr, &str) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let dir = utf8(folder.path()).to_owned();
        let file = folder.path().join("config");
        fs::write(&file, make(address, &dir)).unwrap();
        let mut command = Command::new(kind.program());
        match kind {
            Kind::Nginx => command.args(["-p", &dir, "-e", "stderr", "-c", utf8(&file)]),
            Kind::Varnish => {
                let work = folder.path().join("work");
                command.args(["-F", "-j", "none", "-n", utf8(&work), "-s", "malloc,64m"]);
                command.args(["-a", &address.to_string(), "-f", utf8(&file)])
            }
            Kind::Haproxy => command.args(["-db", "-q", "-f", utf8(&file)]),
        };
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut proxy = Self { child: command.spawn().unwrap(), address, folder };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = proxy.child.try_wait().unwrap();
            assert!(ended.is_none() && begin.elapsed() < LONG, "{kind:?}: {}", proxy.log());
            thread::sleep(Duration::from_millis(10));
        }
        proxy
    }

    /// The same, after its health check of the server has passed.
    fn ready(kind: Kind, is_documented: bool, server: SocketAddr) -> Self {
        let proxy = Self::start(kind, is_documented, server);
        let begin = Instant::now();
        while proxy.try_ask(&Request::get("/health-check")).is_none_or(|got| got.status != 200) {
            assert!(begin.elapsed() < LONG, "{kind:?}: {}", proxy.log());
            thread::sleep(Duration::from_millis(20));
        }
        proxy
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    fn try_ask(&self, request: &Request) -> Option<Response> {
        self.connect().try_ask(request).ok()
    }

    #[track_caller]
    fn ask(&self, request: &Request) -> Response {
        let got = self.connect().try_ask(request);
        got.unwrap_or_else(|ended| panic!("{request}: {ended:?}\n{}", self.log()))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // A child of this test. Varnish has a child of its own, and ends it.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// The configuration of nginx around a server.
fn nginx(dir: &str, address: SocketAddr, inside: &str) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {dir}/{name};\n"))
        .concat();
    assert!(inside.contains(&address.to_string()), "it listens elsewhere");
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n{temporary}{inside}}}\n"
    )
}

fn configuration(
    kind: Kind,
    is_documented: bool,
    server: SocketAddr,
    address: SocketAddr,
    dir: &str,
) -> String {
    match (kind, is_documented) {
        (Kind::Nginx, false) => {
            let proxy = format!("location / {{ proxy_pass http://{server}; }}");
            nginx(dir, address, &format!("server {{ listen {address}; {proxy} }}\n"))
        }
        (Kind::Nginx, true) => {
            documented_nginx(server, dir, address, &format!("listen {address};"))
        }
        (Kind::Varnish, false) => format!(
            "vcl 4.1;\nbackend default {{ .host = \"127.0.0.1\"; .port = \"{}\"; }}\n",
            server.port()
        ),
        (Kind::Varnish, true) => {
            documented("vcl", &[("\"1848\"", format!("\"{}\"", server.port()))])
        }
        (Kind::Haproxy, false) => format!(
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             frontend a\n  bind {address}\n  default_backend b\nbackend b\n  server s {server}\n"
        ),
        (Kind::Haproxy, true) => {
            let bind = "bind :443 ssl crt /etc/haproxy/headers.example.org.pem alpn h2,http/1.1";
            let bind = (bind, format!("bind {address}"));
            documented("haproxy", &[bind, ("127.0.0.1:1848", server.to_string())])
        }
    }
}

/// The server of the manual, with `listen` as its listen directive.
fn documented_nginx(server: SocketAddr, dir: &str, address: SocketAddr, listen: &str) -> String {
    let mut replacements = vec![
        ("/var/cache/nginx/plait", format!("{dir}/cache")),
        ("127.0.0.1:1848", server.to_string()),
        ("listen 443 ssl http2;", listen.to_owned()),
    ];
    let folder = "/etc/letsencrypt/live/headers.example.org";
    if listen.contains("ssl") {
        replacements.push((folder, dir.to_owned()));
    } else {
        for line in ["ssl_certificate     ", "ssl_certificate_key "] {
            replacements.push((line, "# ".to_owned()));
        }
    }
    nginx(dir, address, &documented("nginx", &replacements))
}

/// A server that accepts blocks, and some blocks that it has.
struct Live {
    server: Server,
    headers: Vec<Header>,
    _db: TempDir,
}

impl Live {
    /// All but the last blocks are stored.
    const LATE: usize = 20;

    fn new() -> Self {
        let db = folder();
        let headers = generated(30, 1, 0.0);
        let flags =
            ["--metrics", "127.0.0.1:0", "--log-requests", "all", "--updates-interval", "0.01"];
        let server = taking(db.path(), &flags);
        let early = headers.len() - Self::LATE;
        let answer = client(&server).ask(&request(OCTETS, dump(&headers[..early])));
        assert_sum(&answer, [early as u64, 0, 0, 0]);
        Self { server, headers, _db: db }
    }

    /// The path of a stored header.
    fn header(&self) -> String {
        let header = self.headers[100].view();
        on(header.chain().get(), &format!("header/{}", header.hash()))
    }
}

/// The sum of a metric of the server, of all samples that contain `part`.
fn sum(server: &Server, metric: &str, part: &str) -> u64 {
    let page = Client::connect(server.watched()).ask(&Request::get("/metrics"));
    let lines = page.text().lines().filter(|line| line.starts_with(metric) && line.contains(part));
    let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let sum = values.sum::<f64>() as u64;
    sum
}

/// How many requests have reached the server, without those of the proxy itself.
fn reached(server: &Server) -> usize {
    let of_proxy =
        ["path=\"/ready\"", "path=/ready", "path=\"/health-check\"", "path=/health-check"];
    let is_counted = |line: &&str| {
        line.contains("plait::requests") && !of_proxy.iter().any(|path| line.contains(path))
    };
    server.log().lines().filter(is_counted).count()
}

/// How many of `count` requests, which `ask` makes, reach the server.
fn reaching(live: &Live, count: usize, ask: impl FnMut(usize)) -> usize {
    let before = reached(&live.server);
    (0..count).for_each(ask);
    // The server may log a request after its response.
    let begin = Instant::now();
    while reached(&live.server) < before + count && begin.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(10));
    }
    reached(&live.server) - before
}

/// Whether the proxy returns each media type as the server does, whatever the earlier requests.
fn representations(live: &Live, proxy: &Proxy) -> &'static str {
    let ask = |accept: Option<&str>| {
        let request = Request::get(live.header());
        accept.map_or_else(|| request.clone(), |accept| request.clone().accept(accept))
    };
    let forms = [Some(JSON), Some(OBJECT), Some(OCTETS), None, Some("*/*"), Some("text/html")];
    let is_right = (0..3).flat_map(|_| forms).all(|accept| {
        let (direct, got) = (live.server.ask(&ask(accept)), proxy.ask(&ask(accept)));
        let same = |name: &str| direct.header(name) == got.header(name);
        direct.status == got.status && direct.body == got.body && same("Content-Type")
    });
    if is_right { "right" } else { "mixed up" }
}

/// Whether the proxy fetches a header by its hash again.
fn immutable(live: &Live, proxy: &Proxy) -> &'static str {
    let request = Request::get(live.header()).accept("application/json");
    reaching(live, 1, |_| drop(proxy.ask(&request)));
    let fetched = reaching(live, 3, |_| drop(proxy.ask(&request)));
    if fetched == 0 { "kept" } else { "fetched each time" }
}

/// Whether the proxy fetches responses that can change each time.
fn changing(live: &Live, proxy: &Proxy) -> &'static str {
    let unknown = on(0, &format!("header/{NOBODY}"));
    let paths = [format!("{BASE}/cut"), on(0, "header?limit=3"), on(0, "hash"), unknown];
    let mut is_fetched = true;
    for path in paths {
        let request = Request::get(path);
        is_fetched &= reaching(live, 4, |_| drop(proxy.ask(&request))) == 4;
    }
    if is_fetched { "fetched each time" } else { "kept" }
}

fn compression(live: &Live, proxy: &Proxy) -> &'static str {
    let [first, second] = [JSON, OBJECT].map(|accept| compression_of(live, proxy, accept));
    if first == second { first } else { "only one form" }
}

fn compression_of(live: &Live, proxy: &Proxy, accept: &str) -> &'static str {
    let request = Request::get(on(0, "header")).accept(accept);
    let plain = live.server.ask(&request);
    let got = proxy.ask(&request.header("Accept-Encoding", "gzip"));
    if got.header("Content-Encoding") != Some("gzip") {
        assert_eq!(got.body, plain.body);
        return "no";
    }
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&got.body[..]).read_to_end(&mut text).unwrap();
    assert_eq!(text, plain.body);
    assert!(
        got.headers
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case("Vary") && value.contains("Encoding"))
    );
    "gzip"
}

fn long_batch(proxy: &Proxy) -> &'static str {
    let body = format!("[\"{NOBODY}\"{}]", " ".repeat((2 << 20) - NOBODY.len() - 4));
    let request = Request::post(on(0, "payload/batch"), body);
    match proxy.connect().ask_both_ways(&request).status {
        200 => "yes",
        413 => "413",
        status => panic!("{status}"),
    }
}

/// Whether events arrive as they happen.
fn events(live: &Live, proxy: &Proxy) -> &'static str {
    let request = Request::get(format!("{BASE}/header/updates"));
    let mut events = Events::open(proxy.address, &request);
    assert_eq!(events.head().status, 200);
    let late = &live.headers[live.headers.len() - Live::LATE..];
    let answer = client(&live.server).ask(&request_of(late));
    assert_eq!(answer.status, 200);
    // A proxy may put several events into one chunk.
    let mut text = Vec::new();
    let count = |text: &[u8]| text.windows(13).filter(|part| part == b"\ndata:{\"heade").count();
    while count(&text) < late.len() {
        text.extend(events.chunk().unwrap().expect("the stream goes on"));
    }
    "at once"
}

/// Spellings of a path whose last segment is `segment`, other than its own.
fn spellings(base: &str, segment: &str) -> Vec<String> {
    let mut all: Vec<String> = ["/", "?", "?x", "/?x", "#", "#x", "/#", "?#", "%23", ";x", "%00"]
        .map(|end| format!("{base}/{segment}{end}"))
        .into();
    for (at, byte) in segment.bytes().enumerate() {
        let (before, after) = (&segment[..at], &segment[at + 1..]);
        all.push(format!("{base}/{before}%{byte:02X}{after}"));
        all.push(format!("{base}/{before}%{byte:02x}{after}/"));
    }
    all
}

fn request_of(headers: &[Header]) -> Request {
    request(OCTETS, dump(headers))
}

/// A server that aborts in the middle of its response.
#[derive(Clone, Copy)]
enum Break {
    /// As Plait does when it cuts a stream: every client sees it.
    Cut,
    /// As the kernel does for a process that was killed.
    Killed,
}

/// The part of a response of `length` bytes from a server that aborts.
fn broken(how: Break) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // The thread ends with the process.
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0)
            {
                head.push(byte[0]);
            }
            let text = String::from_utf8_lossy(&head).into_owned();
            if !text.contains("/stream") {
                let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(ok.as_bytes());
                continue;
            }
            let is_old = text.lines().next().is_some_and(|line| line.ends_with("HTTP/1.0"));
            let chunk = vec![b'x'; 100_000];
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
                        Cache-Control: no-store, max-age=0\r\n";
            let bytes = if is_old {
                [head.replace("1.1", "1.0").as_bytes(), b"Connection: close\r\n\r\n", &chunk]
                    .concat()
            } else {
                let coding = b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n";
                [head.as_bytes(), coding, &chunk, b"\r\n"].concat()
            };
            let _ = stream.write_all(&bytes);
            // By then the proxy has read all or most of it.
            thread::sleep(Duration::from_millis(100));
            if matches!(how, Break::Cut) && is_old {
                let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
            }
        }
    });
    address
}

fn noticed(kind: Kind, is_documented: bool, how: Break) -> &'static str {
    let proxy = Proxy::ready(kind, is_documented, broken(how));
    let got = proxy.connect().try_ask(&Request::get("/stream"));
    if got.is_ok_and(|got| got.status == 200) { "looks whole" } else { "yes" }
}

/// A chain of 20,000 blocks, and its archive in one file of 6.4 MB.
struct Archived {
    server: Server,
    file: String,
    bytes: Vec<u8>,
    _folders: (Replayed, TempDir),
}

impl Archived {
    fn new() -> Self {
        let mut tree = Tree::new(2);
        tree.grow(0, 20_000);
        let database = Replayed::new("development", tree.dump(), &["--format", "binary"]);
        let archive = tempfile::tempdir().unwrap();
        let exported = plait_export(&database.path(), archive.path(), &["--file-heights", "32768"]);
        assert_eq!(exported.status, Some(0), "{}", exported.err);
        let flags = ["--archive", utf8(archive.path()), "--metrics", "127.0.0.1:0"];
        let server = Server::start(&database, &flags);
        let manifest: Value =
            serde_json::from_slice(&fs::read(archive.path().join("manifest.json")).unwrap())
                .unwrap();
        let files = manifest["files"].as_array().unwrap();
        let longest = files.iter().max_by_key(|file| file["bytes"].as_u64()).unwrap();
        let file = longest["name"].as_str().unwrap().to_owned();
        let bytes = fs::read(archive.path().join(&file)).unwrap();
        assert!(bytes.len() > 6 << 20, "{} bytes", bytes.len());
        Self { server, file, bytes, _folders: (database, archive) }
    }

    fn request(&self) -> Request {
        Request::get(format!("/archive/{}", self.file))
    }

    /// Bytes of the archive that the server has sent.
    fn sent(&self) -> u64 {
        sum(&self.server, "plait_response_bytes_total", "archive")
    }

    /// How many more bytes it has sent than `before`; waits until these are at least `least`. The
    /// server counts them at the end of a response, which the client may see earlier.
    fn sent_more(&self, before: u64, least: u64) -> u64 {
        let begin = Instant::now();
        while self.sent() < before + least && begin.elapsed() < LONG {
            thread::sleep(Duration::from_millis(10));
        }
        self.sent() - before
    }

    fn part(&self, proxy: &Proxy, first: usize, last: usize) {
        let range = format!("bytes={first}-{last}");
        let got = proxy.ask(&self.request().header("Range", &range));
        assert_eq!(got.status, 206, "{range}");
        assert!(got.body == self.bytes[first..=last], "{range}");
        let expected = format!("bytes {first}-{last}/{}", self.bytes.len());
        assert_eq!(got.header("Content-Range"), Some(&*expected));
    }
}

/// What the proxy fetches for one range of a kilobyte.
fn ranges(archived: &Archived, proxy: &Proxy) -> &'static str {
    let before = archived.sent();
    archived.part(proxy, 100, 1099);
    match archived.sent_more(before, 1) {
        1000 => "the range",
        0..=1_100_000 => "1 MiB",
        _ => "the file",
    }
}

/// The rows of the table in the manual, by their first cell.
fn table() -> BTreeMap<String, Vec<String>> {
    let rows = MANUAL.lines().skip_while(|line| !line.starts_with("| with")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].to_owned(), cells[1..].iter().map(|&cell| cell.to_owned()).collect())
    });
    cells.collect()
}

/// The behaviour of one proxy.
fn column(
    kind: Kind,
    is_documented: bool,
    archived: &Mutex<Archived>,
) -> Vec<(&'static str, &'static str)> {
    let live = Live::new();
    let proxy = Proxy::ready(kind, is_documented, live.server.address());
    // One proxy at a time, because the counter is a sum over all.
    let fetched = {
        let archived = archived.lock().unwrap();
        let files = Proxy::ready(kind, is_documented, archived.server.address());
        ranges(&archived, &files)
    };
    vec![
        ("JSON, objects and octets of one address", representations(&live, &proxy)),
        ("a header by its hash", immutable(&live, &proxy)),
        ("cut, pages, an unknown block", changing(&live, &proxy)),
        ("JSON is compressed", compression(&live, &proxy)),
        ("a batch of 2 MB", long_batch(&proxy)),
        ("events arrive", events(&live, &proxy)),
        ("a range of 1 kB of an archive file fetches", fetched),
        ("a stream that Plait cuts looks cut", noticed(kind, is_documented, Break::Cut)),
        ("the same if Plait is killed", noticed(kind, is_documented, Break::Killed)),
    ]
}

#[test]
fn proxies_do_what_the_table_says() {
    let kinds = [Kind::Nginx, Kind::Varnish, Kind::Haproxy].map(Kind::is_there);
    let is_there = |kind: Kind| kinds[kind as usize];
    let archived = Mutex::new(Archived::new());
    let columns: Vec<Vec<(&str, &str)>> = thread::scope(|scope| {
        let running: Vec<_> = COLUMNS
            .into_iter()
            .filter(|(kind, _)| is_there(*kind))
            .map(|(kind, is_documented)| {
                let archived = &archived;
                scope.spawn(move || column(kind, is_documented, archived))
            })
            .collect();
        running.into_iter().map(|column| column.join().unwrap()).collect()
    });
    let mut measured: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (row, cell) in columns.into_iter().flatten() {
        measured.entry(row).or_default().push(cell);
    }
    for (row, cells) in &measured {
        say(&format!("proxies: | {row} | {} |", cells.join(" | ")));
    }
    let table = table();
    for (row, cells) in measured {
        let documented = table.get(row).unwrap_or_else(|| panic!("{row:?} is not in the manual"));
        let of_present = documented.iter().zip(COLUMNS).filter(|(_, (kind, _))| is_there(*kind));
        let expected: Vec<&String> = of_present.map(|(cell, _)| cell).collect();
        assert_eq!(cells, expected, "{row}");
    }
}

/// Bytes of all files in a folder, and in those below it.
fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    let bytes = entries.map(|entry| {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() { bytes_below(&entry.path()) } else { metadata.len() }
    });
    bytes.sum()
}

#[test]
fn ranges_through_nginx_fetch_and_keep_slices_and_not_files() {
    if !Kind::Nginx.is_there() {
        return;
    }
    let archived = Archived::new();
    let proxy = Proxy::ready(Kind::Nginx, true, archived.server.address());
    let cache = proxy.folder.path().join("cache");
    let (end, before) = (archived.bytes.len(), archived.sent());
    let nine = [0, 1000, 500_000, 900_000, 1_000_000, 1_048_570, 1_100_000, 1_500_000, 2_000_000];
    for first in nine {
        archived.part(&proxy, first, first + 999);
    }
    let (sent, kept) = (archived.sent_more(before, 2 << 20), bytes_below(&cache));
    say(&format!("nginx: nine ranges of 1 kB of {end} bytes: {sent} fetched, {kept} kept"));
    assert!(sent <= 2 << 20, "{sent} bytes for two slices");
    assert!((1..(2 << 20) + 10_000).contains(&kept), "{kept} bytes of two slices are kept");
    // Again, from other clients, with another `Accept`: the proxy fetches nothing.
    for accept in ["*/*", "text/html", OCTETS] {
        for first in nine {
            let range = format!("bytes={first}-{}", first + 999);
            let got = proxy.ask(&archived.request().header("Range", &range).accept(accept));
            assert!(
                got.status == 206 && got.body == archived.bytes[first..first + 1000],
                "{range}"
            );
        }
    }
    assert_eq!(archived.sent() - before, sent);
    // The rest of the file, and its ends.
    archived.part(&proxy, end - 10, end - 1);
    archived.part(&proxy, 1_048_575, 3 << 20);
    let whole = proxy.ask(&archived.request());
    assert!(whole.status == 200 && whole.body == archived.bytes);
    assert_eq!(whole.header("Content-Length"), Some(&*end.to_string()));
    let direct = archived.server.ask(&Request::new("HEAD", format!("/archive/{}", archived.file)));
    for name in ["ETag", "Cache-Control", "Content-Type", "Accept-Ranges"] {
        assert_eq!(whole.header(name), direct.header(name), "{name}");
    }
    let tag = direct.header("ETag").unwrap();
    assert_eq!(proxy.ask(&archived.request().header("If-None-Match", tag)).status, 304);
    let conditional = archived.request().header("Range", "bytes=5-9");
    assert_eq!(proxy.ask(&conditional.clone().header("If-Range", tag)).body, archived.bytes[5..10]);
    let beyond = archived.request().header("Range", &format!("bytes={end}-"));
    assert_eq!(proxy.ask(&beyond).status, 416);
    assert!(archived.sent() - before <= end as u64 + 1000, "each byte is fetched once");
    // The proxy fetches the manifest again.
    let (manifest, before) = (Request::get("/archive/manifest.json"), archived.sent());
    let length = proxy.ask(&manifest).body.len() as u64;
    assert_eq!(proxy.ask(&manifest).status, 200);
    assert_eq!(archived.sent_more(before, 2 * length), 2 * length);
}

#[test]
fn documented_proxies_refuse_backups_however_the_path_is_spelled() {
    let mut tree = Tree::new(0);
    tree.grow(0, 5);
    let database = Replayed::new("development", tree.dump(), &["--format", "binary"]);
    let backups = tempfile::tempdir().unwrap();
    let server = Server::start(&database, &["--backup-api", "--backups", utf8(backups.path())]);
    let in_network = format!("{BASE}/make-backup");
    let mut paths = vec!["/make-backup".to_owned(), in_network.clone()];
    paths.extend(["", BASE].into_iter().flat_map(|base| spellings(base, "make-backup")));
    // The same with an escape in the path of the network.
    paths.extend(
        ["%63hainweb/0.0/development", "chainweb/0.0/%64evelopment"]
            .map(|base| format!("/{base}/make-backup")),
    );
    for kind in
        [Kind::Nginx, Kind::Varnish, Kind::Haproxy].into_iter().filter(|kind| kind.is_there())
    {
        let proxy = Proxy::ready(kind, true, server.address());
        for path in &paths {
            let status = proxy.ask(&Request::post(path.clone(), "")).status;
            assert!(matches!(status, 400 | 403 | 404), "{kind:?} {path}: {status}");
        }
        for path in
            ["/check-backup/1", "/check-backup/%31", "/check-backup/1#", "/check%2Dbackup/1"]
        {
            let status = proxy.ask(&Request::get(path)).status;
            assert!(matches!(status, 400 | 403 | 404), "{kind:?} {path}: {status}");
        }
    }
    for path in paths.iter().filter(|path| path.contains('%')) {
        assert_eq!(server.post(path, "").status, 404, "{path}");
    }
    let made = || fs::read_dir(backups.path()).unwrap().count();
    assert_eq!(made(), 0, "no request has begun a backup");
    assert_eq!(server.post(&in_network, "").status, 200);
    assert!(made() > 0);
}

#[test]
fn nginx_repeats_queries_that_a_full_replica_refuses_but_not_backups() {
    if !Kind::Nginx.is_there() {
        return;
    }
    let mut tree = Tree::new(0);
    tree.grow(0, 20);
    let database = || Replayed::new("development", tree.dump(), &["--format", "binary"]);
    let databases = [database(), database()];
    let good = Server::start(&databases[0], &[]);
    let full = Server::start(&databases[1], &["--max-connections", "1"]);
    let mut only = full.connect();
    assert_eq!(only.ask(&Request::get("/info")).status, 200);
    let proxy = Proxy::configured(Kind::Nginx, |address, dir| {
        let config = documented_nginx(good.address(), dir, address, &format!("listen {address};"));
        let (one, allow) = (format!("server {};", good.address()), "allow 10.0.0.0/8;");
        assert!(config.contains(&one) && config.contains(allow));
        // They take turns, whatever their responses were.
        let of = |server: &Server| format!("server {} max_fails=0;", server.address());
        config.replace(&one, &(of(&full) + &of(&good))).replace(allow, "allow 127.0.0.1;")
    });
    let upper = format!(r#"{{"upper":["{}"],"lower":[]}}"#, tree.hash(9));
    let query = |path: &str| Request::post(on(0, path), upper.clone());
    for request in [
        query("hash/branch"),
        query("header/branch"),
        Request::post(on(0, "payload/batch"), "[]"),
        Request::get(format!("{BASE}/cut")),
    ] {
        for _ in 0..4 {
            let got = proxy.ask(&request.clone().header("Content-Type", "application/json"));
            assert_eq!(got.status, 200, "{request}: {}", got.text());
        }
    }
    // Only the one that is not full knows that it makes no backups.
    let statuses = [(); 4].map(|()| proxy.ask(&Request::post("/make-backup", "")).status);
    assert!(statuses.contains(&503) && statuses.contains(&404), "{statuses:?}");
    assert_eq!(only.ask(&Request::get("/info")).status, 200, "the other was full all the time");
}

#[test]
fn varnish_answers_ranges_that_the_server_ignores() {
    if !Kind::Varnish.is_there() {
        return;
    }
    let archived = Archived::new();
    let proxy = Proxy::ready(Kind::Varnish, true, archived.server.address());
    let file = format!("/archive/{}", archived.file);
    for (method, range, status) in [
        ("GET", "bytes=0-9", 206),
        ("GET", "bytes=6000000-", 206),
        ("GET", "bytes=-10", 206),
        ("GET", "Bytes=007-0009", 206),
        ("GET", "bytes=100000000-", 416),
        ("GET", "bytes=0-1,4-5", 200),
        ("GET", "items=0-1", 200),
        ("GET", "bytes=a-b", 200),
        ("GET", "bytes=", 200),
        ("GET", "bytes=-", 200),
        ("GET", "bytes=5-4", 200),
        ("GET", "bytes=10-9", 200),
        ("GET", "0-1", 200),
        ("HEAD", "bytes=0-9", 200),
    ] {
        let request = Request::new(method, &*file).header("Range", range);
        let (direct, got) = (archived.server.ask(&request), proxy.ask(&request));
        assert_eq!((got.status, direct.status), (status, status), "{method} {range}");
        for name in ["Content-Range", "ETag"] {
            assert!(status == 416 || got.header(name) == direct.header(name), "{range}: {name}");
        }
        assert!(status == 416 || got.body == direct.body, "{method} {range}");
    }
    // Plait serves these as a part; Varnish cannot read them.
    for range in ["bytes= 1-2", "bytes=-0", "bytes=5-99999999999999999999999"] {
        let got = proxy.ask(&archived.request().header("Range", range));
        assert!(got.status == 200 && got.body == archived.bytes, "{range}: {}", got.status);
    }
    let condition = archived.request().header("Range", "bytes=0-9").header("If-Range", "\"x\"");
    assert_eq!(proxy.ask(&condition).status, 200);
    // By default Varnish passes on requests with cookies, and those that are neither GET nor HEAD.
    for path in ["/archive/manifest.json", "/health-check"] {
        let request = Request::get(path).header("Range", "bytes=0-4").header("Cookie", "a=b");
        let (direct, got) = (archived.server.ask(&request), proxy.ask(&request));
        assert_eq!((got.status, &got.body), (200, &direct.body), "{path}");
    }
}

#[test]
fn nginx_limits_the_rate_of_a_client() {
    if !Kind::Nginx.is_there() {
        return;
    }
    let live = Live::new();
    let proxy = Proxy::ready(Kind::Nginx, true, live.server.address());
    // A burst of 200, and a hundred per second; this takes far less than five seconds.
    let mut client = proxy.connect();
    let statuses: Vec<u16> = (0..900).map(|_| client.ask(&Request::get("/info")).status).collect();
    let [good, bad] = [200, 429].map(|wanted| statuses.iter().filter(|s| **s == wanted).count());
    assert!(good >= 200 && bad > 0 && good + bad == 900, "{good} and {bad} of 900");
    let begin = Instant::now();
    while proxy.ask(&Request::get("/info")).status != 200 {
        assert!(begin.elapsed() < LONG, "it is not served again");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn clients_of_nginx_speak_http_2() {
    let curl = Command::new("curl").arg("-V").stdin(Stdio::null()).output();
    if !curl.is_ok_and(|curl| String::from_utf8_lossy(&curl.stdout).contains("HTTP2")) {
        say("skipped: there is no curl that speaks HTTP/2");
        return;
    }
    if !Kind::Nginx.is_there() {
        return;
    }
    let live = Live::new();
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(folder.path().join("fullchain.pem"), key.cert.pem()).unwrap();
    fs::write(folder.path().join("privkey.pem"), key.signing_key.serialize_pem()).unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (dir, listen) = (utf8(folder.path()), format!("listen {address} ssl http2;"));
    let config = documented_nginx(live.server.address(), dir, address, &listen);
    fs::write(folder.path().join("config"), config).unwrap();
    let mut command = Command::new("nginx");
    command.args(["-p", dir, "-e", "stderr", "-c", utf8(&folder.path().join("config"))]);
    let log = fs::File::create(folder.path().join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let proxy = Proxy { child: command.spawn().unwrap(), address, folder };
    let begin = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begin.elapsed() < LONG, "{}", proxy.log());
        thread::sleep(Duration::from_millis(10));
    }
    let header = live.header();
    for (path, expected) in
        [("/info", live.server.get("/info").body), (&*header, live.server.get(&header).body)]
    {
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--http2", "--noproxy", "*", "--max-time", "20", "--compressed"]);
        curl.args(["-w", "\n%{http_version} %{http_code}", &format!("https://{address}{path}")]);
        let output = curl.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let (body, last) = said.rsplit_once('\n').unwrap();
        assert_eq!((last, body.as_bytes()), ("2 200", &expected[..]), "{}", proxy.log());
    }
}

#[test]
fn requests_whose_end_is_ambiguous_are_not_two_behind_a_proxy() {
    let extra = [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Host: second\r\nContent-Length: 5\r\n",
        "Expect: 100-continue\r\nContent-Length: 5\r\n",
    ];
    let is_there = [Kind::Nginx, Kind::Varnish, Kind::Haproxy].map(Kind::is_there);
    thread::scope(|scope| {
        for (kind, is_documented) in COLUMNS {
            if is_there[kind as usize] {
                scope.spawn(move || assert_nothing_is_smuggled(kind, is_documented, &extra));
            }
        }
    });
}

fn assert_nothing_is_smuggled(kind: Kind, is_documented: bool, extra: &[&str]) {
    let live = Live::new();
    let proxy = Proxy::ready(kind, is_documented, live.server.address());
    let mut answers = Vec::new();
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        for shape in SHAPES.iter().chain(extra) {
            let (path, number) = (on(0, "hash/branch"), answers.len());
            let mut client = proxy.connect();
            client.set_patience(Duration::from_millis(150));
            let head = format!("POST {path} {version}\r\nHost: x\r\n{shape}\r\n");
            let inner = format!("DELETE /smuggled-{number}- HTTP/1.1\r\nHost: x\r\n\r\n");
            let _ = client.send(format!("{head}0\r\n\r\n{inner}"));
            let mut count = 0;
            while let Ok(answer) = client.read("POST") {
                count += usize::from(answer.status != 100);
            }
            answers.push((format!("{version} {shape:?}"), count));
        }
    }
    assert_eq!(live.server.get("/the-last").status, 404);
    live.server.logged("/the-last");
    thread::sleep(Duration::from_millis(200));
    let log = live.server.log();
    for (number, (shape, count)) in answers.iter().enumerate() {
        // If the proxy takes it for a separate request, there are two responses.
        let is_seen = log.contains(&format!("/smuggled-{number}-"));
        assert!(!is_seen || *count == 2, "{kind:?} {is_documented} {shape}: {count} answers");
    }
}
