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
mod apart;
mod backoff;
mod branch;
mod catch_up;
mod client;
mod error;
#[cfg(fuzzing)]
pub(crate) mod fuzzed;
mod gap;
mod hedge;
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
mod unsaved;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use plait_engine::{ChainwebVersion, Reader};
use tokio::time::sleep;

use self::apart::known;
pub use self::apart::{Apart, Unreported};
use self::backoff::Backoff;
use self::branch::Tries;
use self::client::Client;
use self::error::FollowError;
use self::hedge::Failed;
use self::lies::Lies;
use self::node::Node;
use self::session::Session;
use self::state::State;
pub use self::unsaved::Unsaved;
use crate::address::Upstream;
use crate::config::Follow;
use crate::inlet::Inlet;
use crate::metrics::Metrics;

/// Follows the nodes of a configuration.
pub struct Follower {
    client: Client,
    config: Arc<Follow>,
    unsaved: Unsaved,
    /// The number of the node that answered last: those before it may be down.
    answered: AtomicUsize,
}

impl Follower {
    /// A follower; reads the certificates of the system.
    ///
    /// # Errors
    ///
    /// If the file of certificates that `config` names cannot be read.
    pub fn new(config: Follow) -> io::Result<Self> {
        let config = config.bounded();
        let client = Client::new(&config)?;
        let (unsaved, answered) = Default::default();
        Ok(Self { client, config: Arc::new(config), unsaved, answered })
    }

    /// Whether blocks that were taken are in memory only, because the disk did not take them.
    #[must_use]
    pub fn unsaved(&self) -> Unsaved {
        self.unsaved.clone()
    }

    /// The network of the first node that reports it. With `patience`, nodes that cannot be reached or do
    /// not answer are asked again and again.
    ///
    /// # Errors
    ///
    /// What the last of them answers instead.
    pub async fn network(&self, patience: bool) -> Result<ChainwebVersion, Unreported> {
        let mut backoff = Backoff::new(self.config.retry_time_min, self.config.retry_time_max);
        let mut logged = String::new();
        loop {
            let question = |node: Node| async move {
                with_tries(&node, async |node| known(&node.network().await?)).await
            };
            // Any network will do for asking.
            let lies = Arc::new(Lies::new(ChainwebVersion::Mainnet01, None));
            let nodes = self.nodes(&lies, 0);
            let mut others = Vec::new();
            let asked = hedge::ask(nodes, "/info", question, |failed| others.push(failed));
            let (number, error) = match asked.await {
                Ok((number, version)) => {
                    self.answered.store(number, Relaxed);
                    return Ok(version);
                }
                Err(failed) => failed,
            };
            // An answer that is wrong says more than none.
            let wrong = others.into_iter().find(|(_, error)| !error.may_pass());
            let (number, error) = wrong.unwrap_or((number, error));
            let unreported = Unreported::of(&self.name(number), &error);
            if !patience || !error.may_pass() {
                return Err(unreported);
            }
            let wait = backoff.next();
            let text = unreported.to_string();
            if text != logged {
                let seconds = wait.as_secs_f64();
                tracing::warn!(
                    "following: {text}; waiting for a node that reports the network of the new \
                     database, trying again in {seconds:.1} s"
                );
                logged = text;
            }
            sleep(wait).await;
        }
    }

