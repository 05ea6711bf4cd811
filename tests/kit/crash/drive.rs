use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use plait_engine::failpoint::NAMES;
use plait_engine::store::Store;

use super::copies::Checked;
use super::kill::REACHED;
use super::{Entry, Ledger, Model, Random, Summary, World, check, folder, prepare};

/// No process takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// Cycles for a failpoint that none was killed at by itself.
const TRIES: u64 = 24;

/// The failpoint where what an interrupted creation left is cleared away.
const CLEARED: &str = "create/clear/after";

/// The signal that cannot be caught.
const SIGKILL: i32 = 9;

/// What is asked of each failpoint in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// That a process was killed there.
    Killed,
    /// That a process came there.
    Reached,
}

/// Many processes, each killed and checked.
pub struct Crash {
    child: PathBuf,
    folder: PathBuf,
    seed: u64,
    every: Every,
    place: Option<Place>,
    cycle: u64,
    /// About how long a process takes that is not killed.
    usual: Duration,
    summary: Summary,
}

/// A folder that processes are killed in.
struct Place {
    path: PathBuf,
    number: u64,
    world: Arc<World>,
    checked: Checked,
    /// Cycles until there is a new one.
    left: u64,
}

/// How a process is to end.
struct End {
    target: Option<&'static str>,
    number: u64,
    /// When it is killed, if not at a failpoint.
    after: Duration,
}

impl Crash {
    /// Runs the program `child` in `folder`, by what `seed` chooses.
    #[must_use]
    pub fn new(child: &Path, folder: &Path, seed: u64, every: Every) -> Self {
        Self {
            child: child.to_owned(),
            folder: folder.to_owned(),
            seed,
            every,
            place: None,
            cycle: 0,
            usual: Duration::from_millis(150),
            summary: Summary::default(),
        }
    }

    /// Runs so many cycles, and some more for failpoints that were left out. `tell` is told the number
    /// of each.
    ///
    /// # Errors
    ///
    /// What is wrong, and how to come there again.
    pub fn run(mut self, cycles: u64, tell: &mut dyn FnMut(u64)) -> Result<Summary, String> {
        for _ in 0..cycles {
            let end = self.choose();
            self.cycle(&end)?;
            tell(self.cycle);
        }
        for name in NAMES {
            for number in 0..TRIES {
                let done = match self.every {
                    Every::Killed => self.summary.at.contains_key(name),
                    Every::Reached => self.summary.reached.contains(name),
                };
                if done {
                    break;
                }
                if let Some(place) = self.place.as_mut().filter(|_| number % 3 == 1) {
                    // Where little is left to come, most do nothing.
                    place.left = 0;
                }
                let end = self.at(name, 1);
                self.cycle(&end)?;
            }
        }
        let left = match self.every {
            Every::Killed => self.summary.missing(),
            Every::Reached => self.summary.unreached(),
        };
        if left.is_empty() {
            return Ok(self.summary);
        }
        Err(format!("{}\nno process came to {left:?}", self.summary))
    }

    /// Chooses how the next process ends.
    fn choose(&self) -> End {
        let mut random = Random::new(&[self.seed, self.cycle, 2]);
        if random.happens(45) {
            let micros = u64::try_from(self.usual.as_micros()).unwrap_or(u64::MAX);
            let after = Duration::from_micros(random.below(micros.max(1)));
            return End { target: None, number: 0, after };
        }
        if random.happens(60) {
            // Where processes were killed least.
            let count = |name: &&&str| self.summary.at.get(**name).copied().unwrap_or(0);
            let least = NAMES.iter().map(|name| count(&name)).min();
            let least: Vec<&'static str> =
                NAMES.iter().filter(|name| Some(count(name)) == least).copied().collect();
            return self.at(random.one(&least), 1);
        }
        let number = 1 + random.below(4);
        self.at(random.one(NAMES), number)
    }

