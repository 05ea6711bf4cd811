//! The `OpenAPI` document of a server, and its answers, which are as the document says.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jsonschema::Validator;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::carried::{blocks, headers, lines};
use testkit::http::{Events, Request, Response};
use testkit::process::run_script;
use testkit::server::{Replayed, Server, utf8};

use crate::archive::plait_export;
use crate::http_data::{BASE, JSON, NOBODY, OBJECT, OCTETS};
use crate::push_http::{LINES, client, request, sum};

const SCHEMATHESIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/compat/try_schemathesis.py");

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/compat/try_openapi.py");

const HEIGHTS: u64 = 20;
const SEED: u64 = 7;

/// A forked history with payloads, an archive of it, and a server that offers all there is.
struct World {
    server: Server,
    document: Value,
    /// A block that carries something, and what it carries.
    block: (String, String),
    _database: Replayed,
    archive: TempDir,
}

impl World {
    fn new(flags: &[&str]) -> Self {
        let blocks = blocks(HEIGHTS, SEED, 0.2, 3);
        let database = Replayed::new("development", lines(&blocks), &["--format", "jsonl"]);
        let archive = TempDir::new().unwrap();
        let outcome = plait_export(&database.path(), archive.path(), &["--file-heights", "1024"]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        let offered = ["--archive", utf8(archive.path()), "--backup-api"];
        let server = Server::start(&database, &[&offered, flags].concat());
        let document = document_of(&server, "/openapi.json");
        let first = headers(&blocks)[0];
        let block = (first.view().hash().to_string(), first.view().payload_hash().to_string());
        Self { server, document, block, _database: database, archive }
    }

    /// Where an operation stands in the document, for a path with its parameters filled in.
    fn operation(&self, method: &str, target: &str) -> (String, &Value) {
        let path = target.split('?').next().unwrap();
        let mut fitting: Vec<(&String, &Value)> = self.document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(p, _)| fits(p, path))
            .collect();
        // A path without parameters is meant before one with them.
        fitting.sort_by_key(|(path, _)| path.matches('{').count());
        let (path, item) = fitting.first().unwrap_or_else(|| panic!("{path} is not documented"));
        (format!("{method} {path}"), &item[method.to_lowercase()])
    }

    /// What a reference refers to, if it is one.
    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(pointer) => self.document.pointer(&pointer[1..]).unwrap(),
            None => value,
        }
    }

    /// What holds values to a schema of the document.
    fn validator(&self, schema: &Value) -> Validator {
        let mut schema = schema.clone();
        schema["components"] = self.document["components"].clone();
        jsonschema::draft202012::new(&schema).unwrap()
    }

    /// Sends a request, and holds the answer to the document; the name of the operation with the
    /// status, and the answer.
    fn ask(&self, request: &Request, target: &str) -> (String, Response) {
        let response = self.server.ask(request);
        let (name, operation) = self.operation(request.method(), target);
        assert!(operation.is_object(), "{name}");
        let said = format!("{request}: {} {:?}", response.status, response.headers);
        let answer = &operation["responses"][response.status.to_string()];
        assert!(answer.is_object(), "{said} is not documented");
        let answer = self.resolved(answer);
        self.check_headers(answer, &response, &said);
        self.check_body(answer, &response, &said);
        (format!("{name} {}", response.status), response)
    }

    fn ask_for(&self, target: &str) -> (String, Response) {
        self.ask(&Request::get(target), target)
    }

    fn check_headers(&self, answer: &Value, response: &Response, said: &str) {
        for (name, header) in answer["headers"].as_object().unwrap() {
            let header = self.resolved(header);
            let Some(text) = response.header(name) else {
                assert_ne!(header["required"], json!(true), "{said}: no {name}");
                continue;
            };
            let is_number = self.resolved(&header["schema"])["type"] == "integer";
            let value = if is_number { serde_json::from_str(text).unwrap() } else { json!(text) };
            let error = self.validator(&header["schema"]).validate(&value).err();
            assert!(error.is_none(), "{said}: {name}: {error:?}");
        }
    }

    fn check_body(&self, answer: &Value, response: &Response, said: &str) {
        let Some(content) = answer["content"].as_object() else {
            return assert!(response.body.is_empty(), "{said}");
        };
        let got = response.header("Content-Type").unwrap();
        let name = got.strip_suffix(";charset=utf-8").unwrap_or(got);
        let media = content.get(name).unwrap_or_else(|| panic!("{said}: {got} is not documented"));
        let value = match name {
            JSON | OBJECT => serde_json::from_str(response.text()).unwrap(),
            "text/plain" => json!(response.text()),
            _ => return,
        };
        let validator = self.validator(&media["schema"]);
        let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{said}: {errors:?}");
    }
}

