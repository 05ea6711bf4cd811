use rayon::prelude::*;

use super::pipeline::Flow;
use super::source::Place;
use super::stage::CHUNK_RECORDS;
use super::{Admission, Event, Rejection, Replay, ReplayError, Wrong};
use crate::header::{DEGREE, Header, HeaderRef};
use crate::payload::VerifiedPayload;
use crate::store::Pending;
use crate::types::{BlockHash, ChainId};
use crate::verify::{Adjacents, Checked, Failure, Failures, Level, Parent};

/// What comes of a header when it meets the blocks below it.
pub(super) enum Link<'a> {
    /// It is staged, or it was there before.
    Done,
    /// A block below it is not there, which is the failure.
    Waits(HeaderRef<'a>, Failure),
    /// It breaks these rules.
    Broken(Failures),
}

/// The blocks below a header on the neighbouring chains, or the first that is not there.
type Neighbours = Result<[Header; DEGREE], (ChainId, BlockHash)>;

impl Replay<'_> {
    /// Stages a block if it is right and not stored yet.
    ///
    /// `more` says whether blocks that it needs may still come: where any block is admitted, one
    /// is admitted without them only if not.
    pub(super) fn link<'h>(
        &mut self,
        checked: Checked<'h>,
        more: bool,
    ) -> Result<Link<'h>, ReplayError> {
        let header = checked.header();
        // A block that is wrong in itself may have the hash of another.
        let sound = checked.failures().is_empty();
        if sound && self.writer.holds(header)? {
            self.summary.known += 1;
            return Ok(Link::Done);
        }
        let genesis = self.verifier.is_genesis(header);
        let full = self.verifier.level() == Level::Full && !genesis;
        let parent = self.writer.find(header.parent())?;
        let neighbours = if full { Some(self.neighbours(header)?) } else { None };
        let admitted = self.admission.admits(header.hash())
            && !(full && more && self.admission == Admission::Any);
        let missing = match (&parent, &neighbours) {
            (_, Some(Err((chain, hash)))) => {
                Some(Failure::MissingAdjacentParent { chain: *chain, hash: *hash })
            }
            (None, _) if !genesis => Some(Failure::MissingParent { parent: header.parent() }),
            _ => None,
        };
        Ok(match missing {
            // One that is wrong in itself is not worth waiting for.
            Some(failure) if !admitted && sound && full => Link::Waits(header, failure),
            Some(failure) if !admitted => Link::Broken(checked.with(failure)),
            _ => self.conclude(checked, parent.as_ref(), neighbours.as_ref(), admitted),
        })
    }

    /// Verifies a block against what is there, and stages it.
    fn conclude<'h>(
        &mut self,
        checked: Checked<'h>,
        parent: Option<&Header>,
        neighbours: Option<&Neighbours>,
        admitted: bool,
    ) -> Link<'h> {
        let header = checked.header();
        let below = match parent {
            Some(parent) => Parent::Block(parent.view()),
            None if admitted => Parent::Admitted,
            None => Parent::Missing,
        };
        let adjacents = match neighbours {
            Some(Ok(blocks)) => Adjacents::Blocks(blocks.each_ref().map(Header::view)),
            Some(Err((chain, hash))) if !admitted => Adjacents::Missing(*chain, *hash),
            Some(Err(_)) | None => Adjacents::Admitted,
        };
        let verified = match self.verifier.conclude(checked, below, adjacents) {
            Ok(verified) => verified,
            Err(failures) => return Link::Broken(failures),
        };
        self.height = header.height();
        self.summary.partial += u64::from(verified.level() < self.verifier.level());
        if matches!(below, Parent::Admitted) {
            self.writer.stage_root(verified);
        } else {
            self.writer.stage(verified);
        }
        Link::Done
    }

    /// The adjacent parents of a header, from wherever they are: staged, stored, or genesis blocks.
    fn neighbours(&self, header: HeaderRef<'_>) -> Result<Neighbours, ReplayError> {
        let mut blocks = Vec::with_capacity(DEGREE);
        for (chain, hash) in header.adjacents().iter() {
            let found = match self.writer.find(hash)? {
                Some(block) => Some(block),
                None => self.verifier.genesis_block(chain, hash),
            };
            match found {
                Some(block) => blocks.push(block),
                None => return Ok(Err((chain, hash))),
            }
        }
        Ok(blocks.try_into().map_err(|_| (header.chain(), header.hash())))
    }

    /// Takes up the blocks that were put aside, by ascending height, now that all inputs are read.
    /// Those whose parents did not come stay aside, unless they are admitted without.
    ///
    /// # Errors
    ///
    /// As for [`Replay::run`].
    pub fn finish(
        &mut self,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<super::Summary, ReplayError> {
        self.summary.waiting = 0;
        let mut last: Option<Header> = None;
        while !self.is_stopped() {
            let after = last.as_ref().map(Header::view);
            let pending = self.writer.pending(after, CHUNK_RECORDS)?;
            let Some(end) = pending.last() else { break };
            last = Some(end.header);
            let mut flow = Flow::On;
            // What comes from the disk is verified again, the headers one by one below.
            let payloads = pending.par_iter().map(carried).collect::<Vec<_>>();
            for (block, payload) in pending.iter().zip(&payloads) {
                flow = self.take_up(block, payload.as_ref(), observer)?;
                if flow == Flow::Stop {
                    break;
                }
            }
            self.commit()?;
            observer(Event::Progress(self.progress(0, None)));
            if flow == Flow::Stop {
                break;
            }
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

    fn take_up(
        &mut self,
        block: &Pending,
        payload: Option<&Result<VerifiedPayload, Wrong>>,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ReplayError> {
        let (header, place) = (block.header.view(), Place::Aside(block.place.clone()));
        if let Some(Err(wrong)) = payload {
            self.writer.take_back(block);
            return Ok(self.reject(&Rejection::new(place, Some(header.raw()), wrong), observer));
        }
        match self.link(self.verifier.check(header), false)? {
            Link::Done => {
                self.carry(header, payload)?;
                self.writer.take_back(block);
                Ok(Flow::On)
            }
            Link::Waits(_, failure) => {
                self.summary.waiting += 1;
                let wrong = Failures::from(failure).into();
                observer(Event::Waiting(&Rejection::new(place, Some(header.raw()), &wrong)));
                Ok(Flow::On)
            }
            Link::Broken(failures) => {
                self.writer.take_back(block);
                let wrong = failures.into();
                let rejection = Rejection::new(place, Some(header.raw()), &wrong);
                Ok(self.reject(&rejection, observer))
            }
        }
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
