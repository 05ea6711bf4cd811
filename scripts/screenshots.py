#!/usr/bin/env python3
"""Makes the pictures of the explorer in docs/images, from a generated network.

    screenshots.py --plait PATH [--origin URL --listen ADDR]

With --origin the page is taken from there, something in front of the server, which listens on --listen.
"""

import argparse
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from devtools import Browser, chromium
from png import small
from served import Server, generate, replay
from try_browser import SETTLED, Watched

IMAGES = ROOT / "docs" / "images"
BYTES_MAX = 150_000
HEIGHTS = 40_000
FORKS = ["--forks", "0.08", "--fork-depth", "5"]


def take(watched, name, fragment, ready, size):
    watched.page.look(size)
    watched.go(fragment, ready)
    watched.page.rest(2)
    picture = small(watched.page.picture())
    if len(picture) > BYTES_MAX:
        sys.exit(f"{name} has {len(picture)} bytes")
    (IMAGES / name).write_bytes(picture)
    print(f"{name}: {len(picture)} bytes")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--plait", required=True, type=pathlib.Path)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--origin")
    args = parser.parse_args()
    browser = chromium()
    if browser is None:
        sys.exit("there is no chromium")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        file, db = folder / "blocks.bin", folder / "db"
        generate(args.plait, file, HEIGHTS, *FORKS)
        replay(args.plait, db, file, "--network", "development")
        server = Server(args.plait, db, folder / "log", listen=args.listen, origin=args.origin)
        with server, Browser(browser) as page:
            watched = Watched(page, server)
            place = f"#/chain/9/height/{HEIGHTS - 8}"
            take(watched, "braid.png", place, SETTLED, (1120, 600))
            take(watched, "statistics.png", "#/stats", "document.querySelector('figure')", (1120, 1000))


main()
