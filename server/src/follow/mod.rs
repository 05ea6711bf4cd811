//! Keeps a database in step with another node: a chainweb-node, or a Plait.
//!
//! Enters: the answers of nodes, true or false. Leaves: verified blocks, stored; progress and
//! failures, in the log and in metrics.
//!
//! - `I-1` Only fully verified blocks are believed, so a node can withhold blocks or waste time, and
//!   nothing else.
//! - `I-2` Whatever a node sends, the memory for it is bounded: pages, branches, events, and blocks and
//!   answers that wait to be stored. The time and the processor are bounded, too.
//! - `I-3` A failure is followed by a pause, longer each time, up to a limit; then the next node is
//!   asked, if there is one.
//! - `I-4` The stored blocks are the only state: nothing else is kept from one run to the next.
//! - `I-5` Each request may reach another node: none depends on the answer to an earlier one, and a
//!   block that one node does not know may still be true.
//! - `I-6` Provably false blocks are left out, and counted; true blocks beside them are taken.

mod answer;
mod backoff;
mod branch;
mod catch_up;
mod client;
mod error;
#[cfg(fuzzing)]
pub(crate) mod fuzzed;
mod gap;
mod lies;
mod live;
mod node;
mod payloads;
mod ranges;
mod resolve;
mod session;
mod siblings;
mod sieve;
mod sse;
mod state;
mod survey;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use plait_engine::{ChainwebVersion, Reader};
use thiserror::Error;
use tokio::time::sleep;

use self::backoff::Backoff;
use self::branch::Tries;
use self::client::Client;
use self::error::FollowError;
use self::lies::Lies;
use self::node::Node;
use self::session::Session;
use self::state::State;
use crate::address::Upstream;
use crate::config::Follow;
use crate::inlet::Inlet;
use crate::metrics::Metrics;

