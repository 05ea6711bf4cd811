use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use super::numbers::{parse, render};
use super::{Format, Known, Model, Number, Set};

/// The name of the file that says what was begun, and what was said to be done.
pub(super) const LEDGER: &str = "ledger";

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A new process begins.
    Cycle(u64),
    /// A dump is there: number, format, and what it has in which order.
    Dump(u64, Format, Vec<Number>),
    /// A step begins.
    Begin(u64, Step),
    /// The backup that a step makes has this name.
    Named(u64, String),
    /// A replay has read its dump to the end; blocks may wait.
    Ran(u64),
    /// A step was said to be done, with what was said of it.
    Done(u64, Said),
    /// What is held after the process has ended, as the parent has found it.
    Seen(Known),
    /// The restored database is gone.
    Forgot,
}

/// A step that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Opens the database, or makes it.
    Open,
    /// Pushes these blocks, of which some come without what they carry.
    Push(Set, Set),
    /// Replays the dump with this number, from this block of it on.
    Replay(u64, usize),
    /// Makes a backup, and keeps so many.
    Backup(Option<usize>),
    /// Restores this backup.
    Restore(String),
    /// Exports all to the archive.
    Export,
    /// Writes to tables or makes durable what is there, and changes nothing.
    Tend,
}

/// What a step that is done has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Only that.
    Nothing,
    /// That what waits was not taken up.
    Waiting,
    /// That these blocks are held.
    Held(Set),
    /// The checksum of a manifest.
    Checksum(String),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cycle(cycle) => write!(f, "cycle {cycle}"),
            Self::Dump(number, format, blocks) => {
                write!(f, "dump {number} {} {}", format.name(), render(blocks))
            }
            Self::Begin(step, Step::Open) => write!(f, "begin {step} open"),
            Self::Begin(step, Step::Push(blocks, bare)) => {
                write!(f, "begin {step} push {} {}", render(blocks), render(bare))
            }
            Self::Begin(step, Step::Replay(dump, from)) => {
                write!(f, "begin {step} replay {dump} {from}")
            }
            Self::Begin(step, Step::Backup(keep)) => {
                write!(f, "begin {step} backup {}", keep.unwrap_or(0))
            }
            Self::Begin(step, Step::Restore(id)) => write!(f, "begin {step} restore {id}"),
            Self::Begin(step, Step::Export) => write!(f, "begin {step} export"),
            Self::Begin(step, Step::Tend) => write!(f, "begin {step} tend"),
            Self::Named(step, id) => write!(f, "named {step} {id}"),
            Self::Ran(step) => write!(f, "ran {step}"),
            Self::Done(step, Said::Nothing) => write!(f, "done {step}"),
            Self::Done(step, Said::Waiting) => write!(f, "done {step} waiting"),
            Self::Done(step, Said::Held(blocks)) => {
                write!(f, "done {step} held {}", render(blocks))
            }
            Self::Done(step, Said::Checksum(sum)) => write!(f, "done {step} checksum {sum}"),
            Self::Seen(Known { held, payloads, waiting, waiting_payloads }) => {
                let [held, payloads, waiting, waiting_payloads] =
                    [held, payloads, waiting, waiting_payloads].map(render);
                write!(f, "seen {held} {payloads} {waiting} {waiting_payloads}")
            }
            Self::Forgot => write!(f, "forgot"),
        }
    }
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let set = |text: &str| Some(parse(text)?.into_iter().collect::<Set>());
        Some(match *words.as_slice() {
            ["cycle", cycle] => Self::Cycle(cycle.parse().ok()?),
            ["dump", number, format, blocks] => {
                Self::Dump(number.parse().ok()?, Format::from_name(format)?, parse(blocks)?)
            }
            ["begin", step, ref what @ ..] => {
                let what = match *what {
                    ["open"] => Step::Open,
                    ["push", blocks, bare] => Step::Push(set(blocks)?, set(bare)?),
                    ["replay", dump, from] => Step::Replay(dump.parse().ok()?, from.parse().ok()?),
                    ["backup", keep] => {
                        Step::Backup(Some(keep.parse().ok()?).filter(|keep| *keep > 0))
                    }
                    ["restore", id] => Step::Restore(id.to_owned()),
                    ["export"] => Step::Export,
                    ["tend"] => Step::Tend,
                    _ => return None,
                };
                Self::Begin(step.parse().ok()?, what)
            }
            ["named", step, id] => Self::Named(step.parse().ok()?, id.to_owned()),
            ["ran", step] => Self::Ran(step.parse().ok()?),
            ["done", step] => Self::Done(step.parse().ok()?, Said::Nothing),
            ["done", step, "waiting"] => Self::Done(step.parse().ok()?, Said::Waiting),
            ["done", step, "held", blocks] => {
                Self::Done(step.parse().ok()?, Said::Held(set(blocks)?))
            }
            ["done", step, "checksum", sum] => {
                Self::Done(step.parse().ok()?, Said::Checksum(sum.to_owned()))
            }
            ["seen", held, payloads, waiting, waiting_payloads] => Self::Seen(Known {
                held: set(held)?,
                payloads: set(payloads)?,
                waiting: set(waiting)?,
                waiting_payloads: set(waiting_payloads)?,
            }),
            ["forgot"] => Self::Forgot,
            _ => return None,
        })
    }
}

