//! JSON in any layout: what people, `jq`, the API and tools of chainweb-node write.

use std::fs;
use std::path::Path;

use plait_engine::generate::{History, Plan};
use plait_engine::header::text;
use plait_engine::replay::source::{self, Chunk, Reading, Source};
use plait_engine::{ChainwebVersion, Engine, Header};
use serde_json::{Value, json};
use testkit::block::{NETWORK, dump};
use testkit::braid::braid;
use testkit::process::{Outcome, plait, replay_file, run, run_with_input};
use testkit::server::utf8;
use testkit::{sorted, stored};

use crate::compressed::gzip;
use crate::push_http::{LINES, assert_sum, client, folder, request, taking};

fn string(header: &Header) -> Value {
    let mut out = Vec::new();
    text::push_string(&mut out, header.view());
    serde_json::from_slice(&out).unwrap()
}

fn object(header: &Header) -> Value {
    let mut out = Vec::new();
    text::push_object(&mut out, header.view(), NETWORK);
    serde_json::from_slice(&out).unwrap()
}

/// As chainweb-node's header-dump has it.
fn dumped(header: &Header, inner: &Value) -> Value {
    let view = header.view();
    json!({ "chainId": view.chain().get(), "height": view.height().get(), "data": inner })
}

fn all(headers: &[Header], form: impl Fn(&Header) -> Value) -> Vec<Value> {
    headers.iter().map(form).collect()
}

fn page(items: &[Value]) -> Value {
    json!({ "limit": items.len(), "next": null, "items": items })
}

