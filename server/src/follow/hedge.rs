//! One question to several nodes, some of which may not answer (a hedged request).
//!
//! The first node is asked, and the next one as soon as those before have failed, or have not answered for
//! two seconds. The first answer counts:
//!
//! ```text
//! 0 s   the first node is asked           and never answers
//! 2 s   the second one is asked as well   a line in the log says why
//! 2.1 s the second one answers
//! ```

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::error::FollowError;
use super::node::Node;
use crate::clock::after;

/// How long a node may take before the next one is asked as well.
const HEDGE_TIME: Duration = Duration::from_secs(2);

/// A node, by its number in the list, and how it failed.
pub(super) type Failed = (usize, FollowError);

/// Names the request that a question waits for, in the line about a node that does not answer.
pub(super) type Request = watch::Sender<&'static str>;

/// Asks `nodes` until one answers; returns its number and its answer. Calls `failed` for each node that fails
/// while another one has not been asked or has not answered. The question begins with the request `first`.
///
/// # Errors
///
/// How the last node failed, if all do.
pub(super) async fn ask<T, F>(
    nodes: Vec<(usize, Node)>,
    first: &'static str,
    question: impl Fn(Node, Request) -> F,
    mut failed: impl FnMut(Failed),
) -> Result<(usize, T), Failed>
where
    T: Send + 'static,
    F: Future<Output = Result<T, FollowError>> + Send + 'static,
{
    let (mut nodes, mut asked) = (nodes.into_iter(), JoinSet::new());
    let mut ask_next = |asked: &mut JoinSet<_>| {
        let (number, node) = nodes.next()?;
        let (request, current) = watch::channel(first);
        let (name, answer) = (node.name(), question(node, request));
        asked.spawn(async move { (number, answer.await) });
        Some((name, current, after(Instant::now(), HEDGE_TIME)))
    };
    // The node that was asked last, and when the next one is asked as well.
    let mut last = ask_next(&mut asked);
    loop {
        let hedge = last.as_ref().map_or_else(Instant::now, |(.., hedge)| *hedge);
        let joined = tokio::select! {
            joined = asked.join_next() => joined,
            () = sleep_until(hedge), if last.is_some() => {
                if let Some((name, current, _)) = last.take() {
                    let request = *current.borrow();
                    tracing::warn!("following: {name}: no answer to {request} so far, still waiting");
                }
                last = ask_next(&mut asked);
                continue;
            }
        };
        let (number, error) = match joined {
            Some(Ok((number, Ok(answer)))) => return Ok((number, answer)),
            Some(Ok((number, Err(error)))) => (number, error),
            Some(Err(error)) => (0, FollowError::Store(error.to_string())),
            None => (0, FollowError::Connect("there is no node to follow".to_owned())),
        };
        if asked.is_empty() {
            last = ask_next(&mut asked);
            if last.is_none() {
                return Err((number, error));
            }
        }
        failed((number, error));
    }
}
