#!/usr/bin/env python3
"""Cuts the power while Plait replays, backs up, restores and exports, and looks at what is left.

    tests/power/cuts.py --plait target/release/plait --cuts 100

Needs root, loop devices, xfsprogs and e2fsprogs. Where one of them is missing it says so in a line that
begins with `skipped:` and ends with status 0. Status 1: something that was promised does not hold.
"""

import argparse
import itertools
import math
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

# Nothing is left in the folder of the source.
sys.dont_write_bytecode = True

from checks import Checker
from ledger import Cutter, Ledger
from program import NETWORK, Plait
from rig import Rig, Unable, enter_namespace, require, run
from workloads import WORKLOADS, Stage

HERE = Path(__file__).resolve().parent

# Cuts of one run of a workload at most.
CUTS_A_RUN = 5

KINDS = ["moment", "report", "draft"]


class Data:
    """Dumps, and what a database holds that has all of one."""

    def __init__(self, folder, plait, heights):
        self.infos = {}
        self.small = self.make(folder, plait, 20)
        self.medium = self.make(folder, plait, 400)
        self.large = self.make(folder, plait, heights)
        self.genesis = len(self.infos[self.large[0]]["chains"])
        self.whole = {blocks for _, blocks in (self.small, self.medium, self.large)}

    def make(self, folder, plait, heights):
        dump, db = folder / f"dump-{heights}", folder / "undisturbed"
        shape = ["--forks", "0.02", "--fork-depth", "20"]
        plait("generate", *NETWORK, "--heights", heights, *shape, "--out", dump).expect(0)
        plait.replay(db, dump).expect(0)
        self.infos[dump] = plait.info(db)
        shutil.rmtree(db)
        return dump, self.infos[dump]["blocks"]

    def dump_of(self, workload):
        """The dump that all databases of a workload end with."""
        return self.medium if workload == "creating" else self.large


