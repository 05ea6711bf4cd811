use bytes::Bytes;
use rayon::prelude::*;

use super::divided::Divided;
use super::{Cut, QueryError, Steps, View};
use crate::header::{HeaderRef, LEN};
use crate::store::StoreError;
use crate::tally::{Sums, Tally};
use crate::types::{BlockHeight, ChainId, Grow, Micros};

/// What the blocks of some heights of one chain come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Canonical blocks: those of the cut, and all that they have below them.
    pub blocks: u64,
    /// All other blocks, except the genesis block of a chain that the cut does not have yet.
    pub orphans: u64,
    /// Sums over the canonical blocks.
    pub sums: Sums,
    /// When the highest canonical block was made.
    pub last: Option<Micros>,
}

/// What the blocks of some heights come to, of one chain or of several together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StatsRow {
    /// The chain, if it is of one.
    pub chain: Option<ChainId>,
    /// The heights, the first and the last.
    pub heights: (BlockHeight, BlockHeight),
    /// Counts and sums; the last block is that of the chain whose last block was made last.
    pub stats: Stats,
    /// [`Stats::hash_rate`], where the number of heights is the block count of the chain with the
    /// most blocks.
    pub hash_rate: Option<f64>,
}

/// The minimum number of block times for an estimate of the hash rate: see [`Stats::hash_rate`].
const HASH_RATE_TIMES_MIN: u64 = 20;

impl Stats {
    /// Estimated hashes per second: the difficulty of all blocks of a height, divided by the mean
    /// time per height.
    ///
    /// Chains are mined in parallel, and no chain can run ahead of the others by more than the
    /// diameter of their graph. So each height of the network takes one mean block time (`time` /
    /// number of block times) and yields one block of each chain (`difficulty` / `heights` in
    /// hashes). Two chains with a difficulty of 600 and one block every 30 s give (2 × 600) / 30 =
    /// 40 hashes per second. The sum of difficulty / time over the chains gives the same over many
    /// heights; over few heights, one chain whose miner dated two blocks a millisecond apart
    /// outweighs all others.
    ///
    /// # Precision
    ///
    /// None with fewer than 20 block times. Mining is memoryless, so the time that *n* blocks take
    /// is a sum of *n* exponential times. Its relative standard deviation is 1/√*n*, and that of
    /// the rate is nearly the same. With 20 block times (one height of twenty chains) it is 22 %: a
    /// reader can rely on the order of magnitude and, in all but a few rows, on the first digit.
    /// With 5 it would be 45 %; with 1 the rate has no finite mean. 400 block times give 5 %. Real
    /// rows are better, because chains wait for each other: on mainnet01 from height 1,800,001 on,
    /// the relative standard deviation is 14 % for single heights of all chains, and 4 % for 20
    /// heights of single chains.
    #[must_use]
    pub fn hash_rate(&self, heights: u64) -> Option<f64> {
        let times = self.sums.times.count();
        if times < HASH_RATE_TIMES_MIN || self.sums.time <= 0 || heights == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let (seconds, heights) = (self.sums.time as f64 / times as f64 / 1e6, heights as f64);
        Some(f64::from(self.sums.difficulty) / heights / seconds)
    }

    /// Both together.
    fn plus(self, other: &Self) -> Self {
        Self {
            blocks: self.blocks.saturating_add(other.blocks),
            orphans: self.orphans.saturating_add(other.orphans),
            sums: self.sums.plus(&other.sums),
            last: self.last.max(other.last),
        }
    }
}

impl View {
    /// The statistics of each step of these heights, for each of these chains, in the given order; none
    /// for a chain that the network does not have.
    ///
    /// # Cost
    ///
    /// For each step a lookup, however many heights it has, and one run if it begins inside it, which is
    /// not kept in memory; in addition all blocks that are not sealed, and finding the cut. Everything
    /// runs on the calling thread: [`View::stats_cost`] estimates it beforehand. A database that was made
    /// by an earlier release, and is open for reading only, has all its canonical blocks read, on all
    /// cores.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`] and [`QueryError::Cold`].
    pub fn stats(&self, chains: &[ChainId], steps: Steps) -> Result<Vec<Vec<Stats>>, QueryError> {
        if !self.snapshot().has_sums() {
            return self.stats_by_scan(chains, steps);
        }
        let cut = self.cut(None)?;
        let of_chain = |chain: &ChainId| self.chain_stats(*chain, &cut, steps, quick);
        Ok(chains.iter().map(of_chain).collect::<Result<_, StoreError>>()?)
    }

