//! Nodes that lie, stall or break off: nothing false is stored, and nobody asks without a pause.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use plait_engine::Header;
use plait_engine::header::RawHeader;
use plait_engine::header::merkle;
use plait_engine::header::text::push_string;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::block::dump;
use testkit::node::{Asked, Node, Reply};
use testkit::process::replay_file;
use testkit::server::Server;
use testkit::stored;

use crate::follow::{blocks, end, folder, follower, height, until};
use crate::push::{NETWORK, generated, with_genesis};

static HEADERS: LazyLock<Vec<Header>> = LazyLock::new(|| generated(1200, 1, 0.0));

/// Of another history.
static OTHERS: LazyLock<Vec<Header>> = LazyLock::new(|| generated(1200, 2, 0.0));

/// A history that a node has, and one who follows it while it lies.
pub(crate) struct Liar {
    pub(crate) headers: Vec<Header>,
    pub(crate) node: Node,
    db: TempDir,
    pub(crate) follower: Server,
}

impl Liar {
    /// A node with so many heights that lies from the beginning.
    pub(crate) fn new(
        heights: u64,
        lie: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self::followed_into(folder(), heights, lie)
    }

    /// The same, and the database of who follows it.
    fn followed_into(
        db: TempDir,
        heights: u64,
        lie: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let headers = HEADERS[..usize::try_from(heights).unwrap() * 20].to_vec();
        let node = Node::start(NETWORK);
        node.add(&headers);
        node.lie(lie);
        let flags = ["--network", "development", "--follow-range-heights", "100"];
        let follower = follower(db.path(), &node.url(), &flags);
        Self { headers, node, db, follower }
    }

    pub(crate) fn failures(&self, why: &str) -> f64 {
        let sample = format!("plait_follow_failures_total{{why=\"{why}\"}}");
        self.follower.metric(&sample).unwrap_or(0.0)
    }

    /// Waits until it has failed some times because of `why`; checks that the log says `text`, and
    /// that there is a pause between two tries.
    pub(crate) fn assert_fails(&self, why: &str, text: &str) {
        until(why, || self.failures(why) >= 3.0);
        self.follower.logged(text);
        let (before, requests) = (self.failures(why), self.node.requests());
        thread::sleep(Duration::from_secs(1));
        let (failures, requests) = (self.failures(why) - before, self.node.requests() - requests);
        // A try asks ten times for each chain's branch, and for each parent that is not known.
        let requests_max = (failures + 1.0) * 1_000.0;
        assert!(failures <= 12.0, "{failures} tries");
        let requests = f64::from(u32::try_from(requests).unwrap());
        assert!(requests <= requests_max, "{failures} tries, {requests} requests");
    }

    /// Checks that an honest node is followed after all, and that nothing else was stored.
    pub(crate) fn assert_recovers(self) {
        self.node.repent();
        let count = self.headers.len() as u64;
        until("the truth", || {
            height(&self.follower) == count && blocks(&self.follower) == count + 20
        });
        end(self.follower);
        assert_eq!(stored(self.db.path()), with_genesis(&self.headers));
    }
}

pub(crate) fn is(asked: &Asked, part: &str) -> bool {
    asked.target.contains(part)
}

/// The path of pages of headers, and no other.
fn is_range(asked: &Asked) -> bool {
    is(asked, "/header?")
}

fn page(headers: &[Header], next: Option<&str>) -> Reply {
    let items: Vec<String> = headers.iter().map(string).collect();
    let next = next.map_or(Value::Null, Value::from);
    Reply::Json(200, json!({ "limit": items.len(), "items": items, "next": next }).to_string())
}

/// A header as a string, without quotes.
pub(crate) fn string(header: &Header) -> String {
    let mut text = Vec::new();
    push_string(&mut text, header.view());
    String::from_utf8(text).unwrap().trim_matches('"').to_owned()
}

/// The height and the chain that a range is asked for.
fn range_of(asked: &Asked) -> (u64, u64, u32) {
    let number = |name: &str| {
        let (_, rest) = asked.target.split_once(name).unwrap();
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse::<u64>().unwrap()
    };
    let chain = u32::try_from(number("/chain/")).unwrap();
    (number("minheight="), number("maxheight="), chain)
}

fn within(headers: &[Header], (min, max, chain): (u64, u64, u32)) -> Vec<Header> {
    let of = |header: &&Header| {
        let view = header.view();
        view.chain().get() == chain && (min..=max).contains(&view.height().get())
    };
    headers.iter().filter(of).copied().collect()
}

