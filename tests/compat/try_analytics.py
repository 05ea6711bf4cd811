#!/usr/bin/env python3
"""Runs every query of docs/analytics.md over a dataset of a generated history, with DuckDB and, where it is
installed, with Spark, and compares what they answer with `plait stats` and with each other.

    try_analytics.py --plait PATH [--venv FOLDER] [--heights N]

`plait` is built with its feature `parquet`. With --venv, DuckDB is installed there, once. Exit status: 0 all as it
should be, 1 not, 77 skipped, because there is no DuckDB.
"""

import argparse
import contextlib
import datetime
import decimal
import json
import math
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

RELEASE = "2.0.1"
SKIPPED = 77
NETWORK = "mainnet01"
DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "analytics.md"


def skip(reason):
    print(f"skipped: {reason}", file=sys.stderr)
    sys.exit(SKIPPED)


def into(venv):
    """Starts again with the Python of the folder, where DuckDB is installed if it is missing."""
    python = venv / "bin" / "python"
    wanted = [python, "-c", f"import duckdb; assert duckdb.__version__ == '{RELEASE}'"]
    if not python.exists() or subprocess.run(wanted, capture_output=True).returncode != 0:
        made = subprocess.run([sys.executable, "-m", "venv", venv], capture_output=True)
        if made.returncode != 0:
            skip("python cannot make a virtual environment")
        pip = [python, "-m", "pip", "install", "--quiet", "--retries", "1", "--timeout", "20"]
        pip += ["--disable-pip-version-check", f"duckdb=={RELEASE}"]
        made = subprocess.run(pip, capture_output=True, text=True)
        if made.returncode != 0:
            skip(f"pip cannot install duckdb {RELEASE}: {made.stderr.strip().splitlines()[-1:]}")
    arguments = [argument for argument in sys.argv if argument != "--venv" and argument != str(venv)]
    os.execv(python, [python, *arguments])


def document():
    """The statements that make an engine ready, by its name, and the queries, by their headings."""
    engines, queries = {}, {}
    text = DOCUMENT.read_text()
    for part in re.split(r"^##+ ", text, flags=re.M)[1:]:
        title = part.split("\n", 1)[0]
        for block in re.findall(r"^```sql\n(.*?)^```", part, flags=re.M | re.S):
            assert title not in queries, f"two queries under {title}"
            if title in ("DuckDB", "Spark"):
                engines[title] = [one for one in block.split(";") if one.strip()]
            else:
                queries[title] = block.strip().rstrip(";")
    return engines, queries


class DuckDb:
    """DuckDB, from PyPI."""

    def __init__(self, setup):
        import duckdb

        self.connection = duckdb.connect()
        for statement in setup:
            self.connection.execute(statement)

    def ask(self, query):
        rows = self.connection.execute(query)
        names = [column[0] for column in rows.description]
        return [dict(zip(names, row)) for row in rows.fetchall()]

    def types(self):
        return {row["column_name"]: row["column_type"] for row in self.ask("DESCRIBE headers")}


class Spark:
    """Spark, if there is one: it needs Java."""

    def __init__(self, setup):
        from pyspark.sql import SparkSession

        builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        self.session = builder.config("spark.log.level", "ERROR").getOrCreate()
        for statement in setup:
            self.session.sql(statement)

    def ask(self, query):
        return [row.asDict() for row in self.session.sql(query).collect()]


def plait(args, *arguments):
    done = subprocess.run([args.plait, *map(str, arguments)], capture_output=True, text=True)
    if "built without Parquet" in done.stderr:
        sys.exit(done.stderr)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done


