use std::ops::ControlFlow;

use ruint::aliases::U256;

use super::blocks::Blocks;
use super::{QueryError, View};
use crate::header::HeaderRef;
use crate::network::ChainGraph;
use crate::store::{From, History};
use crate::tree::Place;
use crate::tree::cut::{self, Candidate};
use crate::types::{BlockHeight, ChainId, Rank, Weight};

/// Heights that are searched for a cut at most, below the tips and above where these part.
const REACH: u64 = 128;

/// Blocks of a chain that a search reads at most.
const BLOCKS_MAX: usize = 4096;

/// Chain, rank and weight of a member of a cut.
type Member = (ChainId, Rank, Weight);

/// The heaviest blocks of the chains that a search is about, and how high these go.
struct Tips {
    blocks: Vec<Candidate>,
    /// The height of the lowest of them.
    lowest: u64,
    /// The greatest height at which every chain has blocks.
    common: u64,
}

/// The heights at which one graph is in force.
struct Era {
    graph: ChainGraph,
    first: u64,
    /// The first height of the next graph, whose blocks still have adjacent parents by this one.
    end: u64,
}

impl View {
    /// The members of the heaviest cut; if there is none, the heaviest block of each chain.
    pub(super) fn heaviest_cut(&self) -> Result<Vec<Member>, QueryError> {
        let tips = self.tips(|_| true)?;
        let partial = self.snapshot().meta().history == History::Partial;
        for era in self.eras().filter(|era| era.first <= tips.common) {
            let tips = match era.graph.order() {
                order if partial || order >= tips.blocks.len() => &tips,
                _ => &self.tips(|chain| era.graph.adjacent(chain).is_some())?,
            };
            if let Some(cut) = self.cut_of(&era, tips)? {
                return Ok(cut.iter().map(member).collect());
            }
        }
        Ok(tips.blocks.iter().map(member).collect())
    }

    /// The heaviest cut whose lowest member is of this era.
    fn cut_of(&self, era: &Era, tips: &Tips) -> Result<Option<Vec<Candidate>>, QueryError> {
        let spread = era.graph.diameter();
        // Sum of what is heaviest on each chain: if that is a cut, it is the one. Right at a change
        // of the graph it takes the blocks below to tell.
        if tips.lowest > era.first || era.first == 0 {
            let singles: Vec<Vec<Candidate>> =
                tips.blocks.iter().map(|block| vec![block.clone()]).collect();
            if let Some(cut) = cut::heaviest(&singles, spread) {
                return Ok(Some(cut));
            }
        }
        // Members are within the diameter of each other, and one is where every chain has blocks.
        let common = tips.common.min(era.end.saturating_sub(1));
        let top = common.saturating_add(spread).min(era.end);
        let start = tips.lowest.clamp(common.saturating_sub(REACH), common);
        let mut best = None;
        for depth in [spread, 16, REACH] {
            let floor = start.saturating_sub(depth).max(era.first);
            let near = self.candidates(tips, floor, top)?;
            if near.iter().any(Vec::is_empty) {
                return Ok(best);
            }
            best = cut::heaviest(&near, spread).or(best);
            let bound = weight_below(&near, floor.saturating_add(spread));
            let settled = best.as_ref().is_some_and(|cut| bound <= weight(cut));
            if settled || floor == era.first {
                break;
            }
        }
        match best {
            Some(cut) => Ok(Some(cut)),
            None => self.cut_above_parting(era, tips),
        }
    }

    /// The heaviest cut a little above the last height at which the ancestors of the tips agree.
    fn cut_above_parting(
        &self,
        era: &Era,
        tips: &Tips,
    ) -> Result<Option<Vec<Candidate>>, QueryError> {
        let spread = era.graph.diameter();
        let (mut low, mut high) =
            (self.lowest_level(era, tips), tips.lowest.min(era.end.saturating_sub(1)));
        let Some(mut level) = self.level(tips, low, spread)? else { return Ok(None) };
        while low < high {
            let middle = high.saturating_sub(high.saturating_sub(low) / 2);
            match self.level(tips, middle, spread)? {
                Some(cut) => (level, low) = (cut, middle),
                None => high = middle.saturating_sub(1),
            }
        }
        let near = self.candidates(tips, low, low.saturating_add(REACH).min(era.end))?;
        Ok(Some(cut::heaviest(&near, spread).unwrap_or(level)))
    }

