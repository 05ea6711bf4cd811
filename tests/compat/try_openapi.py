#!/usr/bin/env python3
"""Runs OpenAPI tools on the document of a server with a generated history.

    try_openapi.py --plait PATH --venv FOLDER

Validators (openapi-spec-validator, spectral, swagger-parser) must find nothing. Clients that are
generated in TypeScript and in Python must compile, and get what they request. kadena-sdk must get the
network from `GET config`. The folder gets a virtual environment and the packages of npm, once. Exit
status: 0 all is right, 1 something is not, 77 skipped, because a tool or a registry cannot be had.
"""

import argparse
import importlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request

from try_schemathesis import Server, skip

RELEASES = ["openapi-spec-validator==0.9.0", "openapi-python-client==0.29.1", "kadena-sdk==2.0.5"]
HERE = pathlib.Path(__file__).resolve().parent / "openapi"


def quiet(command, cwd):
    """Whether a command exists and succeeds, and its output."""
    try:
        made = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    except OSError as error:
        return False, str(error)
    return made.returncode == 0, made.stdout + made.stderr


def installed(folder):
    """Installs the pinned packages of PyPI and npm into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = "\n".join(RELEASES) + (HERE / "package.json").read_text()
    mark = folder / "installed"
    if mark.exists() and mark.read_text() == wanted:
        return
    pip = [folder / "bin" / "pip", "install", "--quiet", "--retries", "1", "--timeout", "20"]
    npm = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
    npm += ["--prefer-offline", "--fetch-retries=1", "--fetch-timeout=20000"]
    shutil.copy(HERE / "package.json", folder)
    for what, command in [
        ("python cannot make a virtual environment", [sys.executable, "-m", "venv", folder]),
        ("pip cannot install", [*pip, "--disable-pip-version-check", *RELEASES]),
        ("there is no node", ["node", "--version"]),
        ("npm cannot install", npm),
    ]:
        right, said = quiet(command, folder)
        if not right:
            skip(f"{what}: {said.strip().splitlines()[-1:]}")
    mark.write_text(wanted)


class Trial:
    """Named checks, and the names of those that failed."""

    def __init__(self):
        self.failed = []

    def run(self, name, command, cwd):
        right, said = quiet([str(part) for part in command], cwd)
        print(f"{'ok' if right else 'FAILED'} {name}", flush=True)
        if not right:
            print(said[-4000:], flush=True)
            self.failed.append(name)


def python_client(url):
    """Sends requests with the generated client, which is in the working folder."""
    sys.path.insert(0, ".")
    from plait_client import Client
    from plait_client.models import Error, Info, PageOfHashes

    client = Client(base_url=url)

    def call(module, **arguments):
        return importlib.import_module(f"plait_client.api.{module}").sync(client=client, **arguments)

    info = call("server.get_info")
    assert isinstance(info, Info) and info.node_version == "development", info
    assert call("server.get_health") == "Health check OK.\n"
    page = call("blocks.get_hashes", chain=0, limit=3)
    assert isinstance(page, PageOfHashes) and len(page.items) == page.limit == 3, page
    cut = call("cut.get_cut")
    assert cut.instance == "development" and cut.height > 0, cut
    peers = call("cut.get_cut_peers")
    assert (peers.limit, peers.items, peers.next_) == (0, [], None), peers
    error = call("statistics.get_statistics", step=0)
    assert isinstance(error, Error) and "step" in error.reason, error


def network_of(url):
    """The network, read as kadena-sdk does."""
    from kadena_sdk.kadena_sdk import KadenaSdk

    network = KadenaSdk(url).network_id
    assert network == "development", network


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--plait", type=pathlib.Path)
    parser.add_argument("--venv", type=pathlib.Path)
    parser.add_argument("--client", help="only send requests by the client in the working folder")
    parser.add_argument("--sdk", help="only ask kadena-sdk for the network")
    args = parser.parse_args()
    if args.client or args.sdk:
        return python_client(args.client) if args.client else network_of(args.sdk)
    tools = args.venv.absolute()
    installed(tools)
    trial, bin = Trial(), tools / "node_modules" / ".bin"
    with tempfile.TemporaryDirectory() as folder, Server(args.plait, pathlib.Path(folder)) as server:
        work = pathlib.Path(folder) / "work"
        shutil.copytree(HERE, work)
        (work / "node_modules").symlink_to(tools / "node_modules")
        with urllib.request.urlopen(f"{server.url}/openapi.json") as answer:
            (work / "document.json").write_bytes(answer.read())
        python = tools / "bin" / "python"
        spectral = [bin / "spectral", "lint", "--ruleset", "spectral.yaml"]
        typed = ["--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck"]
        generate = [tools / "bin" / "openapi-python-client", "generate", "--meta", "none"]
        generate += ["--path", "document.json", "--output-path", "plait_client"]
        this = pathlib.Path(__file__).resolve()
        for name, command in [
            ("openapi-spec-validator", [tools / "bin" / "openapi-spec-validator", "document.json"]),
            ("spectral", [*spectral, "--fail-severity", "warn", "document.json"]),
            ("swagger-parser", ["node", "parse.mjs", "document.json"]),
            ("openapi-typescript", [bin / "openapi-typescript", "document.json", "-o", "document.ts"]),
            ("tsc", [bin / "tsc", *typed, "client.ts"]),
            ("requests of the client in TypeScript", ["node", "client.js", server.url]),
            ("openapi-python-client", generate),
            ("compilation of the client in Python", [python, "-m", "compileall", "-q", "plait_client"]),
            ("requests of the client in Python", [python, this, "--client", server.url]),
            ("kadena-sdk", [python, this, "--sdk", server.url]),
        ]:
            trial.run(name, command, work)
    if trial.failed:
        sys.exit("failures of " + ", ".join(trial.failed))


if __name__ == "__main__":
    main()
