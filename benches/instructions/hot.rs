//! What is counted: one function each, called once, after everything it needs was used once.

use std::hint::black_box;

use fixtures::ask::below;
use fixtures::rendered::{objects, strings};
use fixtures::{CHAIN, PAGE};
use plait_engine::header::{LEN, merkle};
use plait_engine::verify::{Backend, Hasher};
use plait_engine::{
    BlockHash, BlockHeight, BranchQuery, Cursor, Header, HeaderRef, Heights, RangeQuery, RawHeader,
    Reader,
};
use testkit::Database;
use testkit::block::{child, dump, genesis, sibling};

/// Blocks of the chain: enough for pages from where a store puts old blocks and from its tip.
const BLOCKS: u64 = 3_000;

/// Something to count.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// A part of the name of its function that no other has.
    pub(crate) symbol: &'static str,
    pub(crate) run: fn(),
}

const fn operation(name: &'static str, symbol: &'static str, run: fn()) -> Operation {
    Operation { name, symbol, run }
}

pub(crate) const OPERATIONS: [Operation; 14] = [
    operation("decode/all_fields", "counted_all_fields", || {
        let bytes = dump(&chain(PAGE as u64));
        black_box(counted_all_fields(&bytes));
    }),
    operation("hash/block_hash", "counted_block_hash", || {
        let header = genesis(CHAIN);
        black_box(merkle::block_hash(header.view()));
        assert_eq!(counted_block_hash(header.view()), header.view().hash());
    }),
    operation("hash/block_hashes/scalar", "counted_block_hashes", || {
        // The one backend that every machine has, that of valgrind too.
        let scalar = Backend::available().next().expect("a backend");
        let records: Vec<RawHeader> =
            chain(PAGE as u64).iter().map(|header| *header.view().raw()).collect();
        let mut hasher = Hasher::new(scalar);
        let first = warm_block_hashes(&mut hasher, &records);
        assert_eq!(counted_block_hashes(&mut hasher, &records), first);
    }),
    operation("encode/string", "counted_strings", || page_of_text(strings, counted_strings)),
    operation("encode/object", "counted_objects", || page_of_text(objects, counted_objects)),
    operation("decode/cursor", "counted_cursor", || {
        let text = Cursor::Inclusive(genesis(CHAIN).view().hash()).to_string();
        black_box(text.parse::<Cursor>()).expect("a cursor");
        counted_cursor(&text).expect("a cursor");
    }),
    operation("lookup/header", "counted_lookup", || {
        let (database, chain) = database();
        let hash = chain.get(chain.len() / 2).expect("a chain has a middle").view().hash();
        for _ in 0..2 {
            black_box(database.reader().view().header(CHAIN, &hash)).expect("a lookup");
        }
        assert!(counted_lookup(database.reader(), &hash));
    }),
    operation("ancestors/page_360", "counted_ancestors", || {
        branch_of(tip, counted_ancestors);
    }),
    operation("branch/page_360/tip", "counted_branch", || branch_of(tip, counted_branch)),
    operation("branch/page_360/low", "counted_branch", || branch_of(low, counted_branch)),
    operation("branch/page_360/bounds=32", "counted_branch", || branch_of(many, counted_branch)),
    operation("range/page_360", "counted_range", || {
        let (database, _) = database();
        let min = Some(BlockHeight::new(BLOCKS / 4));
        let heights = Heights { min, max: None };
        let query = RangeQuery { heights, limit: PAGE, ..RangeQuery::default() };
        for _ in 0..2 {
            black_box(range(database.reader(), &query));
        }
        assert_eq!(counted_range(database.reader(), &query), PAGE);
    }),
    operation("stream/range/chunk_512", "counted_range_chunk", || {
        let (database, _) = database();
        black_box(range_chunk(database.reader()));
        assert_eq!(counted_range_chunk(database.reader()), 512);
    }),
    operation("stream/branch/chunk_512", "counted_branch_chunk", || {
        let (database, chain) = database();
        let query = tip(&chain);
        black_box(branch_chunk(database.reader(), &query));
        assert_eq!(counted_branch_chunk(database.reader(), &query), 512);
    }),
];

/// A chain with a sibling of every fiftieth block.
fn chain(blocks: u64) -> Vec<Header> {
    let mut tip = genesis(CHAIN);
    let mut all = vec![tip];
    for height in 1..blocks {
        if height.is_multiple_of(50) {
            all.push(sibling(tip.view(), height));
        }
        tip = child(tip.view(), 0);
        all.push(tip);
    }
    all
}

/// A chain, and a database of it that was closed and opened again.
fn database() -> (Database, Vec<Header>) {
    let chain = chain(BLOCKS);
    let mut database = Database::with_genesis();
    database.add(&chain);
    (database.reopen(), chain)
}

