use std::mem;

use super::link::Link;
use super::pipeline::Flow;
use super::source::{Item, Place};
use super::stage::{CheckedChunk, Stage};
use super::{Event, Rejection, Replay, ReplayError, Wrong};
use crate::header::HeaderRef;
use crate::payload::VerifiedPayload;
use crate::types::Grow;
use crate::verify::Failures;
use crate::write::Held;

impl Flow {
    /// Stops if one of both does.
    pub(super) const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::On, Self::On) => Self::On,
            _ => Self::Stop,
        }
    }
}

impl Replay<'_> {
    /// Stages the blocks of a chunk, up to the first bad record unless it is to keep going.
    pub(super) fn take(
        &mut self,
        stage: &Stage,
        chunk: CheckedChunk,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ReplayError> {
        let skips = chunk.chunk().skips();
        self.summary.foreign = self.summary.foreign.saturating_add(skips.foreign);
        self.summary.bare = self.summary.bare.saturating_add(skips.bare);
        let known = self.count_known(&chunk)?;
        stage.skip_checks(known == chunk.chunk().len());
        if known == chunk.chunk().len() {
            return Ok(Flow::On);
        }
        self.look_at_clock();
        let chunk = chunk.checked(&self.verifier);
        for item in chunk.chunk().items(known) {
            let flow = match item {
                Item::Wrong(place, wrong) => {
                    self.reject(&Rejection::new(place.clone(), None, wrong), observer)
                }
                Item::Record(number) => self.record(&chunk, number, observer)?,
            };
            if flow == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::On)
    }

    /// Stages the block that a record is, and what it carries. A payload that is wrong does not stop
    /// its header, which is right without it: blocks above would wait for it for ever.
    fn record(
        &mut self,
        chunk: &CheckedChunk,
        number: usize,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ReplayError> {
        let checked = match chunk.outcome(number) {
            None => return Ok(Flow::On),
            Some(Err(error)) => {
                return Ok(self.reject_record(chunk, number, &(*error).into(), observer));
            }
            Some(Ok(checked)) => checked,
        };
        let payload = chunk.payload(number);
        match self.link_any(checked)? {
            Link::Staged(..) | Link::Known => self.carry(checked.header(), payload)?,
            Link::Waits(_, failure) if self.connected => {
                let wrong = Failures::from(failure).into();
                return Ok(self.reject_record(chunk, number, &wrong, observer));
            }
            Link::Waits(header, _) => {
                self.summary.waiting.grow(1);
                let place = chunk.chunk().place(number).to_string();
                let payload = payload.and_then(|payload| payload.as_ref().ok());
                self.writer.defer(header, &place, payload)?;
            }
            // One that is wrong in itself may well name another payload: of that nothing is said.
            Link::Broken(failures) => {
                return Ok(self.reject_record(chunk, number, &failures.into(), observer));
            }
        }
        let flow = self.reject_starts(&chunk.chunk().place(number), observer);
        Ok(match payload {
            Some(Err(wrong)) => self.reject_record(chunk, number, wrong, observer).and(flow),
            Some(Ok(_)) | None => flow,
        })
    }

    /// Reports blocks that were admitted without their parents, and of which the block at `place`
    /// shows that they are wrong.
    pub(super) fn reject_starts(
        &mut self,
        place: &Place,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Flow {
        let mut flow = Flow::On;
        for (header, failures) in mem::take(&mut self.wrong_starts) {
            let wrong = Wrong::Start(failures);
            let rejection = Rejection::new(place.clone(), Some(header.view().raw()), &wrong);
            if self.connected {
                // It is not what the node sent that is wrong.
                tracing::warn!("{rejection}");
            } else {
                flow = self.reject(&rejection, observer).and(flow);
            }
        }
        flow
    }

    /// Reports that a record, or what its block carries, is not stored.
    fn reject_record(
        &mut self,
        chunk: &CheckedChunk,
        number: usize,
        wrong: &Wrong,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Flow {
        let raw = chunk.chunk().records().get(number);
        self.reject(&Rejection::new(chunk.chunk().place(number), raw, wrong), observer)
    }

    /// Stages what a block carries that is staged or stored, if it came with it.
    pub(super) fn carry(
        &mut self,
        header: HeaderRef<'_>,
        payload: Option<&Result<VerifiedPayload, Wrong>>,
    ) -> Result<(), ReplayError> {
        let Some(Ok(payload)) = payload else { return Ok(()) };
        let payload = payload.clone();
        let is_new = match self.writer.bulk() {
            Some(bulk) => bulk.stage_payload(header, payload)?,
            None => self.writer.stage_payload(header, payload)?,
        };
        self.summary.payloads.grow(u64::from(is_new));
        Ok(())
    }

    /// How many records at the beginning of a chunk are stored already, byte by byte. Those are done:
    /// what they carry, unless that is wrong, is staged if it is new.
    fn count_known(&mut self, chunk: &CheckedChunk) -> Result<usize, ReplayError> {
        // In front of them may be what is no record.
        let items = chunk.chunk().items(0);
        let numbers = items.map_while(|item| match item {
            Item::Record(number) => Some(number),
            Item::Wrong(..) => None,
        });
        let mut known = 0;
        for number in numbers {
            let Some(bulk) = self.writer.bulk() else { break };
            let record = chunk.chunk().records().get(number);
            let Some(Ok(header)) = record.map(HeaderRef::new) else { break };
            let payload = chunk.payload(number);
            if bulk.holds(header)? != Held::Yes || matches!(payload, Some(Err(_))) {
                break;
            }
            self.carry(header, payload)?;
            known.grow(1);
        }
        self.summary.known.grow(known as u64);
        Ok(known)
    }

    pub(super) fn reject(
        &mut self,
        rejection: &Rejection<'_>,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Flow {
        self.summary.rejected.grow(1);
        for name in rejection.wrong.names() {
            self.rejected_by.entry(name).or_default().grow(1);
        }
        observer(Event::Rejected(rejection));
        if self.keep_going { Flow::On } else { Flow::Stop }
    }
}
