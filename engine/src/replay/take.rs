use super::link::Link;
use super::pipeline::Flow;
use super::source::Item;
use super::stage::{CheckedChunk, Stage};
use super::{Event, Rejection, Replay, ReplayError, Wrong};
use crate::header::HeaderRef;
use crate::payload::VerifiedPayload;
use crate::verify::Failures;
use crate::write::Held;

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

    /// Stages the block that a record is.
    fn record(
        &mut self,
        chunk: &CheckedChunk,
        number: usize,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ReplayError> {
        let wrong = match chunk.outcome(number) {
            None => return Ok(Flow::On),
            Some(Err(error)) => &Wrong::Bytes(*error),
            Some(Ok(checked)) => match (chunk.payload(number), checked.failures().is_empty()) {
                // One that is wrong in itself may well name another payload.
                (Some(Err(wrong)), true) => wrong,
                (payload, _) => match self.link_any(checked)? {
                    Link::Staged(..) | Link::Known => {
                        self.carry(checked.header(), payload)?;
                        return Ok(Flow::On);
                    }
                    Link::Waits(_, failure) if self.connected => &Failures::from(failure).into(),
                    Link::Waits(header, _) => {
                        self.summary.waiting += 1;
                        let place = chunk.chunk().place(number).to_string();
                        let payload = payload.and_then(|payload| payload.as_ref().ok());
                        self.writer.defer(header, &place, payload)?;
                        return Ok(Flow::On);
                    }
                    Link::Broken(failures) => &failures.into(),
                },
            },
        };
        let raw = chunk.chunk().records().get(number);
        Ok(self.reject(&Rejection::new(chunk.chunk().place(number), raw, wrong), observer))
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
        self.summary.payloads += u64::from(is_new);
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
            known += 1;
        }
        self.summary.known += known as u64;
        Ok(known)
    }

    pub(super) fn reject(
        &mut self,
        rejection: &Rejection<'_>,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Flow {
        self.summary.rejected += 1;
        for name in rejection.wrong.names() {
            *self.rejected_by.entry(name).or_default() += 1;
        }
        observer(Event::Rejected(rejection));
        if self.keep_going { Flow::On } else { Flow::Stop }
    }
}
