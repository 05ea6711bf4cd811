#!/usr/bin/env python3
"""Runs schemathesis against a server of a generated history, by the document that it serves.

    try_schemathesis.py --plait PATH --venv FOLDER [--examples N] [--seed N]

The folder gets a virtual environment with the release of schemathesis below, once. Exit status: 0 no
failure, 1 failures, 77 skipped, because Python, the package or the registry cannot be had.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

RELEASE = "4.32.5"
SKIPPED = 77
HERE = pathlib.Path(__file__).resolve().parent

JSON = "application/json"
OBJECT = "application/json;blockheader-encoding=object"
OCTETS = "application/octet-stream"

# Event streams do not end, and schemathesis waits for the end of an answer. The tests of the server
# listen to them instead, and hold their events to the document.
STREAMS = r"/updates$"

# Answers in other forms than the default are asked for in runs of their own.
HEADERS = r"/header(/branch|/\{hash\})?$"
FORMS = r"/(header(/branch|/\{hash\})?|payload/.*)$"


def skip(reason):
    print(f"skipped: {reason}", file=sys.stderr)
    sys.exit(SKIPPED)


def installed(venv):
    """The command, which is installed where it is missing or of another release."""
    command = venv / "bin" / "st"
    try:
        said = subprocess.run([command, "--version"], capture_output=True, text=True).stdout
        if said.split()[-1:] == [RELEASE]:
            return command
    except OSError:
        pass
    made = subprocess.run([sys.executable, "-m", "venv", venv], capture_output=True, text=True)
    if made.returncode != 0:
        skip("python cannot make a virtual environment")
    pip = [venv / "bin" / "pip", "install", "--quiet", "--retries", "1", "--timeout", "20"]
    pip += ["--disable-pip-version-check", f"schemathesis=={RELEASE}"]
    made = subprocess.run(pip, capture_output=True, text=True)
    if made.returncode != 0:
        skip(f"pip cannot install schemathesis {RELEASE}: {made.stderr.strip().splitlines()[-1:]}")
    return command


def database(plait, folder):
    """A history with forks and payloads, replayed and exported; what to serve."""
    blocks, db, archive = folder / "blocks.jsonl", folder / "db", folder / "archive"
    generate = ["generate", "--network", "development", "--heights", "60", "--forks", "0.1"]
    generate += ["--fork-depth", "4", "--payloads", "--format", "jsonl", "--out", blocks]
    replay = ["replay", "--db", db, "--network", "development", blocks]
    export = ["export", "--db", db, "--out", archive, "--file-heights", "1024"]
    for command in [generate, replay, export]:
        subprocess.run([plait, *command], check=True, capture_output=True)
    return ["--db", db, "--archive", archive, "--backup-api"]


class Server:
    def __init__(self, plait, folder):
        command = [plait, "serve", *database(plait, folder), "--listen", "127.0.0.1:0"]
        self.log = folder / "log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        listening = None
        while listening is None and self.process.poll() is None:
            listening = re.search(r"listening on (http://\S+)", self.log.read_text())
        if listening is None:
            sys.exit(f"plait serve does not listen:\n{self.log.read_text()}")
        self.url = listening[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def as_objects(document):
    """The document for those who always ask for objects: schemathesis chooses the schema of an answer
    by its type without parameters, so that of objects stands there."""
    text = json.dumps(document)
    document = json.loads(text)
    for path in document["paths"].values():
        for operation in [path[method] for method in ("get", "post") if method in path]:
            content = operation["responses"]["200"].get("content", {})
            if OBJECT in content:
                content[JSON] = content[OBJECT]
    return document


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--plait", required=True, type=pathlib.Path)
    parser.add_argument("--venv", required=True, type=pathlib.Path)
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    schemathesis = installed(args.venv.absolute())
    environment = os.environ | {"PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "schemathesis_hooks"}
    failed = []
    with tempfile.TemporaryDirectory() as folder, Server(args.plait, pathlib.Path(folder)) as server:
        with urllib.request.urlopen(f"{server.url}/openapi.json") as answer:
            document = json.load(answer)
        common = ["--url", server.url, "--checks", "all", "--max-examples", str(args.examples)]
        common += ["--phases", "examples,coverage,fuzzing,stateful", "--seed", str(args.seed)]
        common += ["--continue-on-failure", "--generation-database", "none", "--no-color"]
        common += ["--warnings", "off"]
        runs = [
            ("default form", document, ["--exclude-path-regex", STREAMS]),
            ("objects", as_objects(document), ["--include-path-regex", HEADERS, "-H", f"Accept: {OBJECT}"]),
            ("bytes", document, ["--include-path-regex", FORMS, "-H", f"Accept: {OCTETS}"]),
        ]
        for name, described, flags in runs:
            file = pathlib.Path(folder) / "document.json"
            file.write_text(json.dumps(described))
            print(f"schemathesis {RELEASE}, {name}", flush=True)
            command = [schemathesis, "run", file, *common, *flags]
            # A failure names its request, to be sent again with curl.
            if subprocess.run(command, env=environment, cwd=folder).returncode != 0:
                failed.append(name)
        if server.process.poll() is not None or "panic" in server.log.read_text():
            failed.append(f"the server:\n{server.log.read_text()}")
    if failed:
        sys.exit("failures of " + ", ".join(failed))
    print("no failures")


if __name__ == "__main__":
    main()
