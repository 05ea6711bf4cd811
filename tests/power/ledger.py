"""What was promised, and when the power is cut."""

import copy
import glob
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Database:
    """What was said of one database."""

    # How many blocks it has at least; None as long as nothing was said.
    blocks: int | None = None
    # How many blocks each backup has at least that was reported done, by its name, oldest first.
    backups: dict = field(default_factory=dict)


@dataclass
class Promises:
    """All that was said; whoever said nothing may have done anything."""

    databases: dict = field(default_factory=dict)
    # Whether it was said to be done, of each restore by its folder, and the flags it has.
    restores: dict = field(default_factory=dict)
    # The same of exports.
    exports: dict = field(default_factory=dict)


@dataclass
class Cut:
    """A disk as it was when its power was cut, and what had been said by then."""

    name: str
    workload: str
    kind: str
    seconds: float
    image: Path
    promises: Promises


class Ledger:
    """Notes promises. None is made while the power is being cut."""

    def __init__(self, rig, workload):
        self.rig, self.workload = rig, workload
        self.promises, self.cuts = Promises(), []
        self.lock, self.armed, self.begin = threading.RLock(), [], time.monotonic()

    def cut(self, name, kind):
        with self.lock:
            promises = copy.deepcopy(self.promises)
            seconds = time.monotonic() - self.begin
            image = self.rig.cut(name)
            self.cuts.append(Cut(name, self.workload, kind, seconds, image, promises))

    def reported(self):
        """Cuts the power if that was to be done at the next report. The lock is held."""
        while self.armed:
            self.cut(self.armed.pop(), "report")

    def database(self, db):
        return self.promises.databases.setdefault(Path(db).name, Database())

    def replay_ended(self, db, blocks):
        with self.lock:
            self.database(db).blocks = blocks
            self.reported()

    def backup_begins(self, db, keep=None):
        """Returns how many blocks it must have at least."""
        with self.lock:
            database = self.database(db)
            if keep:
                # With the new one, so many stay; the others may be gone at any moment from now on.
                for name in list(database.backups)[: len(database.backups) - (keep - 1)]:
                    del database.backups[name]
            return database.blocks or 0

    def backup_done(self, db, name, blocks):
        with self.lock:
            self.database(db).backups[name] = blocks
            self.reported()

    def note(self, kind, folder, flags, done):
        with self.lock:
            getattr(self.promises, kind)[Path(folder).name] = (flags, done)
            if done:
                self.reported()


class Cutter(threading.Thread):
    """Cuts the power at the moments of a plan: a kind and seconds from the beginning each.

    - `moment`: then.
    - `report`: as soon as something is reported done after then.
    - `draft`: within milliseconds of something unfinished being there after then.
    """

    def __init__(self, ledger, plan, drafts, names, rng, seconds):
        super().__init__(daemon=True)
        self.ledger, self.drafts, self.names, self.rng = ledger, drafts, names, rng
        self.plan, self.seconds, self.error = sorted(plan, key=lambda planned: planned[1]), seconds, None

    def run(self):
        try:
            for kind, at in self.plan:
                self.wait_until(at)
                name = next(self.names)
                if kind == "report":
                    with self.ledger.lock:
                        self.ledger.armed.append(name)
                else:
                    found = kind == "draft" and self.wait_for_draft()
                    self.ledger.cut(name, "draft" if found else "moment")
            self.wait_until(self.seconds)
            with self.ledger.lock:
                # Nothing was reported any more.
                while self.ledger.armed:
                    self.ledger.cut(self.ledger.armed.pop(), "moment")
        except Exception as error:
            self.error = error

    def left(self, at):
        return self.ledger.begin + at - time.monotonic()

    def wait_until(self, at):
        time.sleep(max(0, self.left(at)))

    def wait_for_draft(self):
        patterns = [str(self.ledger.rig.disk / draft) for draft in self.drafts]

        def found():
            return {path for pattern in patterns for path in glob.glob(pattern, include_hidden=True)}

        before, delay = found(), self.rng.choice([0, 0.002, 0.01, 0.05])
        while self.left(self.seconds) > 0:
            if found() - before:
                time.sleep(delay * self.rng.random())
                return True
            time.sleep(0.001)
        return False
