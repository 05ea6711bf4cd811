use std::time::Duration;

use plait_engine::RawHeader;
use plait_engine::push::Outcome;
use plait_engine::replay::source::{Record, push_text};
use tokio::select;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::answer::Answer;
use super::error::FollowError;
use super::gap::{held, stored};
use super::session::{BATCH, Session};
use super::siblings;
use super::sse::Parser;
use crate::clock::after;
use crate::metrics::FollowPhase;

/// Bytes of an event: a block with its payload.
const EVENT_BYTES: usize = 16 << 20;

/// Bytes between two new blocks that belong to no block: empty lines, comments, and other events.
const VAIN_BYTES_MAX: usize = 1 << 20;

/// Events in a row whose blocks are already stored: more than a branch can bring while their events
/// wait.
const REPEATS_MAX: usize = 8192;

/// How long the stream may be silent: Plait sends an empty line every 20 seconds, by default. A
/// chainweb-node sends only events, on mainnet01 every two seconds.
const SILENCE: Duration = Duration::from_secs(90);

/// Blocks of events that may have missing parents, or be of the future, between two checks of the
/// cut.
const STRAYS_MAX: usize = 4096;

/// The time between two checks of the cut after an event with a missing parent.
const GAP_TIME: Duration = Duration::from_secs(1);

/// Keeps in step with the node of `session`, until it fails.
///
/// Events bring blocks at once. Regular checks of the cut find everything that events do not bring,
/// so nothing depends on them.
pub(super) async fn follow(session: &Session) -> Result<(), FollowError> {
    // Before the cut: the stream then has the blocks that join in between.
    let answer = session.node.updates().await?;
    let phase = if answer.is_some() { FollowPhase::Live } else { FollowPhase::Polling };
    let mut events = answer.map(Events::new);
    session.step().await?;
    session.state.enter(phase);
    let mut poll = interval_at(after(Instant::now(), session.poll_time()), session.poll_time());
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let around = session.config.siblings_time;
    let mut look_around = (!around.is_zero()).then(Instant::now);
    let mut looked = Instant::now();
    let gap_time = GAP_TIME.min(session.poll_time());
    let (mut gap, mut strays, mut repeats) = (false, 0_usize, 0_usize);
    loop {
        select! {
            blocks = next(&mut events) => match blocks {
                Ok(blocks) if blocks.is_empty() => {
                    // The stream ends when the node stops, and the next node may be asked at once.
                    let (path, why) = ("/header/updates".to_owned(), "the stream has ended".to_owned());
                    return Err(FollowError::Broken { path, why });
                }
                Ok(blocks) => {
                    let (new_strays, known) = push(session, blocks).await?;
                    strays = strays.saturating_add(new_strays);
                    repeats = known.map_or(0, |known| repeats.saturating_add(known));
                    if let (None, Some(events)) = (known, &mut events) {
                        events.forgive();
                    }
                    gap |= strays > 0;
                    if repeats > REPEATS_MAX {
                        let text = format!("{repeats} events of blocks that are stored already");
                        return Err(FollowError::content("/header/updates", text));
                    }
                    if strays > STRAYS_MAX {
                        let text = format!("{strays} of its events, one after the other");
                        return Err(FollowError::Unconnected(text));
                    }
                }
                Err(error) => return Err(error),
            },
            _ = poll.tick() => gap = true,
            () = sleep_until(after(looked, gap_time)), if gap => {
                session.step().await?;
                session.state.enter(phase);
                (gap, strays, looked) = (false, 0, Instant::now());
            }
            () = at(look_around) => {
                siblings::fetch(session).await?;
                look_around = Some(after(Instant::now(), around));
            }
        }
    }
}

/// Ends then; never, if that is not said.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The blocks of the next events; none at the end.
async fn next(events: &mut Option<Events>) -> Result<Vec<RawHeader>, FollowError> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

/// Stores blocks of events; returns how many are not stored for now, and how many were stored before,
/// unless one is new.
async fn push(
    session: &Session,
    blocks: Vec<RawHeader>,
) -> Result<(usize, Option<usize>), FollowError> {
    let (mut strays, mut known) = (0_usize, Some(0_usize));
    for batch in blocks.chunks(BATCH) {
        let outcomes = session.push(batch).await?;
        for (raw, outcome) in batch.iter().zip(&outcomes) {
            known = known.filter(|_| stored(std::slice::from_ref(outcome)) == 0);
            let again = usize::from(matches!(outcome, Outcome::Known));
            known = known.map(|known| known.saturating_add(again));
            match held(raw, outcome) {
                // The block is in the cut, and arrives with the missing blocks below it, or once
                // its time has come.
                Err(FollowError::Unconnected(_) | FollowError::Clock(_)) => {
                    strays = strays.saturating_add(1);
                }
                other => other?,
            }
        }
    }
    Ok((strays, known))
}

/// A stream of events.
struct Events {
    answer: Answer,
    parser: Parser,
    /// Bytes that arrived since the last new block and belong to no block, or to one that is not complete.
    vain: usize,
}

impl Events {
    fn new(answer: Answer) -> Self {
        Self { answer, parser: Parser::new(EVENT_BYTES), vain: 0 }
    }

    /// The blocks that come next, those that are there at once together; none at the end.
    ///
    /// May be dropped while it waits.
    async fn next(&mut self) -> Result<Vec<RawHeader>, FollowError> {
        loop {
            let blocks = self.whole()?;
            if self.vain.saturating_sub(self.parser.held()) > VAIN_BYTES_MAX {
                let text = format!("{} bytes of events without any new block", self.vain);
                return Err(FollowError::content(self.answer.path(), text));
            }
            if !blocks.is_empty() {
                return Ok(blocks);
            }
            match self.answer.event_bytes(SILENCE).await? {
                Some(bytes) => {
                    self.vain = self.vain.saturating_add(bytes.len());
                    self.parser.push(&bytes);
                }
                None => return Ok(Vec::new()),
            }
        }
    }

    /// Notes that one of its blocks was new.
    const fn forgive(&mut self) {
        self.vain = 0;
        self.answer.forgive_crumbs();
    }

    /// The blocks of the events that have come.
    fn whole(&mut self) -> Result<Vec<RawHeader>, FollowError> {
        let path = self.answer.path().to_owned();
        let mut records = Vec::new();
        loop {
            let event = self.parser.next();
            let event = event.map_err(|_| FollowError::content(&path, "an event that is none"))?;
            let Some(event) = event else { break };
            if event.name == "BlockHeader" {
                self.vain = self.vain.saturating_sub(event.data.len());
                push_text(&mut records, event.data.as_bytes());
            }
        }
        let block = |record: Record| record.header;
        let blocks = records.into_iter().map(block).collect::<Result<Vec<_>, _>>();
        blocks.map_err(|wrong| FollowError::content(&path, wrong.to_string()))
    }
}
