use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args as ClapArgs;
use plait_engine::{
    BlockHeight, ChainId, Engine, Heights, OpenError, QueryError, StatsRow, Steps, View,
};
use thiserror::Error;

use super::advice::grouped;
use super::numbers::whole;
use super::{fail, fail_output, open_advice, query_advice};
use plait::stats_json;

const EXAMPLES: &str = "\
Examples:
  plait stats --db ./db
  plait stats --db ./db --by-chain
  plait stats --db ./db --step 100000 --json | jq '.rows[].hashRate'";

/// Print statistics for a range of heights: blocks, orphans, difficulty, block times, hash rate.
///
/// Counts and sums are exact. The hash rate is an estimate, and is omitted below 20 block times.
/// The whole history takes no longer than a part of it. Opens the database read-only, so plait
/// serve or plait replay may have it open.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Folder of the database.
    #[arg(long, value_name = "DIR", env = "PLAIT_DB")]
    db: PathBuf,

    /// The lowest height.
    #[arg(long, value_name = "HEIGHT", value_parser = whole(0..=u64::MAX))]
    min_height: Option<u64>,

    /// The highest height.
    #[arg(long, value_name = "HEIGHT", value_parser = whole(0..=u64::MAX))]
    max_height: Option<u64>,

    /// Heights of a row; all of them together, without it.
    #[arg(long, value_name = "HEIGHTS", value_parser = whole(1..=u64::MAX))]
    step: Option<u64>,

    /// Only this chain.
    #[arg(long, value_name = "CHAIN", value_parser = whole(0..=u32::MAX))]
    chain: Option<u32>,

    /// A row for each chain, in the place of one for all of them.
    #[arg(long)]
    by_chain: bool,

    /// Print what GET stats answers, in one line.
    #[arg(long)]
    json: bool,
}

/// Rows that are added up at most: each takes some 400 bytes.
const ROWS_MAX: u64 = 1_000_000;

/// Why there is nothing to print.
#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("the network has no chain {0}")]
    Chain(u32),
    #[error("{got} rows, one for each step and chain, expected at most {ROWS_MAX}")]
    Rows { got: u64 },
    #[error("--min-height {min} is above --max-height {max}: the range is empty")]
    Empty { min: u64, max: u64 },
    #[error(transparent)]
    Write(#[from] io::Error),
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        match self.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(Error::Write(error)) => fail_output(error),
            Err(Error::Open(error)) => fail(&error, open_advice(&error)),
            Err(error @ Error::Rows { .. }) => {
                fail(&error, "Name a longer --step, or fewer heights.")
            }
            Err(error @ Error::Empty { .. }) => {
                fail(&error, "Set --min-height to a height that is not above --max-height.")
            }
            Err(error @ Error::Chain(_)) => fail(&error, "plait info lists those that it has."),
            Err(Error::Query(error)) => fail(&error, query_advice(&error)),
        }
    }

    fn print(&self) -> Result<(), Error> {
        if let (Some(min), Some(max)) = (self.min_height, self.max_height)
            && min > max
        {
            return Err(Error::Empty { min, max });
        }
        let view = Engine::open_read_only(&self.db)?.view();
        let rows = self.rows(&view)?;
        if rows.is_empty() {
            self.tell_heights(&view);
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            out.write_all(&stats_json(&rows, view.version()))?;
            writeln!(out)?;
        } else {
            write_table(&rows, &mut out)?;
        }
        Ok(out.flush()?)
    }

    /// Prints the counted heights, because there are no blocks in the range.
    fn tell_heights(&self, view: &View) {
        let chains = view.version().chain_ids();
        let chains = chains.filter(|chain| self.chain.is_none_or(|number| number == chain.get()));
        let chains: Vec<_> = chains.collect();
        let of = self.chain.map_or_else(String::new, |chain| format!(" of chain {chain}"));
        if let Some((low, high)) = view.counted_heights(&chains) {
            let (low, high) = (grouped(low.get()), grouped(high.get()));
            return tell!(
                "no blocks{of} in this range: blocks are stored from height {low} to height {high}"
            );
        }
        match chains.iter().find_map(|chain| Some((chain, view.lowest(*chain)?))) {
            Some((chain, genesis)) => tell!(
                "chain {chain} has not begun: its genesis block is at height {}",
                grouped(genesis.get())
            ),
            None => tell!("no blocks{of} are stored"),
        }
    }

    fn rows(&self, view: &View) -> Result<Vec<StatsRow>, Error> {
        let all = view.version().chain_ids();
        let chains: Vec<ChainId> = match self.chain {
            None => all.collect(),
            Some(number) => all.filter(|chain| chain.get() == number).collect(),
        };
        if let Some(number) = self.chain.filter(|_| chains.is_empty()) {
            return Err(Error::Chain(number));
        }
        let asked = Heights {
            min: self.min_height.map(BlockHeight::new),
            max: self.max_height.map(BlockHeight::new),
        };
        let Some(steps) = Steps::of(view, &chains, asked, self.step) else { return Ok(Vec::new()) };
        check_rows(steps.count_of(view, &chains))?;
        Ok(view.stats_rows(&chains, steps, self.by_chain || self.chain.is_some())?)
    }
}

