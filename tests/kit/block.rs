//! Headers of the network `development`, which checks no proof of work: each has the block hash that
//! its fields ask for, so it passes verification at level `hash`.

use plait_engine::header::{AdjacentRecord, RawHeader, merkle, text};
use plait_engine::{BlockHash, BlockHeight, ChainId, ChainwebVersion, Header, HeaderRef, Weight};

/// The network of all headers that are made here.
pub const NETWORK: ChainwebVersion = ChainwebVersion::Development;

/// Time between a block and its parent.
const DELAY_MICROS: i64 = 30_000_000;

/// The first block of `chain`.
#[must_use]
pub fn genesis(chain: ChainId) -> Header {
    NETWORK.genesis_header(chain).expect("the network has the chain")
}

/// A block right above `parent`; another `nonce` makes another one.
///
/// It names the same adjacent parents as `parent` does: on the right chains, but of no real block.
#[must_use]
pub fn child(parent: HeaderRef<'_>, nonce: u64) -> Header {
    let height = parent.height().child().expect("a height above the parent's");
    let (weight, target) = (parent.weight().get(), parent.target().get());
    // 2^256 - 1, divided by the target.
    let difficulty = (target | !target) / target;
    sealed(RawHeader {
        creation_time: parent.creation_time().get().saturating_add(DELAY_MICROS).into(),
        parent: parent.hash(),
        weight: Weight::new(weight.wrapping_add(difficulty)).to_le(),
        height: height.get().into(),
        nonce: nonce.into(),
        ..*parent.raw()
    })
}

/// A block of `chain` at `height` whose parent exists nowhere; blocks with the same `parent` name
/// the same one.
#[must_use]
pub fn root(chain: ChainId, height: BlockHeight, parent: u8, nonce: u64) -> Header {
    sealed(RawHeader {
        parent: BlockHash::new([parent; 32]),
        height: height.get().into(),
        nonce: nonce.into(),
        ..*genesis(chain).view().raw()
    })
}

/// A block like `header` but for its nonce: the same parent, another hash.
#[must_use]
pub fn sibling(header: HeaderRef<'_>, nonce: u64) -> Header {
    sealed(RawHeader { nonce: nonce.into(), ..*header.raw() })
}

/// A block right above `parent` that names these adjacent parents.
#[must_use]
pub fn braided(parent: HeaderRef<'_>, adjacents: [HeaderRef<'_>; 3], nonce: u64) -> Header {
    let adjacents = adjacents.map(|adjacent| (adjacent.chain(), adjacent.hash()));
    let block = child(parent, nonce);
    sealed(RawHeader { adjacents: AdjacentRecord::new(adjacents), ..*block.view().raw() })
}

/// The header with these fields and the hash that they ask for.
#[must_use]
pub fn sealed(raw: RawHeader) -> Header {
    let open = Header::new(raw).expect("adjacent parents are in order");
    let hash = merkle::block_hash(open.view());
    Header::new(RawHeader { hash, ..raw }).expect("only the hash has changed")
}

/// `headers` as lines of JSON objects: a dump, too.
#[must_use]
pub fn lines<'a>(headers: impl IntoIterator<Item = &'a Header>) -> Vec<u8> {
    let mut lines = Vec::new();
    for header in headers {
        text::push_object(&mut lines, header.view(), NETWORK);
        lines.push(b'\n');
    }
    lines
}

/// The concatenated bytes of `headers`: a dump.
pub fn dump<'a>(headers: impl IntoIterator<Item = &'a Header>) -> Vec<u8> {
    headers.into_iter().flat_map(|header| *header.view().as_bytes()).collect()
}
