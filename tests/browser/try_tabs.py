#!/usr/bin/env python3
"""Opens many tabs of the explorer in a headless chromium, over HTTP/1.1.

    try_tabs.py --plait PATH [CHECK...]

A browser opens six connections to a host, and an event stream takes one for itself: so all tabs have to share
one. A line for each check. Exit status: 0 no failure, 1 failures, 77 skipped, because there is no chromium.
"""

import argparse
import pathlib
import sys
import tempfile
import time

from devtools import PATIENCE, Browser, chromium
from served import Server, generate, records, replay
from try_browser import SETTLED, SKIPPED, Tries, expect

TABS = 8
HEIGHTS = 60
# Heights that are stored later, while pages are open.
HELD = 12
LIVE = "document.getElementById('live').dataset.live === 'true'"
STATE = "document.getElementById('live').dataset.state"
# Removes what Chrome on Android does not have.
NO_WORKERS = "delete self.SharedWorker;"
# Removes what pages from http://HOST do not have either.
HOST = "plait.test"
# Timers of minutes fire at once.
HURRY = """const set = setTimeout;
window.setTimeout = (what, millis, ...more) => set(what, millis > 60000 ? 100 : millis, ...more);"""


class Opened:
    """Tabs of one browser that show the explorer of one server."""

    def __init__(self, browser, server, script=None, host=None):
        self.browser, self.server, self.script = browser, server, script
        self.url = server.page.replace("127.0.0.1", host) if host else server.page
        self.tabs = []

    def open(self, count=1):
        for _ in range(count):
            tab = self.browser.tab()
            if self.script:
                tab.before(self.script)
            tab.go(self.url)
            self.tabs.append(tab)

    def complete(self):
        """Waits until every tab has all its blocks and receives new ones."""
        for number, tab in enumerate(self.tabs, 1):
            try:
                tab.wait(f"(async () => await {SETTLED} && {LIVE})()")
            except TimeoutError:
                links = tab.run("document.querySelectorAll('#links a').length")
                expect(False, f"tab {number} of {len(self.tabs)} has {links} links and does not go on")

    def streams(self, wanted=1):
        """Waits until the server has this many event streams."""
        end = time.monotonic() + PATIENCE
        while (now := self.server.metric("plait_subscribers_open")) != wanted:
            expect(time.monotonic() < end, f"{now:.0f} event streams for {len(self.tabs)} tabs")
            for tab in self.tabs:
                tab.rest(0.02)

    def see(self, some):
        """Stores blocks and waits until every tab shows them."""
        self.server.push(some)
        for number, tab in enumerate(self.tabs, 1):
            for record in some:
                link = f"#links a[data-hash='{record.hash}'][data-kind=canonical]"
                try:
                    tab.wait(f'document.querySelector("{link}")')
                except TimeoutError:
                    expect(False, f"tab {number} of {len(self.tabs)} does not show a new block")

    def close(self, number):
        self.browser.close(self.tabs.pop(number))

    def clean(self):
        for tab in self.tabs:
            expect(not tab.problems, tab.problems)


def shared(opened, held):
    """Eight tabs share one stream. All but one are closed, the first one first, and the others continue."""
    opened.open(TABS)
    opened.complete()
    opened.streams()
    opened.see(held.pop(0))
    while len(opened.tabs) > 1:
        opened.close(0)
        if len(opened.tabs) in (TABS - 1, 1):
            opened.see(held.pop(0))
            opened.streams()
    opened.clean()
    opened.close(0)
    opened.streams(0)
    return f"{TABS} tabs over HTTP/1.1, one stream"


def crashed(opened, held):
    """The tab that holds the stream crashes without a message, and another tab takes over."""
    opened.open()
    opened.complete()
    opened.open(2)
    opened.complete()
    opened.streams()
    leader = opened.tabs.pop(0)
    # The crashed page sends no answer.
    leader.socket.send('{"id": 0, "method": "Page.crash"}')
    opened.streams(0)
    opened.streams()
    opened.complete()
    opened.see(held.pop(0))


