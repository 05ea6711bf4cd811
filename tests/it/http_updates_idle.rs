//! Event streams with few events, read by the parsers of published clients.

use std::time::{Duration, Instant};

use plait::Config;
use plait_engine::Header;
use testkit::http::{Events, Request};
use testkit::say;

use crate::live::{BLOCKS, HEADERS, Live, carrying, fork, hashes, line};

/// The bytes before the JSON of an event.
const EVENT_START: &str = "event:BlockHeader\ndata:";

/// The grammar of chainweb-data's parser: an event is a line `event:`, a line `id:` and any number
/// of lines `data:`, in this order and all optional, and an empty line. At anything else, such as a
/// comment, the parser fails, which ends its stream.
#[derive(Default)]
struct ByGrammar {
    rest: String,
    /// The kinds of lines that may no longer follow in the current event.
    passed: usize,
    data: String,
}

impl ByGrammar {
    /// The data of the complete events.
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.push_str(str::from_utf8(bytes).expect("events are text"));
        let mut events = Vec::new();
        while let Some((line, rest)) = self.rest.split_once('\n') {
            let fields = ["event:", "id:", "data:"];
            let mut allowed = fields.iter().skip(self.passed);
            if let Some(at) = allowed.position(|field| line.starts_with(field)) {
                // More lines of data may follow.
                self.passed = (self.passed + at + 1).min(2);
                if let Some(data) = line.strip_prefix("data:") {
                    self.data.push_str(data);
                }
            } else {
                assert_eq!(line, "", "the parser of chainweb-data fails");
                self.passed = 0;
                if !self.data.is_empty() {
                    events.push(std::mem::take(&mut self.data));
                }
            }
            self.rest = rest.to_owned();
        }
        events
    }
}

/// The rule of metmirr's indexer, for a chunk that is not an empty line: JSON begins at byte 23.
fn by_offset(chunk: &[u8]) -> Option<String> {
    if chunk == b"\n" {
        return None;
    }
    assert!(chunk.starts_with(EVENT_START.as_bytes()), "{:?}", String::from_utf8_lossy(chunk));
    let data: serde_json::Value = serde_json::from_slice(&chunk[23..]).expect("JSON to its end");
    Some(data["header"]["hash"].as_str().expect("a header has a hash").to_owned())
}

/// A stream, read by both rules.
struct Stream {
    events: Events,
    by_grammar: ByGrammar,
    by_grammar_heard: Vec<String>,
    by_offset_heard: Vec<String>,
    empty_lines: usize,
}

impl Stream {
    fn open(live: &Live, request: &Request) -> Self {
        Self {
            events: Events::open(live.address(), request),
            by_grammar: ByGrammar::default(),
            by_grammar_heard: Vec::new(),
            by_offset_heard: Vec::new(),
            empty_lines: 0,
        }
    }

    fn take_chunk(&mut self) {
        let chunk = self.events.chunk().unwrap().expect("the stream goes on");
        for data in self.by_grammar.push(&chunk) {
            let data: serde_json::Value = serde_json::from_str(&data).expect("an event is JSON");
            let hash = data["header"]["hash"].as_str().expect("a header has a hash");
            self.by_grammar_heard.push(hash.to_owned());
        }
        match by_offset(&chunk) {
            Some(hash) => self.by_offset_heard.push(hash),
            None => self.empty_lines += 1,
        }
    }

    fn be_idle(&mut self, lines: usize) {
        let before = self.empty_lines;
        while self.empty_lines < before + lines {
            self.take_chunk();
        }
    }

    fn assert_heard(&mut self, blocks: &[Header]) {
        let expected = hashes(blocks);
        while self.by_offset_heard.len() < expected.len() {
            self.take_chunk();
        }
        assert_eq!((&self.by_grammar_heard, &self.by_offset_heard), (&expected, &expected));
    }
}

/// Blocks with payloads, above those of `first`.
fn add_carrying(live: &mut Live, blocks: &mut Vec<Header>, count: usize) {
    let mut new = Vec::new();
    for transactions in 0..count {
        let (block, payload) = carrying(blocks.last().unwrap(), transactions);
        live.database.add_payload(&block, payload);
        blocks.push(block);
        new.push(block);
    }
    live.add(&new);
}

fn read_idle(config: Config, lines: usize) {
    let mut blocks = line(0, 2);
    let mut live = Live::new(&blocks, config);
    let requests =
        [HEADERS, BLOCKS].map(|target| [Request::get(target), Request::post(target, "")]);
    let requests = requests.concat();
    let mut streams: Vec<Stream> =
        requests.iter().map(|request| Stream::open(&live, request)).collect();
    for round in 1..3 {
        for stream in &mut streams {
            stream.be_idle(lines * round);
        }
        add_carrying(&mut live, &mut blocks, 5);
        for stream in &mut streams {
            stream.assert_heard(&blocks[2..]);
        }
    }
    // A reorganization does not disturb them either.
    let side = fork(&blocks[9], 5, 1);
    live.add(&side);
    let [headers, ..] = &mut streams[..] else { panic!("four streams") };
    headers.assert_heard(&[&blocks[2..], &side].concat());
    headers.be_idle(1);
}

#[test]
fn parsers_of_published_clients_read_idle_streams() {
    let quick = Duration::from_millis(1);
    let keep_alive = Duration::from_millis(100);
    read_idle(
        Config { updates_interval: quick, updates_keep_alive: keep_alive, ..Config::default() },
        4,
    );
}

/// `PLAIT_IDLE_MINUTE=1` runs it with the default interval.
#[test]
fn parsers_of_published_clients_read_streams_that_are_idle_for_a_minute() {
    if std::env::var_os("PLAIT_IDLE_MINUTE").is_none() {
        return say("skipped: PLAIT_IDLE_MINUTE is not set");
    }
    let begin = Instant::now();
    read_idle(Config::default(), 1);
    assert!(begin.elapsed() >= Duration::from_mins(1));
    say(&format!("read for {:?}", begin.elapsed()));
}