    /// Keeps the database of `reader` and `inlet` in step with the nodes, one at a time, until the
    /// future is dropped.
    pub async fn follow(&self, inlet: Inlet, reader: Reader, metrics: Metrics) {
        let state = State::new(metrics);
        let lies = Arc::new(Lies::new(reader.version(), Some(state.clone())));
        let mut backoff = Backoff::new(self.config.retry_time_min, self.config.retry_time_max);
        let count = self.config.upstreams.len();
        let (mut behind, mut failures) = (0_usize, 0_usize);
        loop {
            let found = hedge::ask(self.nodes(&lies, behind), "/info", on_network, |failed| {
                self.pass_over(&failed, &state);
            });
            let (number, error) = match found.await {
                Ok((number, node)) => {
                    self.ask(number, &state);
                    let session = self.session(node, (&inlet, &reader), &state);
                    let Err(error) = keep_up(&session).await else { continue };
                    failures = failures.saturating_add(1);
                    (number, error)
                }
                Err((number, error)) => {
                    // All of them were asked.
                    failures = 0;
                    self.ask(number, &state);
                    (number, error)
                }
            };
            // The next search begins with the node after this one.
            self.answered.store(number, Relaxed);
            behind = 1;
            // Not at once: one that is in step again and again, and fails each time, is to wait, too.
            if state.leave_step() > self.config.retry_time_max {
                backoff.reset();
            }
            // Another node is asked soon; all of them again only after a pause.
            let all = failures.checked_rem(count).unwrap_or(0) == 0;
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
        let mut nodes = self.nodes(&lies, 0);
        let mut last = Apart::Other("there is no node to follow".to_owned());
        while !nodes.is_empty() {
            let mut failed = Vec::new();
            let asked = hedge::ask(nodes.clone(), "/info", on_network, |node| {
                self.pass_over(&node, &state);
                failed.push(node.0);
            });
            let (number, error) = match asked.await {
                Ok((number, node)) => {
                    self.ask(number, &state);
                    let session = self.session(node, (inlet, reader), &state);
                    match bring_up(&session).await {
                        Ok(()) => return Ok(()),
                        Err(error) => (number, error),
                    }
                }
                Err((number, error)) => {
                    failed.extend(nodes.iter().map(|(number, _)| *number));
                    (number, error)
                }
            };
            last = Apart::of(&self.name(number), &error);
            nodes.retain(|(other, _)| *other != number && !failed.contains(other));
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
        let mut lacks = Vec::new();
        let question = |node: Node| async move { look(&node).await };
        let nodes = self.nodes(&Arc::new(Lies::new(version, None)), 0);
        let asked = hedge::ask(nodes, "/cut", question, |failed| lacks.push(failed)).await;
        let Err(failed) = asked else { return Ok(()) };
        lacks.push(failed);
        let lack = lacks.into_iter().rev().find_map(|(number, error)| match error {
            FollowError::Partial(text) => Some(format!("{}: {text}", self.name(number))),
            error => {
                // The node is asked again when following begins.
                tracing::debug!("following: {}: {error}", self.name(number));
                None
            }
        });
        lack.map_or(Ok(()), Err)
    }

    /// The nodes and their numbers, in the order in which they are asked. The first is the one that
    /// answered last if `behind` is 0, and the one after it if `behind` is 1.
    fn nodes(&self, lies: &Arc<Lies>, behind: usize) -> Vec<(usize, Node)> {
        let count = self.config.upstreams.len();
        let first = self.answered.load(Relaxed).saturating_add(behind);
        let numbered = self.config.upstreams.iter().enumerate();
        let rotated = numbered.cycle().skip(first.checked_rem(count).unwrap_or(0)).take(count);
        let node = |(number, upstream): (usize, &Upstream)| {
            (number, Node::new(self.client.clone(), upstream.clone(), Arc::clone(lies)))
        };
        rotated.map(node).collect()
    }

    fn pass_over(&self, (number, error): &Failed, state: &State) {
        self.ask(*number, state);
        state.pass_over(error);
    }

    fn ask(&self, number: usize, state: &State) {
        if let Some(upstream) = self.config.upstreams.get(number) {
            state.ask(upstream);
        }
    }

    fn name(&self, number: usize) -> String {
        self.config.upstreams.get(number).map_or_else(String::new, ToString::to_string)
    }

    fn session(&self, node: Node, (inlet, reader): (&Inlet, &Reader), state: &State) -> Session {
        Session {
            node,
            inlet: inlet.clone(),
            reader: reader.clone(),
            config: Arc::clone(&self.config),
            state: state.clone(),
            unsaved: self.unsaved.clone(),
            looked: AtomicU64::new(siblings::lowest_tip(&reader.view())),
            without_payloads: AtomicBool::new(false),
        }
    }
}

/// Makes sure that a node has the history above the first blocks of its chains.
async fn look(node: &Node) -> Result<(), FollowError> {
    let cut = branch::cut(node).await?;
    let lacks = survey::survey(node, &cut, &survey::above_genesis(node.version())).await?;
    if lacks.is_empty() { Ok(()) } else { Err(FollowError::Partial(survey::describe(&lacks))) }
}

/// Makes sure that the node is on the followed network; the first node that answers decides.
async fn check_network(node: &Node) -> Result<(), FollowError> {
    with_tries(node, async |node| node.check_network().await).await
}

/// Returns the node if it is on the followed network.
async fn on_network(node: Node) -> Result<Node, FollowError> {
    check_network(&node).await.map(|()| node)
}

/// The answer to a question; if it fails, it is asked again over new connections.
async fn with_tries<T>(
    node: &Node,
    question: impl AsyncFn(Node) -> Result<T, FollowError>,
) -> Result<T, FollowError> {
    let mut tries = Tries::new(node);
    loop {
        match question(tries.next().await).await {
            Ok(answer) => return Ok(answer),
            Err(error) => tries.forgive(error)?,
        }
    }
}

/// Keeps in step until it fails.
async fn keep_up(session: &Session) -> Result<(), FollowError> {
    // Far behind, events are of no use yet.
    session.step().await?;
    tokio::select! {
        ended = live::follow(session) => ended,
        () = payloads::keep_filled(session) => Ok(()),
    }
}

/// Comes into step once.
async fn bring_up(session: &Session) -> Result<(), FollowError> {
    session.step().await?;
    if !session.config.siblings_time.is_zero() {
        siblings::fetch(session).await?;
    }
    payloads::fill(session).await
}
