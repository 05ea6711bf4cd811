//! Lets through blocks whose parents are there, of a history that may come from several nodes.
//!
//! Behind a load balancer each chain may be read from another node. The nodes agree on old blocks, but
//! each has orphans that others lack, and their tips differ. A block whose adjacent parent only another
//! node has is not a lie; it must not end the replay, or make it leave its fast path, either. So it is
//! held back, together with the blocks above it:
//!
//! ```text
//! height         7        8        9
//! chain 3        a        b   b'   c   c'        b' and c' name x, which is not among the blocks of
//! chain 5        d   (x)  e        f             chain 5 that came: both wait, all others pass
//! ```
//!
//! Parents and adjacent parents are one height below, so a set of the hashes of one height answers
//! almost every lookup; the remaining parents are stored, or missing.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, mem};

use plait_engine::replay::ReplayError;
use plait_engine::replay::source::{Chunk, Merged, Source};
use plait_engine::store::MarkedAt;
use plait_engine::{
    BlockHash, BlockHeight, ChainId, ChainwebVersion, HeaderRef, RawHeader, Reader,
};
use zerocopy::IntoBytes;

use super::error::FollowError;
use super::lies::Lies;

/// The most blocks that are held back: 10 MB.
pub(super) const WAITING_MAX: usize = 32 << 10;

/// Records to read at once while blocks are held back.
const FEW: usize = 256;

/// Blocks of a source that did not pass.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Blocks whose parents did not arrive.
    pub(super) waiting: Vec<RawHeader>,
    /// Whether the source was left before its end.
    pub(super) is_full: bool,
    /// The height at which the source was left or ended.
    pub(super) height: u64,
    /// The reason of the first block that came again although it is known to be false.
    pub(super) refuted: Option<FollowError>,
}

/// A source without the blocks whose parents are missing.
pub(super) struct Sieve {
    merged: Merged,
    reader: Reader,
    lies: Arc<Lies>,
    /// Blocks that are accepted without their parents.
    roots: HashSet<BlockHash>,
    /// Hashes that passed at `height`, and right below it.
    here: HashSet<BlockHash>,
    below: HashSet<BlockHash>,
    height: u64,
    /// Blocks in a row that may be held back, and how many were.
    row_max: usize,
    row: usize,
    held: Arc<Mutex<Held>>,
}

impl Sieve {
    /// Passes the blocks of `merged` whose parents passed or are stored, and `roots`. The source ends
    /// after `row_max` blocks in a row that do not pass. The others are in `held`.
    pub(super) fn new(
        merged: Merged,
        (reader, lies): (Reader, Arc<Lies>),
        mut roots: HashSet<BlockHash>,
        row_max: usize,
        held: Arc<Mutex<Held>>,
    ) -> Self {
        roots.extend(reader.version().genesis_headers().map(|genesis| genesis.view().hash()));
        let (here, below) = (HashSet::new(), HashSet::new());
        Self { merged, reader, lies, roots, here, below, height: 0, row_max, row: 0, held }
    }

    /// Whether `raw` may pass.
    fn passes(&mut self, raw: &RawHeader) -> Result<bool, FollowError> {
        let height = raw.height.get();
        if height != self.height {
            mem::swap(&mut self.here, &mut self.below);
            self.here.clear();
            if self.height.checked_add(1) != Some(height) {
                self.below.clear();
            }
            self.height = height;
        }
        // The replay judges records that are not headers, first blocks, and blocks on unknown first
        // blocks.
        let passes = match HeaderRef::new(raw) {
            Ok(header) => {
                is_first(self.reader.version(), header)
                    || self.roots.contains(&raw.hash)
                    || self.stands(header)?
            }
            Err(_) => true,
        };
        if passes {
            self.here.insert(raw.hash);
        }
        Ok(passes)
    }

    /// Whether all parents of a block have passed, or are stored.
    fn stands(&self, header: HeaderRef<'_>) -> Result<bool, FollowError> {
        for (chain, hash) in below(header) {
            if self.below.contains(&hash) || self.roots.contains(&hash) {
                continue;
            }
            let stored = self.reader.view().header(chain, &hash);
            if stored.map_err(|error| FollowError::Store(error.to_string()))?.is_none() {
                let is_parent = hash == header.parent();
                return Ok(is_parent && is_second(self.reader.version(), header));
            }
        }
        Ok(true)
    }

    /// The records of a chunk that pass.
    fn sift(&mut self, chunk: Chunk) -> Result<Chunk, FollowError> {
        let (mut waiting, mut refuted) = (Vec::new(), None);
        let mut passed: Option<Vec<u8>> = None;
        for (number, raw) in chunk.records().iter().enumerate() {
            let why = self.lies.why(&raw.hash);
            if why.is_none() && self.passes(raw)? {
                self.row = 0;
                if let Some(passed) = &mut passed {
                    passed.extend_from_slice(raw.as_bytes());
                }
                continue;
            }
            // Most chunks pass unchanged.
            passed.get_or_insert_with(|| {
                chunk.records().get(..number).map(|all| all.as_bytes().to_vec()).unwrap_or_default()
            });
            if why.is_some() {
                refuted = refuted.or(why);
                continue;
            }
            self.row = self.row.saturating_add(1);
            waiting.push(*raw);
        }
        let sifted = match passed {
            Some(passed) => Chunk::whole(0, passed.into(), chunk.end()),
            None => chunk,
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.waiting.extend(waiting);
        held.refuted = held.refuted.take().or(refuted);
        held.is_full |= held.waiting.len() >= WAITING_MAX || self.row >= self.row_max;
        held.height = self.height;
        Ok(sifted)
    }
}

impl Source for Sieve {
    fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, ReplayError> {
        loop {
            if self.held.lock().unwrap_or_else(PoisonError::into_inner).is_full {
                return Ok(None);
            }
            let records_max = if self.row > 0 { FEW.min(records_max) } else { records_max };
            let Some(chunk) = self.merged.next(records_max)? else { return Ok(None) };
            let chunk = self.sift(chunk).map_err(|error| ReplayError::Io {
                input: String::new(),
                source: io::Error::other(error),
            })?;
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn name(&self) -> Option<[u8; 32]> {
        None
    }

    fn resume(&mut self, _: MarkedAt) -> Result<bool, ReplayError> {
        Ok(false)
    }
}

/// The parent and the adjacent parents of a block.
pub(super) fn below(header: HeaderRef<'_>) -> impl Iterator<Item = (ChainId, BlockHash)> {
    let parent = (header.chain(), header.parent());
    std::iter::once(parent).chain(header.adjacents().all())
}

/// The height at which a chain begins.
pub(super) fn first_height(version: ChainwebVersion, chain: ChainId) -> u64 {
    version.genesis_height(chain).map_or(0, BlockHeight::get)
}

/// Whether a block is the first one of its chain, or claims to be.
pub(super) fn is_first(version: ChainwebVersion, header: HeaderRef<'_>) -> bool {
    header.height().get() <= first_height(version, header.chain())
}

/// Whether a block is right above the first one of its chain: if that one is unknown, the block is of
/// another network.
pub(super) fn is_second(version: ChainwebVersion, header: HeaderRef<'_>) -> bool {
    let first = first_height(version, header.chain());
    header.height().get() == first.saturating_add(1)
}
