use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use plait_engine::archive::{Checksum, Export, FileHeights, MANIFEST};
use plait_engine::backup::{Backups, Begun, Origin, Request, Restore};
use plait_engine::push::{Block, Outcome, Pusher};
use plait_engine::repair::repair;
use plait_engine::replay::Replay;
use plait_engine::replay::source::{RawPayload, Source};
use plait_engine::store::Store;
use plait_engine::verify::Level;
use plait_engine::{Engine, Reader};

use super::schedule::{Action, schedule};
use super::world::NOW;
use super::{Entry, Format, Ledger, Model, Random, Said, Set, Step, World, choose, dump, folder};
use crate::age::age;
use crate::block::NETWORK;
use crate::carried;

/// Whatever goes wrong in a child is a failure of the test.
type Failed = Box<dyn Error + Send + Sync>;

/// The ledger, which threads share.
type Shared = Arc<Mutex<Ledger>>;

/// Heights of a file of the archive.
const FILE_HEIGHTS: u32 = 8;

/// One process: what it does in `folder` until it is killed.
struct Child {
    folder: PathBuf,
    world: Arc<World>,
    ledger: Shared,
    random: Random,
    /// `None` only while the database is closed.
    pusher: Option<Pusher>,
    reader: Option<Reader>,
    beside: Vec<JoinHandle<Result<(), Failed>>>,
}

/// Does in `folder` what `seed` and the number of the cycle choose, in the world of another seed;
/// the failpoint `target`, if there is one, is on the way.
///
/// # Errors
///
/// What a step failed with, none of which should.
pub fn run(
    path: &Path,
    world: u64,
    seed: u64,
    cycle: u64,
    target: Option<&str>,
) -> Result<(), Failed> {
    let world = Arc::new(World::new(world));
    let mut ledger = Ledger::open(path, Model::new(Arc::clone(&world)));
    ledger.note(&Entry::Cycle(cycle));
    let mut random = Random::new(&[seed, cycle]);
    let actions = schedule(&mut random, target);
    let sorts_all =
        target.map_or_else(|| random.happens(50), |target| !target.starts_with("index/put"));
    let ledger = Arc::new(Mutex::new(ledger));
    let folder = path.to_owned();
    let beside = Vec::new();
    let mut child = Child { folder, world, ledger, random, pusher: None, reader: None, beside };
    child.open(sorts_all)?;
    for action in actions {
        child.act(action, sorts_all)?;
    }
    child.join()
}

impl Child {
    fn act(&mut self, action: Action, sorts_all: bool) -> Result<(), Failed> {
        match action {
            Action::Push => self.push(),
            Action::Replay { bulk, finish } => self.replay(bulk, finish),
            Action::Backup { there, keep, beside } => self.backup(there, keep, beside),
            Action::Restore { copy } => self.restore(copy),
            Action::Export { prune, beside } => self.export(prune, beside),
            Action::Sync => self.tend(|pusher| Ok(pusher.writer().sync()?)),
            Action::Flush => self.tend(|pusher| Ok(pusher.writer().flush()?)),
            Action::Index => self.tend(|pusher| Ok(pusher.writer().index(&|_| ())?)),
            Action::Tidy => self.tend(|pusher| Ok(pusher.writer().tidy()?)),
            Action::Reopen => {
                self.join()?;
                (self.pusher, self.reader) = (None, None);
                self.open(sorts_all)
            }
            Action::Upgrade => {
                self.join()?;
                (self.pusher, self.reader) = (None, None);
                age(&folder::database(&self.folder))?;
                self.open(sorts_all)
            }
            Action::Vanish { other } => {
                self.join()?;
                (self.pusher, self.reader) = (None, None);
                self.lose(other)?;
                self.open(sorts_all)
            }
        }
    }

