//! Archives over HTTP: whole, in parts, again, and mirrored file by file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use h2::client::Builder;
use http::{Request as Http2, Version};
use plait_engine::generate::{History, Plan};
use plait_engine::{ChainwebVersion, Header};
use testkit::archive::{files, has_extension};
use testkit::block::dump;
use testkit::braid::braid_with_orphans;
use testkit::http::{Request, Response};
use testkit::server::{Replayed, Server, utf8};
use tokio::time::timeout;

use crate::archive::{folder, plait_export, verify};
use crate::http_two::connect_with;

fn export(db: &Path, out: &Path) {
    let outcome = plait_export(db, out, &["--file-heights", "1024"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
}

/// A database and its archive, in files of some 300 kB, and a server of both.
struct World {
    database: Replayed,
    archive: tempfile::TempDir,
    server: Server,
}

fn world(flags: &[&str]) -> World {
    let blocks = braid_with_orphans(1100, 50);
    let database = Replayed::new("development", dump(&blocks), &[]);
    let archive = folder();
    export(&database.path(), archive.path());
    let server = Server::start(&database, &[&["--archive", utf8(archive.path())], flags].concat());
    World { database, archive, server }
}

fn path(name: &str) -> String {
    format!("/archive/{name}")
}

/// The files of an archive, without what is the exporter's own.
fn offered(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    files(dir).into_iter().filter(|(name, _)| !name.starts_with('.')).collect()
}

/// The longest file.
fn long(files: &BTreeMap<String, Vec<u8>>) -> (&String, &Vec<u8>) {
    files
        .iter()
        .filter(|(name, _)| has_extension(name, "plait"))
        .max_by_key(|(_, b)| b.len())
        .unwrap()
}

fn get(world: &World, name: &str, headers: &[(&str, &str)]) -> Response {
    let request = Request::get(path(name));
    world.server.ask(&headers.iter().fold(request, |r, (name, value)| r.header(name, value)))
}

#[test]
fn an_archive_that_is_mirrored_file_by_file_verifies() {
    let world = world(&[]);
    let mirror = folder();
    let mut client = world.server.connect();
    let manifest = client.ask(&Request::get(path("manifest.json")));
    assert_eq!(manifest.status, 200);
    fs::write(mirror.path().join("manifest.json"), &manifest.body).unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&manifest.body).unwrap();
    for file in listed["files"].as_array().unwrap() {
        let name = file["name"].as_str().unwrap();
        let answer = client.ask(&Request::get(path(name)));
        assert_eq!((answer.status, answer.chunked), (200, false));
        assert_eq!(answer.header("Content-Length"), Some(&*file["bytes"].to_string()));
        assert_eq!(answer.header("ETag").unwrap(), format!("{}", file["checksum"]));
        fs::write(mirror.path().join(name), &answer.body).unwrap();
    }
    assert!(offered(mirror.path()) == offered(world.archive.path()));
    let outcome = verify(mirror.path(), &["--level", "hash"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
}

#[test]
fn files_are_for_ever_and_the_manifest_is_asked_for_anew() {
    let world = world(&[]);
    let files = offered(world.archive.path());
    let (name, bytes) = long(&files);
    let answer = get(&world, name, &[]);
    assert_eq!(answer.status, 200);
    assert!(answer.body == *bytes);
    assert_eq!(answer.header("Cache-Control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(answer.header("Content-Type"), Some("application/octet-stream"));
    assert_eq!(answer.header("Accept-Ranges"), Some("bytes"));
    let tag = answer.header("ETag").unwrap();
    let again = get(&world, name, &[("If-None-Match", tag)]);
    assert_eq!((again.status, again.header("ETag"), again.body.len()), (304, Some(tag), 0));
    // A condition comes before a range.
    let both = get(&world, name, &[("If-None-Match", tag), ("Range", "bytes=0-1")]);
    assert_eq!(both.status, 304);
    let head = world.server.ask(&Request::new("HEAD", path(name)).header("Range", "bytes=0-1"));
    let length = bytes.len().to_string();
    assert_eq!((head.status, head.header("Content-Length")), (200, Some(&*length)));

    let manifest = get(&world, "manifest.json", &[]);
    assert_eq!(manifest.header("Cache-Control"), Some("no-cache, max-age=0"));
    assert_eq!(manifest.header("Content-Type"), Some("application/json"));
    assert!(manifest.body == files["manifest.json"]);
    let tag = manifest.header("ETag").unwrap();
    let again = get(&world, "manifest.json", &[("If-None-Match", tag)]);
    assert_eq!((again.status, again.header("Cache-Control")), (304, Some("no-cache, max-age=0")));
}

#[test]
fn ranges_are_the_bytes_that_they_name() {
    let world = world(&[]);
    let files = offered(world.archive.path());
    let (name, bytes) = long(&files);
    let len = bytes.len();
    let tag = get(&world, name, &[]).header("ETag").unwrap().to_owned();
    for (range, first, last) in [
        ("bytes=0-0".to_owned(), 0, 0),
        ("bytes=48-365".to_owned(), 48, 365),
        ("bytes=200000-".to_owned(), 200_000, len - 1),
        (format!("bytes={}-", len - 1), len - 1, len - 1),
        ("bytes=-500".to_owned(), len - 500, len - 1),
        (format!("bytes=100000-{}", len + 5), 100_000, len - 1),
        ("bytes=0-".to_owned(), 0, len - 1),
    ] {
        for condition in [vec![], vec![("If-Range", &*tag)]] {
            let answer = get(&world, name, &[&[("Range", &*range)][..], &condition].concat());
            assert_eq!(answer.status, 206, "{range}");
            assert!(answer.body == bytes[first..=last], "{range}");
            let expected = format!("bytes {first}-{last}/{len}");
            assert_eq!(answer.header("Content-Range"), Some(&*expected));
            assert_eq!(answer.header("Content-Length"), Some(&*(last + 1 - first).to_string()));
            assert_eq!(answer.header("ETag"), Some(&*tag));
        }
        let other = get(&world, name, &[("Range", &range), ("If-Range", "\"other\"")]);
        assert!(other.status == 200 && other.body == *bytes);
    }
    for range in [format!("bytes={len}-"), "bytes=-0".to_owned()] {
        let answer = get(&world, name, &[("Range", &range)]);
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(answer.header("Content-Range"), Some(&*format!("bytes */{len}")));
    }
    for range in ["bytes=0-1,5-6", "lines=1-2", "bytes=5-2", "bytes=x"] {
        assert_eq!(get(&world, name, &[("Range", range)]).status, 200, "{range}");
    }
}

#[test]
fn a_download_that_breaks_is_resumed_where_it_was() {
    let world = world(&[]);
    let files = offered(world.archive.path());
    let (name, bytes) = long(&files);
    let tag = get(&world, name, &[]).header("ETag").unwrap().to_owned();
    // As `curl -C -` does it: read some, break, ask for the rest.
    let (mut got, mut broken) = (Vec::new(), 0);
    while got.len() < bytes.len() {
        let mut client = world.server.connect();
        let range = format!("bytes={}-", got.len());
        let request = Request::get(path(name)).header("Range", &range).header("If-Range", &tag);
        client.send(request.to_bytes()).unwrap();
        let head = client.read_head().unwrap();
        assert_eq!(head.status, 206);
        let mut some = 0;
        while some < 70_001 && got.len() < bytes.len() {
            let read = client.read_some(9_999).unwrap();
            assert!(!read.is_empty());
            some += read.len();
            got.extend(read);
        }
        broken += 1;
    }
    assert!(got == *bytes && broken > 3);
}

#[test]
fn only_what_the_manifest_names_is_offered() {
    let world = world(&[]);
    fs::write(world.archive.path().join("secret.txt"), "secret").unwrap();
    let file = "00-0000000000-canonical-00000000000000000000000000000000.plait";
    fs::write(world.archive.path().join(file), "other").unwrap();
    let files = offered(world.archive.path());
    let name = long(&files).0;
    for path in [
        "/archive/secret.txt".to_owned(),
        "/archive/.export".to_owned(),
        format!("/archive/{file}"),
        "/archive/".to_owned(),
        "/archive".to_owned(),
        "/archive/../archive/manifest.json".to_owned(),
        "/archive/..%2farchive%2fmanifest.json".to_owned(),
        "/archive/%2e%2e/manifest.json".to_owned(),
        "/archive//etc/passwd".to_owned(),
        "/archive/%2fetc%2fpasswd".to_owned(),
        format!("/archive/.%2f{name}"),
        format!("/archive/{name}%00"),
        format!("/archive/{}", name.to_uppercase()),
        "/archive/manifest.json/x".to_owned(),
    ] {
        assert_eq!(world.server.get(&path).status, 404, "{path}");
    }
    assert_eq!(world.server.post("/archive/manifest.json", "{}").status, 405);
    let options = world.server.ask(&Request::new("OPTIONS", path(name)));
    assert!(options.header("Access-Control-Allow-Headers").unwrap().contains("range"));
    // Without an archive there is none.
    let World { database, server, .. } = world;
    drop(server);
    let server = Server::start(&database, &[]);
    assert_eq!(server.get("/archive/manifest.json").status, 404);
}

#[test]
fn a_later_export_is_offered_at_once_and_the_server_may_start_before_the_first() {
    let database = Replayed::new("development", dump(&braid_with_orphans(3, 2)), &[]);
    let archive = folder();
    let out = archive.path().join("later");
    let server = Server::start(&database, &["--archive", utf8(&out)]);
    assert_eq!(server.get("/archive/manifest.json").status, 404);
    export(&database.path(), &out);
    let first = server.get("/archive/manifest.json");
    assert_eq!(first.status, 200);
    let other = Replayed::new("development", dump(&braid_with_orphans(4, 2)), &[]);
    export(&other.path(), &out);
    let second = server.get("/archive/manifest.json");
    assert!(second.body != first.body && second.body == files(&out)["manifest.json"]);
    let listed: serde_json::Value = serde_json::from_slice(&second.body).unwrap();
    let name = listed["files"][0]["name"].as_str().unwrap();
    assert_eq!(server.get(&path(name)).status, 200);
    // What is damaged on disk is not passed on.
    fs::write(out.join(name), "short").unwrap();
    assert_eq!(server.get(&path(name)).status, 500);
    fs::write(out.join("manifest.json"), "{}").unwrap();
    assert_eq!(server.get("/archive/manifest.json").status, 500);
    server.logged("the archive cannot be read");
    assert_eq!(server.get("/health-check").status, 200);
}

#[test]
fn an_archive_is_offered_without_a_database() {
    let with_database = world(&[]);
    let server = Server::of_archive(with_database.archive.path());
    for (name, bytes) in offered(with_database.archive.path()) {
        let answer = server.get(&path(&name));
        assert!((answer.status, &answer.body) == (200, &bytes), "{name}");
    }
    assert_eq!(server.get("/health-check").status, 200);
    for elsewhere in ["/info", "/chainweb/0.0/development/cut", "/archive/nothing"] {
        assert_eq!(server.get(elsewhere).status, 404, "{elsewhere}");
    }
}

#[test]
fn a_client_that_stops_reading_is_dropped() {
    let world = world(&["--stall-time", "0.5"]);
    let files = offered(world.archive.path());
    let mut client = world.server.connect();
    // More than sockets hold: many answers to one who reads none.
    let request = Request::get(path(long(&files).0)).to_bytes();
    let mut dropped = false;
    for _ in 0..200 {
        if client.send(&request).is_err() {
            dropped = true;
            break;
        }
    }
    std::thread::sleep(Duration::from_secs(2));
    dropped |= client.send(&request).is_err();
    dropped |= client.drain();
    assert!(dropped);
    assert_eq!(world.server.get("/health-check").status, 200);
}

#[tokio::test]
async fn the_newer_protocol_has_the_same_bytes() {
    let world = world(&[]);
    let files = offered(world.archive.path());
    let (name, bytes) = long(&files);
    let sender = connect_with(world.server.address(), &Builder::new()).await;
    let len = bytes.len();
    for (range, status, first, last) in
        [(None, 200, 0, len - 1), (Some("bytes=1000-250999"), 206, 1000, 250_999)]
    {
        let builder = Http2::builder().uri(format!("http://plait.test{}", path(name)));
        let builder = builder.version(Version::HTTP_2);
        let builder = range.iter().fold(builder, |b, range| b.header("range", *range));
        let mut sender = sender.clone().ready().await.unwrap();
        let (answer, _) = sender.send_request(builder.body(()).unwrap(), true).unwrap();
        let answer = timeout(Duration::from_secs(20), answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["content-length"], (last + 1 - first).to_string());
        let (mut body, mut got) = (answer.into_body(), Vec::new());
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            got.extend_from_slice(&data);
        }
        assert!(got == bytes[first..=last], "{range:?}");
    }
}

#[test]
fn a_link_that_leads_to_another_archive_of_the_same_length_and_age_is_followed() {
    let archives = folder();
    for (name, seed) in [("v1", 1), ("v2", 2)] {
        let plan = Plan { seed, ..Plan::new(ChainwebVersion::Development, 20) };
        let blocks: Vec<Header> = History::new(&plan).unwrap().collect();
        let database = Replayed::new("development", dump(&blocks), &[]);
        export(&database.path(), &archives.path().join(name));
    }
    let manifest = |name: &str| archives.path().join(name).join("manifest.json");
    let (one, two) = (fs::read(manifest("v1")).unwrap(), fs::read(manifest("v2")).unwrap());
    assert!(one.len() == two.len() && one != two, "{} and {} bytes", one.len(), two.len());
    let time = fs::metadata(manifest("v1")).unwrap().modified().unwrap();
    fs::File::options().write(true).open(manifest("v2")).unwrap().set_modified(time).unwrap();
    let link = archives.path().join("current");
    std::os::unix::fs::symlink("v1", &link).unwrap();
    let server = Server::of_archive(&link);
    assert!(server.get("/archive/manifest.json").body == one);
    for (name, expected) in [("v2", &two), ("v1", &one), ("v2", &two)] {
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(name, &link).unwrap();
        assert!(server.get("/archive/manifest.json").body == *expected, "{name}");
        let listed: serde_json::Value = serde_json::from_slice(expected).unwrap();
        let file = listed["files"][0]["name"].as_str().unwrap();
        assert_eq!(server.get(&path(file)).status, 200, "{name}");
    }
}

#[test]
fn a_fifo_in_place_of_a_file_takes_no_slot_and_pages_are_answered() {
    let world = world(&["--max-reads", "2", "--archive-reads", "2", "--read-wait-time", "1"]);
    let files = offered(world.archive.path());
    let name = long(&files).0;
    for place in [name.as_str(), "manifest.json"] {
        let file = world.archive.path().join(place);
        fs::remove_file(&file).unwrap();
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        // More of them than there are slots, and nobody writes into the FIFO.
        for _ in 0..20 {
            assert_eq!(world.server.get(&path(place)).status, 500, "{place}");
        }
        let page =
            world.server.get("/chainweb/0.0/development/chain/0/header?limit=5&minheight=500");
        assert_eq!(page.status, 200, "{}", page.text());
        fs::remove_file(&file).unwrap();
        fs::write(&file, &files[place]).unwrap();
        assert_eq!(world.server.get(&path(place)).status, 200, "{place}");
    }
}