def visits(opened, held):
    """Leaves the page and comes back, more often than there are connections."""
    opened.open()
    tab = opened.tabs[0]
    kept = 0
    for visit in range(TABS):
        opened.complete()
        opened.streams()
        # Going back restores the page from the back/forward cache.
        tab.run("window.isKept = true")
        tab.go(f"{opened.url}info")
        tab.wait("location.pathname === '/info'")
        opened.streams(0)
        if visit % 2:
            tab.go(opened.url)
        else:
            tab.run("history.back()")
        tab.wait("location.pathname === '/'")
        kept += tab.wait("document.getElementById('live') && [window.isKept === true]") == [True]
    opened.complete()
    opened.see(held.pop(0))
    opened.clean()
    return f"{TABS} visits, {kept} of them from the cache"


def hidden(opened, held):
    """A tab that was hidden for long receives nothing in that time, then catches up."""
    opened.open()
    opened.complete()
    tab = opened.tabs[0]
    seen = "Object.defineProperty(document, 'hidden', {{ value: {}, configurable: true }});"
    seen += "document.dispatchEvent(new Event('visibilitychange'))"
    tab.run(seen.format("true"))
    opened.streams(0)
    opened.server.push(held[0])
    tab.run(seen.format("false"))
    opened.see(held.pop(0))
    opened.streams()


def polled(opened, held):
    """The server refuses event streams: the page polls the cut."""
    opened.open(2)
    for tab in opened.tabs:
        tab.wait(f"{STATE} === 'polled' && {SETTLED}")
    opened.see(held.pop(0))
    opened.streams(0)


def starved(opened, held):
    """Another page holds all connections to the host: the page shows this, and continues afterwards."""
    opened.open()
    opened.complete()
    tab = opened.tabs[0]
    other = opened.browser.tab()
    other.go(f"{opened.url}info")
    other.wait("location.pathname === '/info'")
    path = "/chainweb/0.0/development/header/updates"
    other.run(f"window.held = Array.from({{ length: 6 }}, () => new EventSource('{path}')); 1")
    opened.streams(6)
    tab.run("location.hash = '#/state'")
    tab.wait("!document.getElementById('slow').hidden")
    other.run("held.forEach((source) => source.close())")
    tab.wait("document.querySelectorAll('#page table a').length === 20")
    tab.wait("document.getElementById('slow').hidden")


CHECKS = {
    "workers": (shared, {}),
    "relay": (shared, {"script": NO_WORKERS}),
    "insecure": (shared, {"script": NO_WORKERS, "host": HOST}),
    "crash": (crashed, {"script": NO_WORKERS}),
    "visits": (visits, {}),
    "relay-visits": (visits, {"script": NO_WORKERS}),
    "hidden": (hidden, {"script": HURRY}),
    "polled": (polled, {"flags": ["--max-subscribers", "0"]}),
    "starved": (starved, {}),
}


def try_one(args, db, held, log, path, check, flags=(), **more):
    # The browser resolves HOST to the loopback, but does not treat it as a secure context.
    rules = [f"--host-resolver-rules=MAP {HOST} 127.0.0.1"]
    with Server(args.plait, db, log, *flags) as server:
        browser = Browser(path, flags=rules)
        with browser:
            opened = Opened(browser, server, **more)
            if more.get("host"):
                browser.page.go(f"{opened.url}info")
                browser.page.wait("location.pathname === '/info'")
                expect(not browser.page.run("isSecureContext"), "the page is a secure one")
            return check(opened, held)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--plait", required=True, type=pathlib.Path)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(CHECKS)}; all without")
    args = parser.parse_args()
    path = chromium()
    if path is None:
        print("skipped: there is no chromium", file=sys.stderr)
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tries = Tries(args, folder)
        generate(args.plait, folder / "all.bin", HEIGHTS)
        everything = records(folder / "all.bin")
        low = [record.data for record in everything if record.height <= HEIGHTS - HELD]
        (folder / "low.bin").write_bytes(b"".join(low))
        for number, name in enumerate(args.checks or CHECKS):
            db = folder / f"db{number}"
            replay(args.plait, db, folder / "low.bin", "--network", "development", "--verify", "none")
            held = [
                [record for record in everything if record.height == height]
                for height in range(HEIGHTS - HELD + 1, HEIGHTS + 1)
            ]
            check, more = CHECKS[name]
            tries.check(name, lambda: try_one(args, db, held, folder / "log", path, check, **more))
    print(f"{tries.failed} failed")
    sys.exit(1 if tries.failed else 0)


if __name__ == "__main__":
    main()