class Checks:
    """What each query must answer, by its heading."""

    def __init__(self, args):
        self.args = args
        self.of_chains = self.stats("--by-chain")
        self.of_steps = self.stats("--step", 100_000)

    def stats(self, *flags):
        return json.loads(plait(self.args, "stats", "--db", "db", "--json", *flags).stdout)["rows"]

    def check(self, title, rows):
        checks = {
            "Blocks and orphans of each chain": self.chains,
            "Difficulty, block time and hash rate by height": self.steps,
            "Block times of each month": self.months,
            "Difficulty epochs of a chain": self.epochs,
            "Heights with the most blocks": self.siblings,
            "One block by its hash": self.one,
            "Blocks without their parents": self.parentless,
            "Canonical blocks that stand on orphans of other chains": self.unsound,
        }
        checks[title](rows)

    def chains(self, rows):
        mine = [(row["chainId"], row["blocks"], row["orphans"], row["top"]) for row in rows]
        # The dataset lists the genesis block of a chain that has not begun as an orphan; statistics
        # have no row for such a chain.
        theirs = [(row["chain"], row["blocks"], row["orphans"], row["blocks"] - 1) for row in self.of_chains]
        theirs += [(chain, 0, 1, None) for chain in range(len(theirs), len(mine))]
        assert mine == theirs, (mine, theirs)
        assert sum(row[2] for row in mine) > 10, "orphans"

    def steps(self, rows):
        canonical = [row for row in self.of_steps if row["blocks"]]
        assert len(rows) == len(canonical)
        for mine, theirs in zip(rows, canonical):
            assert mine["minHeight"] == theirs["minHeight"]
            exact = (int(mine["blocks"]), int(mine["difficulty"]), int(mine["time"]))
            assert exact == (theirs["blocks"], int(theirs["difficulty"]), theirs["time"]), (mine, theirs)
            if theirs["hashRate"] is None:
                assert mine["hashRate"] is None, (mine, theirs)
            else:
                assert math.isclose(mine["hashRate"], theirs["hashRate"], rel_tol=1e-9), (mine, theirs)
            seconds = theirs["time"] / sum(theirs["blockTimes"]) / 1e6
            assert math.isclose(float(mine["blockSeconds"]), seconds, rel_tol=1e-9), (mine, theirs)

    def months(self, rows):
        times = sum(sum(row["blockTimes"]) for row in self.of_chains)
        assert sum(row["blocks"] for row in rows) == times, (rows, times)
        mean = sum(float(row["mean"]) * row["blocks"] for row in rows if row["blocks"]) / times
        expected = sum(row["time"] for row in self.of_chains) / times / 1e6
        assert math.isclose(mean, expected, rel_tol=1e-9), (mean, expected)
        assert all(row["month"].day == 1 for row in rows)

    def epochs(self, rows):
        (chain,) = (row for row in self.of_chains if row["chain"] == 3)
        assert sum(row["blocks"] for row in rows) == chain["blocks"]
        total = sum(row["blocks"] * int(row["difficulty"]) for row in rows)
        assert total == int(chain["difficulty"]), (total, chain)
        assert len(rows) > 2 and max(row["blocks"] for row in rows) >= 120

    def siblings(self, rows):
        assert 0 < len(rows) <= 20 and all(row["blocks"] > 1 for row in rows)

    def one(self, rows):
        (row,) = rows
        assert (row["chainwebVersion"], row["chainId"], row["height"]) == (NETWORK, 3, 0), row
        assert row["orphan"] is False and len(row["parent"]) == len(row["target"]) == 43, row

    def parentless(self, rows):
        assert [row["chainId"] for row in rows] == list(range(20)), rows
        assert all(len(row["hash"]) == 43 for row in rows)

    def unsound(self, rows):
        assert rows == [], rows


def plain(value):
    """The same value for every engine."""
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, (int, decimal.Decimal)) and not isinstance(value, bool):
        return float(value)
    return value


def same(ours, theirs):
    if len(ours) != len(theirs):
        return False
    for mine, other in zip(ours, theirs):
        for name, value in mine.items():
            a, b = plain(value), plain(other[name])
            close = isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=1e-9)
            if a != b and not close:
                return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plait", required=True, type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--venv", type=pathlib.Path)
    parser.add_argument("--heights", type=int, default=2000)
    args = parser.parse_args()
    if args.venv:
        into(args.venv)
    try:
        import duckdb
    except ImportError:
        skip("python has no duckdb; make test-analytics installs it")
    os.environ["TZ"] = "UTC"
    time.tzset()
    engines, queries = document()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        history = ["--network", NETWORK, "--heights", args.heights, "--seed", 7, "--forks", 0.02]
        plait(args, "generate", *history, "--fork-depth", 3, "--out", "blocks.bin")
        plait(args, "replay", "--db", "db", "--network", NETWORK, "blocks.bin")
        ranges = [] if args.heights > 100_000 else ["--file-heights", 750]
        said = plait(args, "export", "--db", "db", "--out", "dataset", "--format", "parquet", *ranges)
        print(said.stderr.strip().splitlines()[-1])
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(f"of all commands the one with the most memory had {peak >> 10} MiB")
        checks, asked = Checks(args), {}
        duck = DuckDb(engines["DuckDB"])
        documented = set(re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(), flags=re.M))
        assert set(duck.types()) == documented, set(duck.types()) ^ documented
        for title, query in queries.items():
            since = time.monotonic()
            asked[title] = duck.ask(query)
            took = time.monotonic() - since
            checks.check(title, asked[title])
            print(f"ok: DuckDB {duckdb.__version__}: {title} ({len(asked[title])} rows, {took:.2f} s)")
        try:
            import pyspark
        except ImportError:
            return
        spark = Spark(engines["Spark"])
        for title, query in queries.items():
            rows = spark.ask(query)
            checks.check(title, rows)
            assert same(asked[title], rows), f"{title}: {asked[title][:3]} {rows[:3]}"
            print(f"ok: Spark {pyspark.__version__}: {title}")
        spark.session.stop()


if __name__ == "__main__":
    main()
