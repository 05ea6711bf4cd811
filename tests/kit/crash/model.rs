use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Entry, Format, Kind, Number, Said, Set, Step, World};

/// What a database holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Blocks.
    pub held: Set,
    /// Those of them whose payloads are there.
    pub payloads: Set,
    /// Blocks that wait for those that they stand on.
    pub waiting: Set,
    /// Those of them that wait with what they carry.
    pub waiting_payloads: Set,
}

/// A dump.
#[derive(Clone, Debug)]
pub struct Dump {
    /// How it is written.
    pub format: Format,
    /// What it has, in its order.
    pub blocks: Vec<Number>,
    /// Whether a replay of it was said to be done.
    pub finished: bool,
}

/// A copy of a database: a backup or an archive.
#[derive(Clone, Debug)]
pub struct Copy {
    /// What was held when it was begun, which it must have.
    pub known: Known,
    /// Whether it was said to be done.
    pub done: bool,
    /// Whether no job may have deleted it.
    pub kept: bool,
}

/// What follows from a ledger: what must be there, and what may be.
#[derive(Clone)]
pub struct Model {
    /// All that may ever be.
    pub world: Arc<World>,
    /// What is held for sure: neither less nor more, but for steps that are not over.
    pub known: Known,
    /// Blocks that were ever given to the database.
    pub begun: Set,
    /// Those of them that it was given without what they carry.
    pub bare: Set,
    /// Whether the database was ever said to be open.
    pub opened: bool,
    /// Steps of the last process that were not said to be done.
    pub open: BTreeMap<u64, Step>,
    /// Dumps by their numbers.
    pub dumps: BTreeMap<u64, Dump>,
    /// Backups by their names, the oldest first.
    pub backups: BTreeMap<String, Copy>,
    /// Whether the last job that was begun in the folder of backups is done: then nothing is left of
    /// others.
    pub is_tidy: bool,
    /// The checksum of the manifest that was said last, and what is in the archive at least.
    pub archive: Option<(String, Known)>,
    /// Whether an export was begun since.
    pub archive_changes: bool,
    /// The backup that is being restored, and whether that was said to be done.
    pub restore: Option<(String, bool)>,
    /// The number of the next step.
    pub next_step: u64,
    /// What was held when copies were begun that are not done.
    begins: BTreeMap<u64, (Known, Option<String>)>,
}

impl Model {
    /// What is known of a database that is not there yet.
    #[must_use]
    pub fn new(world: Arc<World>) -> Self {
        Self {
            world,
            known: Known::default(),
            begun: Set::new(),
            bare: Set::new(),
            opened: false,
            open: BTreeMap::new(),
            dumps: BTreeMap::new(),
            backups: BTreeMap::new(),
            is_tidy: true,
            archive: None,
            archive_changes: false,
            restore: None,
            next_step: 0,
            begins: BTreeMap::new(),
        }
    }

