//! Numbers in files that anybody may have written: whatever they are, they are refused or shown, and
//! nothing panics.

use std::fs;
use std::path::Path;

use plait_engine::archive::{Checksum, Manifest};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::Database;
use testkit::archive::export;
use testkit::block::dump;
use testkit::braid::braid;
use testkit::process::{Outcome, replay, run};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Values that no honest file has, as JSON.
fn odd() -> Vec<Value> {
    let numbers = [
        "18446744073709551615",
        "9223372036854775808",
        "18446744073709551616",
        "1e300",
        "-1",
        "0.5",
        "-0",
    ];
    let numbers = numbers.iter().map(|text| serde_json::from_str(text).unwrap());
    numbers.chain([json!("7"), json!(""), json!(null), json!([1]), json!({})]).collect()
}

/// Every place in `value` that holds a number, as a path.
fn numbers(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(path.to_owned()),
        Value::Array(items) => {
            // One item of each kind is enough, and the last: what is summed up meets the largest there.
            for number in [0, 1, items.len().saturating_sub(1)] {
                if let Some(item) = items.get(number) {
                    numbers(item, &format!("{path}/{number}"), found);
                }
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                numbers(member, &format!("{path}/{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn assert_no_panic(outcome: &Outcome, what: &str) {
    assert!(matches!(outcome.status, Some(0..=2)), "{what}: {:?}\n{}", outcome.status, outcome.err);
    assert!(!outcome.err.contains("panicked"), "{what}: {}", outcome.err);
}

#[test]
fn whatever_number_a_backup_says_it_is_listed_and_checked_without_a_panic() {
    let (db, backups, input) = (folder(), folder(), folder());
    fs::write(input.path().join("dump"), dump(&braid(3))).unwrap();
    assert_eq!(replay(db.path(), [input.path().join("dump")]).status, Some(0));
    let command = |args: &[&str]| {
        let start = ["backup"].into_iter().chain(args.iter().copied()).map(AsRef::as_ref);
        run(start.chain(["--backups".as_ref(), backups.path().as_os_str()]))
    };
    let made = command(&["make", "--db", db.path().to_str().unwrap()]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let id = made.out.trim().to_owned();
    let path = backups.path().join(&id).join("contents.json");
    let whole: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let mut places = Vec::new();
    numbers(&whole, "", &mut places);
    assert!(places.len() > 4, "{places:?}");
    for odd in odd() {
        // Each alone, and all at once: sums meet the largest ones.
        let mut all = whole.clone();
        for place in &places {
            let mut one = whole.clone();
            *one.pointer_mut(place).unwrap() = odd.clone();
            *all.pointer_mut(place).unwrap() = odd.clone();
            fs::write(&path, one.to_string()).unwrap();
            assert_no_panic(&command(&["list"]), &format!("{place} {odd}"));
        }
        fs::write(&path, all.to_string()).unwrap();
        for args in [&["list"][..], &["list", "--json"], &["check", "--verify", &id]] {
            assert_no_panic(&command(args), &format!("all {odd}, {args:?}"));
        }
        let to = folder();
        let target = to.path().join("db");
        let outcome = command(&["list"]);
        assert_no_panic(&outcome, "list");
        let restored = run([
            "restore".as_ref(),
            id.as_ref(),
            "--backups".as_ref(),
            backups.path().as_os_str(),
            "--to".as_ref(),
            target.as_os_str(),
        ]);
        assert_no_panic(&restored, &format!("restore, all {odd}"));
    }
}

/// A manifest with other values, and its right checksum.
fn sealed(value: &Value) -> Vec<u8> {
    let mut text = serde_json::to_string_pretty(value).unwrap();
    text.truncate(text.rfind("\n}").unwrap());
    text += ",\n";
    let checksum = Checksum::of(text.as_bytes());
    (text + "  \"checksum\": \"" + &checksum.to_string() + "\"\n}\n").into_bytes()
}

fn manifest(dir: &Path) -> Value {
    let text = fs::read_to_string(dir.join("manifest.json")).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value.as_object_mut().unwrap().remove("checksum");
    value
}

#[test]
fn whatever_number_a_manifest_says_it_is_refused_or_read_without_a_panic() {
    let mut database = Database::with_genesis();
    database.add(&braid(5));
    let archive = folder();
    export(database.reader(), archive.path(), 4);
    let whole = manifest(archive.path());
    assert!(Manifest::parse(&sealed(&whole)).is_ok());
    let mut places = Vec::new();
    numbers(&whole, "", &mut places);
    assert!(places.len() > 20, "{places:?}");
    let mut read = 0;
    for odd in odd() {
        for place in &places {
            let mut one = whole.clone();
            *one.pointer_mut(place).unwrap() = odd.clone();
            read += usize::from(Manifest::parse(&sealed(&one)).is_ok());
        }
    }
    assert!(read < places.len(), "{read} of odd manifests were read");
    // Through the commands, each once.
    for (place, odd) in places.iter().zip(odd().into_iter().cycle()) {
        let mut one = whole.clone();
        *one.pointer_mut(place).unwrap() = odd.clone();
        fs::write(archive.path().join("manifest.json"), sealed(&one)).unwrap();
        let what = format!("{place} {odd}");
        assert_no_panic(&run(["verify".as_ref(), archive.path().as_os_str()]), &what);
        assert_no_panic(
            &replay(folder().path(), ["--keep-going".as_ref(), archive.path().as_os_str()]),
            &what,
        );
    }
}

/// A manifest of one canonical file a chain that fits together, however large its numbers are.
fn consistent(first: u64, records: u64, heights: u32) -> Value {
    let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let sum = "0".repeat(64);
    let last = first.saturating_add(records).saturating_sub(1);
    let from = first / u64::from(heights) * u64::from(heights);
    let edge = |height: u64| json!({ "height": height, "hash": hash });
    let name = format!("00-{from:010}-canonical-{}.plait", &sum[..32]);
    let bytes = 48_u64.saturating_add(records.saturating_mul(318));
    json!({
        "format": 1, "network": "development", "history": "partial", "heights": heights,
        "records": records, "bytes": bytes,
        "cut": { "height": last, "id": hash, "blocks": [{ "chain": 0, "height": last, "hash": hash }] },
        "files": [{
            "name": name, "chain": 0, "kind": "canonical", "from": from, "records": records,
            "bytes": bytes, "first": edge(first), "last": edge(last), "parent": hash, "checksum": sum,
        }],
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_manifest_that_fits_together_has_no_number_that_panics(
        first in prop_oneof![Just(0), Just(u64::MAX), Just(u64::MAX - 1), Just(1 << 63), any::<u64>()],
        records in prop_oneof![Just(1_u64), Just(2), Just(u64::MAX), Just(u64::MAX / 318), any::<u64>()],
        heights in prop_oneof![Just(1_u32), Just(u32::MAX), 1_u32..u32::MAX],
    ) {
        // What it says of its cut may be wrong; nothing may panic on the way there.
        let _ = Manifest::parse(&sealed(&consistent(first, records, heights)));
    }
}
