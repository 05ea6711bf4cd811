use std::path::Path;

use plait_engine::header::LEN;
use plait_engine::{BlockHash, BlockHeight, Header, HeaderRef, Rank};
use rocksdb::{BlockBasedOptions, Cache, DB, Direction, IteratorMode, Options, WriteBatch};

/// Bytes of the block cache: what the engine gives to all of its column families.
const BLOCK_CACHE_BYTES: usize = 512 << 20;

/// chainweb-node's write buffer.
const WRITE_BUFFER_BYTES: usize = 64 << 20;

/// Headers of one batch.
const BATCH_HEADERS: usize = 4096;

/// One chain in chainweb-node's layout: two tables in one column family.
///
/// ```text
/// -BlockHeader/0/header$ height (BE) hash → header
/// -BlockHeader/0/rank$   hash             → height (LE)
/// ```
///
/// # Options
///
/// Those of chainweb-node: all files open, a write buffer of 64 MiB, and RocksDB's defaults for the
/// rest, which are blocks of 4 KiB and no filter. Two things are kinder than a node's: the block
/// cache is as large as the engine's instead of the default 32 MiB, and what was written is compacted
/// into one level before it is read.
pub struct Node {
    db: DB,
}

const HEADER: &[u8] = b"-BlockHeader/0/header$";
const HEADER_END: &[u8] = b"-BlockHeader/0/header%";
const RANK: &[u8] = b"-BlockHeader/0/rank$";

impl Node {
    /// Makes a database in the new folder `dir` that holds these headers of one chain.
    #[must_use]
    pub fn create<'a>(dir: &Path, headers: impl Iterator<Item = HeaderRef<'a>>) -> Self {
        let node = Self { db: DB::open(&options(), dir).expect("a new database") };
        let mut batch = WriteBatch::default();
        for header in headers {
            batch.put(header_key(header.rank()), header.as_bytes());
            batch.put(rank_key(&header.hash()), rank_value(header.height()));
            if batch.len() >= 2 * BATCH_HEADERS {
                node.write(std::mem::take(&mut batch));
            }
        }
        // The key behind all tables, so that an iterator has an end to come from.
        batch.put(b".", b"");
        node.write(batch);
        node.db.flush().expect("a database that takes writes");
        node.db.compact_range(None::<&[u8]>, None::<&[u8]>);
        node
    }

    /// Opens the database in `dir`; others may have it open too.
    #[must_use]
    pub fn open(dir: &Path) -> Self {
        Self { db: DB::open_for_read_only(&options(), dir, false).expect("a database") }
    }

    fn write(&self, batch: WriteBatch) {
        self.db.write(batch).expect("a database that takes writes");
    }

    /// The header with this hash: its height from the one table, then itself from the other.
    #[must_use]
    pub fn lookup(&self, hash: &BlockHash) -> Option<Header> {
        let height = self.db.get_pinned(rank_key(hash)).expect("a lookup")?;
        let height = height.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
        let key = header_key(Rank { height: BlockHeight::new(height), hash: *hash });
        let bytes = self.db.get_pinned(key).expect("a lookup")?;
        Some(HeaderRef::parse(&bytes).expect("a header").to_owned())
    }

    /// The headers at `height`, but no more than `limit`.
    #[must_use]
    pub fn at(&self, height: BlockHeight, limit: usize) -> Vec<Header> {
        let mut found = Vec::new();
        self.ascend(height, |header| {
            let here = header.height() == height && found.len() < limit;
            if here {
                found.push(header.to_owned());
            }
            here
        });
        found
    }

    /// Gives headers by ascending rank, from `height` on, while they are wanted.
    pub fn ascend(&self, height: BlockHeight, mut wanted: impl FnMut(HeaderRef<'_>) -> bool) {
        let mut key = HEADER.to_vec();
        key.extend(big_endian(height));
        let mut options = rocksdb::ReadOptions::default();
        options.set_iterate_lower_bound(HEADER);
        options.set_iterate_upper_bound(HEADER_END);
        let mut rows = self.db.raw_iterator_opt(options);
        rows.seek(&key);
        while let Some(value) = rows.value() {
            if !wanted(HeaderRef::parse(value).expect("a header")) {
                break;
            }
            rows.next();
        }
        rows.status().expect("a scan");
    }

    /// A page of `limit` headers by ascending rank.
    #[must_use]
    pub fn range(&self, height: BlockHeight, limit: usize) -> Vec<u8> {
        let mut page = Vec::with_capacity(limit * LEN);
        self.ascend(height, |header| {
            page.extend_from_slice(header.as_bytes());
            page.len() < limit * LEN
        });
        page
    }

    /// A page of `limit` headers by descending rank, whatever their branch.
    #[must_use]
    pub fn descend(&self, from: Rank, limit: usize) -> Vec<u8> {
        let mut page = Vec::with_capacity(limit * LEN);
        let key = header_key(from);
        let rows = self.db.iterator(IteratorMode::From(&key, Direction::Reverse));
        for row in rows.take(limit) {
            let (_, value) = row.expect("a row");
            page.extend_from_slice(HeaderRef::parse(&value).expect("a header").as_bytes());
        }
        page
    }
}

fn options() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_max_open_files(-1);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_block_based_table_factory(&table);
    options
}

fn header_key(rank: Rank) -> Vec<u8> {
    let mut key = Vec::with_capacity(HEADER.len() + 40);
    key.extend_from_slice(HEADER);
    key.extend(big_endian(rank.height));
    key.extend_from_slice(rank.hash.as_bytes());
    key
}

fn rank_key(hash: &BlockHash) -> Vec<u8> {
    [RANK, hash.as_bytes()].concat()
}

fn big_endian(height: BlockHeight) -> [u8; 8] {
    let mut bytes = rank_value(height);
    bytes.reverse();
    bytes
}

fn rank_value(height: BlockHeight) -> [u8; 8] {
    let mut rest = height.get();
    [(); 8].map(|()| {
        let byte = u8::try_from(rest & 0xff).expect("eight bits");
        rest >>= 8;
        byte
    })
}
