//! The heaviest cut, by trying all that can be heavier than the best so far.

use std::collections::{BTreeMap, HashMap};

use plait_engine::{BlockHash, BlockHeight, ChainId, Header, HeaderRef};

use crate::block::NETWORK;

/// Heights below the lowest of the heaviest blocks at which blocks are tried.
const DEPTH: u64 = 8;

/// Blocks of each chain that may be members, the heaviest first.
struct Search<'a> {
    chains: Vec<(ChainId, Vec<HeaderRef<'a>>)>,
    /// The greatest weight of the chains from each on.
    rest: Vec<u128>,
    chosen: BTreeMap<ChainId, HeaderRef<'a>>,
    best: Option<u128>,
    /// `None` if what is named two heights below is not looked at.
    parents: Option<Parents>,
}

/// The parent of each block.
type Parents = HashMap<BlockHash, BlockHash>;

fn parents(blocks: &[Header]) -> Parents {
    blocks.iter().map(Header::view).map(|block| (block.hash(), block.parent())).collect()
}

/// The weight of the heaviest consistent cut of these blocks of a whole history; `None` if there is
/// none near their tips.
///
/// A branch that is made beside the canonical blocks names these, which do not name it: such blocks
/// agree with those that they name, and not with what those name. Whether that is looked at is for
/// `deep` to say; the engine does as far as it has the blocks at hand. Where no such branch is at a
/// tip, it makes no difference.
#[must_use]
pub(super) fn heaviest(blocks: &[Header], deep: bool) -> Option<u128> {
    let mut by_chain: BTreeMap<ChainId, Vec<HeaderRef<'_>>> = BTreeMap::new();
    for block in blocks {
        by_chain.entry(block.view().chain()).or_default().push(block.view());
    }
    let mut lowest = u64::MAX;
    for blocks in by_chain.values_mut() {
        blocks.sort_by_key(|block| std::cmp::Reverse(weight(*block)));
        lowest = lowest.min(blocks[0].height().get());
    }
    for blocks in by_chain.values_mut() {
        blocks.retain(|block| block.height().get() + DEPTH >= lowest);
    }
    let mut search = Search {
        chains: neighbours_first(by_chain),
        rest: vec![0],
        chosen: BTreeMap::new(),
        best: None,
        parents: deep.then(|| parents(blocks)),
    };
    for (_, blocks) in search.chains.iter().rev() {
        let rest = search.rest.last().copied().unwrap_or(0);
        search.rest.push(rest + weight(blocks[0]));
    }
    search.rest.reverse();
    search.go(0, 0);
    search.best
}

/// Whether these blocks agree in pairs, without looking deep.
#[must_use]
pub(super) fn is_consistent(members: &[Header]) -> bool {
    let views = || members.iter().map(Header::view);
    views().all(|one| views().all(|other| agree(one, other, None)))
}

/// The weight of a block. Test networks are light.
///
/// # Panics
///
/// If it is not.
#[must_use]
pub(super) fn weight(block: HeaderRef<'_>) -> u128 {
    u128::try_from(block.weight().get()).expect("a light chain")
}

impl Search<'_> {
    fn go(&mut self, at: usize, sum: u128) {
        if self.best.is_some_and(|best| sum + self.rest[at] <= best) {
            return;
        }
        let Some((chain, blocks)) = self.chains.get(at) else {
            self.best = Some(sum);
            return;
        };
        let (chain, blocks) = (*chain, blocks.clone());
        for block in blocks {
            if self.chosen.values().all(|other| agree(block, *other, self.parents.as_ref())) {
                self.chosen.insert(chain, block);
                self.go(at + 1, sum + weight(block));
                self.chosen.remove(&chain);
            }
        }
    }
}

/// Whether two blocks may be in one cut: what each names on the chain of the other is that one, or
/// below it.
fn agree(one: HeaderRef<'_>, other: HeaderRef<'_>, parents: Option<&Parents>) -> bool {
    let names = |by: HeaderRef<'_>, of: HeaderRef<'_>| {
        // Genesis blocks name no real ones.
        let named = by.adjacents().iter().find(|(chain, _)| *chain == of.chain());
        let Some((_, named)) = named.filter(|_| by.height().get() > 0) else { return true };
        let Some(down) = (of.height().get() + 1).checked_sub(by.height().get()) else {
            return false;
        };
        match (down, parents) {
            (0, _) => of.hash() == named,
            (1, _) => of.parent() == named,
            (_, None) => down == 2,
            (_, Some(parents)) => {
                let at = (0..down).try_fold(of.hash(), |at, _| parents.get(&at).copied());
                at == Some(named)
            }
        }
    };
    names(one, other) && names(other, one)
}

/// Chains in an order in which most have a neighbour before them.
fn neighbours_first(
    mut by_chain: BTreeMap<ChainId, Vec<HeaderRef<'_>>>,
) -> Vec<(ChainId, Vec<HeaderRef<'_>>)> {
    let graph = NETWORK.graph_at(BlockHeight::new(0));
    let (mut ordered, mut next) = (Vec::new(), vec![ChainId::new(0)]);
    while let Some(chain) = next.pop() {
        if let Some(blocks) = by_chain.remove(&chain) {
            ordered.push((chain, blocks));
            next.extend(graph.adjacent(chain).into_iter().flatten());
        }
    }
    ordered.extend(by_chain);
    ordered
}
