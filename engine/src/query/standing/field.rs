use std::collections::BTreeSet;

use super::web::Source;
use super::{Members, member};
use crate::network::ChainGraph;
use crate::tree::cut::{self, Candidate, Sum};
use crate::types::ChainId;

/// Chains whose blocks have to agree, at the heights at which one graph is in force, and the heaviest cut of
/// these chains.
///
/// A full history has one field for each graph. A partial history may lack chains, so that the others form
/// groups that no edge connects: each group is a field, and the cut is put together from their cuts.
#[derive(Debug)]
pub(super) struct Field {
    /// Ascending.
    pub(super) chains: Vec<ChainId>,
    /// The greatest difference in height between members.
    pub(super) spread: u64,
    /// The lowest height of the graph.
    pub(super) first: u64,
    /// The first height of the next graph, whose blocks still have adjacent parents by this one.
    pub(super) end: u64,
    /// Whether this field has all chains of a cut of this graph.
    pub(super) is_whole: bool,
    pub(super) best: Option<Vec<Candidate>>,
}

impl Field {
    /// The fields of the chains that have blocks, the newest graph first.
    pub(super) fn divide(web: &impl Source) -> Vec<Self> {
        let (mut fields, mut end) = (Vec::new(), u64::MAX);
        for (first, graph) in web.version().graphs().iter().rev() {
            let all = graph.order();
            let held: Vec<ChainId> =
                graph.chain_ids().filter(|chain| web.highest(*chain).is_some()).collect();
            if held.len() == all || web.is_partial() {
                let parts = connected(*graph, &held);
                let is_whole = parts.len() == 1;
                fields.extend(parts.into_iter().map(|chains| Self {
                    spread: if chains.len() == all {
                        graph.diameter()
                    } else {
                        (chains.len() as u64).saturating_sub(1)
                    },
                    chains,
                    first: first.get(),
                    end,
                    is_whole,
                    best: None,
                }));
            }
            end = first.get();
        }
        fields
    }

    /// Whether these are blocks of its chains at its heights.
    pub(super) fn is_of(&self, blocks: &[Candidate]) -> bool {
        let lowest = blocks.iter().map(|block| block.rank.height.get()).min();
        blocks.iter().map(|block| block.chain).eq(self.chains.iter().copied())
            && lowest.is_some_and(|lowest| (self.first..self.end).contains(&lowest))
    }

    /// The ranges of lowest heights of cuts that may have a member at one of these heights; all heights
    /// if there are none.
    pub(super) fn ranges(&self, heights: Option<&BTreeSet<u64>>) -> Vec<(u64, u64)> {
        let Some(heights) = heights else { return vec![(self.first, self.end)] };
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for height in heights.range(self.first..) {
            let low = height.saturating_sub(self.spread);
            match ranges.last_mut() {
                Some((_, high)) if low <= high.saturating_add(1) => *high = *height,
                _ if low >= self.end => break,
                _ => ranges.push((low, *height)),
            }
        }
        ranges
    }

    /// The weight of the heaviest cut of all fields.
    pub(super) fn lead(fields: &[Self]) -> Option<Sum> {
        let eras = fields.chunk_by(|a, b| a.first == b.first);
        eras.filter_map(|era| {
            let weights = era.iter().map(|field| field.best.as_deref().map(cut::weight));
            weights.sum::<Option<Sum>>()
        })
        .max()
    }

    /// The members of the heaviest cut of all fields; of equally heavy ones, the cut of the newest
    /// graph.
    pub(super) fn heaviest(fields: &[Self]) -> Option<Members> {
        let lead = Self::lead(fields)?;
        let mut eras = fields.chunk_by(|a, b| a.first == b.first);
        let era = eras.find(|era| {
            let weights = era.iter().map(|field| field.best.as_deref().map(cut::weight));
            weights.sum::<Option<Sum>>() == Some(lead)
        })?;
        let mut members: Vec<_> =
            era.iter().flat_map(|field| field.best.iter().flatten()).map(member).collect();
        members.sort_by_key(|(chain, _, _)| *chain);
        Some(members.into())
    }
}

/// The connected groups that these chains form in a graph. `chains` ascends.
fn connected(graph: ChainGraph, chains: &[ChainId]) -> Vec<Vec<ChainId>> {
    let mut left: BTreeSet<ChainId> = chains.iter().copied().collect();
    let mut parts = Vec::new();
    while let Some(chain) = left.pop_first() {
        let (mut part, mut open) = (BTreeSet::from([chain]), vec![chain]);
        while let Some(chain) = open.pop() {
            for neighbour in graph.adjacent(chain).iter().flatten() {
                if left.remove(neighbour) {
                    part.insert(*neighbour);
                    open.push(*neighbour);
                }
            }
        }
        parts.push(part.into_iter().collect());
    }
    parts
}
