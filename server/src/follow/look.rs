//! What nodes report before there is a database: their network, and the history that they hold.
//!
//! A node that answers as it should is asked first from then on; each one that is passed over is logged.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use plait_engine::ChainwebVersion;
use tokio::time::{sleep, timeout};

use super::apart::{Unfit, Unreported, known};
use super::backoff::Backoff;
use super::error::FollowError;
use super::hedge::{self, Failed, Request};
use super::lies::Lies;
use super::node::Node;
use super::{Follower, branch, on_network, survey, with_tries};

impl Follower {
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
            let question = |node: Node, _| async move {
                with_tries(&node, async |node| known(&node.network().await?)).await
            };
            // Any network will do for asking.
            let lies = Arc::new(Lies::new(ChainwebVersion::Mainnet01, None));
            let nodes = self.nodes(&lies, 0);
            let mut others = Vec::new();
            let is_first = logged.is_empty();
            let asked = hedge::ask(nodes, "/info", question, |failed| {
                if is_first {
                    self.warn_of(&failed);
                }
                others.push(failed);
            });
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

    /// Looks for a node of the network `version`, for at most `time`. The first one that is found is asked
    /// first from now on.
    ///
    /// # Errors
    ///
    /// [`Unfit::Network`] if nodes report other networks, and none reports this one; else [`Unfit::Silent`].
    pub async fn find(&self, version: ChainwebVersion, time: Duration) -> Result<(), Unfit> {
        let mut failures = Vec::new();
        let nodes = self.nodes(&Arc::new(Lies::new(version, None)), 0);
        let asked = hedge::ask(nodes, "/info", on_network, |failed| {
            self.warn_of(&failed);
            failures.push(failed);
        });
        match timeout(time, asked).await {
            Ok(Ok((number, _))) => {
                self.answered.store(number, Relaxed);
                return Ok(());
            }
            Ok(Err(failed)) => failures.push(failed),
            Err(_) => {}
        }
        let other = |(number, error): &Failed| match error {
            FollowError::Network { got, .. } => Some((self.name(*number), got.clone())),
            _ => None,
        };
        let others: Vec<_> = failures.iter().filter_map(other).collect();
        if !others.is_empty() {
            return Err(Unfit::Network(others));
        }
        let last =
            failures.last().map(|(number, error)| format!("{}: {error}", self.name(*number)));
        Err(Unfit::Silent(last.unwrap_or_else(|| "no node answers".to_owned())))
    }

    /// Makes sure that a node holds the history of `version` from its beginning, and asks it first from now on.
    /// Nodes that do not answer are ignored.
    ///
    /// # Errors
    ///
    /// The missing heights of the last node, if every node that answers lacks some.
    pub async fn check_whole(&self, version: ChainwebVersion) -> Result<(), String> {
        let mut lacks = Vec::new();
        let nodes = self.nodes(&Arc::new(Lies::new(version, None)), 0);
        let asked = hedge::ask(nodes, "/cut", look, |failed| {
            self.warn_of(&failed);
            lacks.push(failed);
        });
        match asked.await {
            Ok((number, ())) => {
                self.answered.store(number, Relaxed);
                return Ok(());
            }
            Err(failed) => lacks.push(failed),
        }
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

    /// Warns of a node that is passed over, where nothing is followed yet.
    fn warn_of(&self, (number, error): &Failed) {
        tracing::warn!("following: {}: {error}; asking another node", self.name(*number));
    }
}

/// Makes sure that a node has the history above the first blocks of its chains.
async fn look(node: Node, request: Request) -> Result<(), FollowError> {
    let cut = branch::cut(&node).await?;
    request.send_replace("some of the requests for its lowest headers");
    let lacks = survey::survey(&node, &cut, &survey::above_genesis(node.version())).await?;
    if lacks.is_empty() { Ok(()) } else { Err(FollowError::Partial(survey::describe(&lacks))) }
}