/// Why a database is not in step.
#[derive(Debug, Error)]
pub enum Apart {
    /// The nodes hold only part of the history, and the database lacks what is below.
    #[error("{0}")]
    Partial(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Apart {
    fn of(upstream: &Upstream, error: &FollowError) -> Self {
        let text = format!("{upstream}: {error}");
        if matches!(error, FollowError::Partial(_)) {
            Self::Partial(text)
        } else {
            Self::Other(text)
        }
    }
}

/// Follows the nodes of a configuration.
pub struct Follower {
    client: Client,
    config: Arc<Follow>,
}

impl Follower {
    /// A follower; reads the certificates of the system.
    ///
    /// # Errors
    ///
    /// If the file of certificates that `config` names cannot be read.
    pub fn new(config: Follow) -> io::Result<Self> {
        let config = config.bounded();
        Ok(Self { client: Client::new(&config)?, config: Arc::new(config) })
    }

    /// The network of the first node that tells, asking each once.
    ///
    /// # Errors
    ///
    /// What the last of them answers instead.
    pub async fn network(&self) -> Result<ChainwebVersion, String> {
        let mut last = "there is no node to follow".to_owned();
        for upstream in &self.config.upstreams {
            match Node::network(&self.client, upstream).await {
                Ok(name) => match ChainwebVersion::from_name(&name) {
                    Some(version) => return Ok(version),
                    None => last = format!("{upstream}: its network is {name:?}"),
                },
                Err(error) => last = format!("{upstream}: {error}"),
            }
        }
        Err(last)
    }

    /// Keeps the database of `reader` and `inlet` in step with the nodes, one at a time, until the
    /// future is dropped.
    pub async fn follow(&self, inlet: Inlet, reader: Reader, metrics: Metrics) {
        let state = State::new(metrics);
        let lies = Arc::new(Lies::new(reader.version(), Some(state.clone())));
        let mut backoff = Backoff::new(self.config.retry_time_min, self.config.retry_time_max);
        let count = self.config.upstreams.len();
        for (number, upstream) in self.config.upstreams.iter().cycle().enumerate() {
            state.ask(upstream);
            let session = self.session(upstream, (&inlet, &reader), &state, &lies);
            let Err(error) = keep_up(&session).await else { continue };
            // Not at once: one that is in step again and again, and fails each time, is to wait, too.
            if state.leave_step() > self.config.retry_time_max {
                backoff.reset();
            }
            // Another node is asked soon; all of them again only after a pause.
            let all = number.wrapping_add(1).checked_rem(count) == Some(0);
            let wait = if all { backoff.next() } else { self.config.retry_time_min };
            state.fail(&error, wait);
            sleep(wait).await;
        }
    }

    /// Brings the database up to the cut that the first node has now which does not fail.
    ///
    /// # Errors
    ///
    /// What the last of them failed with.
    pub async fn step(
        &self,
        inlet: &Inlet,
        reader: &Reader,
        metrics: Metrics,
    ) -> Result<(), Apart> {
        let state = State::new(metrics);
        let lies = Arc::new(Lies::new(reader.version(), Some(state.clone())));
        let mut last = Apart::Other("there is no node to follow".to_owned());
        for upstream in &self.config.upstreams {
            state.ask(upstream);
            let session = self.session(upstream, (inlet, reader), &state, &lies);
            match bring_up(&session).await {
                Ok(()) => return Ok(()),
                Err(error) => last = Apart::of(upstream, &error),
            }
        }
        Err(last)
    }

    /// Makes sure that a node holds the history of `version` from its beginning. Nodes that do not
    /// answer are ignored.
    ///
    /// # Errors
    ///
    /// The missing heights of the last node, if every node that answers lacks some.
    pub async fn check_whole(&self, version: ChainwebVersion) -> Result<(), String> {
        let mut lacks = None;
        for upstream in &self.config.upstreams {
            let lies = Arc::new(Lies::new(version, None));
            let node = Node::new(self.client.clone(), upstream.clone(), lies);
            match look(&node).await {
                Ok(found) if found.is_empty() => return Ok(()),
                Ok(found) => lacks = Some(format!("{upstream}: {}", survey::describe(&found))),
                // The node is asked again when following begins.
                Err(error) => tracing::debug!("following: {upstream}: {error}"),
            }
        }
        lacks.map_or(Ok(()), Err)
    }

    fn session(
        &self,
        upstream: &Upstream,
        (inlet, reader): (&Inlet, &Reader),
        state: &State,
        lies: &Arc<Lies>,
    ) -> Session {
        Session {
            node: Node::new(self.client.clone(), upstream.clone(), Arc::clone(lies)),
            inlet: inlet.clone(),
            reader: reader.clone(),
            config: Arc::clone(&self.config),
            state: state.clone(),
            looked: AtomicU64::new(siblings::lowest_tip(&reader.view())),
            without_payloads: AtomicBool::new(false),
        }
    }
}

/// What a node lacks of the history above the first blocks of its chains.
async fn look(node: &Node) -> Result<Vec<survey::Lack>, FollowError> {
    let cut = node.cut().await?;
    survey::survey(node, &cut, &survey::above_genesis(node.version())).await
}

/// Makes sure that the node is on the followed network; the first node that answers decides.
async fn check_network(node: &Node) -> Result<(), FollowError> {
    let mut tries = Tries::new(node);
    loop {
        match tries.next().await.check_network().await {
            Ok(()) => return Ok(()),
            Err(error) => tries.forgive(error)?,
        }
    }
}

/// Keeps in step until it fails.
async fn keep_up(session: &Session) -> Result<(), FollowError> {
    check_network(&session.node).await?;
    // Far behind, events are of no use yet.
    session.step().await?;
    tokio::select! {
        ended = live::follow(session) => ended,
        () = payloads::keep_filled(session) => Ok(()),
    }
}

/// Comes into step once.
async fn bring_up(session: &Session) -> Result<(), FollowError> {
    check_network(&session.node).await?;
    session.step().await?;
    if !session.config.siblings_time.is_zero() {
        siblings::fetch(session).await?;
    }
    // It is in step without them.
    if let Err(error) = payloads::fill(session).await {
        tracing::warn!("following: payloads: {error}");
    }
    Ok(())
}
