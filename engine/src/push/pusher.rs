use super::{Block, Outcome};
use crate::header::RawHeader;
use crate::replay::{Admission, Link, Linker, Wrong};
use crate::types::{Micros, Rank};
use crate::verify::{Checked, Failure, Failures, Hasher, Level, Verifier};
use crate::write::{WriteError, Writer};

/// Stores blocks that come a few at a time.
pub struct Pusher {
    writer: Writer,
    verifier: Verifier,
    hasher: Hasher,
    /// Whether every batch is to outlive a crash of the machine.
    sync: bool,
    /// Whether something that is stored may not outlive one.
    unsynced: bool,
}

impl Pusher {
    /// Pushes with `writer` what passes `level`. With `sync` every batch outlives a crash of the
    /// machine, which costs a write of the disk each.
    #[must_use]
    pub fn new(writer: Writer, level: Level, sync: bool) -> Self {
        let verifier = Verifier::new(writer.version(), level, Micros::new(0));
        Self { writer, verifier, hasher: Hasher::default(), sync, unsynced: true }
    }

    /// Stores those of `blocks` that are right, and tells what came of each, in their order; `now` is
    /// the present time. A block may come before the one that it stands on.
    ///
    /// # Cost
    ///
    /// One commit, and a copy of what is not sealed of the chains that changed.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`], for example when the disk is full. Nothing of the batch is told to be
    /// stored then: if some of it is after all, it is known when it comes again.
    pub fn push(&mut self, blocks: &[Block], now: Micros) -> Result<Vec<Outcome>, WriteError> {
        let pushed = self.link(blocks, now).and_then(|(outcomes, staged)| {
            self.keep(&outcomes, staged)?;
            Ok(outcomes)
        });
        // What is left of a batch that failed is no part of the next one.
        pushed.inspect_err(|_| self.writer.discard())
    }

    /// Commits what is staged, and returns when all that is told to be stored is safe.
    fn keep(&mut self, outcomes: &[Outcome], staged: bool) -> Result<(), WriteError> {
        if staged {
            self.unsynced = true;
            let committed = self.writer.commit();
            // Also what was written before sealing failed: it is what the disk has.
            self.writer.publish();
            committed?;
        }
        if self.sync && self.unsynced && outcomes.iter().any(Outcome::is_held) {
            self.writer.sync()?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// What writes, for work of another kind, after which nothing may be staged.
    pub const fn writer(&mut self) -> &mut Writer {
        // What that work leaves need not outlive a crash of the machine.
        self.unsynced = true;
        &mut self.writer
    }

    /// Stages what is right, by ascending height, so that parents come first; returns what came of
    /// each block, and whether something is staged.
    fn link(&mut self, blocks: &[Block], now: Micros) -> Result<(Vec<Outcome>, bool), WriteError> {
        self.verifier.set_now(now);
        let headers: Vec<RawHeader> = blocks.iter().map(|block| block.header).collect();
        let mut checked = Vec::with_capacity(headers.len());
        self.verifier.check_many(&mut self.hasher, &headers, &mut checked);
        let mut checked: Vec<_> = blocks.iter().zip(checked).enumerate().collect();
        checked.sort_by_key(|(_, (block, _))| block.header.height.get());
        let (mut outcomes, mut staged) = (Vec::with_capacity(blocks.len()), false);
        for (index, (block, checked)) in checked {
            let outcome = match checked {
                Err(error) => Outcome::Refused(error.into()),
                Ok(checked) => {
                    let (outcome, is_new) = self.stage(block, checked)?;
                    staged |= is_new;
                    outcome
                }
            };
            outcomes.push((index, outcome));
        }
        outcomes.sort_by_key(|(index, _)| *index);
        Ok((outcomes.into_iter().map(|(_, outcome)| outcome).collect(), staged))
    }

    /// Stages a block if it is right, and what it carries; also whether one of both is new.
    fn stage(
        &mut self,
        block: &Block,
        checked: Checked<'_>,
    ) -> Result<(Outcome, bool), WriteError> {
        let payload = block.payload.as_ref().map(|payload| payload.verify(&block.header));
        let payload = payload.transpose();
        let (admission, header) = (Admission::Genesis, checked.header());
        let (writer, verifier) = (&mut self.writer, &self.verifier);
        let (admission, wrong_starts) = (&admission, Vec::new());
        let mut linker = Linker { writer, verifier, admission, wrong_starts };
        let outcome = linker.link(checked, false)?;
        for (start, failures) in linker.wrong_starts {
            // What was pushed is right.
            let wrong = Wrong::Start(failures);
            let (chain, Rank { height, hash }) = (start.view().chain(), start.view().rank());
            tracing::warn!("chain {chain}, height {height}, block {hash}: {wrong}");
        }
        let outcome = Outcome::from(outcome);
        let mut is_new = matches!(outcome, Outcome::Stored(_));
        let outcome = match (payload, outcome) {
            (Ok(Some(payload)), outcome) if outcome.is_held() => {
                is_new |= self.writer.stage_payload(header, payload)?;
                outcome
            }
            (Err(wrong), Outcome::Stored(level)) => Outcome::HeaderOnly(Some(level), wrong),
            (Err(wrong), Outcome::Known) => Outcome::HeaderOnly(None, wrong),
            // Of a header that is wrong itself, or waits, the payload may come again with it.
            (_, outcome) => outcome,
        };
        Ok((outcome, is_new))
    }
}

impl From<Link<'_>> for Outcome {
    fn from(link: Link<'_>) -> Self {
        match link {
            Link::Staged(_, level) => Self::Stored(level),
            Link::Known => Self::Known,
            Link::Waits(_, failure) => Self::Waits(failure),
            Link::Broken(failures) => match only(&failures) {
                Some(failure) => Self::Waits(failure),
                None => Self::Refused(Wrong::Rules(failures)),
            },
        }
    }
}

/// The failure, if there is nothing else than that a block below is missing.
fn only(failures: &Failures) -> Option<Failure> {
    let mut failures = failures.iter();
    match (failures.next(), failures.next()) {
        (Some(failure), None) => failure.is_missing().then_some(*failure),
        _ => None,
    }
}