/// Checks that so many rows, one for each step and chain, fit into memory.
const fn check_rows(got: u64) -> Result<(), Error> {
    if got > ROWS_MAX { Err(Error::Rows { got }) } else { Ok(()) }
}

/// Writes rows as columns.
fn write_table(rows: &[StatsRow], out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:>5} {:>10} {:>10} {:>12} {:>9} {:>28} {:>12} {:>12}",
        "chain", "from", "to", "blocks", "orphans", "difficulty", "block time", "hash rate"
    )?;
    for row in rows {
        let (first, last) = row.heights;
        let (stats, sums) = (&row.stats, &row.stats.sums);
        let chain = row.chain.map_or_else(|| "all".to_owned(), |chain| chain.to_string());
        let times = sums.times.count();
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let mean = (times > 0).then(|| sums.time as f64 / times as f64 / 1e6);
        let mean = mean.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.3} s"));
        let rate = row.hash_rate.map_or_else(|| "-".to_owned(), hashes_per_second);
        writeln!(
            out,
            "{chain:>5} {first:>10} {last:>10} {:>12} {:>9} {:>28} {mean:>12} {rate:>12}",
            stats.blocks, stats.orphans, sums.difficulty
        )?;
    }
    Ok(())
}

/// A hash rate with three digits and an SI prefix.
fn hashes_per_second(rate: f64) -> String {
    const PREFIXES: [&str; 8] = ["", "k", "M", "G", "T", "P", "E", "Z"];
    let (mut rate, mut prefixes) = (rate, PREFIXES.iter());
    let mut prefix = prefixes.next();
    // A value that would round to 1000 gets the next prefix.
    while rate >= 999.5
        && let Some(next) = prefixes.next()
    {
        (rate, prefix) = (rate / 1000.0, Some(next));
    }
    let digits = usize::from(rate < 9.995).saturating_add(usize::from(rate < 99.95));
    format!("{rate:.digits$} {}H/s", prefix.unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_rows_than_memory_is_for_are_refused() {
        assert!(check_rows(ROWS_MAX).is_ok());
        let error = check_rows(17_041_100).unwrap_err();
        let text = "17041100 rows, one for each step and chain, expected at most 1000000";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn hash_rates_have_three_digits_and_a_prefix() {
        for (rate, text) in [
            (0.0, "0.00 H/s"),
            (9.996, "10.0 H/s"),
            (999.4, "999 H/s"),
            (999.6, "1.00 kH/s"),
            (962_971.0, "963 kH/s"),
            (9.1552e15, "9.16 PH/s"),
            (1e24, "1000 ZH/s"),
        ] {
            assert_eq!(hashes_per_second(rate), text);
        }
    }
}