/// The ledger of a folder, and what follows from it.
pub struct Ledger {
    file: File,
    /// What follows from it.
    pub model: Model,
}

impl Ledger {
    /// Opens the one in `folder`, or begins it. What a process was killed in the middle of writing
    /// was not begun, and not said.
    ///
    /// # Panics
    ///
    /// If it has a line that is none.
    #[must_use]
    pub fn open(folder: &Path, mut model: Model) -> Self {
        let path = folder.join(LEDGER);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let file = OpenOptions::new().create(true).append(true).open(&path).expect("a ledger");
        file.set_len(whole.len() as u64).expect("the torn end goes");
        for line in whole.lines() {
            let entry = Entry::parse(line);
            model.apply(&entry.unwrap_or_else(|| panic!("{}: {line}", path.display())));
        }
        Self { file, model }
    }

    /// Writes a line, by one write, and takes note of it.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn note(&mut self, entry: &Entry) {
        let line = format!("{entry}\n");
        self.file.write_all(line.as_bytes()).expect("the ledger takes a line");
        self.model.apply(entry);
    }

    /// Notes that a step begins; its number.
    pub fn begin(&mut self, step: Step) -> u64 {
        let number = self.model.next_step;
        self.note(&Entry::Begin(number, step));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let some: Set = [1, 2, 7].into();
        let known = Known { held: some.clone(), ..Known::default() };
        for entry in [
            Entry::Cycle(7),
            Entry::Dump(1, Format::Blocks, vec![3, 2]),
            Entry::Begin(1, Step::Open),
            Entry::Begin(1, Step::Push(some.clone(), Set::new())),
            Entry::Begin(1, Step::Replay(2, 7)),
            Entry::Begin(1, Step::Backup(None)),
            Entry::Begin(1, Step::Backup(Some(2))),
            Entry::Begin(1, Step::Restore("5".into())),
            Entry::Begin(1, Step::Export),
            Entry::Begin(1, Step::Tend),
            Entry::Named(1, "5".into()),
            Entry::Ran(4),
            Entry::Done(4, Said::Nothing),
            Entry::Done(4, Said::Waiting),
            Entry::Done(4, Said::Held(some)),
            Entry::Done(4, Said::Checksum("a".into())),
            Entry::Seen(known),
            Entry::Forgot,
        ] {
            assert_eq!(Entry::parse(&entry.to_string()), Some(entry));
        }
    }
}
