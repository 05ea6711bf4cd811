use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args as ClapArgs;
use plait::{Apart, Follower, Inlet, InletThread, Metrics, PushError, Upstream};
use plait_engine::{ChainwebVersion, Engine, OpenError, Reader};
use thiserror::Error;
use tokio::task::spawn_blocking;

use super::advice::{Advice, grouped};
use super::owner::warn_root;
use super::settings::{FollowFlags, LogFlags, Settings};
use super::stop::Stop;
use super::{config, fail, logs, open_advice, parse_network, shut_down, ways};

const EXAMPLES: &str = "\
Examples:
  plait follow https://node.example.org --db ./db
  plait follow http://10.0.0.1:1848 http://10.0.0.2:1848 --db ./db --network mainnet01
  plait follow http://127.0.0.1:1848 --db ./db --once
  plait follow http://10.0.0.1:1848 --db ./db --follow-allow-partial
  plait serve --db ./db --follow https://node.example.org

Exit status: 0 after a signal, and with --once when in step; 1 after a second signal, which ends \
it at once; 2 wrong usage, a node that does not answer as it should, blocks that are lost because \
they could not be written to disk, or, with --once --follow-payloads yes, missing payloads. Running the same \
command again continues.";

/// Keep a database in step with a chainweb-node or another Plait.
///
/// Verifies and stores everything that the node has, and then each new block; if the node fails, the
/// next one is asked, or the same one again. A URL may be that of a load balancer whose nodes differ. If
/// there is no database, it is created; if a node holds only part of the history, --follow-allow-partial
/// creates one that begins where the node's history begins. To serve the database meanwhile, use plait
/// serve --follow instead, because only one process can write to a database.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Nodes, by the addresses of their APIs; the first one is asked first.
    #[arg(required = true, value_name = "URL")]
    upstreams: Vec<Upstream>,

    /// End when in step with the present cut of a node.
    #[arg(long)]
    once: bool,

    /// Network of the database that is made if there is none [default: that of the node].
    #[arg(long, value_name = "NAME", value_parser = parse_network)]
    network: Option<ChainwebVersion>,

    /// File to read settings from; plait config print shows all there are.
    #[arg(long, value_name = "FILE", env = "PLAIT_CONFIG")]
    config: Option<PathBuf>,

    #[command(flatten)]
    flags: FollowFlags,
}

/// There is no folder to follow into.
#[derive(Debug, Error)]
#[error("there is no database to follow into")]
struct Nothing;

/// No node could be followed to its cut.
#[derive(Debug, Error)]
enum NotInStep {
    #[error("not in step: {0}")]
    Apart(Apart),
    #[error("the headers are in step, but {0}")]
    Payloads(Apart),
}

/// Blocks that were taken are not on the disk.
#[derive(Debug, Error)]
#[error("not everything is stored: {0}")]
struct Lost(String);

impl Args {
    /// Runs the command.
    pub(super) fn run(self, log: &LogFlags) -> ExitCode {
        let mut settings = match Settings::load(self.config.as_deref()) {
            Ok(settings) => settings,
            Err(error) => return config::refuse(&error),
        };
        self.flags.apply(&mut settings);
        log.apply(&mut settings);
        settings.follow.upstreams = self.upstreams;
        logs::init(&settings);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                return fail(&error, "The system refuses threads or files to this process.");
            }
        };
        let status = runtime.block_on(run(&settings, self.network, self.once));
        shut_down(runtime, status.unwrap_or_else(|failed| failed))
    }
}

async fn run(
    settings: &Settings,
    network: Option<ChainwebVersion>,
    once: bool,
) -> Result<ExitCode, ExitCode> {
    let refused = |error| fail(&error, "The system refuses signal handlers to this process.");
    let mut stop = Stop::new().map_err(refused)?;
    let db = settings.db.clone();
    let db = db.ok_or_else(|| fail(&Nothing, "Name one: plait follow URL --db DIR"))?;
    warn_root(&db);
    let Opened { follower, inlet, thread, reader, metrics } = tokio::select! {
        opened = open(settings, &db, network, !once) => opened?,
        () = stop.signal() => return Ok(ExitCode::SUCCESS),
    };
    let unsaved = follower.unsaved();
    let look = plait::watch_place(reader.clone(), metrics.clone());
    let health = plait::watch_health(reader.clone(), metrics.clone());
    let ended = tokio::select! {
        ended = follow(&follower, inlet, &reader, metrics, once) => ended,
        () = stop.signal() => Ok(ExitCode::SUCCESS),
        () = look => Ok(ExitCode::FAILURE),
        () = health => Ok(ExitCode::FAILURE),
    };
    tokio::select! {
        // Where it has panicked, nothing is written either.
        _ = spawn_blocking(move || thread.end()) => {}
        () = stop.second_signal() => return Ok(ExitCode::FAILURE),
    }
    match unsaved.reason() {
        Some(why) => Err(report_lost(&why, reader, db).await),
        None => ended.map_err(report_apart),
    }
}

