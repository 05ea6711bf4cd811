"""What must hold once the power is back."""

import json

from program import Failure
from workloads import KEEP

DONE = "backup-done"

# What `plait info` says of a database whose creation was cut off.
NO_DATABASE = ["no database in", "the creation of"]


def require(holds, text):
    if not holds:
        raise Failure(text)


class Checker:
    """Checks one disk, which is plugged in."""

    def __init__(self, plait, cut, data, disk, count):
        self.plait, self.cut, self.data, self.disk = plait, cut, data, disk
        # Counts what was seen, for the summary.
        self.count = count

    def check(self):
        promised = self.cut.promises
        # First, while the backup that they are of is there.
        for name, (flags, done) in promised.restores.items():
            self.check_restore(self.disk / name, flags, done)
        for name, (flags, done) in promised.exports.items():
            self.check_export(self.disk / name, flags, done)
        found = {path.name for path in self.disk.glob("db*")}
        for name in sorted(found | set(promised.databases)):
            self.check_database(name)

    def check_database(self, name):
        db, promised = self.disk / name, self.cut.promises.databases.get(name)
        blocks = self.blocks(db)
        if promised and (promised.blocks is not None or promised.backups):
            require(blocks is not None, f"{name} is gone")
            require(blocks >= (promised.blocks or 0), f"{name}: {blocks} blocks of {promised.blocks}")
        if blocks is not None:
            self.plait("verify", "--db", db).expect(0)
        self.count_database(db, blocks, promised)
        self.check_backups(db, promised.backups if promised else {})
        self.check_it_goes_on(db)

    def blocks(self, db):
        """How many blocks a database has; None if there is none."""
        said = self.plait("info", "--db", db, "--json")
        if said.status == 2 and any(text in said.err for text in NO_DATABASE):
            return None
        return json.loads(said.expect(0).out)["blocks"]

    def check_backups(self, db, promised):
        """Those that were reported done are whole, and so are others that say so; none is being made."""
        listed = {backup["id"]: backup for backup in self.plait.backups(db)}
        for name, blocks in promised.items():
            status = listed.get(name, {}).get("status", "is gone")
            require(status == DONE, f"{db.name}: backup {name}, which was reported done: {status}")
            held = listed[name]["contents"]["blocks"]
            require(held >= blocks, f"backup {name} has {held} blocks of {blocks}")
            self.count["backups that were reported done, and are whole"] += 1
        for name, backup in listed.items():
            status = backup["status"]
            require(status in (DONE, "backup-failed"), f"backup {name}: {status}")
            if status == DONE:
                said = self.plait("backup", "check", name, "--db", db, "--verify").expect(0)
                require(said.out == DONE, f"{said}: {said.out}")
                self.count["backups that were not, and are whole"] += name not in promised
            else:
                self.count["backups that were being made, and have failed"] += 1

    def check_it_goes_on(self, db):
        """A replay ends as if nothing had been, and a backup clears what was left."""
        before = {backup["id"] for backup in self.plait.backups(db) if backup["status"] == DONE}
        dump, blocks = self.data.dump_of(self.cut.workload)
        self.plait.replay(db, dump).expect(0)
        info, expected = self.plait.info(db), self.data.infos[dump]
        require(info == expected, f"{db.name} after a replay: {info}, not {expected}")
        require(info["blocks"] == blocks, f"{db.name}: {info['blocks']} blocks, not {blocks}")
        made = self.plait("backup", "make", "--db", db).expect(0).out
        left = {path.name for path in (db / "backups").glob(".*")} - {".lock"}
        require(not left, f"{db.name}: a new backup leaves {left}")
        done = {backup["id"] for backup in self.plait.backups(db) if backup["status"] == DONE}
        require(done == before | {made}, f"{db.name}: backups {done}, not {before} and {made}")
        self.plait("backup", "check", made, "--db", db, "--verify").expect(0)
        self.plait("backup", "make", "--db", db, "--keep", KEEP).expect(0)
        self.plait("verify", "--db", db).expect(0)

    def check_restore(self, to, flags, done):
        whole = (to / "0").exists()
        require(whole or not done, f"{to.name} is gone")
        require(not (done and (to / ".restore").exists()), f"{to.name} is not done")
        if whole:
            # It gets its name when all of it is there.
            self.check_restored(to)
        if (to / ".restore").exists() or not whole:
            self.count["restores that were cut off"] += 1
            self.count["restores that were cut off behind the first file"] += (
                (to / ".restore" / "0").exists() or whole
            )
            self.plait("restore", *flags, "--to", to).expect(0)
            self.check_restored(to)
            left = {path.name for path in to.iterdir()} - {"0"}
            require(not left, f"{to.name}: a restore leaves {left}")

    def check_restored(self, to):
        self.plait("verify", "--db", to).expect(0)
        info, expected = self.plait.info(to), self.data.infos[self.data.large[0]]
        require(info == expected, f"{to.name}: {info}, not {expected}")

    def check_export(self, out, flags, done):
        whole = (out / "manifest.json").exists()
        require(whole or not done, f"{out.name} is gone")
        if whole:
            self.plait("verify", out).expect(0)
        else:
            self.count["exports that were cut off"] += 1
            self.count["exports that were cut off behind the first file"] += (
                out.exists() and any(out.iterdir())
            )
            self.plait("export", *flags, "--out", out).expect(0)
            self.plait("verify", out).expect(0)

    def count_database(self, db, blocks, promised):
        if blocks is None:
            self.count["databases that were not there yet"] += 1
        elif blocks in self.data.whole:
            self.count["databases with a whole replay"] += 1
        else:
            self.count["databases in the middle of a replay"] += 1
        tables = db / "0" / "rocksDb"
        self.count["databases whose index was not sorted"] += (tables / "index").exists()
        self.count["backups that were being deleted"] += len(list(db.glob("backups/.*.old")))
