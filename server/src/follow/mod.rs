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
mod look;
mod node;
mod patience;
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

use plait_engine::Reader;
use tokio::time::sleep;

pub use self::apart::{Apart, Unfit, Unreported};
use self::backoff::Backoff;
use self::branch::Tries;
use self::client::Client;
use self::error::FollowError;
use self::hedge::{Failed, Request};
use self::lies::Lies;
use self::node::Node;
use self::patience::Patience;
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

    /// Keeps the database of `reader` and `inlet` in step with the nodes, one at a time, until the
    /// future is dropped.
    pub async fn follow(&self, inlet: Inlet, reader: Reader, metrics: Metrics) {
        let state = State::new(metrics);
        let lies = Arc::new(Lies::new(reader.version(), Some(state.clone())));
        let mut backoff = Backoff::new(self.config.retry_time_min, self.config.retry_time_max);
        let count = self.config.upstreams.len();
        let (mut behind, mut failures, mut patience) = (0_usize, 0_usize, Patience::default());
        loop {
            let found = hedge::ask(self.nodes(&lies, behind), "/info", on_network, |failed| {
                self.pass_over(&failed, &state);
            });
            let (number, error) = match found.await {
                Ok((number, node)) => {
                    self.ask(number, &state);
                    let node = if count > 1 { patience.limit(number, &node) } else { node };
                    let session = self.session(node, (&inlet, &reader), &state);
                    let Err(error) = keep_up(&session).await else { continue };
                    failures = failures.saturating_add(1);
                    if state.has_taken() {
                        patience.reset();
                    }
                    patience.note(number, session.node.is_brief(), &error);
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
        let (mut nodes, mut patience) = (self.nodes(&lies, 0), Patience::default());
        let mut last = Apart::Other("there is no node to follow".to_owned());
        while !nodes.is_empty() {
            let mut failed = Vec::new();
            let asked = hedge::ask(nodes.clone(), "/info", on_network, |node| {
                self.pass_over(&node, &state);
                failed.push(node.0);
            });
            let (number, node) = match asked.await {
                Ok(found) => found,
                Err((number, error)) => return Err(Apart::of(&self.name(number), &error)),
            };
            self.ask(number, &state);
            nodes.retain(|(other, _)| *other != number && !failed.contains(other));
            let limited =
                if nodes.is_empty() { node.clone() } else { patience.limit(number, &node) };
            let was_brief = limited.is_brief();
            let session = self.session(limited, (inlet, reader), &state);
            let Err(error) = bring_up(&session).await else { return Ok(()) };
            last = Apart::of(&self.name(number), &error);
            if error.is_own() {
                break;
            }
            if !nodes.is_empty() {
                state.pass_over(&error);
            }
            if patience.note(number, was_brief, &error) {
                nodes.push((number, node));
            }
        }
        Err(last)
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

/// Makes sure that the node is on the followed network; the first node that answers decides.
async fn check_network(node: &Node) -> Result<(), FollowError> {
    with_tries(node, async |node| node.check_network().await).await
}

/// Returns the node if it is on the followed network.
async fn on_network(node: Node, _: Request) -> Result<Node, FollowError> {
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
