//! Whole histories: every chain of the network, each block naming the blocks below it on the
//! neighbouring chains.

use plait_engine::header::RawHeader;
use plait_engine::{ChainId, Header, PayloadHash};

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
