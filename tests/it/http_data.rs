//! What the tests of the server share: drawn blocks of `development`, where no proof of work is
//! asked for, a server that has them, and the naive answers to compare with.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use plait_engine::header::merkle;
use plait_engine::{BlockHash, ChainId, ChainwebVersion, Header, HeaderRef};
use serde_json::Value;
use testkit::http::{Request, Response};
use testkit::server::{Replayed, Server};

/// The base path of the drawn network.
pub(crate) const BASE: &str = "/chainweb/0.0/development";

/// A hash that no block has.
pub(crate) const NOBODY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

pub(crate) const JSON: &str = "application/json";
pub(crate) const OBJECT: &str = "application/json;blockheader-encoding=object";
pub(crate) const OCTETS: &str = "application/octet-stream";

/// A path on a chain of the drawn network.
pub(crate) fn on(chain: u32, rest: &str) -> String {
    format!("{BASE}/chain/{chain}/{rest}")
}

/// Blocks of one chain, the genesis block first and parents before children.
pub(crate) struct Tree {
    blocks: Vec<Header>,
    parents: Vec<Option<usize>>,
    places: HashMap<BlockHash, usize>,
}

impl Tree {
    /// A chain with nothing but its genesis block.
    pub(crate) fn new(chain: u32) -> Self {
        let genesis = ChainwebVersion::Development.genesis_header(ChainId::new(chain)).unwrap();
        let places = HashMap::from([(genesis.view().hash(), 0)]);
        Self { blocks: vec![genesis], parents: vec![None], places }
    }

    /// Puts a path of `count` blocks on top of block `from`; returns their places.
    pub(crate) fn grow(&mut self, from: usize, count: usize) -> Vec<usize> {
        let mut at = from;
        let grown = (0..count).map(|_| {
            at = self.child(at);
            at
        });
        grown.collect()
    }

    fn child(&mut self, parent: usize) -> usize {
        let place = self.blocks.len();
        let mut raw = *self.block(parent).raw();
        raw.parent = raw.hash;
        raw.height = (raw.height.get() + 1).into();
        raw.creation_time = (raw.creation_time.get() + 30_000_000).into();
        // Siblings differ in this; numbers above 2^53 show who reads them as floating point.
        raw.nonce = (u64::MAX - place as u64).into();
        raw.feature_flags = 0.into();
        for byte in &mut raw.weight {
            let (sum, carry) = byte.overflowing_add(1);
            *byte = sum;
            if !carry {
                break;
            }
        }
        raw.hash = merkle::block_hash(HeaderRef::new(&raw).unwrap());
        self.blocks.push(Header::new(raw).unwrap());
        self.parents.push(Some(parent));
        self.places.insert(raw.hash, place);
        place
    }

    pub(crate) fn block(&self, place: usize) -> HeaderRef<'_> {
        self.blocks[place].view()
    }

    pub(crate) fn hash(&self, place: usize) -> String {
        self.block(place).hash().to_string()
    }

    pub(crate) fn hashes(&self, places: &[usize]) -> Vec<String> {
        places.iter().map(|place| self.hash(*place)).collect()
    }

    pub(crate) fn height(&self, place: usize) -> u64 {
        self.block(place).height().get()
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// The records of these blocks.
    pub(crate) fn records(&self, places: &[usize]) -> Vec<u8> {
        places.iter().flat_map(|place| *self.block(*place).as_bytes()).collect()
    }

    /// All but the genesis block, as a binary dump.
    pub(crate) fn dump(&self) -> Vec<u8> {
        self.records(&(1..self.len()).collect::<Vec<_>>())
    }

    /// All blocks by height, then hash.
    pub(crate) fn ascending(&self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.len()).collect();
        places.sort_by_key(|place| (self.height(*place), self.block(*place).hash()));
        places
    }

    /// The block and all below it.
    pub(crate) fn ancestors(&self, place: usize) -> Vec<usize> {
        std::iter::successors(Some(place), |place| self.parents[*place]).collect()
    }

    /// The naive branch query.
    pub(crate) fn branch(&self, upper: &[usize], lower: &[usize]) -> Vec<usize> {
        let below = |bounds: &[usize]| -> HashSet<usize> {
            bounds.iter().flat_map(|place| self.ancestors(*place)).collect()
        };
        let mut places: Vec<usize> = below(upper).difference(&below(lower)).copied().collect();
        let rank =
            |place: &usize| (std::cmp::Reverse(self.height(*place)), self.block(*place).hash());
        places.sort_by_key(rank);
        places
    }
}

/// What the shared server has.
pub(crate) struct World {
    /// Chain 0, with forks.
    pub(crate) forked: Tree,
    /// The longest path of chain 0, by height.
    pub(crate) trunk: Vec<usize>,
    /// Forty blocks on one parent, at height 10, beside the trunk.
    pub(crate) bush: Vec<usize>,
    /// A fork of thirty blocks above height 200 of the trunk.
    pub(crate) side: Vec<usize>,
    /// A fork of that fork.
    pub(crate) twig: Vec<usize>,
    /// A second block on top of chain 0.
    pub(crate) rival: usize,
    /// Chain 1, longer than any page, without forks.
    pub(crate) long: Tree,
}