    /// A row for each step, by ascending heights: of all these chains together, or one of each of those
    /// that have begun by the end of the step.
    ///
    /// # Cost
    ///
    /// As for [`View::stats`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn stats_rows(
        &self,
        chains: &[ChainId],
        steps: Steps,
        by_chain: bool,
    ) -> Result<Vec<StatsRow>, QueryError> {
        let begun = |chain: &ChainId| Some((*chain, self.begin(*chain)?));
        let (chains, begins): (Vec<_>, Vec<_>) = chains.iter().filter_map(begun).unzip();
        let of_chains = self.stats(&chains, steps)?;
        let mut rows = Vec::new();
        for (number, heights) in steps.iter().enumerate() {
            let mut together =
                StatsRow { chain: None, heights, stats: Stats::default(), hash_rate: None };
            // The number of heights: the chain with the most blocks has one at each height.
            let mut blocks_max = 0;
            for ((chain, begin), stats) in chains.iter().zip(&begins).zip(&of_chains) {
                let Some(stats) = stats.get(number).filter(|_| *begin <= heights.1) else {
                    continue;
                };
                if by_chain {
                    let hash_rate = stats.hash_rate(stats.blocks);
                    rows.push(StatsRow { chain: Some(*chain), heights, stats: *stats, hash_rate });
                    continue;
                }
                together.stats = together.stats.plus(stats);
                blocks_max = blocks_max.max(stats.blocks);
            }
            if !by_chain {
                together.hash_rate = together.stats.hash_rate(blocks_max);
                rows.push(together);
            }
        }
        Ok(rows)
    }

    /// [`View::stats`] from every header: the slow twin.
    ///
    /// # Errors
    ///
    /// As for [`View::stats`].
    pub fn stats_by_scan(
        &self,
        chains: &[ChainId],
        steps: Steps,
    ) -> Result<Vec<Vec<Stats>>, QueryError> {
        let cut = self.cut(None)?;
        let of_chain = |chain: &ChainId| self.chain_stats(*chain, &cut, steps, slow);
        Ok(chains.par_iter().map(of_chain).collect::<Result<_, StoreError>>()?)
    }

    fn chain_stats(
        &self,
        chain: ChainId,
        cut: &Cut,
        steps: Steps,
        each: impl Fn(&Divided<'_>, Steps) -> Result<Vec<Stats>, StoreError>,
    ) -> Result<Vec<Stats>, StoreError> {
        let member = cut.blocks().find(|(on, ..)| *on == chain).map(|(.., hash)| hash);
        let Some(divided) = self.divided(chain, member)? else { return Ok(Vec::new()) };
        let mut all = each(&divided, steps)?;
        let genesis = self.version().genesis_header(chain).filter(|_| member.is_none());
        let Some(genesis) = genesis else { return Ok(all) };
        let (height, hash) = (genesis.view().height(), genesis.view().hash());
        if divided.blocks().place(&hash)?.is_some() {
            // The chain has not begun, so this is no orphan.
            let within = |(first, last)| (first..=last).contains(&height);
            let steps = all.iter_mut().zip(steps.iter()).filter(|(_, step)| within(*step));
            steps.for_each(|(stats, _)| stats.orphans = stats.orphans.saturating_sub(1));
        }
        Ok(all)
    }
}

/// From every header.
fn slow(divided: &Divided<'_>, steps: Steps) -> Result<Vec<Stats>, StoreError> {
    let each = steps.iter().map(|(first, last)| {
        let mut stats = Stats { orphans: divided.orphan_count(first, last), ..Stats::default() };
        if let Some((low, high)) = divided.canonical_heights(first, last) {
            stats.add(divided, low, high, divided.made_below(low)?)?;
        }
        Ok(stats)
    });
    each.collect()
}

