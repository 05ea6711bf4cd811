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

    /// Stores the valid ones of `blocks`, and returns the outcome of each, in their order; `now` is
    /// the present time. A block may come before its parents.
    ///
    /// # Cost
    ///
    /// One commit, whatever branches there are.
    ///
    /// # Errors
    ///
    /// [`WriteError::Store`], for example when the disk is full. No block of the batch is then
    /// reported as stored: if some are stored after all, they are reported as known when they come
    /// again.
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
            let committed = self.writer.commit_some();
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use ruint::aliases::U256;

    use super::*;
    use crate::header::{AdjacentRecord, Header};
    use crate::open::Engine;
    use crate::query::Reader;
    use crate::store::History;
    use crate::tree::{Forest, Place, Sealing};
    use crate::types::{BlockHash, BlockHeight, ChainwebVersion, RunLength, Weight};

    const NETWORK: ChainwebVersion = ChainwebVersion::Development;

    /// Makes blocks of one height of all chains above those of another; branches differ by their
    /// mark.
    fn above(below: &[Header], mark: u8) -> Vec<Header> {
        let block = |block: &Header| {
            let view = block.view();
            let height = view.height().get() + 1;
            let named = NETWORK.graph_at(view.height()).adjacent(view.chain()).unwrap();
            let named = named.map(|chain| (chain, below[chain.index()].view().hash()));
            let mut hash = [mark; 32];
            hash[0] = u8::try_from(view.chain().get()).unwrap();
            hash[1] = u8::try_from(height).unwrap();
            let raw = RawHeader {
                parent: view.hash(),
                adjacents: AdjacentRecord::new(named),
                weight: Weight::new(view.weight().get() + U256::from(1)).to_le(),
                height: height.into(),
                hash: BlockHash::new(hash),
                ..*view.raw()
            };
            Header::new(raw).unwrap()
        };
        below.iter().map(block).collect()
    }

    fn push(pusher: &mut Pusher, blocks: &[Header]) {
        let blocks: Vec<Block> = blocks.iter().map(|block| (*block.view().raw()).into()).collect();
        let outcomes = pusher.push(&blocks, Micros::new(i64::MAX)).unwrap();
        assert!(outcomes.iter().all(Outcome::is_held), "{outcomes:?}");
    }

    /// How often the trunk of each chain lost blocks.
    fn epochs(reader: &Reader) -> Vec<u64> {
        let moment = reader.moment();
        moment.tree().iter().map(|(_, forest)| forest.epoch()).collect()
    }

    /// The number of chains whose heaviest branch is sealed up to a few heights below its tip.
    fn settled(reader: &Reader) -> usize {
        let moment = reader.moment();
        let is_settled = |forest: &Forest| {
            let (tip, trunk) = (forest.tip().unwrap(), forest.trunk().unwrap());
            let is_joined = forest.join(Place::Node(tip)) == trunk.end().parent();
            is_joined && forest.rank(tip).height.get() - trunk.end().get() < 10
        };
        moment.tree().iter().filter(|(_, forest)| is_settled(forest)).count()
    }

    #[test]
    fn another_branch_is_sealed_over_many_commits_and_each_finds_all_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let run_length = RunLength::new(NonZeroU32::new(4).unwrap());
        let sealing = Sealing { run_length, window: 4 };
        let (path, network) = (folder.path(), Some(NETWORK));
        let (writer, reader) =
            Engine::open_or_create_sealing(path, network, History::Full, sealing).unwrap();
        let mut pusher = Pusher::new(writer, Level::None, false);
        let genesis: Vec<Header> = NETWORK.genesis_headers().collect();
        let (mut branches, mut all) = ([genesis.clone(), genesis.clone()], genesis);
        let mut grow = |pusher: &mut Pusher, branch: usize| {
            let mark = u8::try_from(branch).unwrap() + 1;
            branches[branch] = above(&branches[branch], mark);
            push(pusher, &branches[branch]);
            all.extend(&branches[branch]);
            all.clone()
        };
        (0..60).for_each(|_| drop(grow(&mut pusher, 0)));
        (0..60).for_each(|_| drop(grow(&mut pusher, 1)));
        assert_eq!(settled(&reader), 20);
        let mut moves = 0;
        for height in 61..230 {
            let before = epochs(&reader);
            let all = grow(&mut pusher, 1);
            let view = reader.view();
            let after = epochs(&reader);
            let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
            // One commit has room for one or two steps of a run's length each, and each chain takes
            // some.
            assert!(changed <= 4, "{changed} chains at {height}");
            moves += changed;
            for block in all.iter().rev().step_by(31) {
                let block = block.view();
                let found = view.header(block.chain(), &block.hash()).unwrap();
                assert_eq!(found.unwrap().view(), block);
                let branch = usize::from(block.hash().as_bytes()[31] != 1);
                let low = BlockHeight::new(block.height().get() / 2);
                let below = view.ancestor(block.chain(), block.rank(), low).unwrap().unwrap();
                let mark = below.view().hash().as_bytes()[31];
                assert!(low.get() == 0 || usize::from(mark) == branch + 1);
                assert_eq!(below.view().height(), low);
            }
            let cut = view.cut(None).unwrap();
            let heights = cut.blocks().map(|(_, height, _)| height.get());
            assert!(heights.eq(std::iter::repeat_n(height, 20)));
        }
        assert!(moves >= 20 && settled(&reader) == 20, "{moves} moves");
    }
}