/// The heights of chain 0, and of chain 1.
pub(crate) const FORKED_HEIGHT: u64 = 700;
pub(crate) const LONG_HEIGHT: u64 = 4500;

/// The drawn blocks.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let mut forked = Tree::new(0);
        let mut trunk = vec![0];
        trunk.extend(forked.grow(0, usize::try_from(FORKED_HEIGHT).unwrap()));
        let bush = (0..40).flat_map(|_| forked.grow(trunk[9], 1)).collect();
        let side = forked.grow(trunk[200], 30);
        let twig = forked.grow(side[9], 5);
        let rival = forked.grow(trunk[699], 1)[0];
        forked.grow(0, 1);
        let mut long = Tree::new(1);
        long.grow(0, usize::try_from(LONG_HEIGHT).unwrap());
        World { forked, trunk, bush, side, twig, rival, long }
    })
}

/// A new database with the drawn blocks.
pub(crate) fn database() -> Replayed {
    let dump = [world().forked.dump(), world().long.dump()].concat();
    Replayed::new("development", dump, &["--format", "binary"])
}

/// A server with its database, which outlives it.
pub(crate) struct Served {
    server: Server,
    _database: Replayed,
}

impl Served {
    /// A server of `database`.
    pub(crate) fn new(database: Replayed, flags: &[&str]) -> Self {
        Self { server: Server::start(&database, flags), _database: database }
    }
}

impl std::ops::Deref for Served {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl std::ops::DerefMut for Served {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// The server of the drawn blocks with the default limits. Tests that run at the same time share
/// it; the last one ends it.
pub(crate) fn served() -> Arc<Served> {
    static SERVED: Mutex<Weak<Served>> = Mutex::new(Weak::new());
    let mut shared = SERVED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let served = Arc::new(Served::new(database(), &[]));
        *shared = Arc::downgrade(&served);
        served
    })
}

/// A server of the drawn blocks that is the test's own.
pub(crate) fn served_with(flags: &[&str]) -> Served {
    Served::new(database(), flags)
}

/// A page of strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) items: Vec<String>,
    pub(crate) next: Option<String>,
}

/// Reads an answer that must be a page of strings, written in exactly one way.
#[track_caller]
pub(crate) fn page(response: &Response) -> Page {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("Content-Type"), Some("application/json;charset=utf-8"));
    let value: Value = serde_json::from_str(response.text()).unwrap();
    let items: Vec<String> = value["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_str().unwrap().to_owned())
        .collect();
    let next = value["next"].as_str().map(str::to_owned);
    let list: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
    let cursor = next.as_ref().map_or("null".to_owned(), |next| format!("\"{next}\""));
    let exact =
        format!("{{\"limit\":{},\"items\":[{}],\"next\":{cursor}}}", list.len(), list.join(","));
    assert_eq!(response.text(), exact);
    Page { items, next }
}

/// Pages joined: asks with each cursor until there is none, or an empty page.
pub(crate) fn joined(server: &Server, request: impl Fn(&str) -> Request) -> Vec<String> {
    let mut client = server.connect();
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = page(&client.ask(&request(&cursor)));
        let count = page.items.len();
        all.extend(page.items);
        match page.next {
            Some(next) if count > 0 => cursor = format!("&next={next}"),
            _ => return all,
        }
    }
}

/// The JSON of a body of bounds.
pub(crate) fn bounds(upper: &[String], lower: &[String]) -> String {
    serde_json::json!({ "upper": upper, "lower": lower }).to_string()
}

/// An answer that must be an error: its status, and the reason in its JSON.
#[track_caller]
pub(crate) fn reason(response: &Response, status: u16) -> String {
    let text = response.text();
    assert_eq!(response.status, status, "{text}");
    assert_eq!(response.header("Content-Type"), Some("application/json;charset=utf-8"), "{text}");
    let value: Value = serde_json::from_str(text).unwrap();
    let reason = value["reason"].as_str().unwrap_or_else(|| panic!("no reason: {text}"));
    assert!(!reason.is_empty() && text.len() < 1000, "{text}");
    reason.to_owned()
}

/// base64url without padding, on its own: not the engine's.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 3);
    for group in bytes.chunks(3) {
        let bits = (0..3)
            .fold(0_usize, |bits, i| bits << 8 | group.get(i).map_or(0, |byte| usize::from(*byte)));
        for i in 0..=group.len() {
            text.push(char::from(ALPHABET[bits >> (18 - 6 * i) & 63]));
        }
    }
    text
}

/// Reads base64url without padding.
pub(crate) fn from_base64url(text: &str) -> Vec<u8> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => panic!("{text}"),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}

/// A small source of chance with a fixed seed, so that a failure comes again.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`. (The generator is `SplitMix64`.)
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ z >> 31) % end as u64).unwrap()
    }

    pub(crate) fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

/// One of the public test vectors; `None`, and a line that says so, where they are absent.
pub(crate) fn vectors(name: &str) -> Option<PathBuf> {
    let path = testkit::vectors::folder()?.join(name);
    assert!(path.exists(), "{} is missing", path.display());
    Some(path)
}
