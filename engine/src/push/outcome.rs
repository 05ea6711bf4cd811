use crate::header::RawHeader;
use crate::replay::Wrong;
use crate::replay::source::RawPayload;
use crate::verify::{Failure, Level};

/// A block that is pushed.
#[derive(Debug)]
pub struct Block {
    /// Its header.
    pub header: RawHeader,
    /// What it carries, if that came with it; else that may come later.
    pub payload: Option<RawPayload>,
}

impl From<RawHeader> for Block {
    fn from(header: RawHeader) -> Self {
        Self { header, payload: None }
    }
}

/// What came of a block that was pushed.
#[derive(Debug)]
pub enum Outcome {
    /// It is stored, verified up to this level.
    Stored(Level),
    /// It was stored before, or came twice.
    Known,
    /// Its header is stored, now at this level or before; the payload that came with it is refused.
    HeaderOnly(Option<Level>, Wrong),
    /// A block below it is not stored, which is the failure: it may come again once that is.
    Waits(Failure),
    /// It is wrong, by every rule that is named.
    Refused(Wrong),
}

impl Outcome {
    /// In one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stored(_) | Self::HeaderOnly(Some(_), _) => "stored",
            Self::Known | Self::HeaderOnly(None, _) => "known",
            Self::Waits(_) => "waits",
            Self::Refused(_) => "refused",
        }
    }

    /// Whether the header is stored.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self, Self::Stored(_) | Self::Known | Self::HeaderOnly(..))
    }

    /// Whether all that came is stored.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self, Self::Stored(_) | Self::Known)
    }
}

/// How many blocks had each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Stored now.
    pub stored: u64,
    /// Stored before.
    pub known: u64,
    /// Without a block below them.
    pub waiting: u64,
    /// Wrong.
    pub refused: u64,
    /// Wrong payloads of blocks that are counted as stored or known.
    pub payloads_refused: u64,
}

impl Counts {
    /// Counts these outcomes, too.
    pub fn add<'a>(&mut self, outcomes: impl IntoIterator<Item = &'a Outcome>) {
        for outcome in outcomes {
            let count = match outcome {
                Outcome::Stored(_) | Outcome::HeaderOnly(Some(_), _) => &mut self.stored,
                Outcome::Known | Outcome::HeaderOnly(None, _) => &mut self.known,
                Outcome::Waits(_) => &mut self.waiting,
                Outcome::Refused(_) => &mut self.refused,
            };
            *count = count.saturating_add(1);
            let payload_refused = matches!(outcome, Outcome::HeaderOnly(..));
            self.payloads_refused = self.payloads_refused.saturating_add(payload_refused.into());
        }
    }

    /// All of them.
    #[must_use]
    pub const fn records(&self) -> u64 {
        let held = self.stored.saturating_add(self.known);
        held.saturating_add(self.waiting).saturating_add(self.refused)
    }
}