    /// The lowest height of the era at which every tip has an ancestor.
    fn lowest_level(&self, era: &Era, tips: &Tips) -> u64 {
        let held = |tip: &Candidate, height: u64| {
            let forest = self.tree().forest(tip.chain);
            let ancestor = forest.and_then(|forest| {
                forest.ancestor(Place::Node(forest.tip()?), BlockHeight::new(height))
            });
            ancestor.is_some()
        };
        let (mut low, mut high) = (era.first, tips.lowest);
        while low < high {
            let middle = low.saturating_add(high.saturating_sub(low) / 2);
            if tips.blocks.iter().all(|tip| held(tip, middle)) {
                high = middle;
            } else {
                low = middle.saturating_add(1);
            }
        }
        low
    }

    /// The ancestors of the tips at one height, if they agree.
    fn level(
        &self,
        tips: &Tips,
        height: u64,
        spread: u64,
    ) -> Result<Option<Vec<Candidate>>, QueryError> {
        let mut level = Vec::with_capacity(tips.blocks.len());
        for tip in &tips.blocks {
            let below = self.ancestor(tip.chain, tip.rank, BlockHeight::new(height))?;
            let Some(header) = below else { return Ok(None) };
            level.push(vec![self.candidate(header.view())]);
        }
        Ok(cut::heaviest(&level, spread))
    }

    /// The blocks of every chain at heights from `low` to `high`.
    fn candidates(
        &self,
        tips: &Tips,
        low: u64,
        high: u64,
    ) -> Result<Vec<Vec<Candidate>>, QueryError> {
        let (from, max) = (From::Height(BlockHeight::new(low)), BlockHeight::new(high));
        let mut chains = Vec::with_capacity(tips.blocks.len());
        for tip in &tips.blocks {
            let mut blocks = Vec::new();
            let Some(of_chain) = self.blocks(tip.chain) else { continue };
            of_chain.visit(from, max, |header| {
                blocks.push(self.candidate(header));
                if blocks.len() < BLOCKS_MAX {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            chains.push(blocks);
        }
        Ok(chains)
    }

    fn tips(&self, on: impl Fn(ChainId) -> bool) -> Result<Tips, QueryError> {
        let (mut blocks, mut common) = (Vec::new(), u64::MAX);
        for (chain, forest) in self.tree().iter().filter(|(chain, _)| on(*chain)) {
            let (Some(tip), Some(highest)) = (forest.tip(), forest.highest()) else { continue };
            let header = Blocks::new(chain, forest, self.snapshot()).header(Place::Node(tip))?;
            blocks.push(self.candidate(header.view()));
            common = common.min(highest.get());
        }
        let heights = blocks.iter().map(|block| block.rank.height.get());
        let lowest = heights.min().unwrap_or_default();
        Ok(Tips { blocks, lowest, common })
    }

    fn candidate(&self, header: HeaderRef<'_>) -> Candidate {
        let first = Some(header.height()) == self.version.genesis_height(header.chain());
        Candidate {
            chain: header.chain(),
            rank: header.rank(),
            parent: header.parent(),
            adjacents: (!first).then(|| header.adjacents().all()),
            weight: header.weight(),
        }
    }

    /// The graphs of the network, the last one first.
    fn eras(&self) -> impl Iterator<Item = Era> {
        let mut end = u64::MAX;
        self.version.graphs().iter().rev().map(move |(first, graph)| {
            let era = Era { graph: *graph, first: first.get(), end };
            end = era.first;
            era
        })
    }
}

fn member(block: &Candidate) -> Member {
    (block.chain, block.rank, block.weight)
}

/// The sum of the weights; too great a sum counts as the greatest.
fn weight(cut: &[Candidate]) -> U256 {
    cut.iter().fold(U256::ZERO, |sum, block| sum.saturating_add(block.weight.get()))
}

/// What a cut with a member below the searched heights can weigh at most, as all its members are
/// below `height` then. Forks that ended lower still count for nothing.
fn weight_below(near: &[Vec<Candidate>], height: u64) -> U256 {
    let heaviest = near.iter().map(|blocks| {
        let low = blocks.iter().take_while(|block| block.rank.height.get() < height);
        low.map(|block| block.weight.get()).max().unwrap_or_default()
    });
    heaviest.fold(U256::ZERO, U256::saturating_add)
}
