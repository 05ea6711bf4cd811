"""What runs while the power is cut. Each goes on until the commands are stopped."""

import signal
import threading
import time
from contextlib import contextmanager

from program import Failure, Server, Stopped

# Backups that retention leaves.
KEEP = 2


class Stage:
    """Where a workload runs, and what it needs."""

    def __init__(self, plait, ledger, data, rng, log):
        self.plait, self.ledger, self.data, self.rng, self.log = plait, ledger, data, rng, log
        self.disk, self.errors, self.threads = ledger.rig.disk, [], []

    def spawn(self, work, *args):
        thread = threading.Thread(target=self.guard, args=(work, *args), daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread

    def guard(self, work, *args):
        try:
            work(*args)
        except Stopped:
            pass
        except Exception as error:
            self.errors.append(error)

    def pause(self, most):
        time.sleep(self.rng.random() * most)
        if self.plait.stopped:
            raise Stopped

    def replay(self, db, dump, blocks, *flags):
        self.plait.replay(db, dump, *flags).expect(0)
        self.ledger.replay_ended(db, blocks)

    def backup(self, db, keep=None):
        blocks = self.ledger.backup_begins(db, keep)
        flags = ["--keep", keep] if keep else []
        said = self.plait("backup", "make", "--db", db, *flags).expect(0, 1)
        # Or another one is being made.
        if said.status == 0:
            self.ledger.backup_done(db, said.out, blocks)
        return said.out


def replaying(stage):
    """Replays, and backups by other processes, two at a time."""

    def backups(db, over):
        # There is nothing to back up before there is a database.
        while stage.plait("info", "--db", db).status != 0 and not over.is_set():
            stage.pause(0.02)
        while not over.is_set():
            stage.pause(0.6)
            # As if its disk were slow, so that a backup finds it in the middle of a file.
            still = stage.rng.random() < 0.5
            stage.plait.signal("replay", signal.SIGSTOP if still else signal.SIGCONT)
            stage.backup(db)
            stage.plait.signal("replay", signal.SIGCONT)

    number = 0
    while True:
        db, over = stage.disk / f"db-{number}", threading.Event()
        helpers = [stage.spawn(backups, db, over) for _ in range(2)]
        flags = stage.rng.choice([[], ["--commit", 2000], ["--commit", 500], ["--commit", 20000]])
        stage.replay(db, *stage.data.large, *flags)
        stage.backup(db)
        stage.pause(0.5)
        over.set()
        for helper in helpers:
            helper.join()
        number += 1


def serving(stage):
    """Replays inside of a server, and backups asked for over HTTP."""
    number = 0
    while True:
        db = stage.disk / f"db-{number}"
        server = Server(stage.plait, db, stage.log, "--replay", stage.data.large[0])
        while "the replay has ended" not in server.said():
            backup_over_http(stage, server, db)
            stage.pause(0.6)
        stored = f"stored={stage.data.large[1] - stage.data.genesis}"
        if stored not in server.said():
            raise Failure(f"not {stored}:\n{server.said()}")
        stage.ledger.replay_ended(db, stage.data.large[1])
        backup_over_http(stage, server, db)
        server.process.terminate()
        if server.process.wait() != 0 and not stage.plait.stopped:
            raise Failure(f"plait serve ended with status {server.process.returncode}")
        number += 1


def backup_over_http(stage, server, db):
    blocks = stage.ledger.backup_begins(db)
    name = server.ask("POST", "/make-backup")
    while (status := server.ask("GET", f"/check-backup/{name}")) == "backup-in-progress":
        stage.pause(0.002)
    if status != "backup-done":
        raise Failure(f"{name}: {status}\n{server.said()}")
    stage.ledger.backup_done(db, name, blocks)


def keeping(stage):
    """Backups with retention, while nothing else writes."""
    while True:
        stage.backup(stage.disk / "db", KEEP)
        stage.pause(0.2)


@contextmanager
def noted(stage, *what):
    """Notes that something begins, and that it is done."""
    stage.ledger.note(*what, False)
    yield
    stage.ledger.note(*what, True)


def restoring(stage):
    """One restore after the other, with links and with copies."""
    number = 0
    while True:
        flags = [stage.backup_name, "--db", stage.disk / "db"] + ["--copy"] * (number % 2)
        to = stage.disk / f"restored-{number}"
        with noted(stage, "restores", to, flags):
            stage.plait("restore", *flags, "--to", to).expect(0)
        number += 1


def exporting(stage):
    """One export after the other."""
    number = 0
    while True:
        out = stage.disk / f"archive-{number}"
        flags = ["--db", stage.disk / "db", "--file-heights", 1024]
        with noted(stage, "exports", out, flags):
            stage.plait("export", *flags, "--out", out).expect(0)
        number += 1


def creating(stage):
    """Small databases, which are written through the log, one after the other."""
    number = 0
    while True:
        db = stage.disk / f"db-{number}"
        stage.replay(db, *stage.data.small)
        stage.backup(db)
        stage.replay(db, *stage.data.medium)
        stage.backup(db, KEEP)
        number += 1


def with_database(stage):
    """What some of them begin with: a database, and a backup of it."""
    db = stage.disk / "db"
    stage.replay(db, *stage.data.large)
    stage.backup_name = stage.backup(db)


def with_nothing(stage):
    pass


BACKUP = "db*/backups/.*.tmp"

# What each begins with, and what is there for a moment while something is unfinished. In this order
# they take turns.
WORKLOADS = {
    replaying: (with_nothing, [BACKUP]),
    serving: (with_nothing, [BACKUP]),
    keeping: (with_database, [BACKUP, "db*/backups/.*.old"]),
    restoring: (with_database, ["restored-*/.restore/0", "restored-*/0"]),
    creating: (with_nothing, ["db-*", "db-*/0/rocksDb/CURRENT", BACKUP]),
    exporting: (with_database, ["archive-*"]),
}
