//! Finds out which required blocks a node lacks: nodes drop old blocks, and some never had them.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use plait_engine::{BlockHash, ChainId, ChainwebVersion};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::error::FollowError;
use super::node::{Node, NodeCut};
use super::sieve::first_height;

/// Requests for a chain, each over another connection, before heights count as missing: behind a
/// load balancer another node may have them.
const TRIES: u32 = 10;

/// The pause between two requests.
const PAUSE: Duration = Duration::from_millis(5);

/// Heights of a chain that a node does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lack {
    pub(super) chain: ChainId,
    /// The first height.
    pub(super) from: u64,
    /// The height above the last missing one: the node has a block there.
    pub(super) end: u64,
}

/// The heights that the node lacks, from `needed` up to its lowest block above that, for each chain. If
/// it has no block of a chain there, although its cut is higher, no missing heights are reported for that
/// chain.
///
/// # Errors
///
/// [`FollowError`] if it does not answer.
pub(super) async fn survey(
    node: &Node,
    cut: &NodeCut,
    needed: &BTreeMap<ChainId, u64>,
) -> Result<Vec<Lack>, FollowError> {
    let mut probes = JoinSet::new();
    for (chain, from) in needed {
        let (node, chain, from) = (node.clone(), *chain, *from);
        let top = cut.members.get(&chain).map_or(0, |(height, _)| height.get());
        if from <= top {
            probes.spawn(async move {
                let lowest = lowest(&node, chain, (from, top)).await?;
                Ok::<_, FollowError>((chain, from, lowest))
            });
        }
    }
    let mut lacks = Vec::new();
    while let Some(probe) = probes.join_next().await {
        let probe = probe.map_err(|error| FollowError::Store(error.to_string()))?;
        let (chain, from, lowest) = probe?;
        let end = lowest.filter(|lowest| *lowest > from);
        lacks.extend(end.map(|end| Lack { chain, from, end }));
    }
    lacks.sort_unstable_by_key(|lack| lack.chain);
    Ok(lacks)
}

/// For each chain, the height right above its first block.
pub(super) fn above_genesis(version: ChainwebVersion) -> BTreeMap<ChainId, u64> {
    let first = |chain| first_height(version, chain);
    version.chain_ids().map(|chain| (chain, first(chain).saturating_add(1))).collect()
}

/// The lowest height in this range at which the node has a block; asked several times, unless it is
/// the first height.
async fn lowest(
    node: &Node,
    chain: ChainId,
    (from, top): (u64, u64),
) -> Result<Option<u64>, FollowError> {
    let mut lowest = node.lowest(chain, (from, top)).await?;
    let opening = node.opening();
    for _ in 1..TRIES {
        // A node without any block there is behind, which says nothing about the beginning of its
        // history.
        if lowest.is_none_or(|lowest| lowest == from) {
            break;
        }
        sleep(PAUSE).await;
        let again = opening.lowest(chain, (from, top)).await?;
        lowest = lowest.min(again.or(lowest));
    }
    Ok(lowest)
}

/// Where the history of a node begins that holds only part of it.
#[derive(Debug)]
pub(super) struct Begin {
    /// The lowest height at which all chains that begin below it have blocks.
    pub(super) height: u64,
    /// The blocks there.
    pub(super) roots: HashSet<BlockHash>,
}

/// Where the history of the node begins.
///
/// # Errors
///
/// [`FollowError`] if it does not answer.
pub(super) async fn begin(node: &Node, cut: &NodeCut) -> Result<Begin, FollowError> {
    let version = node.version();
    let lacks = survey(node, cut, &above_genesis(version)).await?;
    let Some(height) = lacks.iter().map(|lack| lack.end).max() else {
        return Ok(Begin { height: 0, roots: HashSet::new() });
    };
    let mut roots = HashSet::new();
    for chain in version.chain_ids() {
        if version.genesis_height(chain).is_some_and(|first| first.get() <= height) {
            roots.extend(node.hashes_at(chain, height).await?);
        }
    }
    Ok(Begin { height, roots })
}

/// Names the missing heights in a text.
pub(super) fn describe(lacks: &[Lack]) -> String {
    let mut holds: BTreeMap<u64, Vec<ChainId>> = BTreeMap::new();
    let mut missing: BTreeMap<(u64, u64), Vec<ChainId>> = BTreeMap::new();
    for Lack { chain, from, end } in lacks {
        holds.entry(*end).or_default().push(*chain);
        missing.entry((*from, end.saturating_sub(1))).or_default().push(*chain);
    }
    let holds = holds.iter().map(|(end, of)| format!("{} from height {end} on", chains(of)));
    let missing = missing.iter().map(|((from, last), of)| {
        let heights = if from == last {
            format!("height {from}")
        } else {
            format!("heights {from} to {last}")
        };
        format!("{heights} of {}", chains(of))
    });
    let list = |parts: Vec<String>| parts.join(", ");
    format!(
        "it holds only {}; missing: {}",
        list(holds.collect::<Vec<_>>()),
        list(missing.collect::<Vec<_>>())
    )
}

/// Names chains by their numbers, which ascend.
fn chains(chains: &[ChainId]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for chain in chains.iter().map(|chain| chain.get()) {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(chain) => *last = chain,
            _ => runs.push((chain, chain)),
        }
    }
    let run = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first} to {last}") }
    };
    let text = runs.iter().map(run).collect::<Vec<_>>().join(", ");
    format!("chain{} {text}", if chains.len() == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lack(chain: u32, from: u64, end: u64) -> Lack {
        Lack { chain: ChainId::new(chain), from, end }
    }

    #[test]
    fn what_a_node_lacks_is_said_by_heights_and_chains() {
        let all: Vec<Lack> = (0..20).map(|chain| lack(chain, 1, 1_800_000)).collect();
        assert_eq!(
            describe(&all),
            "it holds only chains 0 to 19 from height 1800000 on; missing: heights 1 to 1799999 of \
             chains 0 to 19"
        );
        let some = [lack(3, 7, 8), lack(5, 7, 8), lack(6, 7, 8), lack(9, 2, 100)];
        assert_eq!(
            describe(&some),
            "it holds only chains 3, 5 to 6 from height 8 on, chain 9 from height 100 on; missing: \
             heights 2 to 99 of chain 9, height 7 of chains 3, 5 to 6"
        );
    }
}