fn document_of(server: &Server, target: &str) -> Value {
    let response = server.get(target);
    assert_eq!((response.status, response.header("Content-Type")), (200, Some(JSON)));
    serde_json::from_str(response.text()).unwrap()
}

/// Whether a path is one of those that a path of the document stands for.
fn fits(documented: &str, path: &str) -> bool {
    let (documented, path): (Vec<_>, Vec<_>) =
        (documented.split('/').collect(), path.split('/').collect());
    let is_same = |(a, b): (&&str, &&str)| a == b || a.starts_with('{');
    documented.len() == path.len() && documented.iter().zip(&path).all(is_same)
}

/// Requests with `GET`: good ones, bad ones, of what is there and of what is not.
fn gets(world: &World) -> Vec<String> {
    let (hash, payload) = &world.block;
    let chain = format!("{BASE}/chain/0");
    let mut targets: Vec<String> = ["/health-check", "/ready", "/info", "/config", "/openapi.json"]
        .map(str::to_owned)
        .to_vec();
    targets.extend(targets.clone().iter().map(|target| format!("{BASE}{target}")));
    for query in
        ["", "?maxheight=20", "?maxheight=x", "?limit=x", "?maxheight=99999999999999999999"]
    {
        targets.push(format!("{BASE}/cut{query}"));
    }
    for query in ["", "?limit=1&next=inclusive:0", "?limit=x", "?next=x", "?t=json"] {
        targets.push(format!("{BASE}/cut/peer{query}"));
    }
    for own in ["/ready", "/openapi.json", "/archive/manifest.json", "/archive/x.plait"] {
        targets.push(format!("{own}?t=json"));
    }
    for own in ["ready", "openapi.json", "state", "stats", "chain/0/stats"] {
        targets.push(format!("{BASE}/{own}?t=json"));
    }
    for page in ["hash", "header", "block"] {
        for query in [
            String::new(),
            "?limit=0".to_owned(),
            "?limit=2&minheight=1".to_owned(),
            "?limit=9999999&minheight=1&maxheight=3".to_owned(),
            format!("?next=inclusive:{hash}"),
            format!("?next=exclusive%3A{hash}&minheight=5"),
            format!("?next=inclusive:{NOBODY}"),
            "?limit=x".to_owned(),
            "?next=x".to_owned(),
            "?minheight=x".to_owned(),
            "?maxheight=x".to_owned(),
            "?height=x&unknown=1".to_owned(),
        ] {
            targets.push(format!("{chain}/{page}{query}"));
        }
        targets.push(format!("{BASE}/chain/20/{page}"));
    }
    for path in [hash, NOBODY, "x"] {
        targets.push(format!("{chain}/header/{path}"));
    }
    for path in [payload, NOBODY, "x"] {
        for query in ["", "?height=1", "?height=x", "?limit=x"] {
            targets.push(format!("{chain}/payload/{path}{query}"));
            targets.push(format!("{chain}/payload/{path}/outputs{query}"));
        }
    }
    targets.push("/archive/x.plait".to_owned());
    targets.push(format!("{BASE}/state"));
    for query in ["", "?step=7&minheight=3", "?by=chain", "?step=0", "?by=x", "?step=1&limit=x"] {
        targets.push(format!("{BASE}/stats{query}"));
        targets.push(format!("{chain}/stats{query}"));
    }
    targets.push(format!("{BASE}/chain/20/stats"));
    targets
}

