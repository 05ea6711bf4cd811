use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args as ClapArgs;
use plait_engine::{ChainId, Cut, Engine, OpenError, QueryError, Rank, Reader};
use serde::Serialize;
use thiserror::Error;

use super::{fail, fail_output, open_advice, query_advice};

const EXAMPLES: &str = "\
Examples:
  plait info --db ./db
  plait info --db ./db --json | jq .blocks";

/// Say what a database holds.
///
/// Opens it to read only, so it may be in use by plait serve or plait replay.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Folder of the database.
    #[arg(long, value_name = "DIR", env = "PLAIT_DB")]
    db: PathBuf,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Why there is nothing to print.
#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Write(#[from] io::Error),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    network: &'static str,
    history: &'static str,
    format_version: u32,
    blocks: u64,
    /// Blocks that are in runs.
    sealed: u64,
    verified: Levels,
    /// RocksDB's estimate: they are not counted.
    payloads_estimate: u64,
    waiting: u64,
    cut: CutInfo,
    chains: Vec<ChainInfo>,
}

/// Blocks by the level that they are verified at.
#[derive(Serialize)]
struct Levels {
    full: u64,
    hash: u64,
    none: u64,
}

#[derive(Serialize)]
struct CutInfo {
    height: u64,
    weight: String,
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChainInfo {
    chain: u32,
    blocks: u64,
    lowest_height: u64,
    tip_height: u64,
    tip_hash: String,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        match self.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(Error::Write(error)) => fail_output(error),
            Err(Error::Open(error)) => fail(&error, open_advice(&error)),
            Err(Error::Query(error)) => fail(&error, query_advice(&error)),
        }
    }

    fn print(&self) -> Result<(), Error> {
        let info = Info::read(&Engine::open_read_only(&self.db)?)?;
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, &info).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            info.write(&mut out)?;
        }
        Ok(out.flush()?)
    }
}

impl Info {
    fn read(reader: &Reader) -> Result<Self, QueryError> {
        let view = reader.view();
        let (mut chains, mut sealed) = (Vec::new(), 0);
        for chain in reader.version().chain_ids() {
            if let (Some(lowest), Some(tip)) = (view.lowest(chain), view.tip(chain)) {
                let blocks = view.block_count(chain);
                sealed = view.sealed_count(chain).saturating_add(sealed);
                chains.push(ChainInfo::new(chain, blocks, lowest.get(), tip));
            }
        }
        let cut: Cut = view.cut(None)?;
        let blocks: u64 = chains.iter().map(|chain| chain.blocks).sum();
        let [none, hash] = view.count_levels()?;
        let full = blocks.saturating_sub(none).saturating_sub(hash);
        Ok(Self {
            network: reader.version().name(),
            history: reader.meta().history.name(),
            format_version: view.format_version(),
            blocks,
            sealed,
            verified: Levels { full, hash, none },
            payloads_estimate: view.payload_count_estimate()?,
            waiting: view.count_pending()?,
            cut: CutInfo {
                height: cut.height(),
                weight: cut.weight().to_string(),
                id: cut.id().to_string(),
            },
            chains,
        })
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "network  {} ({} history)", self.network, self.history)?;
        writeln!(out, "format   {}", self.format_version)?;
        writeln!(out, "blocks   {}, {} of them sealed", self.blocks, self.sealed)?;
        let Levels { full, hash, none } = self.verified;
        writeln!(out, "verified {full} fully, {hash} at level hash, {none} at level none")?;
        writeln!(out, "payloads about {}, by estimate", self.payloads_estimate)?;
        writeln!(out, "waiting  {} for a parent or an adjacent parent", self.waiting)?;
        writeln!(out, "cut      height {}, id {}", self.cut.height, self.cut.id)?;
        writeln!(out, "{:>5} {:>10} {:>10} {:>10}  tip", "chain", "blocks", "from", "to")?;
        for ChainInfo { chain, blocks, lowest_height, tip_height, tip_hash } in &self.chains {
            writeln!(
                out,
                "{chain:>5} {blocks:>10} {lowest_height:>10} {tip_height:>10}  {tip_hash}"
            )?;
        }
        Ok(())
    }
}

impl ChainInfo {
    fn new(chain: ChainId, blocks: u64, lowest_height: u64, tip: Rank) -> Self {
        Self {
            chain: chain.get(),
            blocks,
            lowest_height,
            tip_height: tip.height.get(),
            tip_hash: tip.hash.to_string(),
        }
    }
}