fn branch_of(ask: fn(&[Header]) -> BranchQuery, counted: fn(&Reader, &BranchQuery) -> usize) {
    let (database, chain) = database();
    let query = ask(&chain);
    for _ in 0..2 {
        black_box(branch(database.reader(), &query));
    }
    assert_eq!(counted(database.reader(), &query), PAGE);
}

fn tip(chain: &[Header]) -> BranchQuery {
    below(chain.last().map(|header| header.view().hash()).into_iter().collect())
}

fn low(chain: &[Header]) -> BranchQuery {
    let max = Some(BlockHeight::new(BLOCKS / 4));
    BranchQuery { heights: Heights { min: None, max }, ..tip(chain) }
}

fn many(chain: &[Header]) -> BranchQuery {
    let mut query = tip(chain);
    let some = chain.iter().step_by(chain.len() / 31).take(31);
    query.bounds.upper.extend(some.map(|header| header.view().hash()));
    query
}

fn branch(reader: &Reader, query: &BranchQuery) -> usize {
    black_box(reader.view().branch_headers(CHAIN, query).expect("a page")).items.len()
}

fn range(reader: &Reader, query: &RangeQuery) -> usize {
    black_box(reader.view().range_headers(CHAIN, query).expect("a page")).items.len()
}

fn range_chunk(reader: &Reader) -> usize {
    let view = reader.view();
    let mut scan = view.range_scan(CHAIN, &RangeQuery::default()).expect("a scan");
    black_box(scan.next(&view, 512)).expect("a chunk").map_or(0, |records| records.len())
}

fn branch_chunk(reader: &Reader, query: &BranchQuery) -> usize {
    let view = reader.view();
    let mut scan = view.branch_scan(CHAIN, query).expect("a scan");
    black_box(scan.next(&view, 512)).expect("a chunk").map_or(0, |records| records.len())
}

fn page_of_text(warm: fn(&[Header]) -> Vec<u8>, counted: fn(&[Header]) -> Vec<u8>) {
    let headers: Vec<Header> = chain(PAGE as u64).into_iter().take(PAGE).collect();
    assert_eq!(black_box(warm(&headers)), black_box(counted(&headers)));
}

#[inline(never)]
fn counted_all_fields(bytes: &[u8]) -> usize {
    let headers = bytes.chunks_exact(LEN).filter_map(|bytes| HeaderRef::parse(bytes).ok());
    headers
        .map(|header| {
            black_box((header.feature_flags(), header.creation_time(), header.parent()));
            black_box((header.target(), header.payload_hash(), header.chain(), header.weight()));
            black_box((header.height(), header.version_code(), header.epoch_start()));
            black_box((header.nonce(), header.hash()));
            header.adjacents().iter().map(black_box).count()
        })
        .sum()
}

#[inline(never)]
fn counted_block_hash(header: HeaderRef<'_>) -> BlockHash {
    merkle::block_hash(header)
}

/// [`counted_block_hashes`] under a name that is not counted.
#[inline(never)]
fn warm_block_hashes(hasher: &mut Hasher, records: &[RawHeader]) -> Vec<BlockHash> {
    let mut out = Vec::with_capacity(records.len());
    hasher.block_hashes(records, &mut out);
    black_box(out)
}

#[inline(never)]
fn counted_block_hashes(hasher: &mut Hasher, records: &[RawHeader]) -> Vec<BlockHash> {
    let mut out = Vec::with_capacity(records.len());
    hasher.block_hashes(records, &mut out);
    out
}

#[inline(never)]
fn counted_strings(headers: &[Header]) -> Vec<u8> {
    strings(headers)
}

#[inline(never)]
fn counted_objects(headers: &[Header]) -> Vec<u8> {
    objects(headers)
}

#[inline(never)]
fn counted_cursor(text: &str) -> Result<Cursor, plait_engine::query::CursorError> {
    text.parse()
}

#[inline(never)]
fn counted_lookup(reader: &Reader, hash: &BlockHash) -> bool {
    black_box(reader.view().header(CHAIN, hash)).expect("a lookup").is_some()
}

#[inline(never)]
fn counted_ancestors(reader: &Reader, query: &BranchQuery) -> usize {
    black_box(reader.view().branch_hashes(CHAIN, query).expect("a page")).items.len()
}

#[inline(never)]
fn counted_branch(reader: &Reader, query: &BranchQuery) -> usize {
    branch(reader, query)
}

#[inline(never)]
fn counted_range(reader: &Reader, query: &RangeQuery) -> usize {
    range(reader, query)
}

#[inline(never)]
fn counted_range_chunk(reader: &Reader) -> usize {
    range_chunk(reader)
}

#[inline(never)]
fn counted_branch_chunk(reader: &Reader, query: &BranchQuery) -> usize {
    branch_chunk(reader, query)
}