#[test]
fn another_network_is_not_followed() {
    // Without a database, the server ends instead.
    let database = || {
        let db = folder();
        let outcome = replay_file(db.path(), &[], "first.dump", &dump(&HEADERS[..20]));
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        db
    };
    let liar = Liar::followed_into(database(), 10, |asked| {
        is(asked, "/info")
            .then(|| Reply::Json(200, json!({ "nodeVersion": "mainnet01" }).to_string()))
    });
    liar.assert_fails(
        "network",
        "its network is mainnet01, and that of the database is development",
    );
    // Once a change, not once a try.
    assert_eq!(liar.follower.log().matches("its network is mainnet01").count(), 1);
    liar.assert_recovers();
    let liar = Liar::followed_into(database(), 10, |asked| {
        let cut = json!({ "hashes": {}, "instance": "testnet04" }).to_string();
        is(asked, "/cut").then_some(Reply::Json(200, cut))
    });
    liar.assert_fails("network", "its network is testnet04");
    liar.assert_recovers();
}

#[test]
fn wrong_statuses_are_failures() {
    for path in ["/info", "/cut", "/header?"] {
        for status in [404, 403, 302, 500, 503] {
            let lie = move |asked: &Asked| {
                is(asked, path).then(|| Reply::Json(status, "{\"x\":1}".to_owned()))
            };
            let liar = Liar::new(1200, lie);
            until("a failure", || liar.failures("status") >= 1.0);
            let text = match (path, status) {
                ("/cut", 404) => "it has no blocks yet".to_owned(),
                _ => format!("answered with {status}"),
            };
            liar.follower.logged(&text);
            assert_eq!(height(&liar.follower), 0);
        }
    }
}

#[test]
fn what_is_not_json_of_the_right_form_is_a_failure() {
    let wrong = [
        ("/info", "application/json", "{}"),
        ("/info", "text/html", "<html>"),
        ("/cut", "application/json", "[]"),
        ("/cut", "application/json", "{\"hashes\":{}}"),
        ("/cut", "application/json", "{\"hashes\":{\"77\":{\"height\":1,\"hash\":\"x\"}}}"),
        ("/cut", "application/json", "{\"hashes\":{\"7\":{\"height\":-1,\"hash\":\"x\"}}}"),
        ("/cut", "application/json", "{\"hashes\":{\"7\":{\"height\":1,\"hash\":\"x\"}}}"),
        ("/header?", "application/json", "{\"limit\":0}"),
        ("/header?", "application/json", "{\"limit\":1,\"items\":[\"AAAA\"],\"next\":null}"),
        ("/header?", "application/octet-stream", "half a header"),
        ("/header?", "text/plain", "x"),
    ];
    for (path, media, body) in wrong {
        let lie = move |asked: &Asked| {
            is(asked, path).then(|| Reply::Body(200, media, body.as_bytes().to_vec()))
        };
        let liar = Liar::new(1200, lie);
        until("a failure", || liar.failures("content") >= 1.0);
        assert_eq!(height(&liar.follower), 0, "{path} {body}");
    }
}

#[test]
fn answers_without_end_take_no_memory() {
    // One that has just started has not yet touched most of what it needs, so it is no measure.
    let honest = Liar::new(1200, |_| None);
    until("the cut", || height(&honest.follower) == 24_000);
    let usual = honest.follower.resident_bytes_max();
    drop(honest);
    for path in ["/info", "/cut", "/header?"] {
        for media in ["application/json", "application/octet-stream"] {
            let liar = Liar::new(1200, move |asked| {
                is(asked, path).then(|| Reply::Endless(media, vec![b' '; 1 << 16]))
            });
            until("failures", || liar.failures("content") >= 3.0);
            let most = liar.follower.resident_bytes_max();
            let more = most.zip(usual).map_or(0, |(most, usual)| most.saturating_sub(usual));
            assert!(more < 100 << 20, "{path}: {more} bytes more than with an honest node");
            assert_eq!(height(&liar.follower), 0);
        }
    }
}

#[test]
fn pages_without_end_are_given_up() {
    let first = generated(1, 1, 0.0)[0];
    let next = format!("inclusive:{}", first.view().hash());
    let liar = Liar::new(1200, move |asked| {
        // The same page again and again.
        let all = generated(3, 1, 0.0);
        is_range(asked).then(|| page(&within(&all, range_of(asked)), Some(&next)))
    });
    liar.assert_fails("content", "pages that bring nothing new");
    liar.assert_recovers();
}

#[test]
fn silence_and_trickles_are_given_up_in_time() {
    for path in ["/info", "/cut", "/header?"] {
        let silent = Liar::new(1200, move |asked| is(asked, path).then_some(Reply::Silence));
        let slow = Liar::new(1200, move |asked| {
            is(asked, path).then_some(Reply::Trickle("application/json"))
        });
        for liar in [silent, slow] {
            until("a failure", || liar.failures("timeout") >= 1.0);
            liar.follower.logged("nothing came for");
            assert_eq!(height(&liar.follower), 0);
            if path == "/header?" {
                liar.assert_recovers();
            }
        }
    }
}