fn posts(world: &World) -> Vec<(String, String)> {
    let (hash, payload) = &world.block;
    let chain = format!("{BASE}/chain/0");
    let mut requests = Vec::new();
    let many: Vec<String> = (0..40).map(|_| NOBODY.to_owned()).collect();
    for page in ["hash", "header", "block"] {
        for body in [
            json!({ "upper": [hash] }),
            json!({ "upper": [hash, hash], "lower": null }),
            json!({ "upper": [hash], "lower": [hash] }),
            json!({ "upper": [NOBODY] }),
            json!({ "upper": many }),
            json!({ "upper": ["x"] }),
            json!({}),
            json!(null),
            json!([]),
        ] {
            for query in ["", "?limit=1", "?limit=x", "?minheight=1"] {
                requests.push((format!("{chain}/{page}/branch{query}"), body.to_string()));
            }
        }
        requests.push((format!("{chain}/{page}/branch"), String::new()));
        requests.push((format!("{BASE}/chain/20/{page}/branch"), "{}".to_owned()));
    }
    for path in ["payload/batch", "payload/outputs/batch"] {
        for body in [
            json!([payload, NOBODY]),
            json!({ "hashes": [payload], "heights": [1.0] }),
            json!({ "hashes": [payload], "heights": [1.5] }),
            json!([]),
            json!({}),
            json!(["x"]),
        ] {
            requests.push((format!("{chain}/{path}"), body.to_string()));
        }
        requests.push((format!("{BASE}/chain/20/{path}"), "[]".to_owned()));
    }
    requests
}

/// Sends every request in every form; the operations with the statuses that were seen.
fn seen(world: &World) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for accept in [JSON, OBJECT, OCTETS, "*/*", "text/html"] {
        for target in gets(world) {
            let (name, response) = world.ask(&Request::get(&target).accept(accept), &target);
            if let Some(tag) = response.header("ETag") {
                let again = Request::get(&target).accept(accept).header("If-None-Match", tag);
                seen.insert(world.ask(&again, &target).0);
            }
            seen.insert(name);
        }
        for (target, body) in posts(world) {
            let request = Request::post(&target, body).accept(accept);
            seen.insert(world.ask(&request, &target).0);
        }
    }
    for (path, most) in [
        ("hash/branch", 64 << 10),
        ("header/branch", 64 << 10),
        ("block/branch", 64 << 10),
        ("payload/batch", 2 << 20),
        ("payload/outputs/batch", 2 << 20),
    ] {
        let target = format!("{BASE}/chain/0/{path}");
        let typed = Request::post(&target, "{}").without("Content-Type");
        seen.insert(world.ask(&typed.header("Content-Type", "text/plain"), &target).0);
        seen.insert(world.ask(&Request::post(&target, " ".repeat(most + 1)), &target).0);
        seen.insert(coded(world, "POST", &target));
    }
    for target in gets(world) {
        seen.insert(too_long(world, "GET", &target));
        seen.insert(coded(world, "GET", &target));
    }
    let long = format!("{BASE}/cut?{}", "x".repeat(9000));
    seen.insert(world.ask(&Request::get(&long), &long).0);
    let request = Request::get("/info").header("X-Long", &"x".repeat(40_000));
    seen.insert(world.ask(&request, "/info").0);
    seen
}

/// A body longer than any that is read, which nobody asked for.
fn too_long(world: &World, method: &str, target: &str) -> String {
    world.ask(&Request::new(method, target).body(" ".repeat(100_000)), target).0
}

/// Sends a body in a transfer coding that the server does not support.
fn coded(world: &World, method: &str, target: &str) -> String {
    let request = Request::new(method, target).header("Transfer-Encoding", "gzip, chunked");
    world.ask(&request, target).0
}