/// Reports that blocks had not reached the disk when following ended.
async fn report_lost(why: &PushError, reader: Reader, db: PathBuf) -> ExitCode {
    let counted = spawn_blocking(move || count_lost(reader, &db)).await;
    let lost = match counted {
        Ok(Ok((0, height))) => format!("All blocks up to height {height} are stored."),
        Ok(Ok((lost, height))) => format!(
            "{} blocks above height {height} had not reached the disk and are lost.",
            grouped(lost)
        ),
        Ok(Err(error)) => format!("The stored blocks cannot be counted: {error}."),
        Err(error) => format!("The stored blocks cannot be counted: {error}."),
    };
    let otherwise = "Run the same command again to continue.";
    match why {
        PushError::Failed { reason, fault } => {
            let advice = Advice::for_database(fault, otherwise).after(&lost);
            fail(&Lost(reason.clone()), advice)
        }
        why => fail(&Lost(why.to_string()), Advice::from(otherwise).after(&lost)),
    }
}

/// How many of the blocks that `reader` has are not on the disk, and the height that all chains have reached
/// there.
fn count_lost(reader: Reader, db: &Path) -> Result<(u64, u64), OpenError> {
    let before = reader.view().total_block_count();
    // What is in memory only is written when the database is closed, if that is possible.
    drop(reader);
    let stored = Engine::open_read_only(db)?;
    let view = stored.view();
    let tips = stored.version().chain_ids().filter_map(|chain| view.tip(chain));
    let height = tips.map(|tip| tip.height.get()).min().unwrap_or(0);
    Ok((before.saturating_sub(stored.view().total_block_count()), height))
}

/// Reports why the database is not in step.
fn report_apart(apart: Apart) -> ExitCode {
    let advice = match &apart {
        Apart::Partial(_) => "What was stored is kept.",
        Apart::Network(_) => "What was stored is kept. Name another node, or another database.",
        Apart::Refused(_) => {
            "What was stored is kept; nothing false is stored. Name another node, or try again later."
        }
        Apart::Clock(_) => {
            "What was stored is kept. Check the clock of this machine, then run the same command again."
        }
        Apart::Payloads(_) => {
            "What was stored is kept. Name another node that has them, or leave out --follow-payloads yes."
        }
        Apart::Other(_) => "What was stored is kept. Run the same command again to continue.",
    };
    let payloads = matches!(apart, Apart::Payloads(_));
    let error = if payloads { NotInStep::Payloads(apart) } else { NotInStep::Apart(apart) };
    fail(&error, advice)
}

/// A database, and who keeps it in step.
struct Opened {
    follower: Follower,
    inlet: Inlet,
    thread: InletThread,
    reader: Reader,
    metrics: Metrics,
}

/// Opens the database in `db`, or makes it. Reports any failure.
async fn open(
    settings: &Settings,
    db: &Path,
    network: Option<ChainwebVersion>,
    patience: bool,
) -> Result<Opened, ExitCode> {
    let follower = ways::follower(settings)?;
    ways::make_database(settings, Some(&follower), db, network, patience).await?;
    let (db, caches) = (db.to_owned(), settings.caches);
    let opening = spawn_blocking(move || Engine::open_with(&db, caches));
    let opened = opening.await.unwrap_or_else(|ended| resume_unwind(ended.into_panic()));
    let (writer, reader) = opened.map_err(|error: OpenError| fail(&error, open_advice(&error)))?;
    ways::check_network(&reader, network)?;
    ways::check_urls(settings, reader.version())?;
    let metrics = Metrics::new();
    let opened = Inlet::open(writer, settings.ingest.sync, false, metrics.clone());
    let refused = |error| fail(&error, "The system refuses threads to this process.");
    let (inlet, thread) = opened.map_err(refused)?;
    Ok(Opened { follower, inlet, thread, reader, metrics })
}

/// Follows until the future is dropped, or `once` to the present cut.
async fn follow(
    follower: &Follower,
    inlet: Inlet,
    reader: &Reader,
    metrics: Metrics,
    once: bool,
) -> Result<ExitCode, Apart> {
    if once {
        follower.step(&inlet, reader, metrics).await?;
    } else {
        follower.follow(inlet, reader.clone(), metrics).await;
    }
    Ok(ExitCode::SUCCESS)
}