    /// Takes note of a line of the ledger.
    ///
    /// # Panics
    ///
    /// If it says something of what was not begun.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Cycle(_) => {
                self.open.clear();
                self.begins.clear();
            }
            Entry::Dump(number, format, blocks) => {
                let dump = Dump { format: *format, blocks: blocks.clone(), finished: false };
                self.dumps.insert(*number, dump);
            }
            Entry::Begin(number, step) => self.begin(*number, step),
            Entry::Named(number, id) => self.name(*number, id),
            Entry::Ran(number) => {
                if let Some(Step::Replay(dump, from)) = self.open.get(number) {
                    self.run(*dump, *from);
                }
            }
            Entry::Done(number, said) => self.end(*number, said),
            Entry::Seen(known) => self.known = known.clone(),
            Entry::Forgot => self.restore = None,
        }
    }

    fn begin(&mut self, number: u64, step: &Step) {
        self.next_step = number + 1;
        match step {
            Step::Push(blocks, bare) => {
                self.begun.extend(blocks);
                self.bare.extend(bare);
            }
            Step::Replay(dump, _) => {
                let dump = self.dumps.get(dump).expect("a dump that is there");
                self.begun.extend(&dump.blocks);
                if !dump.format.has_payloads() {
                    self.bare.extend(&dump.blocks);
                }
            }
            Step::Restore(id) => self.restore = Some((id.clone(), false)),
            Step::Export => {
                self.archive_changes = true;
                self.begins.insert(number, (self.known.clone(), None));
            }
            Step::Backup(_) => {
                self.is_tidy = false;
                self.begins.insert(number, (self.known.clone(), None));
            }
            Step::Open | Step::Tend => {}
        }
        self.open.insert(number, step.clone());
    }

    /// Notes the name of a backup. Those that may be deleted once it is done are kept no longer.
    fn name(&mut self, number: u64, id: &str) {
        let Some((known, named)) = self.begins.get_mut(&number) else { return };
        *named = Some(id.to_owned());
        if let Some(Step::Backup(Some(keep))) = self.open.get(&number) {
            let others = self.backups.len().saturating_sub(keep.saturating_sub(1));
            for copy in self.backups.values_mut().take(others) {
                copy.kept = false;
            }
        }
        let copy = Copy { known: known.clone(), done: false, kept: true };
        self.backups.insert(id.to_owned(), copy);
    }

    /// What a replay does that reads its dump from one block on to the end.
    ///
    /// # Panics
    ///
    /// If there is none of this number.
    pub fn run(&mut self, dump: u64, from: usize) {
        let Dump { format, blocks, .. } = self.dumps.get(&dump).expect("a dump that is there");
        for number in blocks.iter().skip(from) {
            let Known { held, payloads, waiting, waiting_payloads } = &mut self.known;
            let admitted = self.world.kind == Kind::Partial || held.contains(number);
            if admitted || self.world.is_connected(*number, held) {
                held.insert(*number);
                payloads.extend(format.has_payloads().then_some(number));
            } else {
                waiting.insert(*number);
                waiting_payloads.extend(format.has_payloads().then_some(number));
            }
        }
    }

    fn end(&mut self, number: u64, said: &Said) {
        let step = self.open.remove(&number).expect("a step that was begun");
        let begin = self.begins.remove(&number);
        match (step, said) {
            (Step::Open, _) => self.opened = true,
            (Step::Push(_, bare), Said::Held(blocks)) => {
                self.known.held.extend(blocks);
                self.known.payloads.extend(blocks.difference(&bare));
            }
            (Step::Replay(dump, _), Said::Nothing) => {
                self.known.take_up(&self.world);
                if let Some(dump) = self.dumps.get_mut(&dump) {
                    dump.finished = true;
                }
            }
            (Step::Backup(_), _) => {
                let id = begin.and_then(|(_, id)| id).expect("a backup with a name");
                self.backups.get_mut(&id).expect("a backup that was begun").done = true;
                self.is_tidy = true;
            }
            (Step::Restore(_), _) => {
                if let Some((_, done)) = &mut self.restore {
                    *done = true;
                }
            }
            (Step::Export, Said::Checksum(sum)) => {
                let (known, _) = begin.expect("an export that was begun");
                self.archive = Some((sum.clone(), known));
                self.archive_changes = false;
            }
            (Step::Tend, _) | (Step::Replay(..), Said::Waiting) => {}
            (step, said) => panic!("{step:?} said {said:?}"),
        }
    }
}

impl Known {
    /// What becomes of it when the blocks that wait are taken up.
    pub fn take_up(&mut self, world: &World) {
        let left = world.connect(&mut self.held, &self.waiting);
        let carried = self.waiting_payloads.iter().filter(|number| !left.contains(number));
        self.payloads.extend(carried);
        self.waiting_payloads.retain(|number| left.contains(number));
        self.waiting = left;
    }

    /// What becomes of it when these blocks are pushed, of which some come `bare`.
    #[must_use]
    pub fn pushed(&self, world: &World, blocks: &Set, bare: &Set) -> Self {
        let mut after = self.clone();
        let left = world.connect(&mut after.held, blocks);
        let taken = blocks.iter().filter(|n| !left.contains(n) && !bare.contains(n));
        after.payloads.extend(taken);
        after
    }
}