fn joined(values: &[Value], text: impl Fn(&Value) -> String, between: &str) -> String {
    values.iter().map(text).collect::<Vec<_>>().join(between)
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

/// Replays `text` into a new database, which has to hold `headers` then.
fn assert_takes(name: &str, args: &[&str], text: &[u8], headers: &[Header]) -> Outcome {
    let db = folder();
    let outcome = replay_file(db.path(), args, "dump.json", text);
    assert_eq!(outcome.status, Some(0), "{name}: {}", outcome.err);
    assert_eq!(stored(db.path()), sorted(headers), "{name}");
    outcome
}

/// Texts that have these headers, with what they are.
fn layouts(headers: &[Header]) -> Vec<(&'static str, String)> {
    let (strings, objects) = (all(headers, string), all(headers, object));
    let blocks = all(headers, |h| json!({ "powHash": "00", "header": object(h), "txCount": 0 }));
    let texts = all(headers, |h| json!({ "header": string(h) }));
    let dumped_headers = all(headers, |h| dumped(h, &object(h)));
    let dumped_blocks = all(headers, |h| dumped(h, &json!({ "header": object(h) })));
    let dumped_texts = all(headers, |h| dumped(h, &string(h)));
    let pages: Vec<Value> = objects.chunks(7).map(page).collect();
    let one = |value: &Value| value.to_string();
    let events = |value: &Value| format!("id: 5\nevent:BlockHeader\ndata:{value}\n");
    vec![
        ("pretty objects", joined(&objects, pretty, "\n")),
        ("pretty objects, one right behind the other", joined(&objects, pretty, "")),
        ("compact objects without anything between them", joined(&objects, one, "")),
        ("strings without anything between them", joined(&strings, one, "")),
        ("an array", Value::from(objects.clone()).to_string()),
        ("a pretty array", pretty(&objects.clone().into())),
        ("a pretty array of strings", pretty(&strings.clone().into())),
        ("an array with a value a line", format!("[\n{}\n]\n", joined(&objects, one, ",\n"))),
        ("an array as header-dump prints it", format!("[\n{}\n]", joined(&objects, pretty, ",\n"))),
        ("an array of blocks", Value::from(blocks).to_string()),
        ("blocks with headers as strings", joined(&texts, pretty, "\n")),
        ("an array of arrays", Value::from(vec![objects.clone()]).to_string()),
        ("an array of pages", pretty(&pages.clone().into())),
        ("pages one behind the other", joined(&pages, pretty, "\r\n")),
        ("an empty page in front", format!("{}{}", page(&[]), page(&strings))),
        ("header-dump, headers", joined(&dumped_headers, pretty, "\n")),
        ("header-dump, blocks", joined(&dumped_blocks, one, "\n")),
        ("header-dump, strings", pretty(&dumped_texts.into())),
        ("events", joined(&objects, events, "\n")),
        ("events that go on over a keep-alive", joined(&objects, events, "\n: \n\nretry: 5\n")),
        ("a byte order mark", format!("\u{feff}{}", joined(&objects, pretty, "\n"))),
        ("a text sequence", format!("\u{1e}{}", joined(&objects, one, "\n\u{1e}"))),
    ]
}

#[test]
fn values_are_read_in_any_layout() {
    let headers = braid(2);
    for (name, text) in layouts(&headers) {
        assert_takes(name, &[], text.as_bytes(), &headers);
    }
}

#[test]
fn values_are_pushed_in_any_layout() {
    let headers = braid(1);
    let headers = &headers[20..];
    let db = folder();
    let server = taking(db.path(), &["--ingest-batch", "7"]);
    for (name, text) in layouts(headers) {
        let answer = client(&server).ask(&request(LINES, text));
        // Drawn blocks pass at a lower level than a server has: what counts is that each is read.
        let sum = crate::push_http::sum(&answer);
        assert_eq!(sum["records"], headers.len(), "{name}: {}", answer.text());
        assert!(!answer.text().contains("JSON"), "{name}: {}", answer.text());
    }
}

#[test]
fn payloads_come_with_blocks_in_any_layout() {
    let folder = folder();
    let dump = folder.path().join("blocks.jsonl");
    let made = run([
        "generate",
        "--network",
        "development",
        "--heights",
        "3",
        "--payloads",
        "--format",
        "jsonl",
        "--out",
        utf8(&dump),
    ]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let lines = fs::read_to_string(&dump).unwrap();
    let blocks: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = 60;
    assert_eq!(blocks.len(), count);
    let wrapped = blocks.iter().map(|block| json!({ "chainId": 0, "height": 1, "data": block }));
    for text in [
        pretty(&blocks.clone().into()),
        joined(&blocks, pretty, ""),
        pretty(&wrapped.collect::<Vec<_>>().into()),
        page(&blocks).to_string(),
    ] {
        let db = self::folder();
        let outcome = replay_file(db.path(), &["--verify", "full"], "blocks.json", text.as_bytes());
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert!(outcome.err.contains(&format!("stored {count} payloads")), "{}", outcome.err);
    }
}

#[test]
fn lines_of_a_log_are_skipped_and_counted_where_that_is_asked_for() {
    let headers = braid(1);
    let log = "2021-07-16T02:21:29.497Z [Info] [node|db] BlockHeight: 100 {\"a\": [1]}\n";
    let bracket = "[Info] using database at: \"/data\"\n";
    let object_log = "{\"level\":\"info\",\"message\":{\"text\":\"start\"}}\n";
    let objects = all(&headers, object);
    let values = joined(&objects, pretty, &format!("\n{log}{bracket}\n{object_log}"));
    let array = joined(&objects, pretty, &format!(",\n{log}"));
    let arrays = joined(&objects, pretty, &format!("\n{log},\n{bracket}"));
    let between = objects.len() - 1;
    for (text, count) in [
        (format!("{log}{values}\n{log}"), 3 * between + 2),
        (format!("{log}[\n{array}\n]\n{bracket}"), between + 2),
        (format!("[\n{arrays}\n{log}]"), 2 * between + 1),
    ] {
        let outcome = assert_takes(&text[..80], &["--lenient"], text.as_bytes(), &headers);
        assert!(outcome.err.contains(&format!("skipped {count} log lines")), "{}", outcome.err);
        let strict = replay_file(folder().path(), &["--format", "json"], "dump", text.as_bytes());
        assert_eq!(strict.status, Some(1));
        assert!(strict.err.contains("--lenient"), "{}", strict.err);
        assert!(strict.err.contains("line ") && strict.err.contains("column "), "{}", strict.err);
    }
    // Damage is none of it.
    let text = joined(&objects, Value::to_string, "\n").replacen("\"parent\":", "parent:", 1);
    let outcome = replay_file(folder().path(), &["--lenient"], "dump", text.as_bytes());
    assert_eq!(outcome.status, Some(1), "{}", outcome.err);
}

/// What is said of a header after text, and of one in a member that is not read.
const AFTER_TEXT: &str = "the line has a header after other text";
const WITHIN: &str = "the object contains a header in a member that is not read";

/// Headers of which number 30 is in a `line` that does not give it. Replays the others, each on a line,
/// with that line among them: they are stored, the line is rejected with `reason`, and nothing is skipped.
fn assert_rejects_the_line(headers: &[Header], line: &str, reason: &str) {
    let values: Vec<String> = headers.iter().map(|header| object(header).to_string()).collect();
    let text = [&values[..30], &[line.to_owned()], &values[31..]].concat().join("\n");
    let outcome = replay_file(folder().path(), &["--lenient"], "dump", text.as_bytes());
    outcome.assert_fails(1, &["line 31, ", reason]);
    let db = folder();
    let flags = ["--lenient", "--keep-going"];
    let outcome = replay_file(db.path(), &flags, "dump", text.as_bytes());
    assert_eq!(outcome.status, Some(1), "{line}: {}", outcome.err);
    assert_eq!(outcome.counts()[2], 1, "{line}: {}", outcome.err);
    assert!(!outcome.err.contains("log lines"), "{line}: {}", outcome.err);
    let others = [&headers[..30], &headers[31..]].concat();
    assert_eq!(stored(db.path()), sorted(&others), "{line}");
}

#[test]
fn a_header_after_text_on_its_line_is_rejected_and_not_taken_for_a_log() {
    let headers = braid(1);
    let (object, string) = (object(&headers[30]), string(&headers[30]));
    let log = "2026-01-01T00:00:00.000Z [Info]";
    for line in [
        format!("{log} {object}"),
        format!("{log}{object}"),
        format!("{log} {object} {object}"),
        format!("{log} {string}"),
        format!("{log} tip={}", string.as_str().unwrap()),
        format!("{log} {}", json!({ "header": object })),
        format!("{log} {}", json!({ "header": string })),
        format!("{log} {}", dumped(&headers[30], &object)),
        format!("{log} {}", page(std::slice::from_ref(&object))),
        format!("{log} {}", json!([object])),
        format!("{log} {{\"a\":[1]}} {object}"),
        format!("{log} {:?}", object.to_string()),
        format!("[Info] {object}"),
        format!("{{level=info}} {object}"),
        format!("\u{1b}[32m{}\u{1b}[0m", string.as_str().unwrap()),
    ] {
        assert_rejects_the_line(&headers, &line, AFTER_TEXT);
    }
}

#[test]
fn a_header_in_an_object_of_an_unknown_shape_is_rejected_and_not_taken_for_a_log() {
    let headers = braid(1);
    let (object, string) = (object(&headers[30]), string(&headers[30]));
    for value in [
        json!({ "itens": [object] }),
        json!({ "itens": [string] }),
        json!({ "data": { "haeder": object } }),
        json!({ "data": { "haeder": string } }),
        json!({ "haeder": object, "txCount": 0 }),
        json!({ "level": "info", "message": { "tips": { "0": [[object]] } } }),
        json!({ "level": "info", "message": object.to_string() }),
        json!({ "level": "info", "message": format!("tip\n{}", string.as_str().unwrap()) }),
        json!([{ "itens": [object] }]),
    ] {
        assert_rejects_the_line(&headers, &value.to_string(), WITHIN);
        // Over several lines, the place is that of the outermost object.
        if value.is_object() {
            assert_rejects_the_line(&headers, &pretty(&value), WITHIN);
        }
    }
}

#[test]
fn a_header_outside_of_the_items_of_a_page_is_rejected() {
    let headers = braid(1);
    let objects = all(&headers, object);
    let lost = &objects[30];
    let items = joined(&objects[..30], Value::to_string, ",");
    let behind = joined(&objects[31..], Value::to_string, "\n");
    let others = [&headers[..30], &headers[31..]].concat();
    for page in [
        format!("{{\"items\":[{items}],\"itens\":[{lost}]}}"),
        format!("{{\"itens\":[{lost}],\"items\":[{items}]}}"),
    ] {
        let text = format!("{page}\n{behind}");
        for args in [&["--keep-going"][..], &["--keep-going", "--lenient"]] {
            let db = folder();
            let outcome = replay_file(db.path(), args, "dump", text.as_bytes());
            assert_eq!((outcome.status, outcome.counts()[2]), (Some(1), 1), "{}", outcome.err);
            assert_eq!(stored(db.path()), sorted(&others), "{}", outcome.err);
        }
        replay_file(folder().path(), &[], "dump", text.as_bytes()).assert_fails(1, &[WITHIN]);
    }
}

#[test]
fn a_header_after_text_is_rejected_from_a_pipe_and_at_the_end_of_a_compressed_input() {
    let headers = braid(1);
    let (last, others) = headers.split_last().unwrap();
    // The last line has no end.
    let text = joined(&all(others, object), Value::to_string, "\n");
    let text = format!("{text}\n2026-01-01 [Info] {}", object(last)).into_bytes();
    for input in [gzip(&text), text] {
        let db = folder();
        let flags = ["--verify", "hash", "--lenient", "--keep-going", "-"];
        let command = plait([&["replay", "--db", utf8(db.path())][..], &flags].concat());
        let outcome = run_with_input(command, input);
        assert_eq!((outcome.status, outcome.counts()[2]), (Some(1), 1), "{}", outcome.err);
        assert_eq!(stored(db.path()), sorted(others), "{}", outcome.err);
    }
}

#[test]
fn lines_of_a_log_may_have_braces_names_of_members_and_base64() {
    let headers = braid(1);
    let string = string(&headers[30]);
    let cut_off = &string.as_str().unwrap()[..400];
    let log = "2026-01-01T00:00:00.000Z [Info]";
    let cut = r#"{"weight":"x","height":5,"hashes":{"0":{"height":5,"hash":"x"}},"origin":null}"#;
    let block = json!({ "chainId": 0, "height": 5, "hash": "x", "parent": "y" });
    let message = json!({ "level": "info", "message": { "block": block, "time": "2026-01-01" } });
    let lines: Vec<Vec<u8>> = vec![
        format!("{log} {{\"a\": [1]}} {{ {{").into(),
        format!("{log} published cut {cut}").into(),
        format!("{{\"level\":\"info\",\"message\":{cut}}}").into(),
        format!("{log} new block {block}").into(),
        message.to_string().into(),
        format!("{log} payload {}", "QUJD".repeat(100_000)).into(),
        format!("{log} payload {}", "A".repeat(424)).into(),
        format!("{log} a header that is cut off: \"{cut_off}").into(),
        "QUJD".repeat(1000).into(),
        b"binary \xFF\xFE\x00\x01\x7F{\"\\".to_vec(),
    ];
    let mut text = Vec::new();
    for (number, header) in headers.iter().enumerate() {
        text.extend_from_slice(object(header).to_string().as_bytes());
        text.push(b'\n');
        if let Some(line) = lines.get(number) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
    }
    let outcome = assert_takes("a log", &["--lenient"], &text, &headers);
    let count = format!("skipped {} log lines", lines.len());
    assert!(outcome.err.contains(&count), "{}", outcome.err);
}

#[test]
fn a_bad_value_is_named_by_line_column_and_offset() {
    let headers = braid(1);
    let objects = all(&headers, object);
    let text = pretty(&objects.clone().into());
    let (line, column, offset) = {
        let at = text.match_indices("\"epochStart\"").nth(3).unwrap().0;
        let lines = text[..at].matches('\n').count() + 1;
        (lines, at - text[..at].rfind('\n').unwrap(), at)
    };
    // No quotes around the name.
    let broken = format!("{}epochStart{}", &text[..offset], &text[offset + 12..]);
    let outcome = replay_file(folder().path(), &[], "dump", broken.as_bytes());
    let place =
        format!("line {line}, item 4, column {column}, offset {offset}: not JSON: expected");
    outcome.assert_fails(1, &[&place]);
    // Only that one is lost.
    let db = folder();
    let outcome = replay_file(db.path(), &["--keep-going"], "dump", broken.as_bytes());
    assert_eq!((outcome.status, outcome.counts()), (Some(1), [20, 19, 1]), "{}", outcome.err);
    // A member is missing: the place is the value's, and the reason has its own.
    let mut without = objects.clone();
    without[3].as_object_mut().unwrap().remove("epochStart");
    let outcome = replay_file(folder().path(), &[], "dump", pretty(&without.into()).as_bytes());
    outcome.assert_fails(1, &["item 4, column 3, offset ", "missing field `epochStart` (line "]);
    for (end, reason) in [("", "ends within an array"), (",{", "within a value that begins here")] {
        let cut = format!("{}{end}", text.trim_end().trim_end_matches(']').trim_end());
        let outcome = replay_file(folder().path(), &[], "dump", cut.as_bytes());
        outcome.assert_fails(1, &[reason]);
    }
}

#[test]
fn what_is_cut_off_spoils_neither_the_values_in_front_of_it_nor_those_behind() {
    let headers = braid(1);
    let objects = all(&headers, object);
    let line = objects[30].to_string();
    let one = |value: &Value| value.to_string();
    let before = joined(&objects[..30], one, "\n");
    let behind = joined(&objects[30..], one, "\n");
    let page = page(&objects[..30]).to_string();
    for (text, rejected) in [
        (format!("{before}\n{}\n{behind}", &line[..200]), 1),
        (format!("{before}\n{}\n{behind}", &line[..line.len() - 1]), 1),
        (format!("{page}\n{}\n{behind}", &page[..page.len() / 2]), 1),
        (format!("[\n{}\n]\n{behind}", before.replace('\n', ",\n") + ",\n{\"a\":\n\"b\"],"), 1),
        (format!("{before}\n}}\n]\n{behind}"), 1),
    ] {
        let db = folder();
        let outcome = replay_file(db.path(), &["--keep-going"], "dump", text.as_bytes());
        assert_eq!(outcome.status, Some(1), "{}", outcome.err);
        assert_eq!(outcome.counts()[2], rejected, "{}", outcome.err);
        assert_eq!(stored(db.path()), sorted(&headers), "{}", outcome.err);
    }
}

#[test]
fn objects_with_the_old_names_of_networks_are_read() {
    let texts = |version: ChainwebVersion, names: [&str; 2]| -> (Vec<Header>, String) {
        let headers: Vec<Header> = History::new(&Plan::new(version, 3)).unwrap().collect();
        let text = headers.iter().enumerate().map(|(number, header)| {
            let mut out = Vec::new();
            text::push_object(&mut out, header.view(), version);
            let text = String::from_utf8(out).unwrap();
            text.replace(version.name(), names[number % 2]) + "\n"
        });
        let text = text.collect();
        (headers, text)
    };
    for (version, names) in [
        (ChainwebVersion::RecapDevelopment, ["development", "recap-development"]),
        (ChainwebVersion::RecapDevelopment, ["development", "development"]),
        (ChainwebVersion::Development, ["fast-development", "development"]),
        (ChainwebVersion::Development, ["fast-development", "fast-development"]),
    ] {
        let (headers, text) = texts(version, names);
        let dir = folder();
        let (db, dump) = (dir.path().join("db"), dir.path().join("dump"));
        fs::write(&dump, text).unwrap();
        let outcome = run(["replay", "--db", utf8(&db), utf8(&dump)]);
        assert_eq!(outcome.status, Some(0), "{names:?}: {}", outcome.err);
        let reader = Engine::open_read_only(&db).unwrap();
        assert_eq!(reader.version(), version);
        let genesis: Vec<Header> = version.genesis_headers().collect();
        assert_eq!(stored(&db), sorted(headers.iter().chain(&genesis)));
    }
    let old = run(["generate", "--network", "fast-development", "--heights", "1", "--out", "-"]);
    assert_eq!(old.status, Some(0), "{}", old.err);
    // Both networks under one name: each header is of the one that its hash says.
    let (old, old_text) = texts(ChainwebVersion::RecapDevelopment, ["development", "development"]);
    let (new, new_text) = texts(ChainwebVersion::Development, ["development", "development"]);
    let mixed: String = old_text
        .lines()
        .zip(new_text.lines())
        .fold(String::new(), |all, (a, b)| all + a + "\n" + b + "\n");
    let mut records = Vec::new();
    source::push_text(&mut records, mixed.as_bytes());
    let expected =
        old.iter().zip(&new).flat_map(|(a, b)| [a, b]).map(|header| *header.view().raw());
    let read: Vec<_> = records.into_iter().map(|record| record.header.unwrap()).collect();
    assert_eq!(read, expected.collect::<Vec<_>>());
}

/// The headers and places of the next chunks.
fn rest(source: &mut dyn Source) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(chunk) = source.next(1000).unwrap() {
        all.append(&mut found(&chunk));
    }
    all
}

fn found(chunk: &Chunk) -> Vec<(String, Vec<u8>)> {
    let place = |number| match chunk.place(number) {
        source::Place::Value { line, column, offset, .. } => format!("{line} {column} {offset}"),
        other => other.to_string(),
    };
    let records = chunk.records().iter().enumerate();
    records.map(|(number, raw)| (place(number), raw.hash.as_bytes().to_vec())).collect()
}

#[test]
fn reading_goes_on_in_the_middle_of_an_array() {
    let headers = braid(500);
    let objects = all(&headers, object);
    let items = joined(&objects, Value::to_string, ",");
    let lines = joined(&objects, Value::to_string, ",\n");
    let dir = folder();
    for (name, text) in [
        ("array", format!("[{items}]")),
        ("lines", format!("  [\n{lines}\n]\n{}", objects[0])),
        ("page", format!("{{\"limit\":1,\"items\":[{items}],\"next\":null}}{}", objects[0])),
        ("nested", format!("[[],[{{\"items\":[[{lines}]]}}],[{}]]", objects[0])),
    ] {
        let file = dir.path().join(name);
        fs::write(&file, text).unwrap();
        let open = || source::open(&file, NETWORK, Reading::default()).unwrap();
        let whole = rest(&mut *open());
        let (mut source, mut before, mut marks) = (open(), 0, Vec::new());
        while let Some(chunk) = source.next(1000).unwrap() {
            before += chunk.len();
            marks.push((chunk.end(), before));
        }
        assert!(marks.len() > 2, "{name}: {} chunks", marks.len());
        for (mark, before) in marks {
            assert_eq!(mark.records.get(), before as u64);
            let mut source = open();
            assert!(source.resume(mark).unwrap());
            assert!(rest(&mut *source) == whole[before..], "{name}, from {before} on");
        }
    }
}

#[test]
fn a_replay_of_an_array_goes_on_where_it_was_stopped() {
    let headers: Vec<Header> = History::new(&Plan::new(NETWORK, 4000)).unwrap().collect();
    let dir = folder();
    let (db, file) = (dir.path().join("db"), dir.path().join("array"));
    fs::write(&file, pretty(&all(&headers, string).into())).unwrap();
    let replay = || plait(["replay", "--db", utf8(&db), "--commit", "4096", utf8(&file)]);
    let mut skipped = 0;
    for pause in [150, 250, 400, 600, 900, 1300, 2000] {
        let child = replay().spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(pause));
        testkit::process::signal(&child, "INT");
        let outcome = testkit::process::finish(child);
        skipped += u64::from(outcome.err.contains("were not read again"));
        if outcome.status == Some(0) {
            break;
        }
    }
    let outcome = testkit::process::finish(replay().spawn().unwrap());
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    skipped += u64::from(outcome.err.contains("were not read again"));
    assert_eq!(stored(&db).len(), headers.len() + 20);
    testkit::say(&format!("{skipped} replays went on where the one before was stopped"));
}