/// From the sums of runs.
fn quick(divided: &Divided<'_>, steps: Steps) -> Result<Vec<Stats>, StoreError> {
    let mut sealed = Sealed { divided, run: None, last: None };
    let each = steps.iter().map(|(first, last)| {
        let mut stats = Stats { orphans: divided.orphan_count(first, last), ..Stats::default() };
        let Some((low, high)) = divided.canonical_heights(first, last) else { return Ok(stats) };
        let Some((start, end)) = divided.sealed_heights(low, high) else {
            stats.add(divided, low, high, divided.made_below(low)?)?;
            return Ok(stats);
        };
        // What is not sealed is below the trunk, or above it.
        if let Some(below) = start.parent().filter(|below| low <= *below) {
            stats.add(divided, low, below, divided.made_below(low)?)?;
        }
        let below = sealed.below(start)?;
        let (sums, made) = sealed.upto(end)?;
        stats.sums = stats.sums.plus(&sums.minus(&below));
        stats.blocks.grow(end.since(start).unwrap_or(0).saturating_add(1));
        stats.last = Some(made);
        if let Some(above) = end.child().filter(|above| *above <= high) {
            stats.add(divided, above, high, Some(made))?;
        }
        Ok(stats)
    });
    each.collect()
}

impl Stats {
    /// Adds the canonical blocks from `low` to `high`, above a block that was made at `below`.
    fn add(
        &mut self,
        divided: &Divided<'_>,
        low: BlockHeight,
        high: BlockHeight,
        below: Option<Micros>,
    ) -> Result<(), StoreError> {
        let mut tally = Tally::new(Sums::default(), below);
        divided.canonical(low, high, |records| {
            self.blocks.grow((records.len() / LEN) as u64);
            push(&mut tally, records);
            Ok::<_, StoreError>(())
        })?;
        self.sums = self.sums.plus(tally.sums());
        self.last = tally.last();
        Ok(())
    }
}

/// The sums up to blocks of the trunk, requested by ascending height.
///
/// With runs of 256 and steps of 100, the step from 200 to 299 needs the sums up to 199, which the step
/// before it ended with, and up to 299: the sums of the run that ends at 255, and of 44 headers of the next
/// run, which is read once for all steps that end in it. Steps of 512 need stored sums only.
struct Sealed<'a, 'v> {
    divided: &'a Divided<'v>,
    /// The latest run that was read, and its first height.
    run: Option<(BlockHeight, Bytes)>,
    /// The latest sums that were found, and the height up to which they go.
    last: Option<(BlockHeight, Sums, Micros)>,
}

impl Sealed<'_, '_> {
    /// The sums up to and including a block, and when the block was made.
    fn upto(&mut self, height: BlockHeight) -> Result<(Sums, Micros), StoreError> {
        if let Some((_, sums, made)) = self.last.filter(|(known, ..)| *known == height) {
            return Ok((sums, made));
        }
        let (sums, made) = self.find(height)?;
        self.last = Some((height, sums, made));
        Ok((sums, made))
    }

    fn find(&mut self, height: BlockHeight) -> Result<(Sums, Micros), StoreError> {
        let blocks = self.divided.blocks();
        let (snapshot, chain) = (blocks.snapshot(), blocks.chain());
        let (first, end) = blocks.run_heights(height);
        if height.child() == Some(end) {
            let run = snapshot.run_sums(chain, first)?;
            return Ok((run.sums, run.last));
        }
        let records = self.run(first)?;
        let gap = || StoreError::gap(chain, height);
        let number = usize::try_from(height.since(first).ok_or_else(gap)?).map_err(|_| gap())?;
        let count = number.saturating_add(1);
        let (own, above) = records.split_at_checked(count.saturating_mul(LEN)).ok_or_else(gap)?;
        let top = own.last_chunk::<LEN>().ok_or_else(gap)?;
        let made = HeaderRef::parse(top).map_err(|_| gap())?.creation_time();
        // Add up from the nearer end.
        if own.len() < above.len() && !self.divided.is_lowest(first) {
            let below = first.parent().ok_or_else(gap)?;
            let below = snapshot.run_sums(chain, blocks.run_heights(below).0)?;
            let mut tally = Tally::new(below.sums, Some(below.last));
            push(&mut tally, own);
            return Ok((*tally.sums(), made));
        }
        let mut tally = Tally::new(Sums::default(), Some(made));
        push(&mut tally, above);
        Ok((snapshot.run_sums(chain, first)?.sums.minus(tally.sums()), made))
    }