    /// An end at a failpoint, or at one that must come before.
    fn at(&self, name: &'static str, number: u64) -> End {
        let is_drafted = |place: &Place| {
            let Ok(entries) = folder::backups(&place.path).read_dir() else { return false };
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with(".tmp"))
        };
        let (mut target, mut number) = (name, number);
        let is_marked = |place: &Place| {
            let rocks = Store::path(&folder::database(&place.path));
            rocks.read_dir().is_ok_and(|entries| {
                let names = entries.flatten().map(|entry| entry.file_name());
                names.filter(|name| name != "direct-io").count() > 1
            }) && rocks.join("creating").exists()
        };
        if name == CLEARED && !self.place.as_ref().is_some_and(is_marked) {
            (target, number) = ("create/tables/after", 1);
        }
        if name.starts_with("backup/fail") && !self.place.as_ref().is_some_and(is_drafted) {
            (target, number) = ("backup/tables/after", 1);
        }
        if name.starts_with("backup/fail") {
            number = 1;
        }
        End { target: Some(target), number, after: PATIENCE }
    }

    fn cycle(&mut self, end: &End) -> Result<(), String> {
        self.cycle += 1;
        let is_create =
            end.target.is_some_and(|target| target.starts_with("create") && target != CLEARED);
        if is_create || self.place.as_ref().is_none_or(|place| place.left == 0) {
            self.move_on();
        }
        let begin = Instant::now();
        let status = self.child(end);
        let ran = begin.elapsed();
        let begin = Instant::now();
        let counted = status.and_then(|status| self.count(status, end, ran));
        let checked = counted.and_then(|()| self.check());
        self.summary.cycles += 1;
        self.summary.times[0] += ran;
        self.summary.times[1] += begin.elapsed();
        checked.map_err(|error| self.told(end, &error))
    }

    /// Goes on in a new folder.
    fn move_on(&mut self) {
        if let Some(place) = self.place.take() {
            // It was sound; what is left of it only takes room.
            let _ = fs::remove_dir_all(place.path);
        }
        self.summary.worlds += 1;
        let number = self.summary.worlds;
        let mut random = Random::new(&[self.seed, number, 3]);
        let path = self.folder.join(format!("world-{number}"));
        let world = Arc::new(World::new(world_seed(self.seed, number)));
        prepare::prepare(&path, &world, &mut random);
        let left = 8 + random.below(25);
        self.place = Some(Place { path, number, world, checked: Checked::default(), left });
    }

    /// Runs a process until it is killed, or ends.
    fn child(&self, end: &End) -> Result<ExitStatus, String> {
        let place = self.place.as_ref().ok_or("there is no folder")?;
        let errors = File::create(place.path.join("errors")).map_err(|e| e.to_string())?;
        let mut command = Command::new(&self.child);
        command.arg("child").arg(&place.path);
        command.args(
            [world_seed(self.seed, place.number), self.seed, self.cycle].map(|n| n.to_string()),
        );
        command.args([end.target.unwrap_or("none"), &end.number.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let begin = Instant::now();
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        loop {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                return Ok(status);
            }
            if begin.elapsed() >= end.after {
                child.kill().map_err(|error| error.to_string())?;
                let status = child.wait().map_err(|error| error.to_string())?;
                return if end.target.is_none() { Ok(status) } else { Err("it hangs".into()) };
            }
            let left = end.after.saturating_sub(begin.elapsed());
            thread::sleep(left.min(Duration::from_micros(500)));
        }
    }

    /// Counts how a process ended.
    fn count(&mut self, status: ExitStatus, end: &End, ran: Duration) -> Result<(), String> {
        let place = self.place.as_ref().ok_or("there is no folder")?;
        let reached = fs::read_to_string(place.path.join(REACHED)).unwrap_or_default();
        let reached = NAMES.iter().filter(|name| reached.lines().any(|line| line == **name));
        self.summary.reached.extend(reached);
        match (status.signal(), end.target) {
            (Some(SIGKILL), Some(target)) => *self.summary.at.entry(target).or_default() += 1,
            (Some(SIGKILL), None) => self.summary.at_random += 1,
            _ if status.success() => {
                self.summary.ended += 1;
                self.usual = (self.usual * 3 + ran) / 4;
            }
            _ => {
                let errors = fs::read_to_string(place.path.join("errors")).unwrap_or_default();
                return Err(format!("the process failed, {status}: {}", errors.trim()));
            }
        }
        Ok(())
    }

    /// Checks all that is there, and notes what is held.
    fn check(&mut self) -> Result<(), String> {
        let place = self.place.as_mut().ok_or("there is no folder")?;
        let mut ledger = Ledger::open(&place.path, Model::new(Arc::clone(&place.world)));
        let mut random = Random::new(&[self.seed, self.cycle, 4]);
        let (known, counts) =
            check::check(&place.path, &ledger.model, &mut place.checked, &mut random)?;
        if let Some(known) = known {
            ledger.note(&Entry::Seen(known));
        }
        if ledger.model.restore.as_ref().is_some_and(|(_, done)| *done) {
            fs::remove_dir_all(folder::restored(&place.path)).map_err(|e| e.to_string())?;
            ledger.note(&Entry::Forgot);
        }
        place.left = place.left.saturating_sub(1);
        let sum = &mut self.summary.counts;
        sum.blocks += counts.blocks;
        sum.backups += counts.backups;
        sum.archives += counts.archives;
        sum.restored += counts.restored;
        sum.vanished += counts.vanished;
        sum.cut += counts.cut;
        sum.refused += counts.refused;
        sum.repaired += counts.repaired;
        Ok(())
    }

    fn told(&self, end: &End, error: &str) -> String {
        let folder = self.place.as_ref().map(|place| place.path.display().to_string());
        let how = match end.target {
            Some(target) => format!("at {target}, number {}", end.number),
            None => format!("after {:?}", end.after),
        };
        format!(
            "seed {}, cycle {}, killed {how}, in {}: {error}",
            self.seed,
            self.cycle,
            folder.unwrap_or_default()
        )
    }
}

fn world_seed(seed: u64, number: u64) -> u64 {
    Random::new(&[seed, number, 5]).draw()
}