#[test]
fn a_descending_page_has_its_parents_first_however_long_it_is() {
    let headers = braid(150);
    let down: Vec<Value> = headers.iter().rev().map(string).collect();
    assert!(down.len() > 3000);
    assert_takes("page", &[], page(&down).to_string().as_bytes(), &headers);
}

#[test]
fn json_comes_from_a_pipe_as_it_is_written() {
    let headers = braid(2);
    let db = folder();
    let command = plait(["replay", "--db", utf8(db.path()), "--verify", "hash", "-"]);
    let text = pretty(&all(&headers, object).into());
    let outcome = run_with_input(command, text.into_bytes());
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()), sorted(&headers));
}

/// A server of generated blocks has them pushed, whatever the layout.
#[test]
fn pages_are_pushed_whole() {
    let headers = crate::push::generated(10, 1, 0.0);
    let down: Vec<Value> = headers.iter().rev().map(object).collect();
    let db = folder();
    let server = taking(db.path(), &[]);
    let answer = client(&server).ask(&request(LINES, pretty(&page(&down))));
    assert_sum(&answer, [headers.len() as u64, 0, 0, 0]);
}

/// That a dump of this is none of JSON.
#[test]
fn a_binary_dump_is_still_told_from_json() {
    let headers = braid(1);
    assert_takes("binary", &[], &dump(&headers), &headers);
}

#[test]
fn a_text_that_is_no_dump_is_refused_before_anything_is_made() {
    let dir = folder();
    let db = dir.path().join("db");
    let refuse = |name: &str, bytes: &[u8], texts: &[&str]| {
        let file = dir.path().join(name);
        fs::write(&file, bytes).unwrap();
        let outcome = run(["replay", "--db", utf8(&db), utf8(&file)]);
        outcome.assert_fails(2, texts);
        assert!(!Path::new(&db).exists(), "{name}");
    };
    refuse(
        "passwd",
        b"root:x:0:0:root:/root:/bin/bash\n",
        &["does not look like headers", "root:x:0"],
    );
    refuse(
        "binary",
        &[0x7F; 4000],
        &["does not look like headers of a known network", "Nothing was"],
    );
    refuse("null", b"null\n", &["does not look like headers of a known network"]);
}
