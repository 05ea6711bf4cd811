//! What writes into a database that is served: a replay, blocks that are pushed, another node.

use std::io;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plait::{
    Follower, IngestListener, Inlet, InletThread, Listen, Metrics, Unfit, Unreported, Unsaved,
    Upstream,
};
use plait_engine::store::History;
use plait_engine::{ChainwebVersion, Engine, OpenError, Reader, Writer};
use thiserror::Error;
use tokio::task::{JoinSet, spawn_blocking};

use super::loading::Ready;
use super::settings::Settings;
use super::{fail, logs, open_advice};

/// How long a new database of a known network waits for nodes to report theirs.
const LOOK_TIME: Duration = Duration::from_secs(5);

/// Blocks would be taken from other machines.
#[derive(Debug, Error)]
#[error("{0}: other machines reach this address, and whoever does could write to the database")]
struct Remote(Listen);

/// No node tells of which network a database is to be made.
#[derive(Debug, Error)]
#[error("there is no database, and no node reports the network for a new one: {0}")]
struct Untold(String);

/// Nobody names the network of a database that is to be made.
#[derive(Debug, Error)]
#[error("there is no database in {0}, and the network of a new one is unknown")]
struct Unnamed(String);

/// The nodes to follow belong to other networks than the one that is named.
#[derive(Debug, Error)]
#[error("{nodes}, but --network is {asked}. Nothing was written")]
struct OtherNetwork {
    nodes: String,
    asked: ChainwebVersion,
}

/// The nodes to follow hold only part of the history.
#[derive(Debug, Error)]
#[error("the history of the node to follow is partial: {0}. Nothing was written")]
struct PartialNode(String);

/// Whether `settings` have something write.
pub(super) fn are_in(settings: &Settings) -> bool {
    settings.ingest.listen.is_some() || !settings.follow.upstreams.is_empty()
}

/// The path of a followed URL names another network.
#[derive(Debug, Error)]
#[error("the URL {url} names network {named}, and the network of the database is {got}")]
struct OtherPath {
    url: Upstream,
    named: ChainwebVersion,
    got: ChainwebVersion,
}

/// Makes sure that no URL of a followed node names another network than that of the database. Reports any
/// failure.
pub(super) fn check_urls(settings: &Settings, got: ChainwebVersion) -> Result<(), ExitCode> {
    for url in &settings.follow.upstreams {
        if let Some(named) = url.network().filter(|named| *named != got) {
            let advice = "Name another node, or another database. If the node is right, leave out the \
                          path of its URL.";
            return Err(fail(&OtherPath { url: url.clone(), named, got }, advice));
        }
    }
    Ok(())
}

/// Makes a database in `db` if there is none and `settings` have something write: of `network`, or
/// of that of the nodes of `follower`. With `patience`, waits until one of them reports it. Reports
/// any failure.
pub(super) async fn make_database(
    settings: &Settings,
    follower: Option<&Follower>,
    db: &Path,
    network: Option<ChainwebVersion>,
    patience: bool,
) -> Result<(), ExitCode> {
    if !are_in(settings) {
        return Ok(());
    }
    if Engine::exists(db).map_err(|error| fail(&error, open_advice(&error)))? {
        return Ok(());
    }
    let (network, history) = match (network, follower) {
        (None, Some(follower)) => {
            let network =
                follower.network(patience).await.map_err(|why| refuse_unreported(&why))?;
            check_urls(settings, network)?;
            (network, history(settings, follower, network).await?)
        }
        (None, None) => {
            let advice =
                "Name it: --network NAME. Or make a database first: plait replay --db DIR INPUT";
            return Err(fail(&Unnamed(db.display().to_string()), advice));
        }
        (Some(asked), Some(follower)) => {
            check_urls(settings, asked)?;
            (asked, look_at_nodes(settings, follower, asked).await?)
        }
        (Some(asked), None) => (asked, History::Full),
    };
    let db = db.to_owned();
    let making = spawn_blocking(move || Engine::open_or_create(&db, Some(network), history));
    let made = making.await.unwrap_or_else(|ended| resume_unwind(ended.into_panic()));
    made.map(drop).map_err(|error| fail(&error, open_advice(&error)))
}

/// Reports that no node reports the network of a new database.
fn refuse_unreported(why: &Unreported) -> ExitCode {
    let advice = match why {
        Unreported::Silent(_) => {
            "Check the URL, and that the node runs. Then run the same command again."
        }
        Unreported::Other(_) => "Name another node. Or, if the node is right: --network NAME",
    };
    fail(&Untold(why.to_string()), advice)
}

/// Looks for a node of the network that a new database is to have, and asks which history the nodes hold.
/// Those that do not answer soon are asked again while they are followed. Reports any failure.
async fn look_at_nodes(
    settings: &Settings,
    follower: &Follower,
    asked: ChainwebVersion,
) -> Result<History, ExitCode> {
    // A database with part of a history has to be created as such.
    let patience = if settings.follow.allow_partial { Duration::MAX } else { LOOK_TIME };
    match follower.find(asked, patience).await {
        Ok(()) => history(settings, follower, asked).await,
        Err(Unfit::Network(others)) => Err(refuse_others(&others, asked)),
        Err(Unfit::Silent(why)) => {
            tracing::warn!("following: {why}; creating the database of {asked} all the same");
            Ok(History::Full)
        }
    }
}