/// The same for the archive, and for backups.
fn seen_of_folders(world: &World) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let target = "/archive/manifest.json";
    let (name, manifest) = world.ask(&Request::get(target), target);
    seen.insert(name);
    let again = Request::get(target).header("If-None-Match", "*");
    seen.insert(world.ask(&again, target).0);
    let manifest: Value = serde_json::from_str(manifest.text()).unwrap();
    let target = format!("/archive/{}", manifest["files"][0]["name"].as_str().unwrap());
    let ranges = ["bytes=0-9", "bytes=99999999-", "bytes=x"].map(|range| ("Range", range));
    for (name, value) in ranges.into_iter().chain([("If-None-Match", "*"), ("Range", "")]) {
        let request = Request::get(&target).header(name, value);
        seen.insert(world.ask(&request, &target).0);
    }
    for target in ["/archive/manifest.json", &target] {
        seen.insert(too_long(world, "GET", target));
        seen.insert(coded(world, "GET", target));
    }
    for (base, query) in [("", ""), (BASE, "?backupPact=false")] {
        seen.insert(too_long(world, "POST", &format!("{base}/make-backup{query}")));
        seen.insert(too_long(world, "GET", &format!("{base}/check-backup/none")));
        seen.insert(coded(world, "POST", &format!("{base}/make-backup{query}")));
        seen.insert(coded(world, "GET", &format!("{base}/check-backup/none")));
        let target = format!("{base}/make-backup{query}");
        let (name, made) = world.ask(&Request::post(&target, ""), &target);
        seen.insert(name);
        seen.insert(world.ask_for(&format!("{base}/check-backup/none")).0);
        let begin = Instant::now();
        loop {
            let (name, status) = world.ask_for(&format!("{base}/check-backup/{}", made.text()));
            seen.insert(name);
            if status.text() == "backup-done" {
                break;
            }
            assert!(begin.elapsed() < Duration::from_mins(1), "{}", status.text());
        }
    }
    seen
}

#[test]
fn openapi_document_is_true_of_every_answer() {
    let world = World::new(&[]);
    let mut seen = seen(&world);
    seen.extend(seen_of_folders(&world));
    // What takes an overloaded, a slow or a broken side is shown by other tests; so are 414 and 431
    // of all others, and 400 of those that read nothing but the head, which is then not HTTP.
    let rare = ["408", "414", "431", "500", "503"];
    let mut left = BTreeSet::new();
    for (path, item) in world.document["paths"].as_object().unwrap() {
        for (method, operation) in ["GET", "POST"].map(|m| (m, &item[m.to_lowercase()])) {
            let answers = operation["responses"].as_object().into_iter().flatten();
            for (status, answer) in answers.filter(|(status, _)| !rare.contains(&status.as_str())) {
                let is_bare = answer["$ref"] == "#/components/responses/NotHttp";
                if !is_bare && !path.ends_with("/updates") {
                    left.insert(format!("{method} {path} {status}"));
                }
            }
        }
    }
    left.retain(|name| !seen.contains(name));
    // There is an archive, and the history is full: `http_cut` tests others.
    let expected = ["GET /archive/manifest.json 404", "GET /chainweb/0.0/development/cut 404"];
    assert_eq!(left, expected.map(str::to_owned).into());
}

/// A path with its parameters filled in: a chain, and names that do not exist.
fn filled(path: &str) -> String {
    let hash = if path.contains("{hash}") { NOBODY } else { "" };
    let path = path.replace("{chain}", "0").replace("{hash}", hash);
    path.replace("{id}", "none").replace("{name}", "x.plait")
}

/// The endpoints that chainweb-node does not have, by the ends of their paths.
const OWN: [&str; 6] =
    ["/ready", "/openapi.json", "/state", "/stats", "/archive/manifest.json", "/archive/{name}"];

#[test]
fn unknown_parameters_are_refused_by_every_own_endpoint_and_ignored_by_every_other() {
    let world = World::new(&[]);
    let paths = world.document["paths"].as_object().unwrap();
    let mut refusing = BTreeSet::new();
    for (path, item) in paths.iter().filter(|(path, _)| !path.ends_with("/updates")) {
        for method in ["GET", "POST"].into_iter().filter(|m| !item[m.to_lowercase()].is_null()) {
            let ask = |query: &str| {
                let request = Request::new(method, format!("{}{query}", filled(path)));
                let posted = request.clone().header("Content-Type", JSON).body("[]".to_owned());
                let response = world.server.ask(if method == "POST" { &posted } else { &request });
                (response.status, response.text().to_owned())
            };
            let plain = ask("");
            for query in ["?minHeight=7", "?t=json&chain=0", "?minHeight", "?x%3Dy"] {
                let got = ask(query);
                if OWN.iter().any(|own| path.ends_with(own)) {
                    let name = query[1..].split(['=', '&']).next().unwrap().replace("%3D", "=");
                    let reason =
                        format!("query parameter {name:?} is unknown: ").replace('"', "\\\"");
                    assert_eq!(got.0, 400, "{method} {path}{query}");
                    assert!(got.1.contains(&reason), "{path}{query}: {}", got.1);
                    refusing.insert(path);
                } else {
                    assert_eq!(got.0, plain.0, "{method} {path}{query}: {}", got.1);
                }
            }
        }
    }
    // Twice if an endpoint is at the root and below the network.
    assert_eq!(refusing.len(), 9, "{refusing:?}");
    let stats = world.server.get(&format!("{BASE}/stats?minHeight=100"));
    let expected = concat!(
        r#"{"reason":"query parameter \"minHeight\" is unknown: use \"minheight\"; "#,
        r#"this endpoint knows by, maxheight, minheight, step"}"#
    );
    assert_eq!((stats.status, stats.text()), (400, expected));
    for stream in ["header/updates", "block/updates"] {
        let request = Request::get(format!("{BASE}/{stream}?minHeight=7&t=json"));
        assert_eq!(Events::open(world.server.address(), &request).head().status, 200, "{stream}");
    }
    // Links to pages for people may have any parameters.
    assert_eq!(world.server.get("/?utm_source=x").status, 200);
}

