//! Whole histories: every chain of the network, each block naming the blocks below it on the
//! neighbouring chains.

use std::collections::HashMap;

use plait_engine::header::{AdjacentRecord, RawHeader};
use plait_engine::{BlockHash, ChainId, Header, PayloadHash};

use crate::block::{NETWORK, braided, genesis, sealed, sibling};

/// A history of all twenty chains, heights 0 to `top`, parents before children: by height, then by
/// chain. Every call makes the same one.
#[must_use]
pub fn braid(top: u64) -> Vec<Header> {
    braid_above(NETWORK.chain_ids().map(genesis).collect(), top)
}

/// [`braid`] above genesis blocks with other payloads: the history of another network with the same code.
#[must_use]
pub fn other_braid(top: u64) -> Vec<Header> {
    let other = |chain| {
        let payload_hash = PayloadHash::new([7; 32]);
        sealed(RawHeader { payload_hash, ..*genesis(chain).view().raw() })
    };
    braid_above(NETWORK.chain_ids().map(other).collect(), top)
}

fn braid_above(mut blocks: Vec<Header>, top: u64) -> Vec<Header> {
    let chains: Vec<ChainId> = NETWORK.chain_ids().collect();
    for _ in 0..top {
        let below = blocks[blocks.len() - chains.len()..].to_vec();
        for block in &below {
            let neighbours = block.view().adjacents().iter();
            let mut adjacents = neighbours.map(|(chain, _)| below[chain.index()].view());
            let adjacents = [(); 3].map(|()| adjacents.next().expect("three neighbours"));
            blocks.push(braided(block.view(), adjacents, 0));
        }
    }
    blocks
}

/// [`braid`] with an orphan beside every block whose height is a multiple of `every`, right behind
/// it.
#[must_use]
pub fn braid_with_orphans(top: u64, every: u64) -> Vec<Header> {
    let with_orphan = |block: Header| {
        let height = block.view().height().get();
        let orphan = height > 0 && height.is_multiple_of(every);
        [Some(block), orphan.then(|| sibling(block.view(), 1))]
    };
    braid(top).into_iter().flat_map(with_orphan).flatten().collect()
}

/// The same history again from height `above` on, on all chains: each block above has the
/// counterparts of the original parents as its parents, and another hash. It is as valid as
/// `history`, and as heavy.
#[must_use]
pub fn split(history: &[Header], above: u64, nonce: u64) -> Vec<Header> {
    let mut likes: HashMap<BlockHash, BlockHash> = HashMap::new();
    let mut others = Vec::new();
    for header in history.iter().filter(|header| header.view().height().get() > above) {
        let raw = *header.view().raw();
        let like = |hash: BlockHash| likes.get(&hash).copied().unwrap_or(hash);
        let adjacents = raw.adjacents.all().map(|(chain, hash)| (chain, like(hash)));
        let (parent, adjacents) = (like(raw.parent), AdjacentRecord::new(adjacents));
        let other = sealed(RawHeader { parent, adjacents, nonce: nonce.into(), ..raw });
        likes.insert(raw.hash, other.view().hash());
        others.push(other);
    }
    others
}

/// Orphans beside `history`, some at every `every`th height: one of a chain, and right above it one on
/// each neighbouring chain that names it.
#[must_use]
pub fn clusters(history: &[Header], (first, every): (u64, u64), nonce: u64) -> Vec<Vec<Header>> {
    let at: HashMap<(u32, u64), Header> = history
        .iter()
        .map(|header| ((header.view().chain().get(), header.view().height().get()), *header))
        .collect();
    let heights = (first..).step_by(usize::try_from(every).expect("few"));
    let places = NETWORK.chain_ids().cycle().zip(heights);
    let cluster = |(chain, height): (ChainId, u64)| {
        let orphan = sibling(at.get(&(chain.get(), height))?.view(), nonce);
        let mut cluster = vec![orphan];
        for (neighbour, _) in orphan.view().adjacents().all() {
            let raw = *at.get(&(neighbour.get(), height + 1))?.view().raw();
            let name = |(of, hash)| (of, if of == chain { orphan.view().hash() } else { hash });
            let adjacents = AdjacentRecord::new(raw.adjacents.all().map(name));
            cluster.push(sealed(RawHeader { adjacents, nonce: nonce.into(), ..raw }));
        }
        Some(cluster)
    };
    places.map_while(cluster).collect()
}
