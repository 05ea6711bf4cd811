use super::Random;

/// What a process does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Pushes some blocks.
    Push,
    /// Replays a dump, in order if it can, to the end or without taking up what waits.
    Replay {
        /// Straight to runs.
        bulk: bool,
        /// Also takes up what waits.
        finish: bool,
    },
    /// Makes a backup.
    Backup {
        /// As of a database that another process has.
        there: bool,
        /// How many are kept.
        keep: Option<usize>,
        /// While the process goes on.
        beside: bool,
    },
    /// Restores the newest backup, byte by byte or by links.
    Restore {
        /// Byte by byte.
        copy: bool,
    },
    /// Exports all.
    Export {
        /// Removes files that the archive has no longer.
        prune: bool,
        /// While the process goes on.
        beside: bool,
    },
    /// Makes durable what was committed.
    Sync,
    /// Writes to tables what was committed.
    Flush,
    /// Sorts the indexes.
    Index,
    /// Gives back the room of what waited.
    Tidy,
    /// Closes the database and opens it again.
    Reopen,
    /// The same, and in between it becomes one of the release before.
    Upgrade,
    /// The same, and in between it loses its `CURRENT` and is repaired.
    Vanish {
        /// `CURRENT` exists, and names a list of files that does not.
        other: bool,
    },
}

/// What one process does, in this order; `target` is among what it does, if there is one.
#[must_use]
pub fn schedule(random: &mut Random, target: Option<&str>) -> Vec<Action> {
    let count = 2 + random.below(4);
    let mut actions: Vec<Action> = (0..count).map(|_| any(random)).collect();
    if let Some(target) = target {
        let at = random.index(actions.len().min(2));
        actions.splice(at..at, needed(target, random));
    }
    actions
}

fn any(random: &mut Random) -> Action {
    match random.below(20) {
        0..5 => replay(random),
        5..7 => backup(random),
        7..9 => export(random),
        9 => Action::Restore { copy: random.happens(40) },
        10 => {
            let vanish = Action::Vanish { other: random.happens(30) };
            random.one(&[Action::Reopen, Action::Upgrade, vanish])
        }
        11 => random.one(&[Action::Sync, Action::Flush]),
        12 => random.one(&[Action::Index, Action::Tidy]),
        _ => Action::Push,
    }
}

fn replay(random: &mut Random) -> Action {
    Action::Replay { bulk: random.happens(60), finish: random.happens(80) }
}

fn backup(random: &mut Random) -> Action {
    let keep = random.one(&[None, Some(1), Some(2), Some(2)]);
    Action::Backup { there: random.happens(35), keep, beside: random.happens(30) }
}

fn export(random: &mut Random) -> Action {
    Action::Export { prune: random.happens(60), beside: random.happens(30) }
}

/// What comes by the failpoint with this name.
fn needed(target: &str, random: &mut Random) -> Vec<Action> {
    let finished = |bulk| Action::Replay { bulk, finish: true };
    let backup = |there, keep| Action::Backup { there, keep, beside: false };
    match target.split('/').next().unwrap_or_default() {
        "create" => Vec::new(),
        "open" => vec![Action::Reopen],
        // There is something to keep only then.
        "repair" => {
            let other = target.starts_with("repair/keep") || random.happens(30);
            vec![Action::Vanish { other }]
        }
        "upgrade" => vec![finished(true), Action::Upgrade],
        "commit" | "seal" => vec![random.one(&[Action::Push, finished(false)])],
        "unseal" => vec![Action::Push, finished(false), Action::Push],
        "bulk" | "index" => vec![finished(true), finished(true)],
        "log" => vec![Action::Sync],
        "tables" => vec![Action::Flush],
        "tidy" => vec![finished(false), Action::Tidy],
        "link" => vec![backup(true, None)],
        "checkpoint" => vec![backup(false, None)],
        "copy" => vec![backup(false, None), Action::Restore { copy: true }],
        "restore" => {
            let copy = !target.starts_with("restore/link") && random.happens(50);
            vec![backup(false, Some(2)), Action::Restore { copy }]
        }
        "backup" if target.starts_with("backup/retain") => {
            vec![backup(false, None), Action::Push, backup(false, Some(1))]
        }
        "export" => {
            let export = Action::Export { prune: true, beside: false };
            vec![export, Action::Push, finished(false), export]
        }
        _ => vec![backup(random.happens(40), random.one(&[None, Some(1), Some(2)]))],
    }
}
