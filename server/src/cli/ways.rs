//! What writes into a database that is served: a replay, blocks that are pushed, another node.

use std::io;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plait::{Follower, IngestListener, Inlet, InletThread, Listen, Metrics};
use plait_engine::store::History;
use plait_engine::{ChainwebVersion, Engine, OpenError, Reader, Writer};
use thiserror::Error;
use tokio::task::{JoinSet, spawn_blocking};

use super::loading::Ready;
use super::settings::Settings;
use super::{fail, logs, open_advice};

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

/// The nodes to follow are of another network than the one that is named.
#[derive(Debug, Error)]
#[error(
    "the node to follow belongs to network {got}, but --network is {asked}. Nothing was written"
)]
struct OtherNetwork {
    got: ChainwebVersion,
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

/// Makes a database in `db` if there is none and `settings` have something write: of `network`, or
/// of that of the nodes to follow. Reports any failure.
pub(super) async fn make_database(
    settings: &Settings,
    db: &Path,
    network: Option<ChainwebVersion>,
) -> Result<(), ExitCode> {
    if !are_in(settings) {
        return Ok(());
    }
    if Engine::exists(db).map_err(|error| fail(&error, open_advice(&error)))? {
        return Ok(());
    }
    let network = match network {
        None if !settings.follow.upstreams.is_empty() => {
            let network = follower(settings)?.network().await;
            let advice = "Name it: --network NAME. Or try again when a node answers.";
            Some(network.map_err(|error| fail(&Untold(error), advice))?)
        }
        None => {
            let advice =
                "Name it: --network NAME. Or make a database first: plait replay --db DIR INPUT";
            return Err(fail(&Unnamed(db.display().to_string()), advice));
        }
        Some(asked) => {
            // A node that does not answer is asked again while it is followed.
            let got = follower(settings)?.network().await.ok().filter(|got| *got != asked);
            if let Some(got) = got {
                let advice = format!("Name its network: --network {got}. Or name another node.");
                return Err(fail(&OtherNetwork { got, asked }, advice));
            }
            Some(asked)
        }
    };
    let history = history(settings, network).await?;
    let db = db.to_owned();
    let making = spawn_blocking(move || Engine::open_or_create(&db, network, history));
    let made = making.await.unwrap_or_else(|ended| resume_unwind(ended.into_panic()));
    made.map(drop).map_err(|error| fail(&error, open_advice(&error)))
}

/// Decides which history a new database has: all of it, unless the nodes to follow hold less and a
/// partial history is allowed. Reports the missing heights if it is not.
async fn history(
    settings: &Settings,
    network: Option<ChainwebVersion>,
) -> Result<History, ExitCode> {
    let (Some(network), false) = (network, settings.follow.upstreams.is_empty()) else {
        return Ok(History::Full);
    };
    match follower(settings)?.check_whole(network).await {
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
}

/// What is to write, ready to begin.
pub(super) struct Prepared {
    follower: Option<Follower>,
    listener: Option<IngestListener>,
}

impl Prepared {
    /// What `settings` ask for. Reports any failure.
    pub(super) async fn new(settings: &Settings) -> Result<Self, ExitCode> {
        let listener = match &settings.ingest.listen {
            Some(listen) => Some(listener(listen, settings).await?),
            None => None,
        };
        let follower = (!settings.follow.upstreams.is_empty()).then(|| follower(settings));
        Ok(Self { follower: follower.transpose()?, listener })
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
        let metrics = metrics.clone();
        tasks.spawn(async move {
            if let Some(replay) = replay {
                replay.await;
            }
            if let Some(follower) = follower {
                follower.follow(inlet, reader, metrics).await;
            }
        });
        Ok(Ok(Ways { stop, tasks, thread }))
    }
}

impl Ways {
    /// Stops all of it, and waits until nothing is written any more.
    pub(super) async fn end(self) {
        let Self { stop, mut tasks, thread } = self;
        stop.store(true, Ordering::Relaxed);
        tasks.shutdown().await;
        // Where it has panicked, nothing is written either.
        let _ = spawn_blocking(move || thread.end()).await;
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
