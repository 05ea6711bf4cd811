use super::{Failure, Failures};
use crate::header::HeaderRef;
use crate::types::{ChainId, ChainwebVersion};

/// Checks that the network has the chain, and that the header's adjacent parents are on the chains
/// that the graph joins to it.
///
/// Part of every level: the block hash does not cover the numbers of the adjacent chains, so
/// nothing else tells a header from one with other numbers.
pub(super) fn check(header: HeaderRef<'_>, version: ChainwebVersion, failures: &mut Failures) {
    let (chain, height) = (header.chain(), header.height());
    if version.genesis_height(chain).is_none_or(|first| height < first) {
        return failures.push(Failure::UnknownChain { got: chain, height });
    }
    let expected = version.parent_graph_at(chain, height).adjacent(chain);
    let mut got = [ChainId::new(0); 3];
    for (slot, (adjacent, _)) in got.iter_mut().zip(header.adjacents().iter()) {
        *slot = adjacent;
    }
    if Some(got) != expected {
        failures.push(Failure::AdjacentChainMismatch { got });
    }
}
