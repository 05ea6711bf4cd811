//! Blocks that are provably false, and how the true ones beside them are found.
//!
//! Behind a load balancer, an honest node may be next to one that lies, or whose disk is damaged. So a
//! false block ends nothing: it is left out, and counted. There are two cases:
//!
//! - Its hash is right, and it breaks a rule. The hash commits to everything that the block was judged
//!   by, so the block will always be false, and is left out wherever it appears again.
//! - Its hash or its work is wrong. That says nothing about the block that it claims to be, which an
//!   honest node has. From then on every answer is checked as it arrives, and an answer with such a block
//!   is requested again over another connection.
//!
//! The second case hashes blocks twice, here and in the replay. It begins only with the first false
//! block, so following an honest node costs nothing more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use plait_engine::header::LEN;
use plait_engine::verify::{Failure, Level, Verifier};
use plait_engine::{BlockHash, ChainwebVersion, HeaderRef, RawHeader};
use tokio::task::spawn_blocking;
use zerocopy::FromBytes;

use super::catch_up::is_of_the_future;
use super::error::FollowError;
use super::state::State;
use crate::inlet::now;

/// False blocks to remember. With more than that, all are forgotten, and will be found false once
/// more.
const REFUTED_MAX: usize = 4096;

/// What is known to be false.
#[derive(Debug)]
pub(super) struct Lies {
    version: ChainwebVersion,
    /// Where they are reported.
    state: Option<State>,
    /// Whether any block was false so far.
    any: AtomicBool,
    /// Hashes of blocks that break a rule, with the reasons.
    refuted: Mutex<HashMap<BlockHash, FollowError>>,
}

impl Lies {
    /// Begins with nothing known to be false.
    pub(super) fn new(version: ChainwebVersion, state: Option<State>) -> Self {
        Self { version, state, any: AtomicBool::new(false), refuted: Mutex::default() }
    }

    /// The network whose rules apply.
    pub(super) const fn version(&self) -> ChainwebVersion {
        self.version
    }

    /// Notes that this block is false, and why.
    pub(super) fn note(&self, raw: &RawHeader, error: &FollowError) {
        self.report(error);
        // If the block's own hash or work is wrong, its hash may be that of a true block.
        if first_false(self.version, std::slice::from_ref(raw)).is_none() {
            let mut refuted = self.refuted();
            if refuted.len() >= REFUTED_MAX {
                refuted.clear();
            }
            refuted.insert(raw.hash, again(error));
        }
    }

    /// Why the block with this hash is false, if it is known to be false.
    pub(super) fn why(&self, hash: &BlockHash) -> Option<FollowError> {
        if self.any.load(Ordering::Relaxed) { self.refuted().get(hash).map(again) } else { None }
    }

    /// The number of these whole records before the first one whose hash or work is wrong, and the error
    /// of that one. Checks nothing as long as no block was false.
    pub(super) async fn sound(
        &self,
        records: &Bytes,
    ) -> Result<(usize, Option<FollowError>), FollowError> {
        if !self.any.load(Ordering::Relaxed) {
            return Ok((records.len() / LEN, None));
        }
        let (version, all) = (self.version, records.clone());
        let first = spawn_blocking(move || {
            let all = <[RawHeader]>::ref_from_bytes(&all).unwrap_or_default();
            first_false(version, all).ok_or(all.len())
        });
        Ok(match first.await {
            Ok(Ok((number, text))) => {
                let error = FollowError::Rules(text);
                self.report(&error);
                (number, Some(error))
            }
            Ok(Err(count)) => (count, None),
            Err(error) => return Err(FollowError::Store(error.to_string())),
        })
    }

    /// Whether one of these blocks is the first false one: later ones are found as they arrive.
    pub(super) async fn exposes(&self, blocks: Vec<RawHeader>) -> Result<bool, FollowError> {
        if self.any.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let version = self.version;
        let found = spawn_blocking(move || first_false(version, &blocks)).await;
        let found = found.map_err(|error| FollowError::Store(error.to_string()))?;
        if let Some((_, text)) = &found {
            self.report(&FollowError::Rules(text.clone()));
        }
        Ok(found.is_some())
    }

    /// Counts a false block.
    fn report(&self, error: &FollowError) {
        self.any.store(true, Ordering::Relaxed);
        if let Some(state) = &self.state {
            state.leave_out(error);
        }
    }

    /// Nothing that holds this lock panics.
    fn refuted(&self) -> MutexGuard<'_, HashMap<BlockHash, FollowError>> {
        self.refuted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A copy of the reason.
fn again(error: &FollowError) -> FollowError {
    match error {
        FollowError::Genesis(text) => FollowError::Genesis(text.clone()),
        FollowError::Rules(text) => FollowError::Rules(text.clone()),
        other => FollowError::Rules(other.to_string()),
    }
}

/// The first of these blocks that is false by itself, and why. A block of the future may be true
/// later.
pub(super) fn first_false(
    version: ChainwebVersion,
    records: &[RawHeader],
) -> Option<(usize, String)> {
    let verifier = Verifier::new(version, Level::Full, now());
    records.iter().enumerate().find_map(|(number, raw)| {
        let name = || format!("chain {}, height {}, block {}", raw.chain, raw.height, raw.hash);
        let header = match HeaderRef::new(raw) {
            Ok(header) => header,
            Err(error) => return Some((number, format!("{}: {error}", name()))),
        };
        let checked = verifier.check(header);
        let is_false = |failure: &Failure| !is_of_the_future(failure);
        let failures = checked.failures();
        failures.iter().any(is_false).then(|| (number, format!("{}: {failures}", name())))
    })
}