#[test]
fn connections_that_break_anywhere_only_take_time() {
    let count = AtomicU64::new(0);
    let headers = generated(1200, 1, 0.0);
    let liar = Liar::new(1200, move |asked| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        if number % 7 != 3 {
            return None;
        }
        if is_range(asked) && number.is_multiple_of(2) {
            // A part of the truth, as octets, which end within a record.
            let all = within(&headers, range_of(asked));
            let bytes = testkit::block::dump(&all);
            let part = bytes.len() / 2;
            return Some(Reply::Cut("application/octet-stream", bytes[..part].to_vec()));
        }
        Some(Reply::Close)
    });
    until("the cut", || height(&liar.follower) == 24_000);
    liar.assert_recovers();
}

#[test]
fn a_block_that_breaks_a_rule_is_named_and_what_came_before_it_stays() {
    let liar = Liar::new(700, |asked| {
        // Otherwise the branch would be taken from there.
        if is(asked, "/chain/3/header/branch") {
            return Some(Reply::Json(404, "{}".to_owned()));
        }
        let (min, max, chain) = if is_range(asked) { range_of(asked) } else { return None };
        if chain != 3 || max < 250 || min > 250 {
            return None;
        }
        let mut headers = within(&HEADERS[..700 * 20], (min, max, chain));
        for header in &mut headers {
            if header.view().height().get() == 250 {
                let raw = *header.view().raw();
                let raw = RawHeader { creation_time: 0.into(), ..raw };
                let hash = merkle::block_hash(Header::new(raw).unwrap().view());
                *header = Header::new(RawHeader { hash, ..raw }).unwrap();
            }
        }
        Some(page(&headers, None))
    });
    liar.assert_fails("rules", "it gave a block that is wrong: chain 3, height 250, block");
    until("what came before", || height(&liar.follower) >= 249 * 20);
    assert!(height(&liar.follower) < 260 * 20);
    liar.assert_recovers();
}

#[test]
fn blocks_that_stand_on_none_are_not_kept() {
    // A block of another history, in place of one of this history, which nobody sends.
    let others = |height: u64| {
        let of = |header: &&Header| {
            header.view().chain().get() == 3 && header.view().height().get() == height
        };
        *OTHERS.iter().find(of).unwrap()
    };
    let liar = Liar::new(1200, move |asked| {
        if is(asked, "/chain/3/header/") {
            return Some(Reply::Json(404, "{}".to_owned()));
        }
        let (min, max, chain) = if is_range(asked) { range_of(asked) } else { return None };
        let mut headers = within(&HEADERS, (min, max, chain));
        for header in &mut headers {
            if chain == 3 && header.view().height().get() == 250 {
                *header = others(250);
            }
        }
        Some(page(&headers, None))
    });
    liar.assert_fails(
        "unconnected",
        "it gave blocks whose parents neither it nor the database has: chain",
    );
    assert!(height(&liar.follower) < 260 * 20);
    liar.assert_recovers();
}

#[test]
fn what_a_node_leaves_out_is_named() {
    // A hole in one chain.
    let hole = |asked: &Asked| {
        let (min, max, chain) = if is_range(asked) { range_of(asked) } else { return None };
        let mut headers = within(&HEADERS, (min, max, chain));
        headers.retain(|header| chain != 3 || header.view().height().get() != 250);
        Some(page(&headers, None))
    };
    let liar = Liar::new(1200, hole);
    liar.assert_fails("partial", "it holds only chain 3 from height 251 on; missing: height 250");
    assert!(height(&liar.follower) < 260 * 20);
    liar.assert_recovers();
    // A different history, without its beginning; no new database would be made for it.
    let db = folder();
    let outcome = replay_file(db.path(), &[], "first.dump", &dump(&HEADERS[..20]));
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let liar = Liar::followed_into(db, 1200, |asked| {
        let (min, max, chain) = if is_range(asked) { range_of(asked) } else { return None };
        Some(page(&within(&OTHERS, (min.max(5), max, chain)), None))
    });
    liar.assert_fails("partial", "chains 0 to 19 from height 5 on; missing: heights 2 to 4");
    assert_eq!(height(&liar.follower), 20);
    liar.assert_recovers();
}

#[test]
fn blocks_of_other_chains_or_heights_or_in_another_order_are_refused() {
    type Change = fn(&[Header], (u64, u64, u32)) -> Vec<Header>;
    let changes: [Change; 3] = [
        |all, (min, max, chain)| within(all, (min, max, (chain + 1) % 20)),
        |all, (min, max, chain)| within(all, (min, max + 100, chain)),
        |all, range| within(all, range).into_iter().rev().collect(),
    ];
    for change in changes {
        let all = generated(1200, 1, 0.0);
        let liar = Liar::new(1200, move |asked| {
            is_range(asked).then(|| page(&change(&all, range_of(asked)), None))
        });
        liar.assert_fails("content", "following: http");
        assert!(height(&liar.follower) < 1200 * 20);
        liar.assert_recovers();
    }
}
