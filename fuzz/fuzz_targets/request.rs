//! Requests for hashes, headers and branches, as the parts that they are made of: status, form and
//! content of the answers by the oracle.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::{Answer, Edge, World};
use http::{Request, StatusCode};
use libfuzzer_sys::fuzz_target;
use plait_engine::header::text;
use plait_engine::{
    BlockHash, BlockHeight, Bounds, BranchQuery, ChainId, Cursor, Header, Heights, Page,
    RangeQuery, UnknownLower,
};
use serde_json::{Value, json};
use testkit::block::NETWORK;

/// Bounds of each side at most.
const BOUNDS_MAX: usize = 32;

/// Items of a page at most, as the server has it.
const PAGE_MAX: usize = 20;

/// Hashes of a page at most.
const HASHES_MAX: usize = 4096;

#[derive(Arbitrary, Debug)]
struct Case {
    chain: u8,
    what: What,
    form: Form,
    limit: Option<Edge>,
    min: Option<Edge>,
    max: Option<Edge>,
    next: Option<(bool, Pick)>,
    upper: Vec<Pick>,
    lower: Vec<Pick>,
    /// Whether the network, the chain or the method is another one.
    odd: Option<Odd>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum What {
    Hashes,
    Headers,
    HashBranch,
    HeaderBranch,
    Header(Pick),
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Form {
    Strings,
    Objects,
    Octets,
    Nothing,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Pick {
    /// One of the chain.
    Block(u8),
    /// One of another chain.
    Other(u8),
    Nobody(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Odd {
    Network,
    Chain(u8),
    Method,
}

fuzz_target!(|case: Case| {
    let answer = World::get().ask(case.request());
    if let Some(odd) = case.odd {
        let is_method = matches!(odd, Odd::Method);
        let expected =
            if is_method { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::NOT_FOUND };
        assert_eq!(answer.status, expected);
        return;
    }
    match case.expected() {
        Ok(expected) => case.check(&answer, &expected),
        Err(status) => {
            assert_eq!(answer.status, status, "{case:?}");
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            assert!(body["reason"].is_string(), "an error without a reason: {body}");
        }
    }
});

impl Pick {
    fn hash(self, chain: ChainId) -> BlockHash {
        let world = World::get();
        let of = |is_own: bool, number: u8| {
            let blocks = world.blocks.iter().map(|(header, _)| header.view());
            let blocks: Vec<_> = blocks.filter(|view| (view.chain() == chain) == is_own).collect();
            blocks[usize::from(number) % blocks.len()].hash()
        };
        match self {
            Self::Block(number) => of(true, number),
            Self::Other(number) => of(false, number),
            Self::Nobody(byte) => BlockHash::new([byte; 32]),
        }
    }
}

impl Case {
    fn chain(&self) -> ChainId {
        ChainId::new(u32::from(self.chain) % 20)
    }

    fn is_branch(&self) -> bool {
        matches!(self.what, What::HashBranch | What::HeaderBranch)
    }

    fn is_hashes(&self) -> bool {
        matches!(self.what, What::Hashes | What::HashBranch)
    }

    fn cursor(&self) -> Option<Cursor> {
        self.next.map(|(inclusive, pick)| {
            let hash = pick.hash(self.chain());
            if inclusive { Cursor::Inclusive(hash) } else { Cursor::Exclusive(hash) }
        })
    }

    fn bounds(&self) -> Bounds {
        let hashes = |picks: &[Pick]| {
            let mut hashes: Vec<BlockHash> = Vec::new();
            for hash in picks.iter().map(|pick| pick.hash(self.chain())) {
                if !hashes.contains(&hash) {
                    hashes.push(hash);
                }
            }
            hashes
        };
        Bounds { upper: hashes(&self.upper), lower: hashes(&self.lower) }
    }

    fn request(&self) -> Request<Vec<u8>> {
        let (mut network, mut number) = (NETWORK.name(), self.chain().get());
        let mut is_post = self.is_branch();
        match self.odd {
            Some(Odd::Network) => network = "mainnet01",
            Some(Odd::Chain(more)) => number = 20 + u32::from(more),
            Some(Odd::Method) => is_post = !is_post,
            None => {}
        }
        let what = match self.what {
            What::Hashes => "hash".to_owned(),
            What::Headers => "header".to_owned(),
            What::HashBranch => "hash/branch".to_owned(),
            What::HeaderBranch => "header/branch".to_owned(),
            What::Header(pick) => format!("header/{}", pick.hash(self.chain())),
        };
        let mut parts = Vec::new();
        let mut part = |name: &str, edge: Option<Edge>| {
            parts.extend(edge.map(|edge| format!("{name}={}", edge.get())));
        };
        part("limit", self.limit);
        part("minheight", self.min);
        part("maxheight", self.max);
        parts.extend(self.cursor().map(|next| format!("next={next}")));
        let uri = format!("/chainweb/0.0/{network}/chain/{number}/{what}?{}", parts.join("&"));
        let accept = match self.form {
            Form::Strings => "application/json",
            Form::Objects => "application/json;blockheader-encoding=object",
            Form::Octets => "application/octet-stream",
            Form::Nothing => "text/html",
        };
        let text =
            |hashes: Vec<BlockHash>| hashes.iter().map(BlockHash::to_string).collect::<Vec<_>>();
        let Bounds { upper, lower } = self.bounds();
        let body = json!({ "upper": text(upper), "lower": text(lower) }).to_string();
        let method = if is_post { "POST" } else { "GET" };
        let request = Request::builder().method(method).uri(uri).header("accept", accept);
        request.body(body.into_bytes()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The page that is right, or why there is none.
    fn expected(&self) -> Result<Page<Vec<BlockHash>>, StatusCode> {
        let has_form = match self.form {
            Form::Nothing => false,
            Form::Octets => !self.is_hashes(),
            Form::Strings | Form::Objects => true,
        };
        if !has_form {
            return Err(StatusCode::NOT_ACCEPTABLE);
        }
        let oracle = &World::get().oracles[&self.chain()];
        let height = |edge: Option<Edge>| edge.map(|edge| BlockHeight::new(edge.get()));
        let heights = Heights { min: height(self.min), max: height(self.max) };
        let limit =
            self.limit.map_or(usize::MAX, |edge| usize::try_from(edge.get()).unwrap_or(usize::MAX));
        let is_stream = self.form == Form::Octets && self.limit.is_none();
        let page_max = if self.is_hashes() { HASHES_MAX } else { PAGE_MAX };
        let limit = if is_stream { usize::MAX } else { limit.min(page_max) };
        let cursor = self.cursor();
        let page = match self.what {
            What::Header(pick) => {
                let hash = pick.hash(self.chain());
                let query = RangeQuery {
                    cursor: Some(Cursor::Inclusive(hash)),
                    limit: 1,
                    heights: Heights::default(),
                };
                oracle.range_page(&query)
            }
            What::Hashes | What::Headers => {
                oracle.range_page(&RangeQuery { heights, cursor, limit })
            }
            What::HashBranch | What::HeaderBranch => {
                let bounds = self.bounds();
                if bounds.upper.len().max(bounds.lower.len()) > BOUNDS_MAX {
                    return Err(StatusCode::BAD_REQUEST);
                }
                let unknown_lower = UnknownLower::Refuse;
                oracle.branch_page(&BranchQuery { bounds, heights, cursor, unknown_lower, limit })
            }
        };
        page.map_err(|_| StatusCode::NOT_FOUND)
    }

    fn check(&self, answer: &Answer, expected: &Page<Vec<BlockHash>>) {
        assert_eq!(answer.status, StatusCode::OK, "{self:?}");
        let bytes = |hashes: &[BlockHash]| -> Vec<u8> {
            hashes.iter().flat_map(|hash| *World::get().headers[hash].view().as_bytes()).collect()
        };
        if self.form == Form::Octets {
            assert_eq!(answer.body, bytes(&expected.items), "{self:?}");
            return;
        }
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if matches!(self.what, What::Header(_)) {
            assert_eq!(self.header(&body).view().as_bytes().as_slice(), bytes(&expected.items));
            return;
        }
        assert_eq!(body["limit"], json!(expected.items.len()));
        assert_eq!(body["next"], json!(expected.next.map(|next| next.to_string())), "{self:?}");
        let items = body["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        if self.is_hashes() {
            let hashes: Vec<Value> =
                expected.items.iter().map(|hash| json!(hash.to_string())).collect();
            assert_eq!(items, hashes, "{self:?}");
        } else {
            let found: Vec<u8> =
                items.iter().flat_map(|item| *self.header(item).view().as_bytes()).collect();
            assert_eq!(found, bytes(&expected.items), "{self:?}");
        }
    }

    /// The header that a value is, in the form that was asked for.
    fn header(&self, value: &Value) -> Header {
        let header = match self.form {
            Form::Objects => text::from_object(&value.to_string()).ok(),
            _ => value.as_str().and_then(|text| text::from_string(text).ok()),
        };
        header.unwrap_or_else(|| panic!("no header: {value}"))
    }
}
