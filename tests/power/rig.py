"""A disk whose power can be cut at any moment.

The disk is an ext4 file system on a loop device with direct I/O, whose image lies on XFS. A reflink of
that image is what the disk holds at one moment: atomic, and without what the kernel has only in memory.

    outer.img ── loop ── XFS ── inner.img ── loop, direct I/O ── ext4 on `disk`
                          └──── cut-1.img, cut-2.img, ...         one of them, later, on `disk`

All mounts are in a namespace of this process, and all loop devices end with their mounts. So whatever
ends the process, nothing is left but its folder.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

# Set in the process that has the mount namespace to itself.
INSIDE = "PLAIT_POWER_INSIDE"

TOOLS = {"mkfs.xfs": "xfsprogs", "mkfs.ext4": "e2fsprogs"}
NEEDED = ["losetup", "mount", "umount", "unshare", "cp", *TOOLS]

UNMOUNT_TRIES = 50


class Unable(Exception):
    """This machine cannot do it; no fault of what is tested."""


def require():
    """Raises Unable unless there is all it takes, as far as that can be told before."""
    # Where Debian puts them, if not in the path of this user.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if os.geteuid() != 0:
        raise Unable("only root can make loop devices")
    for tool in NEEDED:
        if not shutil.which(tool):
            raise Unable(f"there is no {tool}" + (f" (package {TOOLS[tool]})" if tool in TOOLS else ""))


def enter_namespace():
    """Starts this program again where mounts are its own, under the same process id."""
    if os.environ.get(INSIDE):
        return
    # Tried first: a container may forbid it.
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    if tried.returncode:
        raise Unable(tried.stderr.strip())
    os.environ[INSIDE] = "1"
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]
    os.execvp(command[0], command)


def run(*command):
    """Runs a tool of the system; raises Unable with what it said if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Unable(f"{' '.join(map(str, command))}: {said[-1] if said else done.returncode}")
    return done.stdout.strip()


class Rig:
    """The disk, on `self.disk` while it is plugged in."""

    def __init__(self, folder, outer_gib, inner_gib):
        self.folder, self.inner_gib = Path(folder), inner_gib
        self.outer, self.disk = self.folder / "outer", self.folder / "disk"
        self.inner = self.outer / "inner.img"
        self.mounted = []
        for path in (self.outer, self.disk):
            path.mkdir()
        image = self.folder / "outer.img"
        sparse(image, outer_gib)
        run("mkfs.xfs", "-q", "-m", "reflink=1", image)
        self.mount(image, self.outer)

    def mount(self, image, at, *flags):
        device = run("losetup", "--find", "--show", *flags, image)
        try:
            run("mount", device, at)
            self.mounted.append(at)
        finally:
            # While it is mounted this only says that the device ends with the mount.
            run("losetup", "--detach", device)

    def unmount(self, at):
        for left in reversed(range(UNMOUNT_TRIES)):
            try:
                run("umount", at)
                break
            except Unable:
                # Something of the system may be looking at it.
                if not left:
                    raise
                time.sleep(0.1)
        self.mounted.remove(at)

    def plug_new(self):
        """An empty disk."""
        self.inner.unlink(missing_ok=True)
        sparse(self.inner, self.inner_gib)
        run("mkfs.ext4", "-q", "-F", self.inner)
        self.mount(self.inner, self.disk, "--direct-io=on")

    def cut(self, name):
        """What the disk holds at this moment. It goes on as if nothing were."""
        image = self.outer / f"{name}.img"
        run("cp", "--reflink=always", self.inner, image)
        return image

    def plug(self, image):
        """A disk after its power was cut: ext4 replays its journal."""
        self.mount(image, self.disk, "--direct-io=on")

    def unplug(self):
        self.unmount(self.disk)

    def close(self):
        for at in reversed(self.mounted):
            # What still runs there is about to be killed: the mount ends when it has ended.
            subprocess.run(["umount", "--lazy", str(at)], capture_output=True, check=False)
        self.mounted = []

    def loses_what_is_not_synced(self):
        """Whether a cut is one: what was synced must be there after it, and nothing else."""
        self.plug_new()
        for name, synced in (("synced", True), ("unsynced", False)):
            with open(self.disk / name, "wb") as file:
                file.write(b"x" * 8192)
                file.flush()
                if synced:
                    os.fsync(file.fileno())
        image = self.cut("probe")
        self.unplug()
        self.plug(image)
        found = {path.name for path in self.disk.iterdir()} - {"lost+found"}
        self.unplug()
        image.unlink()
        return found == {"synced"}


def sparse(path, gib):
    with open(path, "wb") as file:
        file.truncate(gib << 30)
