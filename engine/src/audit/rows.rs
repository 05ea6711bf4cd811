use zerocopy::{FromBytes, IntoBytes};

use super::windows::Draft;
use crate::store::{Column, Snapshot, Sweep, TrunkKey};
use crate::types::{BlockHeight, ChainId, RunLength};

/// The rows of one chain in one column family, by ascending height.
///
/// What cannot be read is passed over: as many heights as a run has, and if what follows cannot be
/// read either, twice as many each time, so that there is an end to it.
pub(super) struct Rows<'a> {
    column: Column,
    chain: ChainId,
    sweep: Sweep<'a>,
    state: State,
    /// The least height that the next row can have.
    next: BlockHeight,
    run_length: RunLength,
    /// Heights to pass over when the next row cannot be read.
    step: u64,
}

#[derive(Clone, Copy)]
enum State {
    Reading,
    /// What follows cannot be read; where to try again.
    Lost(BlockHeight),
    /// There is nowhere to try again.
    Ended,
}

/// Whether a row is what its key says.
pub(super) enum Row {
    Good,
    Damaged,
}

impl<'a> Rows<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, column: Column, chain: ChainId) -> Self {
        let first = TrunkKey::new(chain, BlockHeight::new(0));
        // The least key of the next chain, as keys of no other are between the two.
        let end = TrunkKey::new(ChainId::new(chain.get().saturating_add(1)), BlockHeight::new(0));
        let sweep = snapshot.sweep(column, first.as_bytes(), Some(end.as_bytes()));
        let run_length = snapshot.meta().run_length;
        let (state, next, step) = (State::Reading, first.first(), run_length.get().into());
        Self { column, chain, sweep, state, next, run_length, step }
    }

    /// The height of the next row, or where to try again.
    pub(super) fn next_height(&self) -> Option<BlockHeight> {
        match (self.state, self.sweep.row()) {
            (State::Lost(height), _) => Some(height),
            (State::Ended, _) | (State::Reading, Ok(None)) => None,
            (State::Reading, Ok(Some((key, _)))) => Some(height(key)),
            (State::Reading, Err(_)) => Some(BlockHeight::new(0)),
        }
    }

    /// Passes over rows below `height`, where a run of the trunk begins.
    pub(super) fn skip_to(&mut self, height: BlockHeight) {
        if self.next_height().is_some_and(|next| next < height) {
            self.resume(height);
        }
    }

    /// Lends the rows at heights from `first` to `last` to `visit`. Returns whether all could be read
    /// and were what they should be; `draft` has been told of the others.
    pub(super) fn read(
        &mut self,
        first: BlockHeight,
        last: BlockHeight,
        draft: &mut Draft,
        mut visit: impl FnMut(&[u8], &[u8], &mut Draft) -> Row,
    ) -> bool {
        match self.state {
            State::Reading => {}
            State::Lost(height) if height <= last => self.resume(height),
            State::Lost(_) | State::Ended => return false,
        }
        let mut whole = true;
        loop {
            match self.sweep.row() {
                Ok(Some((key, _))) if height(key) > last => return whole,
                Ok(Some((key, value))) => {
                    self.next = match self.column {
                        Column::Trunk | Column::Sums => self.run_length.end(height(key)),
                        _ => height(key),
                    };
                    self.step = self.run_length.get().into();
                    if matches!(visit(key, value, draft), Row::Damaged) {
                        draft.unreadable(
                            self.column,
                            self.chain,
                            height(key),
                            self.sweep.damaged(),
                        );
                        whole = false;
                    }
                    self.sweep.advance();
                }
                Ok(None) => return whole,
                Err(error) => {
                    let from = self.next.max(first);
                    draft.unreadable(self.column, self.chain, from, error);
                    whole = false;
                    match self.pass_over(from) {
                        Some(height) if height <= last => self.resume(height),
                        Some(_) | None => return false,
                    }
                }
            }
        }
    }

    fn resume(&mut self, height: BlockHeight) {
        self.sweep.seek(TrunkKey::new(self.chain, height).as_bytes());
        (self.state, self.next) = (State::Reading, height);
    }

    /// Where to try again when nothing can be read at a height.
    fn pass_over(&mut self, height: BlockHeight) -> Option<BlockHeight> {
        let next = height.get().checked_add(self.step).map(BlockHeight::new);
        self.state = next.map_or(State::Ended, State::Lost);
        self.step = self.step.saturating_mul(2);
        next
    }
}

/// The height in a key; of what is no key the least, so that it is looked at.
fn height(key: &[u8]) -> BlockHeight {
    TrunkKey::ref_from_prefix(key).map_or(BlockHeight::new(0), |(key, _)| key.first())
}
