use super::link::Link;
use super::pipeline::Flow;
use super::source::Item;
use super::stage::{CheckedChunk, Stage};
use super::{Event, Rejection, Replay, ReplayError, Wrong};
use crate::header::HeaderRef;
use crate::write::Held;

impl Replay<'_> {
    /// Stages the blocks of a chunk, up to the first bad record unless it is to keep going.
    pub(super) fn take(
        &mut self,
        stage: &Stage,
        chunk: CheckedChunk,
        observer: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ReplayError> {
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
            Some(Err(error)) => Wrong::Bytes(*error),
            Some(Ok(checked)) => match self.link_any(checked)? {
                Link::Done => return Ok(Flow::On),
                Link::Waits(header, _) => {
                    self.summary.waiting += 1;
                    self.writer.defer(header, &chunk.chunk().place(number).to_string());
                    return Ok(Flow::On);
                }
                Link::Broken(failures) => failures.into(),
            },
        };
        let raw = chunk.chunk().records().get(number);
        Ok(self.reject(&Rejection::new(chunk.chunk().place(number), raw, &wrong), observer))
    }

    /// How many records at the beginning of a chunk are stored already, byte by byte. Those are
    /// done.
    fn count_known(&mut self, chunk: &CheckedChunk) -> Result<usize, ReplayError> {
        let Some(bulk) = self.writer.bulk() else { return Ok(0) };
        let mut known = 0;
        for header in chunk.chunk().records().iter().map(HeaderRef::new).map_while(Result::ok) {
            if bulk.holds(header)? != Held::Yes {
                break;
            }
            known += 1;
        }
        // In front of them may be what is no record.
        let items = chunk.chunk().items(0).take(known);
        let known = items.take_while(|item| matches!(item, Item::Record(_))).count();
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