class Session:
    """All cuts, run by run."""

    def __init__(self, args, folder, rig, rng, preload=None):
        self.args, self.folder, self.rig, self.rng, self.preload = args, folder, rig, rng, preload
        self.data = Data(folder, Plait(args.plait), args.heights)
        self.names = (f"cut-{number}" for number in itertools.count(1))
        self.failures, self.cuts, self.kinds, self.count = [], Counter(), Counter(), Counter()

    def run(self, cuts):
        chosen = [work for work in WORKLOADS if self.args.workload in (None, work.__name__)]
        turns = itertools.cycle(chosen)
        a_run = min(CUTS_A_RUN, math.ceil(cuts / len(chosen)))
        while (left := cuts - sum(self.cuts.values())) > 0:
            self.run_workload(next(turns), min(left, a_run))

    def run_workload(self, workload, cuts):
        self.rig.plug_new()
        plait, begin = Plait(self.args.plait, self.preload), time.monotonic()
        ledger = Ledger(self.rig, workload.__name__)
        stage = Stage(plait, ledger, self.data, self.rng, self.folder / "serve.log")
        prepare, drafts = WORKLOADS[workload]
        prepare(stage)
        ledger.begin = time.monotonic()
        seconds = self.args.seconds
        kinds = [self.args.kind] if self.args.kind else KINDS
        plan = [(self.rng.choice(kinds), self.rng.random() * seconds) for _ in range(cuts)]
        rng = random.Random(self.rng.random())
        cutter = Cutter(ledger, plan, drafts, self.names, rng, seconds)
        cutter.start()
        stage.spawn(workload, stage)
        cutter.join()
        plait.stop()
        for thread in stage.threads:
            thread.join()
        if cutter.error:
            raise cutter.error
        for error in stage.errors:
            self.fail(f"{workload.__name__}, undisturbed: {error}")
        self.rig.unplug()
        for cut in ledger.cuts:
            self.check(cut)
        seconds = time.monotonic() - begin
        total = sum(self.cuts.values())
        self.say(f"{total}/{self.args.cuts} cuts, {workload.__name__}: {seconds:.0f} s")

    def check(self, cut):
        self.cuts[cut.workload] += 1
        self.kinds[cut.kind] += 1
        kept = self.folder / cut.image.name
        if self.args.keep:
            run("cp", "--sparse=always", cut.image, kept)
        try:
            self.rig.plug(cut.image)
            checker = Checker(Plait(self.args.plait), cut, self.data, self.rig.disk, self.count)
            checker.check()
        except Exception as error:
            where = f"{cut.name}, {cut.workload}, {cut.kind} at {cut.seconds:.3f} s"
            said = f"{cut.promises}\n    kept: {kept}" if self.args.keep else str(cut.promises)
            self.fail(f"{where}: {error}\n    promised: {said}")
        else:
            kept.unlink(missing_ok=True)
            promised = cut.promises.databases.values()
            self.count["images with a backup that was reported done"] += any(
                database.backups for database in promised
            )
        # Not if this is to end early: what runs may still be using it.
        if self.rig.disk in self.rig.mounted:
            self.rig.unplug()
        cut.image.unlink()

    def fail(self, text):
        self.failures.append(text)
        self.say(f"FAILED {text}")

    def say(self, text):
        print(text, flush=True)

    def conclude(self):
        self.say(f"\nseed {self.args.seed}")
        for title, counter in (("cuts by workload", self.cuts), ("cuts by kind", self.kinds)):
            self.say(f"{title}: " + ", ".join(f"{name} {n}" for name, n in counter.items()))
        for name, number in sorted(self.count.items()):
            self.say(f"{number:>6} {name}")
        self.say(f"{sum(self.cuts.values())} power cuts, {len(self.failures)} failures")


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plait", required=True, type=Path, help="the program under test")
    parser.add_argument("--cuts", type=int, default=100, help="how many [default: 100]")
    parser.add_argument("--seed", type=int, help="chooses the moments [default: a random one]")
    names = [workload.__name__ for workload in WORKLOADS]
    parser.add_argument("--workload", choices=names, help="only this one")
    parser.add_argument("--kind", choices=KINDS, help="only cuts of this kind")
    parser.add_argument("--seconds", type=float, default=8, help="of one run of a workload")
    parser.add_argument("--heights", type=int, default=10000, help="of the large dump")
    parser.add_argument("--folder", type=Path, help="for images [default: that of temporary files]")
    parser.add_argument("--space", type=int, default=8, metavar="GIB", help="what images may take")
    parser.add_argument("--keep", action="store_true", help="keep images that fail")
    parser.add_argument(
        "--control",
        action="store_true",
        help="test the test: Plait without fsync, which must fail; status 0 if it does",
    )
    args = parser.parse_args()
    args.plait = args.plait.resolve()
    if args.seed is None:
        # Known before the program is started again in its namespace.
        args.seed = random.randrange(1 << 32)
        sys.argv += ["--seed", str(args.seed)]
    return args


def without_fsync(folder):
    library = folder / "nosync.so"
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise Unable("there is no C compiler")
    run(compiler, "-shared", "-fPIC", "-o", library, HERE / "nosync.c")
    return library


def cut_power(args, folder):
    free = shutil.disk_usage(folder).free >> 30
    if free < args.space:
        raise Unable(f"{folder} has {free} GiB free, {args.space} are needed")
    rig = Rig(folder, args.space, args.space // 2)
    try:
        if not rig.loses_what_is_not_synced():
            print("FAILED what was not synced outlives a power cut: this is none")
            return 1
        preload = without_fsync(folder) if args.control else None
        session = Session(args, folder, rig, random.Random(args.seed), preload)
        print(f"seed {args.seed}: {args.cuts} power cuts", flush=True)
        session.run(args.cuts)
        session.conclude()
        return int(bool(session.failures) != args.control)
    finally:
        Plait.stop_all()
        rig.close()


def main():
    args = parse()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    folder = None
    try:
        require()
        enter_namespace()
        folder = Path(tempfile.mkdtemp(prefix="plait-power-", dir=args.folder))
        return cut_power(args, folder)
    except Unable as error:
        print(f"skipped: {error}")
        return 0
    except KeyboardInterrupt:
        return 130
    finally:
        if folder and not any(folder.glob("cut-*.img")):
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