/// Reports nodes, by their URLs and the names of their networks, none of which belongs to the network `asked`.
fn refuse_others(others: &[(String, String)], asked: ChainwebVersion) -> ExitCode {
    let names = others.iter().map(|(url, name)| format!("{url} belongs to network {name}"));
    let nodes = names.collect::<Vec<_>>().join(", ");
    let network = others.first().and_then(|(_, name)| ChainwebVersion::from_name(name));
    let network = network.filter(|got| others.iter().all(|(_, name)| name == got.name()));
    let advice = match network {
        Some(got) => format!("Name another node. Or, if that network is meant: --network {got}"),
        None => "Name another node.".to_owned(),
    };
    fail(&OtherNetwork { nodes, asked }, advice)
}

/// Decides which history a new database has: all of it, unless the nodes to follow hold less and a
/// partial history is allowed. Reports the missing heights if it is not.
async fn history(
    settings: &Settings,
    follower: &Follower,
    network: ChainwebVersion,
) -> Result<History, ExitCode> {
    match follower.check_whole(network).await {
        Ok(()) => Ok(History::Full),
        Err(_) if settings.follow.allow_partial => Ok(History::Partial),
        Err(lacks) => {
            let advice = "To keep only what it holds, add --follow-allow-partial. For the whole history, \
                          follow another node, or replay a dump or an archive first.";
            Err(fail(&PartialNode(lacks), advice))
        }
    }
}

/// Makes sure that a database is of the network that is asked for, if one is. Reports any failure.
pub(super) fn check_network(
    reader: &Reader,
    asked: Option<ChainwebVersion>,
) -> Result<(), ExitCode> {
    let got = reader.version();
    match asked {
        Some(expected) if expected != got => {
            let error = OpenError::Network { got, expected };
            Err(fail(&error, open_advice(&error)))
        }
        _ => Ok(()),
    }
}

/// All that writes.
pub(super) struct Ways {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    thread: InletThread,
    unsaved: Option<Unsaved>,
}

/// What is to write, ready to begin.
pub(super) struct Prepared {
    follower: Option<Follower>,
    listener: Option<IngestListener>,
}

impl Prepared {
    /// What `settings` ask for. Reports any failure.
    pub(super) async fn new(
        settings: &Settings,
        follower: Option<Follower>,
    ) -> Result<Self, ExitCode> {
        let listener = match &settings.ingest.listen {
            Some(listen) => Some(listener(listen, settings).await?),
            None => None,
        };
        Ok(Self { follower, listener })
    }

    /// Begins; `None` if there is nothing that writes, with the writer.
    pub(super) async fn begin(
        self,
        (writer, reader): (Writer, Reader),
        ready: Option<Ready>,
        settings: &Settings,
        metrics: &Metrics,
    ) -> Result<Result<Ways, Writer>, ExitCode> {
        let Self { follower, listener } = self;
        if ready.is_none() && follower.is_none() && listener.is_none() {
            return Ok(Err(writer));
        }
        let refused =
            |error: io::Error| fail(&error, "The system refuses threads to this process.");
        let (inlet, thread) =
            Inlet::open(writer, settings.ingest.sync, true, metrics.clone()).map_err(refused)?;
        let (stop, mut tasks) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        let replay = match ready {
            Some(ready) => Some(replay(ready, &inlet, &stop, metrics).await),
            None => None,
        };
        // Behind the replay: nothing that is pushed comes before it.
        if let Some(listener) = listener {
            let config = settings.ingest.clone();
            tasks.spawn(plait::ingest(inlet.clone(), config, metrics.clone(), listener));
        }
        if follower.is_some() {
            metrics.expect_lag(settings.follow.ready_lag as u64);
        }
        let unsaved = follower.as_ref().map(Follower::unsaved);
        let metrics = metrics.clone();
        tasks.spawn(async move {
            if let Some(replay) = replay {
                replay.await;
            }
            if let Some(follower) = follower {
                follower.follow(inlet, reader, metrics).await;
            }
        });
        Ok(Ok(Ways { stop, tasks, thread, unsaved }))
    }
}

impl Ways {
    /// Stops all of it, and waits until nothing is written any more.
    pub(super) async fn end(self) {
        let Self { stop, mut tasks, thread, unsaved } = self;
        stop.store(true, Ordering::Relaxed);
        tasks.shutdown().await;
        // Where it has panicked, nothing is written either.
        let _ = spawn_blocking(move || thread.end()).await;
        if let Some(why) = unsaved.and_then(|unsaved| unsaved.reason()) {
            tracing::error!("{why}. Blocks that had not reached the disk may be lost");
        }
    }
}

/// Has `inlet` replay what is ready; the future ends with that.
async fn replay(
    ready: Ready,
    inlet: &Inlet,
    stop: &Arc<AtomicBool>,
    metrics: &Metrics,
) -> impl Future<Output = ()> + use<> {
    let (stop, metrics) = (Arc::clone(stop), metrics.clone());
    let work = inlet.work(move |writer| ready.run(writer, &stop, &metrics)).await;
    async {
        let ended = match work {
            Ok(work) => work.await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::error!("the replay has not ended: {error}");
        }
    }
}

async fn listener(listen: &Listen, settings: &Settings) -> Result<IngestListener, ExitCode> {
    if !listen.is_local() && !settings.ingest.remote {
        let advice = "Take 127.0.0.1 or the path of a socket, or say --ingest-remote.";
        return Err(fail(&Remote(listen.clone()), advice));
    }
    let bound = IngestListener::bind(listen).await.map_err(|error| {
        let error = io::Error::new(error.kind(), format!("{listen}: {error}"));
        fail(&error, "Choose another address or path for --ingest.")
    })?;
    logs::say(settings.log_format, &format!("taking blocks on {}", bound.place()));
    Ok(bound)
}

/// Who follows the nodes of `settings`.
pub(super) fn follower(settings: &Settings) -> Result<Follower, ExitCode> {
    Follower::new(settings.follow.clone())
        .map_err(|error| fail(&error, "Name a file of certificates in PEM, or leave --ca out."))
}
