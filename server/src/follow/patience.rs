//! How long a node may be silent.
//!
//! While another node can be asked, a node that is silent, or hardly sends anything, is given up after a sixth
//! of the configured times ([`Node::brief`]). It may be healthy and only slow, so the next time it gets the
//! whole time, and after that a sixth again. With the default times:
//!
//! ```text
//! A hangs, B is healthy: A  5 s ─ B, which is followed
//! A hangs, B is slow:    A  5 s ─ B  5 s ─ A 30 s ─ B, which is followed
//! ```

use std::collections::BTreeSet;

use super::error::FollowError;
use super::node::Node;

/// The nodes that get the whole time, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Patience(BTreeSet<usize>);

impl Patience {
    /// The node with its limits, if another one can be asked.
    pub(super) fn limit(&self, number: usize, node: &Node) -> Node {
        if self.0.contains(&number) { node.clone() } else { node.brief() }
    }

    /// Notes why following a node ended, and whether it had those limits; returns whether it gets the whole
    /// time from now on.
    pub(super) fn note(&mut self, number: usize, was_brief: bool, error: &FollowError) -> bool {
        let is_patient = was_brief && error.may_be_slow();
        if is_patient {
            self.0.insert(number);
        } else {
            self.0.remove(&number);
        }
        is_patient
    }

    /// Notes that a node brought blocks, so that the others need no more than a sixth of the time.
    pub(super) fn reset(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_slow_node_gets_the_whole_time_every_other_time() {
        let slow = FollowError::Timeout { path: "/cut".to_owned(), time: Duration::ZERO };
        let mut patience = Patience::default();
        for _ in 0..2 {
            assert!(patience.note(1, true, &slow));
            assert!(patience.0.contains(&1) && !patience.0.contains(&0));
            assert!(!patience.note(1, false, &slow));
            assert!(patience.0.is_empty());
        }
        // Not if it failed for another reason, nor once another node brought blocks.
        assert!(!patience.note(1, true, &FollowError::Connect(String::new())));
        assert!(patience.note(1, true, &slow));
        patience.reset();
        assert!(patience.0.is_empty());
    }
}
