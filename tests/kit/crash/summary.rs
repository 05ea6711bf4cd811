use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use plait_engine::failpoint::NAMES;

use super::Counts;

/// What came of many cycles.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Processes that were started, and checked after.
    pub cycles: u64,
    /// Those that were killed at a random moment.
    pub at_random: u64,
    /// Those that were killed at a failpoint, by its name.
    pub at: BTreeMap<&'static str, u64>,
    /// Those that came to their end before they were killed.
    pub ended: u64,
    /// Folders that they were killed in, one after the other.
    pub worlds: u64,
    /// The failpoints that any of them reached.
    pub reached: BTreeSet<&'static str>,
    /// What was checked.
    pub counts: Counts,
    /// What the processes took, and what the checks took.
    pub times: [Duration; 2],
}

impl Summary {
    /// The failpoints that none was killed at.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        NAMES.iter().copied().filter(|name| !self.at.contains_key(name)).collect()
    }

    /// The failpoints that none reached.
    #[must_use]
    pub fn unreached(&self) -> Vec<&'static str> {
        NAMES.iter().copied().filter(|name| !self.reached.contains(name)).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cycles, at_random, at, ended, worlds, counts, times, .. } = self;
        for name in NAMES {
            writeln!(f, "{:>6} at {name}", at.get(name).copied().unwrap_or(0))?;
        }
        let named: u64 = at.values().sum();
        writeln!(
            f,
            "{cycles} cycles in {worlds} folders, {:.1} s and {:.1} s of checks: {at_random} killed at a \
             random moment, {named} at {} of {} failpoints, {ended} that ended before",
            times[0].as_secs_f64(),
            times[1].as_secs_f64(),
            at.len(),
            NAMES.len(),
        )?;
        let Counts { blocks, backups, archives, restored, vanished, cut, refused, repaired } =
            counts;
        write!(
            f,
            "verified: {blocks} blocks, {backups} backups that were done, {archives} times an archive, \
             {restored} times a restored database; {vanished} times files were gone, of which {refused} \
             were refused without a change, {cut} times a log was cut, {repaired} repairs"
        )
    }
}