/// The examples of one media type of a response.
fn examples(media: &Value) -> Vec<&Value> {
    let named = media["examples"].as_object().into_iter().flat_map(|all| all.values());
    media.get("example").into_iter().chain(named.map(|example| &example["value"])).collect()
}

#[test]
fn every_response_has_an_example_of_its_schema() {
    for flags in [&[][..], &["--max-body-bytes", "1", "--max-page-hashes", "1", "--peer", "a:1"]] {
        let world = World::new(flags);
        let mut count = 0;
        for (path, item) in world.document["paths"].as_object().unwrap() {
            for method in ["get", "post"] {
                let responses = item[method]["responses"].as_object().into_iter().flatten();
                for (status, response) in responses {
                    let content = world.resolved(response)["content"].as_object();
                    for (form, media) in content.into_iter().flatten() {
                        let said = format!("{method} {path} {status} {form}");
                        let examples = examples(media);
                        assert!(!examples.is_empty(), "{said} has no example");
                        let validator = world.validator(&media["schema"]);
                        for example in examples {
                            let error = validator.validate(example).err();
                            assert!(error.is_none(), "{said}: {error:?} of {example}");
                        }
                        count += 1;
                    }
                }
            }
        }
        assert!(count > 300, "{count}");
    }
}

#[test]
fn examples_are_what_the_server_sends() {
    let world = World::new(&[]);
    let genesis = world.document["components"]["parameters"]["blockHash"]["example"].clone();
    let genesis = genesis.as_str().unwrap();
    let on = |chain: u32, rest: &str| format!("{BASE}/chain/{chain}/{rest}");
    let one = on(0, &format!("header/{genesis}"));
    let first = |page: &str| on(0, &format!("{page}?limit=10&maxheight=0"));
    let wrong_type = Request::post(on(0, "payload/batch"), "[]")
        .without("Content-Type")
        .header("Content-Type", "x/y");
    let mut compared = BTreeSet::new();
    for (request, target) in [
        (Request::get("/health-check"), "/health-check"),
        (Request::get("/ready"), "/ready"),
        (Request::get("/ready?t=json"), "/ready"),
        (Request::get("/info"), "/info"),
        (Request::get("/config"), "/config"),
        (Request::get(&one), &one),
        (Request::get(&one).accept(OBJECT), &one),
        (Request::get(&one).accept(OCTETS), &one),
        (Request::get(first("hash")), &first("hash")),
        (Request::get(first("header")), &first("header")),
        (Request::get(first("header")).accept(OBJECT), &first("header")),
        (Request::get(first("header")).accept(OCTETS), &first("header")),
        (Request::get(on(0, "hash?limit=x")), &on(0, "hash")),
        (Request::get(on(1, &format!("header/{genesis}"))), &one),
        (Request::get("/info").accept("text/html"), "/info"),
        (Request::get("/check-backup/1763249175000000"), "/check-backup/x"),
        (Request::get("/archive/x.plait"), "/archive/x.plait"),
        (Request::get("/info").body(" ".repeat(100_000)), "/info"),
        (wrong_type, &on(0, "payload/batch")),
    ] {
        let response = world.server.ask(&request);
        let (name, operation) = world.operation(request.method(), target);
        let said = format!("{request} {name} {}", response.status);
        let documented = world.resolved(&operation["responses"][response.status.to_string()]);
        let form = response.header("Content-Type").unwrap();
        let form = form.strip_suffix(";charset=utf-8").unwrap_or(form);
        let sent = match form {
            JSON | OBJECT => serde_json::from_str(response.text()).unwrap(),
            "text/plain" => json!(response.text()),
            _ => Value::String(response.body.iter().copied().map(char::from).collect()),
        };
        assert_eq!(examples(&documented["content"][form]), [&sent], "{said}");
        compared.insert(format!("{said} {form}"));
    }
    assert_eq!(compared.len(), 19);
}

