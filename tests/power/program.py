"""The program under test, and what it said."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
import weakref
from pathlib import Path

NETWORK = ["--network", "development"]

# No command takes longer, or it hangs.
TIMEOUT = 300


class Failure(Exception):
    """Plait did what it must not."""


class Said:
    """How a command ended."""

    def __init__(self, args, status, out, err):
        self.args, self.status, self.out, self.err = args, status, out.strip(), err.strip()

    def expect(self, *statuses):
        if self.status not in statuses:
            raise Failure(f"{self}: status {self.status}\n    " + self.err.replace("\n", "\n    "))
        return self

    def __str__(self):
        return "plait " + " ".join(self.args)


class Plait:
    """Runs commands; `stop` kills those that run, and no more begin."""

    # Those that may have commands running.
    instances = weakref.WeakSet()

    def __init__(self, binary, preload=None):
        Plait.instances.add(self)
        self.binary, self.stopped = str(binary), False
        self.running, self.lock = set(), threading.Lock()
        # Settings of this user are not those of the test.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PLAIT_")}
        self.env = kept | ({"LD_PRELOAD": str(preload)} if preload else {})

    def start(self, args, **pipes):
        with self.lock:
            if self.stopped:
                raise Stopped
            process = subprocess.Popen(
                [self.binary, *args],
                stdin=subprocess.DEVNULL,
                text=True,
                env=self.env,
                # The terminal's Ctrl-C is for the script, which kills them.
                start_new_session=True,
                **pipes,
            )
            self.running.add(process)
        return process

    def __call__(self, *args):
        args = [str(arg) for arg in args]
        process = self.start(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failure(f"plait {' '.join(args)} hangs") from None
        finally:
            with self.lock:
                self.running.discard(process)
        if self.stopped and process.returncode == -signal.SIGKILL:
            raise Stopped
        return Said(args, process.returncode, out, err)

    def stop(self):
        with self.lock:
            self.stopped = True
            for process in self.running:
                process.kill()
        for process in list(self.running):
            process.wait()

    @classmethod
    def stop_all(cls):
        for plait in list(cls.instances):
            plait.stop()

    def signal(self, command, number):
        """To each that runs of a command, such as `replay`."""
        with self.lock:
            for process in self.running:
                if process.args[1] == command and process.poll() is None:
                    process.send_signal(number)

    def replay(self, db, dump, *flags):
        return self("replay", "--db", db, *NETWORK, *flags, dump)

    def info(self, db):
        return json.loads(self("info", "--db", db, "--json").expect(0).out)

    def backups(self, db):
        lines = self("backup", "list", "--db", db, "--json").expect(0).out.splitlines()
        return [json.loads(line) for line in lines]


class Stopped(Exception):
    """The commands are stopped, which is no failure."""


class Server:
    """`plait serve` on a port of its own."""

    def __init__(self, plait, db, log, *flags):
        self.plait, self.log = plait, Path(log)
        args = ["serve", "--db", db, "--listen", "127.0.0.1:0", "--backup-api", *NETWORK, *flags]
        with open(self.log, "w") as file:
            self.process = plait.start([str(arg) for arg in args], stderr=file)
        since = time.monotonic()
        while not (found := re.search(r"listening on (http://\S+)", self.said())):
            if plait.stopped:
                raise Stopped
            if self.process.poll() is not None or time.monotonic() - since > TIMEOUT:
                raise Failure(f"plait serve did not start:\n{self.said()}")
            time.sleep(0.01)
        self.address = found[1]

    def said(self):
        return self.log.read_text()

    def ask(self, method, path):
        """The body of an answer, which must be a good one."""
        request = urllib.request.Request(self.address + path, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return answer.read().decode().strip()
        except OSError as error:
            if self.plait.stopped:
                raise Stopped from None
            raise Failure(f"{method} {path}: {error}\n{self.said()}") from None
