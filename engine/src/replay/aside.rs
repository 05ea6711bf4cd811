use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rayon::prelude::*;

use super::link::Link;
use super::source::Place;
use super::stage::CHUNK_RECORDS;
use super::{Event, Rejection, Replay, ReplayError, Wrong};
use crate::header::Header;
use crate::payload::VerifiedPayload;
use crate::store::Pending;
use crate::types::Grow;
use crate::verify::Failures;

/// How often an observer is told how far the hash index is.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Replay<'_> {
    /// Takes up the blocks that were put aside, by ascending height, now that all inputs are read.
    /// Those whose parents did not come stay aside, unless they are admitted without.
    ///
    /// A bad record among them does not end this, with or without `keep_going`: they are not in the order of the
    /// input, and the good ones that came before the bad one must be stored.
    ///
    /// # Errors
    ///
    /// As for [`Replay::run`].
    pub fn finish(
        &mut self,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<super::Summary, ReplayError> {
        let (of, mut done) = (std::mem::take(&mut self.summary.waiting), 0_u64);
        self.condemn()?;
        let mut last: Option<Header> = None;
        while !self.is_stopped() {
            let after = last.as_ref().map(Header::view);
            let pending = self.writer.pending(after, CHUNK_RECORDS)?;
            let Some(end) = pending.last() else { break };
            last = Some(end.header);
            self.look_at_clock();
            // What comes from the disk is verified again, the headers one by one below.
            let payloads = pending.par_iter().map(carried).collect::<Vec<_>>();
            for (block, payload) in pending.iter().zip(&payloads) {
                self.take_up(block, payload.as_ref(), observer)?;
            }
            self.commit()?;
            done.grow(pending.len() as u64);
            observer(Event::Held { done, of, progress: self.progress(0, None) });
        }
        if !self.is_stopped() {
            self.index(observer)?;
            self.forget_marks()?;
        }
        self.writer.sync()?;
        self.writer.flush()?;
        if last.is_some() && self.summary.waiting == 0 && !self.summary.stopped {
            self.writer.tidy()?;
        }
        self.show_now();
        Ok(self.summary)
    }

    /// Sorts what came in order into the hash index.
    fn index(&mut self, observer: &mut dyn FnMut(Event<'_>)) -> Result<(), ReplayError> {
        if self.writer.is_indexed() {
            return Ok(());
        }
        let (writer, blocks) = (&mut *self.writer, AtomicU64::new(0));
        let result = thread::scope(|scope| {
            let note = |indexed| blocks.store(indexed, Ordering::Relaxed);
            let indexing = scope.spawn(move || writer.index(&note));
            while !indexing.is_finished() {
                thread::sleep(LOOK_EVERY);
                observer(Event::Indexed(blocks.load(Ordering::Relaxed)));
            }
            indexing.join()
        });
        match result {
            Ok(indexed) => Ok(indexed?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Forgets where inputs were read up to: all of them are stored, to their ends.
    fn forget_marks(&mut self) -> Result<(), ReplayError> {
        for input in &self.marked {
            self.writer.delete_mark(input);
        }
        self.commit()
    }

    fn take_up(
        &mut self,
        block: &Pending,
        payload: Option<&Result<VerifiedPayload, Wrong>>,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), ReplayError> {
        let header = block.header.view();
        let place = || Place::Aside(block.place.clone());
        let link = match self.condemned.remove(&header.hash()) {
            Some(failures) => Link::Broken(failures),
            None => self.link(self.verifier.check(header), false)?,
        };
        match link {
            Link::Staged(..) | Link::Known => {
                self.carry(header, payload)?;
                self.writer.take_back(block);
                self.reject_starts(&place(), observer);
                if let Some(Err(wrong)) = payload {
                    self.reject(&Rejection::new(place(), Some(header.raw()), wrong), observer);
                }
            }
            Link::Waits(_, failure) => {
                self.summary.waiting.grow(1);
                let wrong = Failures::from(failure).into();
                observer(Event::Waiting(&Rejection::new(place(), Some(header.raw()), &wrong)));
            }
            Link::Broken(failures) => {
                self.writer.take_back(block);
                let wrong = failures.into();
                self.reject(&Rejection::new(place(), Some(header.raw()), &wrong), observer);
            }
        }
        Ok(())
    }
}

/// What a block carries that was put aside.
fn carried(block: &Pending) -> Option<Result<VerifiedPayload, Wrong>> {
    let payload = VerifiedPayload::new(block.payload.clone()?).and_then(|payload| {
        payload.belongs_to(block.header.view())?;
        Ok(payload)
    });
    Some(payload.map_err(Wrong::from))
}
