//! `plait replay`: what dumps are taken, what of a bad one is kept, and what is said about it.

use std::fs;
use std::path::Path;

use plait_engine::header::{RawHeader, text};
use plait_engine::{BranchQuery, ChainwebVersion, Engine, Header, HeaderRef};
use tempfile::TempDir;
use testkit::block::{NETWORK, child, dump, genesis, root, sealed, sibling};
use testkit::braid::{braid, braid_with_orphans};
use testkit::drawing::{CHAIN, Drawing};
use testkit::forest::OTHER_CHAIN;
use testkit::process::{replay, replay_command, replay_file, run, run_with_input};
use testkit::{sorted, stored};

use crate::rocks::columns;

const PARTIAL: &str = "--allow-partial";
const KEEP_GOING: &str = "--keep-going";

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn string(header: HeaderRef<'_>) -> String {
    let mut out = Vec::new();
    text::push_string(&mut out, header);
    String::from_utf8(out).unwrap()
}

fn object(header: HeaderRef<'_>) -> String {
    let mut out = Vec::new();
    text::push_object(&mut out, header, NETWORK);
    String::from_utf8(out).unwrap()
}

/// Every header on a line of its own, as `form` has it.
fn lines(headers: &[Header], form: impl Fn(HeaderRef<'_>) -> String) -> String {
    headers.iter().map(|header| form(header.view()) + "\n").collect()
}

/// A page of the API with these headers, as `form` has them.
fn page(headers: &[Header], form: impl Fn(HeaderRef<'_>) -> String) -> String {
    let items: Vec<String> = headers.iter().map(|header| form(header.view())).collect();
    let (limit, items) = (items.len(), items.join(","));
    format!("{{\"limit\":{limit},\"items\":[{items}],\"next\":\"inclusive:{}\"}}\n", "A".repeat(43))
}

/// Replays `bytes` into a new database, checks that all is taken and that it holds `headers`.
fn assert_takes(args: &[&str], bytes: &[u8], headers: &[Header]) {
    let db = folder();
    let outcome = replay_file(db.path(), args, "dump", bytes);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(stored(db.path()), sorted(headers));
}

#[test]
fn a_binary_dump_of_a_whole_history_is_stored() {
    let headers = braid_with_orphans(12, 5);
    let db = folder();
    let outcome = replay_file(db.path(), &[], "dump.bin", &dump(&headers));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(outcome.counts(), [headers.len() as u64 - 20, 20, 0]);
    assert_eq!(stored(db.path()), sorted(&headers));
}

#[test]
fn a_full_history_has_the_genesis_blocks_from_the_start() {
    let headers = braid(2);
    let without_genesis: Vec<Header> = headers.iter().skip(20).copied().collect();
    assert_takes(&[], &dump(&without_genesis), &headers);
}

#[test]
fn a_partial_history_holds_exactly_what_it_was_given() {
    let headers: Vec<Header> = braid(4).into_iter().skip(50).collect();
    assert_takes(&[PARTIAL], &dump(&headers), &headers);
}

#[test]
fn a_dump_longer_than_a_chunk_is_stored_whole() {
    let headers = braid(420);
    assert!(headers.len() > 2 * 4096);
    assert_takes(&[], &dump(&headers), &headers);
}

#[test]
fn replaying_again_stores_nothing_twice() {
    let bytes = dump(&braid(5));
    let db = folder();
    assert_eq!(replay_file(db.path(), &[], "dump", &bytes).counts(), [100, 20, 0]);
    let before = columns(db.path());
    let again = replay_file(db.path(), &[], "dump", &bytes);
    assert_eq!((again.status, again.counts()), (Some(0), [0, 120, 0]));
    assert_eq!(columns(db.path()), before);
}

#[test]
fn a_header_that_is_in_the_dump_twice_is_stored_once() {
    let headers = braid(1);
    let db = folder();
    let outcome = replay_file(db.path(), &[], "dump", &dump(headers.iter().chain(&headers)));
    assert_eq!((outcome.status, outcome.counts()), (Some(0), [20, 60, 0]));
    assert_eq!(stored(db.path()), sorted(&headers));
}

#[test]
fn standard_input_and_pipes_are_read_as_files_are() {
    let headers = braid(3);
    let forms = [dump(&headers), lines(&headers, object).into_bytes()];
    for (input, bytes) in ["-", "/dev/stdin"].into_iter().zip(forms) {
        let db = folder();
        let outcome = run_with_input(replay_command(db.path(), [input]), bytes);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert_eq!(stored(db.path()), sorted(&headers), "{input}");
    }
}

#[test]
fn json_lines_are_strings_or_objects_in_quotes_or_bare() {
    let headers = braid(1);
    let bare = |header: HeaderRef<'_>| string(header).trim_matches('"').to_owned();
    let padded = |header: HeaderRef<'_>| format!("  {}\t ", object(header));
    let block = |header: HeaderRef<'_>| {
        format!("{{\"txCount\":0,\"header\":{},\"powHash\":\"00\"}}", object(header))
    };
    assert_takes(&[], lines(&headers, string).as_bytes(), &headers);
    assert_takes(&[], lines(&headers, object).as_bytes(), &headers);
    assert_takes(&[], lines(&headers, bare).as_bytes(), &headers);
    assert_takes(&[], lines(&headers, padded).as_bytes(), &headers);
    assert_takes(&[], lines(&headers, block).as_bytes(), &headers);
}

#[test]
fn json_lines_may_end_as_on_other_systems_or_not_at_all() {
    let headers = braid(1);
    let text = lines(&headers, object);
    let blank_lines = format!("\n\n \r\n{}\n\n", text.replace('\n', "\n\n"));
    for text in [text.replace('\n', "\r\n"), blank_lines, text.trim_end().to_owned()] {
        assert_takes(&[], text.as_bytes(), &headers);
    }
}

#[test]
fn pages_of_the_api_are_taken_ascending_and_descending() {
    let headers = braid(9);
    let chain: Vec<Header> =
        headers.iter().filter(|header| header.view().chain() == CHAIN).copied().collect();
    let down: Vec<Header> = chain.iter().rev().copied().collect();
    let ascending: String = chain.chunks(3).map(|items| page(items, string)).collect();
    // Pages of a branch come from the tip down, but each page must have its parents before it.
    let descending: String = chain
        .chunks(4)
        .map(|items| page(&items.iter().rev().copied().collect::<Vec<_>>(), object))
        .collect();
    let one_page = page(&down, object);
    let empty = page(&[], object);
    for text in [ascending, descending, one_page.clone(), format!("{empty}{one_page}{empty}")] {
        assert_takes(&[PARTIAL], text.as_bytes(), &chain);
    }
}

#[test]
fn a_branch_that_was_paged_from_the_tip_down_is_a_partial_history_until_it_is_whole() {
    let mut drawing = Drawing::default();
    let chain = drawing.draw("0-1-2-3-4-5-6-7-8");
    let down: Vec<Header> = chain.iter().rev().copied().collect();
    let text: String = down.chunks(3).map(|items| page(items, string)).collect();
    let db = folder();
    let refused = replay_file(db.path(), &[], "pages.jsonl", text.as_bytes());
    refused.assert_fails(1, &["line 1, item 3", "height 6", "MissingParent"]);
    let db = folder();
    let outcome = replay_file(db.path(), &[PARTIAL], "pages.jsonl", text.as_bytes());
    assert_eq!((outcome.status, outcome.counts()), (Some(0), [9, 0, 0]));
    assert_eq!(ancestors(db.path(), &chain[8]), down);
}

/// The branch from `block` down.
fn ancestors(db: &Path, block: &Header) -> Vec<Header> {
    let reader = Engine::open_read_only(db).unwrap();
    let mut query = BranchQuery { limit: usize::MAX, ..BranchQuery::default() };
    query.bounds.upper = vec![block.view().hash()];
    let page = reader.view().branch_headers(block.view().chain(), &query).unwrap();
    page.items.iter().map(HeaderRef::to_owned).collect()
}

#[test]
fn a_parent_that_comes_after_its_child_links_up_in_a_partial_history() {
    let mut drawing = Drawing::default();
    let chain = drawing.draw("4-5-6-7-8");
    let down: Vec<Header> = chain.iter().rev().copied().collect();
    let db = folder();
    let outcome = replay_file(db.path(), &[PARTIAL], "dump", &dump(&down));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert_eq!(ancestors(db.path(), &chain[4]), down);
}

#[test]
fn roots_admit_the_blocks_that_they_name_and_no_others() {
    let mut drawing = Drawing::default();
    let (one, other) = (drawing.draw("5-6"), drawing.draw("9b-10b"));
    let both: Vec<Header> = one.iter().chain(&other).copied().collect();
    let hash = |header: &Header| header.view().hash().to_string();
    let (first, second) = (hash(&one[0]), hash(&other[0]));

    let db = folder();
    let outcome = replay_file(db.path(), &["--root", &first], "dump", &dump(&both));
    outcome.assert_fails(1, &["offset 636", "height 9", &second, "MissingParent"]);
    assert_eq!(stored(db.path()), sorted(&one));

    assert_takes(&["--root", &first, "--root", &second], &dump(&both), &both);

    let db = folder();
    let elsewhere = hash(&one[1]);
    let outcome = replay_file(db.path(), &["--root", &elsewhere], "dump", &dump(&both));
    outcome.assert_fails(1, &["offset 0", &first, "MissingParent"]);
    assert_eq!(stored(db.path()), []);
}

#[test]
fn a_dump_that_ends_within_a_record_keeps_the_records_before() {
    let headers = braid(3);
    let bytes = dump(&headers);
    let cut = &bytes[..bytes.len() - 218];
    let texts = [&*format!("offset {}: ", 318 * 79), "ends within a record: 100 bytes of 318"];
    let (file, pipe) = (folder(), folder());
    replay_file(file.path(), &[], "dump", cut).assert_fails(1, &texts);
    run_with_input(replay_command(pipe.path(), ["-"]), cut.to_vec()).assert_fails(1, &texts);
    for db in [file, pipe] {
        assert_eq!(stored(db.path()), sorted(&headers[..79]));
    }
}

#[test]
fn a_dump_shorter_than_a_record_stores_nothing() {
    let db = folder();
    let outcome = replay_file(db.path(), &[PARTIAL], "dump", &dump(&braid(0))[..317]);
    outcome.assert_fails(1, &["offset 0", "317 bytes of 318", "stored 0,"]);
    assert_eq!(stored(db.path()), []);
}

/// Offset of a byte of each field, and a rule that breaks where a bit of it flips.
const FIELDS: [(usize, &str); 15] = [
    (0, "IncorrectHash"),
    (8, "IncorrectHash"),
    (16, "IncorrectHash"),
    (48, "3 adjacent parents, not 2"),
    (50, "AdjacentChainMismatch"),
    (54, "IncorrectHash"),
    (158, "IncorrectHash"),
    (190, "IncorrectHash"),
    (222, "IncorrectHash"),
    (226, "IncorrectHash"),
    (258, "IncorrectHash"),
    (266, "VersionMismatch: network code is 3, expected 2; IncorrectHash"),
    (270, "IncorrectHash"),
    (278, "IncorrectHash"),
    (286, "IncorrectHash"),
];

#[test]
fn a_flipped_bit_in_any_field_is_found_and_what_came_before_is_kept() {
    let headers = braid(3);
    let bad = 47;
    for (offset, rule) in FIELDS {
        let mut bytes = dump(&headers);
        bytes[318 * bad + offset] ^= 1;
        let header = RawFields::of(&bytes[318 * bad..318 * (bad + 1)]);
        let db = folder();
        let outcome = replay_file(db.path(), &[], "dump", &bytes);
        outcome.assert_fails(1, &[&format!("offset {}: ", 318 * bad), &header.text(), rule]);
        assert_eq!(stored(db.path()), sorted(&headers[..bad]), "offset {offset}");
    }
}

/// What a message says of a record.
struct RawFields(RawHeader);

impl RawFields {
    fn of(bytes: &[u8]) -> Self {
        // Some records are no headers, so the fields are put in by hand.
        let number = |at: usize, len: usize| {
            bytes[at..at + len].iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let hash = plait_engine::BlockHash::new(bytes[286..].try_into().unwrap());
        let chain = u32::try_from(number(222, 4)).unwrap();
        let raw = *genesis(CHAIN).view().raw();
        Self(RawHeader { chain: chain.into(), height: number(258, 8).into(), hash, ..raw })
    }

    fn text(&self) -> String {
        format!("chain {}, height {}, block {}: ", self.0.chain, self.0.height, self.0.hash)
    }
}

#[test]
fn a_rejection_names_every_rule_that_the_record_breaks() {
    let first = child(genesis(CHAIN).view(), 0);
    // Two above its parent, which is on another chain.
    let parent = genesis(OTHER_CHAIN).view().hash();
    let bad = sealed(RawHeader { parent, height: 2.into(), ..*first.view().raw() });
    let db = folder();
    let outcome = replay_file(db.path(), &[], "dump", &dump([&first, &bad]));
    outcome.assert_fails(1, &["offset 318", "IncorrectHeight", "ChainMismatch"]);
    // Its hash is not that of its fields either.
    let bad = RawHeader { nonce: 77.into(), ..*bad.view().raw() };
    let bad = Header::new(bad).unwrap();
    let outcome = replay_file(db.path(), &[], "dump", &dump([&first, &bad]));
    outcome.assert_fails(1, &["offset 318", "IncorrectHash", "IncorrectHeight", "ChainMismatch"]);
    assert_eq!(stored(db.path()).len(), 21);
}

#[test]
fn a_child_before_its_parent_is_refused_in_a_full_history() {
    let mut headers = braid(2);
    headers.swap(21, 41);
    let db = folder();
    let outcome = replay_file(db.path(), &[], "dump", &dump(&headers));
    let hash = headers[21].view().hash().to_string();
    outcome.assert_fails(1, &["offset 6678: chain 1, height 2, block", &hash, "MissingParent"]);
    assert_eq!(stored(db.path()), sorted(&headers[..21]));
}

#[test]
fn a_dump_of_another_network_is_refused() {
    let (db, input) = (folder(), folder());
    let file = input.path().join("dump");
    let own = ChainwebVersion::Mainnet01.genesis_header(CHAIN).unwrap();
    fs::write(&file, [dump([&own]), dump(&braid(1))].concat()).unwrap();
    let outcome =
        run(["replay".as_ref(), "--db".as_ref(), db.path().as_os_str(), file.as_os_str()]);
    let said = "VersionMismatch: network code is 2, expected 5";
    outcome.assert_fails(1, &["offset 318: chain 0, height 0, block", said, "stored 0,"]);
    assert!(stored(db.path()).iter().all(|header| header.view().version_code() == 5));
}

#[test]
fn a_database_of_another_network_is_not_touched() {
    let (db, bytes) = (folder(), dump(&braid(1)));
    assert_eq!(replay_file(db.path(), &[], "dump", &bytes).status, Some(0));
    let before = columns(db.path());
    let outcome = replay_file(db.path(), &["--network", "testnet04"], "dump", &bytes);
    outcome.assert_fails(2, &["cannot be used multiple times"]);
    let path = db.path().as_os_str();
    let args = ["replay", "--network", "testnet04", "--db"].map(str::as_ref);
    let input = folder();
    let file = input.path().join("dump");
    fs::write(&file, &bytes).unwrap();
    let outcome = run(args.into_iter().chain([path, file.as_os_str()]));
    outcome.assert_fails(2, &["belongs to network development, but --network is testnet04"]);
    fs::write(&file, "{\"items\":[]}").unwrap();
    let outcome = run(args.into_iter().chain([path, file.as_os_str()]));
    outcome.assert_fails(2, &["belongs to network development, not testnet04"]);
    assert_eq!(columns(db.path()), before);
}

#[test]
fn what_cannot_be_read_makes_no_database_and_is_no_success() {
    let input = folder();
    fs::write(input.path().join("empty"), "").unwrap();
    fs::create_dir(input.path().join("folder")).unwrap();
    let cases = [
        ("empty", "the input is empty"),
        ("missing", "No such file"),
        ("folder", "no chainweb-node database here"),
    ];
    for (name, reason) in cases {
        let db = folder();
        let file = input.path().join(name);
        let outcome = replay(db.path(), [&file]);
        outcome.assert_fails(2, &[file.to_str().unwrap(), reason]);
        assert!(!Engine::exists(db.path()).unwrap(), "{name}");
    }
    let db = folder();
    let outcome = replay(db.path(), ["-"]);
    outcome.assert_fails(2, &["standard input", "the input is empty"]);
    assert!(!Engine::exists(db.path()).unwrap());
}

#[test]
fn what_is_compressed_otherwise_is_not_taken_for_headers() {
    let db = folder();
    let outcome = replay_file(db.path(), &[], "dump.bz2", b"BZh91AY&SY\0\0");
    outcome.assert_fails(2, &["compressed", "bzip2 -dc"]);
    assert!(!Engine::exists(db.path()).unwrap());
}

#[test]
fn a_bad_line_is_named_by_its_number_and_what_came_before_is_kept() {
    let mut drawing = Drawing::default();
    let chain = drawing.draw("0-1-2-3");
    let good = object(chain[2].view());
    let header = format!("chain 0, height 2, block {}", chain[2].view().hash());
    let altered = good.replace("\"nonce\":\"", "\"nonce\":\"1");
    let other_network = good.replace("\"development\"", "\"elsewhere\"");
    let cases: [(&[u8], &[&str]); 12] = [
        (b"{", &["not JSON", "in the value that begins on line 4"]),
        (b"{}", &["not a header object", "nonce"]),
        (b"[1]", &["line 4, item 1, column 2", "neither an object nor a string"]),
        (b"null", &["a header has 318 bytes, not 3"]),
        (b"12", &["not base64url"]),
        (b"\"AAAA\"", &["a header has 318 bytes, not 3"]),
        (b"a\0b", &["not JSON"]),
        (b"\xFF\xFE", &["not JSON"]),
        (&good.as_bytes()[..200], &["not JSON", "within a string"]),
        (altered.as_bytes(), &[&header, "IncorrectHash"]),
        (other_network.as_bytes(), &["chainwebVersion", "unknown network"]),
        (b"{\"items\":3}", &["not a header object"]),
    ];
    for (line, texts) in cases {
        let before = lines(&chain[..2], string);
        let bytes = [before.as_bytes(), b"\n", line, b"\n", good.as_bytes(), b"\n"].concat();
        let db = folder();
        let outcome = replay_file(db.path(), &[], "dump.jsonl", &bytes);
        outcome.assert_fails(1, &["line 4"]);
        outcome.assert_fails(1, texts);
        let kept = stored(db.path());
        assert_eq!(kept.len(), 21, "genesis blocks and the first lines");
        assert!(kept.contains(&chain[1]));
        let going = folder();
        let outcome = replay_file(going.path(), &[KEEP_GOING], "dump.jsonl", &bytes);
        assert_eq!((outcome.status, outcome.counts()[2]), (Some(1), 1));
        assert_eq!(stored(going.path()).len(), 22, "{}", outcome.err);
    }
}

#[test]
fn a_bad_item_of_a_page_is_named_by_its_number() {
    let mut drawing = Drawing::default();
    let chain = drawing.draw("0-1-2-3");
    let (text, last) = (page(&chain, string), string(chain[3].view()));
    for bad in ["\"AA!A\"", "\"AAAA\"", "{}", "null", "12", "\"\""] {
        let db = folder();
        let text = text.replace(&last, bad);
        let outcome = replay_file(db.path(), &[], "page.jsonl", text.as_bytes());
        outcome.assert_fails(1, &["line 1, item 4, column "]);
        assert_eq!(stored(db.path()).len(), 22, "{bad}");
    }
}

#[test]
fn an_overlong_line_is_refused_and_the_lines_behind_it_are_read() {
    let mut drawing = Drawing::default();
    let chain = drawing.draw("0-1-2");
    let long = "A".repeat((64 << 20) + 5);
    let text = [string(chain[1].view()), long, string(chain[2].view())].join("\n");
    let db = folder();
    let outcome = replay_file(db.path(), &[], "dump", text.as_bytes());
    outcome.assert_fails(1, &["line 2, column 1, ", "longer than 33554432 bytes"]);
    assert_eq!(stored(db.path()).len(), 21);
    let db = folder();
    let outcome = replay_file(db.path(), &[KEEP_GOING], "dump", text.as_bytes());
    assert_eq!((outcome.status, outcome.counts()), (Some(1), [2, 0, 1]), "{}", outcome.err);
    assert!(stored(db.path()).contains(&chain[2]));
}

#[test]
fn noise_is_refused_whatever_it_looks_like() {
    let text = "lorem ipsum dolor sit amet\n".repeat(50);
    let noise: Vec<u8> = (0..2000_u32).map(|i| u8::try_from(i * i % 251).unwrap()).collect();
    for bytes in [text.as_bytes(), &noise, &[0; 4000], &[0xFF; 318], b"\n\n\n", b" "] {
        let db = folder();
        let outcome = replay_file(db.path(), &[PARTIAL], "dump", bytes);
        assert_ne!(outcome.status, None);
        assert!(!outcome.err.contains("panicked"), "{}", outcome.err);
        assert!(!Engine::exists(db.path()).unwrap() || stored(db.path()).is_empty());
    }
}

#[test]
fn keep_going_skips_and_counts_what_is_wrong_and_what_stands_above_it() {
    let headers = braid(4);
    let mut bytes = dump(&headers);
    // Chain 3 at height 2: the blocks of that chain above it have no parent then.
    bytes[318 * 43 + 278] ^= 1;
    let db = folder();
    let outcome = replay_file(db.path(), &[KEEP_GOING], "dump", &bytes);
    assert_eq!((outcome.status, outcome.counts()), (Some(1), [77, 20, 3]), "{}", outcome.err);
    outcome.assert_fails(1, &["offset 13674: ", "offset 20034: ", "offset 26394: "]);
    let above =
        |header: &&Header| header.view().chain().get() == 3 && header.view().height().get() >= 2;
    assert_eq!(stored(db.path()), sorted(headers.iter().filter(|header| !above(header))));
    // With the right bytes the rest comes in.
    let outcome = replay_file(db.path(), &[], "dump", &dump(&headers));
    assert_eq!((outcome.status, outcome.counts()), (Some(0), [3, 97, 0]));
    assert_eq!(stored(db.path()), sorted(&headers));
}

#[test]
fn keep_going_stops_to_print_rejections_but_not_to_count_them() {
    let mut drawing = Drawing::default();
    let first = drawing.draw("5-6");
    let orphans: Vec<Header> = (1..400).map(|nonce| sibling(first[0].view(), nonce)).collect();
    let db = folder();
    let outcome = replay_file(db.path(), &[KEEP_GOING], "dump", &dump(&orphans));
    assert_eq!((outcome.status, outcome.counts()), (Some(1), [0, 0, 399]));
    assert!(outcome.err.lines().count() < 110, "{}", outcome.err);
}

#[test]
fn several_inputs_are_read_in_order_up_to_a_bad_one() {
    let headers = braid(3);
    let input = folder();
    let (low, high, missing) = ("low", "high", "missing");
    fs::write(input.path().join(low), dump(&headers[..40])).unwrap();
    fs::write(input.path().join(high), lines(&headers[40..], string)).unwrap();
    let go = |names: &[&str]| {
        let db = folder();
        let outcome = replay(db.path(), names.iter().map(|name| input.path().join(name)));
        (outcome, stored(db.path()).len())
    };
    let (outcome, held) = go(&[low, high]);
    assert_eq!((outcome.status, held), (Some(0), 80), "{}", outcome.err);
    let (outcome, held) = go(&[high, low]);
    assert_eq!((outcome.status, held), (Some(1), 20), "{}", outcome.err);
    let (outcome, held) = go(&[low, missing, high]);
    assert_eq!((outcome.status, held), (Some(2), 40), "{}", outcome.err);
}

#[test]
fn level_none_takes_a_wrong_hash_but_no_wrong_place() {
    let first = child(genesis(CHAIN).view(), 0);
    let raw = RawHeader { nonce: 9.into(), ..*first.view().raw() };
    let wrong_hash = Header::new(raw).unwrap();
    let db = folder();
    let args = ["--verify", "none"];
    let outcome = replay_file(db.path(), &args, "dump", &dump([&wrong_hash]));
    assert_eq!((outcome.status, outcome.counts()), (Some(0), [1, 0, 0]));
    let lost = root(CHAIN, first.view().height().child().unwrap(), 1, 1);
    let outcome = replay_file(db.path(), &args, "dump", &dump([&lost]));
    outcome.assert_fails(1, &["MissingParent"]);
}

#[test]
fn a_format_that_is_named_is_not_told_by_content() {
    let headers = braid(1);
    let db = folder();
    let outcome = replay_file(db.path(), &["--format", "jsonl"], "dump", &dump(&headers));
    outcome.assert_fails(1, &["line 1, column 1, offset 0: "]);
    let outcome =
        replay_file(db.path(), &["--format", "binary"], "dump", lines(&headers, string).as_bytes());
    outcome.assert_fails(1, &["offset 0: "]);
    let outcome = replay_file(db.path(), &["--format", "node"], "dump", &dump(&headers));
    outcome.assert_fails(2, &["is a file"]);
    let outcome = replay(db.path(), ["--format", "node", "-"]);
    assert_eq!(outcome.status, Some(2), "{}", outcome.err);
}

#[test]
fn a_root_makes_a_full_history_a_partial_one() {
    let mut drawing = Drawing::default();
    let part = drawing.draw("7-8");
    let db = folder();
    assert_eq!(replay_file(db.path(), &[], "dump", &dump(&braid(1))).status, Some(0));
    let info = || run(["info".as_ref(), "--db".as_ref(), db.path().as_os_str()]).out;
    assert!(info().contains("(full history)"), "{}", info());
    let root = part[0].view().hash().to_string();
    let outcome = replay_file(db.path(), &["--root", &root], "dump", &dump(&part));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(info().contains("(partial history)"), "{}", info());
    assert_eq!(stored(db.path()), sorted(braid(1).iter().chain(&part)));
}