#[test]
fn openapi_document_is_of_the_server_that_sends_it() {
    let world = World::new(&["--max-page-hashes", "3"]);
    let document = &world.document;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(
        document["components"]["schemas"]["PageOfHashes"]["properties"]["items"]["maxItems"],
        3
    );
    assert_eq!(&document_of(&world.server, &format!("{BASE}/openapi.json")), document);
    let get = world.server.get("/openapi.json");
    assert_eq!(get.text().find(char::is_control), None, "some tools read it as YAML");
    let head = world.server.ask(&Request::new("HEAD", "/openapi.json"));
    for name in ["Content-Type", "Content-Length", "ETag", "Cache-Control"] {
        assert_eq!(get.header(name), head.header(name), "{name}");
    }
    let options = world.server.ask(&Request::new("OPTIONS", "/openapi.json"));
    assert_eq!((options.status, options.header("Allow")), (204, Some("GET, HEAD, OPTIONS")));
    let put = world.server.ask(&Request::new("PUT", "/openapi.json"));
    assert_eq!((put.status, put.header("Allow")), (405, Some("GET, HEAD, OPTIONS")));
    assert_eq!(world.server.get("/openapi.json/x").status, 404);
    // Of a server of an archive alone.
    let only = Server::of_archive(world.archive.path());
    let paths = document_of(&only, "/openapi.json")["paths"].clone();
    let mut paths: Vec<&String> = paths.as_object().unwrap().keys().collect::<Vec<_>>();
    paths.retain(|path| !path.starts_with(BASE));
    paths.sort();
    assert_eq!(
        paths,
        ["/archive/manifest.json", "/archive/{name}", "/health-check", "/openapi.json", "/ready"]
    );
}

#[test]
fn openapi_document_is_true_of_events() {
    let world = World::new(&["--ingest", "127.0.0.1:0"]);
    let mut streams = Vec::new();
    for kind in ["header", "block"] {
        let target = format!("{BASE}/{kind}/updates");
        let (_, operation) = world.operation("GET", &target);
        let answer = &operation["responses"]["200"];
        for method in ["GET", "POST"] {
            let refused = format!("{target}?resume&lastEventId=x");
            assert!(world.ask(&Request::new(method, &refused), &refused).0.ends_with(" 400"));
            let events = Events::open(world.server.address(), &Request::new(method, &target));
            world.check_headers(answer, events.head(), &target);
            let media = &answer["content"]["text/event-stream"];
            streams.push((events, world.validator(&media["x-event-data"])));
        }
    }
    // Two more heights of the same history.
    let more = lines(&blocks(HEIGHTS + 2, SEED, 0.0, 1));
    let sum = sum(&client(&world.server).ask(&request(LINES, more)));
    assert_eq!(sum["stored"], 40, "{sum}");
    for (events, validator) in &mut streams {
        for _ in 0..40 {
            let event = events.event().unwrap();
            assert_eq!((&*event.name, &event.id), ("BlockHeader", &None));
            let data: Value = serde_json::from_str(&event.data).unwrap();
            let errors: Vec<String> = validator.iter_errors(&data).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{data}: {errors:?}");
        }
    }
}

/// Validators, and generated clients in two languages.
#[test]
fn openapi_document_is_right_for_programs_that_read_such_documents() {
    run_script(PROGRAMS, "openapi-venv", &[]);
}

/// `make schemathesis` does it with many more examples.
#[test]
fn openapi_document_satisfies_schemathesis() {
    run_script(SCHEMATHESIS, "schemathesis-venv", &["--examples", "5"]);
}