    fn note(&self, entry: &Entry) {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).note(entry);
    }

    fn begin(&self, step: Step) -> u64 {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).begin(step)
    }

    fn model(&self) -> Model {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).model.clone()
    }

    fn pusher(&mut self) -> Result<&mut Pusher, Failed> {
        self.pusher.as_mut().ok_or_else(|| "the database is closed".into())
    }

    fn reader(&self) -> Result<Reader, Failed> {
        self.reader.clone().ok_or_else(|| "the database is closed".into())
    }

    /// Has the database lose its `CURRENT`, or what that should name.
    fn lose(&mut self, other: bool) -> Result<(), Failed> {
        let rocks = Store::path(&folder::database(&self.folder));
        std::fs::write(folder::vanished(&self.folder), "")?;
        let current = rocks.join("CURRENT");
        if other {
            std::fs::write(current, "MANIFEST-900000\n")?;
        } else {
            std::fs::remove_file(current)?;
        }
        Ok(())
    }

    /// Repairs the database, if it has lost something.
    fn repair(&self) -> Result<(), Failed> {
        let vanished = folder::vanished(&self.folder);
        if vanished.exists() {
            let (db, stop) = (folder::database(&self.folder), AtomicBool::new(false));
            repair(&db, Level::Hash, NOW, &stop, &mut |_| ())?;
            std::fs::remove_file(vanished)?;
        }
        Ok(())
    }

    fn open(&mut self, sorts_all: bool) -> Result<(), Failed> {
        self.repair()?;
        let step = self.begin(Step::Open);
        let (path, history) = (folder::database(&self.folder), self.world.history());
        let network = Some(NETWORK);
        let opened = Engine::open_or_create_sealing(&path, network, history, World::sealing());
        let (writer, reader) = opened?;
        if sorts_all {
            writer.sort_from(0);
        }
        let pusher = Pusher::new(writer, self.world.level(), self.random.happens(50));
        (self.pusher, self.reader) = (Some(pusher), Some(reader));
        self.note(&Entry::Done(step, Said::Nothing));
        Ok(())
    }

    fn push(&mut self) -> Result<(), Failed> {
        let (blocks, bare) = choose::push(&self.model(), &mut self.random);
        if blocks.is_empty() {
            return Ok(());
        }
        let order = choose::shuffled(&blocks, &mut self.random);
        let world = Arc::clone(&self.world);
        let batch: Vec<Block> = order
            .iter()
            .map(|number| {
                let payload = carried::object(world.payload(*number).view());
                let payload = (!bare.contains(number)).then(|| RawPayload::Object(payload.into()));
                Block { header: *world.header(*number).raw(), payload }
            })
            .collect();
        let step = self.begin(Step::Push(blocks, bare));
        let outcomes = self.pusher()?.push(&batch, NOW)?;
        let mut held = Set::new();
        for (number, outcome) in order.iter().zip(&outcomes) {
            match outcome {
                Outcome::Stored(_) | Outcome::Known => held.insert(*number),
                Outcome::Waits(_) => false,
                Outcome::HeaderOnly(_, wrong) | Outcome::Refused(wrong) => {
                    return Err(format!("{number}: {wrong}").into());
                }
            };
        }
        self.note(&Entry::Done(step, Said::Held(held)));
        Ok(())
    }

    fn replay(&mut self, bulk: bool, finish: bool) -> Result<(), Failed> {
        let Some(dump) = self.dump() else { return Ok(()) };
        let source = dump::open(&self.folder, dump, 5 + self.random.index(40));
        let (ordered, commit_blocks) =
            (if bulk { 1 } else { u64::MAX }, 1 + self.random.index(150));
        let (halt, world) = (AtomicBool::new(false), Arc::clone(&self.world));
        let from = self.mark(dump, source.as_ref())?;
        let step = self.begin(Step::Replay(dump, from));
        let (ledger, pusher) = (Arc::clone(&self.ledger), self.pusher()?);
        let (verifier, admission) = (world.verifier(), world.admission());
        let replay = Replay::new(pusher.writer(), verifier, admission, false, &halt);
        let mut replay = replay.ordered_from(ordered).committing(commit_blocks);
        let mut rejected = None;
        let mut observer = |event: plait_engine::replay::Event<'_>| {
            if let plait_engine::replay::Event::Rejected(rejection) = event {
                rejected = Some(rejection.to_string());
            }
        };
        replay.run(source, &mut observer)?;
        let note = |entry: &Entry| {
            ledger.lock().unwrap_or_else(PoisonError::into_inner).note(entry);
        };
        note(&Entry::Ran(step));
        if finish {
            replay.finish(&mut observer)?;
        }
        note(&Entry::Done(step, if finish { Said::Nothing } else { Said::Waiting }));
        pusher.writer().publish();
        rejected.map_or(Ok(()), |rejection| Err(rejection.into()))
    }

    /// Up to which block of a dump an earlier replay has read, as the database says.
    fn mark(&mut self, dump: u64, source: &dyn Source) -> Result<usize, Failed> {
        let Some(name) = source.name() else { return Ok(0) };
        let Some(at) = self.pusher()?.writer().mark(&name)? else { return Ok(0) };
        let model = self.model();
        let is_archive = model.dumps.get(&dump).is_some_and(|d| d.format == Format::Archive);
        // Its heights are read again, from which nothing waits.
        Ok(if is_archive { 0 } else { usize::try_from(at.records.get())? })
    }

    /// The dump to replay: mostly one that was not read to its end.
    fn dump(&mut self) -> Option<u64> {
        let model = self.model();
        let unfinished = model.dumps.iter().find(|(_, dump)| !dump.finished);
        if let Some((number, _)) = unfinished
            && self.random.happens(80)
        {
            return Some(*number);
        }
        let format = self.random.one(&Format::FILES);
        let blocks = choose::dump(&model, &mut self.random);
        let number = model.dumps.keys().next_back().map_or(0, |last| last + 1);
        if blocks.is_empty() {
            let numbers: Vec<u64> = model.dumps.keys().copied().collect();
            return (!numbers.is_empty()).then(|| self.random.one(&numbers));
        }
        dump::write(&self.folder, number, &self.world, format, &blocks);
        self.note(&Entry::Dump(number, format, blocks));
        Some(number)
    }

    fn backup(&mut self, there: bool, keep: Option<usize>, beside: bool) -> Result<(), Failed> {
        self.join()?;
        let origin = if there {
            Origin::There(folder::database(&self.folder))
        } else {
            Origin::Here(self.reader()?)
        };
        let backups = Backups::new(&folder::backups(&self.folder));
        let ledger = Arc::clone(&self.ledger);
        let make = move || -> Result<(), Failed> {
            let note = |entry: &Entry| {
                ledger.lock().unwrap_or_else(PoisonError::into_inner).note(entry);
            };
            let step =
                ledger.lock().unwrap_or_else(PoisonError::into_inner).begin(Step::Backup(keep));
            let Begun::Started(job) = backups.begin()? else {
                return Err("another job runs".into());
            };
            note(&Entry::Named(step, job.id().to_string()));
            job.run(&origin, Request { pact: false, keep }, &AtomicBool::new(false))?;
            note(&Entry::Done(step, Said::Nothing));
            Ok(())
        };
        self.go(make, beside)
    }

    fn export(&mut self, prune: bool, beside: bool) -> Result<(), Failed> {
        self.join()?;
        let (reader, dir) = (self.reader()?, folder::archive(&self.folder));
        let ledger = Arc::clone(&self.ledger);
        let make = move || -> Result<(), Failed> {
            let step = ledger.lock().unwrap_or_else(PoisonError::into_inner).begin(Step::Export);
            let heights = std::num::NonZeroU32::new(FILE_HEIGHTS).map(FileHeights::new);
            let export = Export::new(&reader, &dir).heights(heights).prune(prune);
            export.run(&AtomicBool::new(false), &|_| ())?;
            let sum = Checksum::of(&std::fs::read(dir.join(MANIFEST))?).to_string();
            let entry = Entry::Done(step, Said::Checksum(sum));
            ledger.lock().unwrap_or_else(PoisonError::into_inner).note(&entry);
            Ok(())
        };
        self.go(make, beside)
    }

    fn restore(&mut self, copy: bool) -> Result<(), Failed> {
        self.join()?;
        let model = self.model();
        let done = model.backups.iter().rev().find(|(_, backup)| backup.done && backup.kept);
        let to = folder::restored(&self.folder);
        let id = match &model.restore {
            Some((_, true)) => return Ok(()),
            // Goes on where it was, if that can be.
            Some((id, false)) if model.backups.get(id).is_some_and(|copy| copy.kept) => id.clone(),
            Some(_) => {
                self.note(&Entry::Forgot);
                if to.exists() {
                    std::fs::remove_dir_all(&to)?;
                }
                return Ok(());
            }
            None => match done {
                Some((id, _)) => id.clone(),
                None => return Ok(()),
            },
        };
        let step = self.begin(Step::Restore(id.clone()));
        if model.restore.is_some()
            && Engine::exists(&to).unwrap_or(false)
            && !to.join(".restore").exists()
        {
            // The last process was killed behind the last step: whoever asks again is refused.
            self.note(&Entry::Done(step, Said::Nothing));
            return Ok(());
        }
        let backups = Backups::new(&folder::backups(&self.folder));
        let restore = Restore { id: id.parse()?, to, copy };
        restore.run(&backups, &AtomicBool::new(false), NOW, &mut |_| ())?;
        self.note(&Entry::Done(step, Said::Nothing));
        Ok(())
    }

    fn tend(&mut self, work: impl FnOnce(&mut Pusher) -> Result<(), Failed>) -> Result<(), Failed> {
        let step = self.begin(Step::Tend);
        work(self.pusher()?)?;
        self.note(&Entry::Done(step, Said::Nothing));
        Ok(())
    }

    /// Does something, or has another thread do it.
    fn go(
        &mut self,
        work: impl FnOnce() -> Result<(), Failed> + Send + 'static,
        beside: bool,
    ) -> Result<(), Failed> {
        if !beside {
            return work();
        }
        self.beside.push(std::thread::spawn(work));
        Ok(())
    }

    /// Waits for what is done beside.
    fn join(&mut self) -> Result<(), Failed> {
        for thread in self.beside.drain(..) {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    }
}