    /// The sums up to the block below this one.
    fn below(&mut self, height: BlockHeight) -> Result<Sums, StoreError> {
        let blocks = self.divided.blocks();
        if let Some(below) = height.parent().filter(|_| !self.divided.is_lowest(height)) {
            return Ok(self.upto(below)?.0);
        }
        let (first, _) = blocks.run_heights(height);
        let run = blocks.snapshot().run_sums(blocks.chain(), first)?;
        let mut tally = Tally::new(Sums::default(), self.divided.made_below(height)?);
        push(&mut tally, &self.run(first)?);
        Ok(run.sums.minus(tally.sums()))
    }

    /// The headers of a run. They bypass the cache, which pages need.
    fn run(&mut self, first: BlockHeight) -> Result<Bytes, StoreError> {
        if let Some((_, run)) = self.run.as_ref().filter(|(known, _)| *known == first) {
            return Ok(run.clone());
        }
        let blocks = self.divided.blocks();
        let run = blocks.snapshot().read_run(blocks.run_id(first)?)?;
        self.run = Some((first, run.clone()));
        Ok(run)
    }
}

/// Adds records, which were checked when they were read.
fn push(tally: &mut Tally, records: &[u8]) {
    let headers = records.chunks_exact(LEN).map(HeaderRef::parse);
    headers.flatten().for_each(|header| tally.push(header));
}

#[cfg(test)]
mod tests {
    use ruint::aliases::U256;

    use super::*;

    /// Blocks of one chain, made so many seconds apart, of one difficulty.
    fn stats(difficulty: u64, seconds: &[f64]) -> Stats {
        let mut stats = Stats { blocks: seconds.len() as u64, ..Stats::default() };
        for seconds in seconds {
            #[expect(clippy::cast_possible_truncation, reason = "some seconds")]
            let time = Micros::new((seconds * 1e6) as i64);
            stats.sums.difficulty += U256::from(difficulty);
            stats.sums.time += time.get();
            stats.sums.times.add(time);
        }
        stats
    }

    #[test]
    fn a_hash_rate_is_the_difficulty_of_a_height_by_its_mean_time() {
        // Two chains in parallel.
        let one = stats(600, &[30.0; 10]);
        assert_eq!(one.plus(&one).hash_rate(10), Some(40.0));
        assert_eq!(stats(600, &[30.0; 20]).hash_rate(20), Some(20.0), "one chain");
        // Twenty chains and one height; on one of them hardly any time has passed.
        let chains = (0..20).map(|chain| stats(600, &[if chain == 7 { 1e-6 } else { 30.0 }]));
        let together = chains.fold(Stats::default(), |all, chain| all.plus(&chain));
        let rate = together.hash_rate(1).unwrap();
        assert!((20.0 * 600.0 / rate - 28.5).abs() < 0.001, "{rate}");
        // A chain that begins in the middle adds half of its work.
        let half = stats(600, &[30.0; 20]).plus(&stats(600, &[30.0; 10]));
        assert_eq!(half.hash_rate(20), Some(30.0));
    }

    #[test]
    fn too_few_block_times_and_times_that_sum_to_nothing_give_no_hash_rate() {
        for (times, seconds, has_rate) in [
            (0, 30.0, false),
            (19, 30.0, false),
            (20, 30.0, true),
            (20, 0.0, false),
            (20, -30.0, false),
        ] {
            let stats = stats(600, &vec![seconds; times]);
            assert_eq!(stats.hash_rate(stats.blocks).is_some(), has_rate, "{times} of {seconds} s");
        }
        assert_eq!(stats(600, &[30.0; 20]).hash_rate(0), None);
    }
}
