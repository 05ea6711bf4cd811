#!/usr/bin/env python3
"""Drives the explorer of a server in a headless chromium, over a generated history with forks.

    try_browser.py --plait PATH [--heights N] [--origin URL --listen ADDR]

A line for each check. With --heights 250000 there are five million headers, and what is measured is
said. With --origin the page is taken from there, something in front of the server, which listens on
--listen. Exit status: 0 no failure, 1 failures, 77 skipped, because there is no chromium.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request

from devtools import Browser, chromium
from served import CHAINS, Record, Server, decoded, generate, records, replay

SKIPPED = 77
HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "server" / "src" / "explorer"
VECTORS = HERE.parent / "vectors" / "mainnet01-user-docs.jsonl"

PAINT_MILLIS_MAX = 500
BYTES_MAX = 150_000
LIVE_SECONDS_MAX = 1
FRAME_MILLIS_MAX = 34

# Heights that are held back, to come while somebody watches.
HELD = 8
# More blocks at one height of one chain than there is room for, and than one answer of the server has.
CROWD = "4:100:1:320"
# Above this the history is looked at in places only.
WHOLE_HEIGHTS_MAX = 2000

LINKS = """[...document.querySelectorAll('#links a')].map(({ dataset }) =>
    [Number(dataset.chain), Number(dataset.height), dataset.hash, dataset.kind, Number(dataset.more)])"""
# Nothing is on its way, and links are those of the blocks that are drawn.
SETTLED = """new Promise((done) => setTimeout(() => done(
    document.getElementById('waiting').hidden
    && document.querySelector('#links a') !== null
    && !document.querySelector('#links a[data-kind=block]')), 200))"""


class Failure(Exception):
    pass


def expect(is_so, what):
    if not is_so:
        raise Failure(what)


class Tries:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.failed = 0

    def check(self, name, check, *args):
        try:
            said = check(*args)
            print(f"ok      {name}{f': {said}' if said else ''}", flush=True)
        except Exception as error:
            self.failed += 1
            place = "" if isinstance(error, Failure) else traceback.format_exc()
            print(f"FAILED  {name}: {error}\n{place}", flush=True)


def hashes():
    node = shutil.which("node")
    if node is None:
        return "skipped, there is no node"
    done = subprocess.run([node, HERE / "hashes.mjs"], capture_output=True, text=True)
    expect(done.returncode == 0, done.stderr)
    return done.stdout.strip()


class Watched:
    """A page that looks at a server."""

    def __init__(self, page, server):
        self.page, self.server = page, server

    def go(self, fragment, ready=SETTLED):
        self.page.go(self.server.page + fragment)
        if ready:
            self.page.wait(ready)

    def seen(self):
        """The heights whose rows are whole, and their blocks: (chain, hash) and whether canonical."""
        links = self.page.run(LINKS)
        heights = sorted({height for _, height, *_ in links})
        blocks = {(chain, hash): kind == "canonical" for chain, _, hash, kind, _ in links}
        return heights[0], heights[-1], blocks, sum(more for *_, more in links)

    def paint(self):
        script = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        times = []
        for _ in range(5):
            self.page.go("about:blank")
            self.go("")
            times.append(round(self.page.wait(script)))
        expect(min(times) < PAINT_MILLIS_MAX, f"{times} ms")
        return f"{times} ms"

    def size(self):
        """The bytes of the page, and what its head says."""
        self.page.go("about:blank")
        self.page.requests.clear()
        self.go("#/stats", None)
        self.page.wait("document.querySelector('#page h1, #page .failure')")
        urls = {url for url in self.page.requests if not url.startswith("data:")}
        files = {url for url in urls if "/explorer/" in url} | {self.server.page}
        # The worker makes its own requests.
        files.add(f"{self.server.page}explorer/worker.js")
        total = 0
        for url in files:
            with urllib.request.urlopen(url) as answer:
                total += len(answer.read())
                policy = answer.headers["Content-Security-Policy"] or ""
                expect("default-src 'none'" in policy, f"{url} has the policy {policy!r}")
        there = {path.name for path in PAGE.iterdir() if path.suffix in (".js", ".css")}
        asked = {url.rsplit("/", 1)[1] for url in files} - {""}
        expect(asked == there, f"{asked ^ there}")
        expect(total <= BYTES_MAX, f"{total} bytes")
        return f"{total} bytes in {len(files)} files"

    def braid(self, whole):
        """Scrolls over the history and compares the blocks with those of the API."""
        top = max(member["height"] for member in self.server.get("cut")["hashes"].values())
        places = [top]
        while whole and places[-1] > 0:
            places.append(places[-1] - 15)
        if not whole:
            places += [top * part // 10 for part in range(9, 0, -1)] + [65, 0]
        blocks, canonical, hidden = set(), 0, 0
        for place in places:
            self.go(f"#/height/{max(place, 0)}")
            low, high, seen, more = self.seen()
            there = self.server.blocks(low, high)
            missing = {key for key in there if key not in seen}
            expect(len(missing) == more, f"{len(missing)} blocks are missing at {low} to {high}: {missing}")
            wrong = {key for key, is_canonical in seen.items() if there.get(key) != is_canonical}
            expect(not wrong, f"not so at {low} to {high}: {wrong}")
            blocks |= set(there)
            hidden = max(hidden, more)
        if whole:
            expected = len(self.server.blocks(0, top))
            expect(len(blocks) == expected, f"{len(blocks)} blocks seen of {expected}")
            expect(hidden > 0, "there was room for all")
        return f"{len(blocks)} blocks at {len(places)} places are those of the API"

    def click(self):
        """Clicks on a canonical block and on an orphan."""
        for kind in ["canonical", "orphan"]:
            height = 30 if kind == "canonical" else self.orphan().height
            self.go(f"#/height/{height}")
            before = self.page.run("location.hash")
            link = f"#links a[data-kind={kind}][data-height='{height}']"
            hash = self.page.run(f"document.querySelector(\"{link}\").dataset.hash")
            self.page.click(link)
            self.page.wait(f"document.querySelector('#page .hash')?.textContent === '{hash}'")
            rows = self.page.run("document.querySelectorAll('#page .fields tbody tr').length")
            expect(rows == 19, f"{rows} fields")
            self.header(hash, kind)
            self.page.run("history.back()")
            self.page.wait(f"!document.getElementById('braid').hidden && location.hash === '{before}'")

    def orphan(self):
        there = self.server.blocks(20, 99)
        chain, hash = next(key for key, is_canonical in there.items() if not is_canonical)
        return self.record(chain, hash)

    def record(self, chain, hash):
        return Record(self.server.get(f"chain/{chain}/header/{hash}", "application/octet-stream")[0])

    def header(self, hash, kind):
        """Compares the page of a block with the API."""
        values = self.page.run(
            "Object.fromEntries([...document.querySelectorAll('.fields tbody tr')].map((row) =>"
            "[row.dataset.field, row.querySelector('.value').textContent]))"
        )
        chain = int(values["chain"])
        form = "application/json;blockheader-encoding=object"
        block = self.server.get(f"chain/{chain}/header/{hash}", form)
        expect(values["block hash"] == hash, f"{values['block hash']} and not {hash}")
        expect(values["nonce"] == block["nonce"], values["nonce"])
        expect(values["parent"] == block["parent"], values["parent"])
        expect(values["payload hash"] == block["payloadHash"], values["payload hash"])
        expect(str(block["creationTime"]) in values["creation time"], values["creation time"])
        expect(int("".join(values["height"].split())) == block["height"], values["height"])
        for place, (chain, adjacent) in enumerate(sorted(block["adjacents"].items(), key=lambda it: int(it[0]))):
            expect(values[f"adjacent {place + 1}, chain"] == chain, values)
            expect(values[f"adjacent {place + 1}, hash"] == adjacent, values)
        digits = "".join(self.page.run(
            "[...document.querySelectorAll('.hex span:not(.offset)')].map((part) => part.textContent)"
        ))
        there = self.record(block["chainId"], hash).data
        expect(bytes.fromhex(digits) == there, "the bytes are others")
        self.page.wait(f"document.querySelector('.standing').textContent.startsWith('{kind}')")
        self.page.wait("document.querySelectorAll('.neighbours a').length >= 4")
        expect(self.verdicts()["hash"] == "right", self.verdicts())

    def verdicts(self):
        return self.page.run(
            "Object.fromEntries([...document.querySelectorAll('.check')].map(({ dataset }) =>"
            "[dataset.check, dataset.verdict]))"
        )

    def find(self, text):
        self.page.paste("#query", text)
        self.page.key("Enter")

    def search(self):
        orphan = self.orphan()
        hash = orphan.hash
        for text in [f"  {hash[:20]} {hash[20:]} ", f"{self.server.page}#/block/{hash}", f"inclusive:{hash}", f"{hash}="]:
            self.go("#/state", "document.querySelector('#page h1')")
            self.find(text)
            self.page.wait(f"document.querySelector('#page .hash')?.textContent === '{hash}'")
        self.find("1 20")
        self.page.wait(f"location.hash === '#/height/120' && {SETTLED}")
        self.find("7/55")
        self.page.wait("document.activeElement.dataset?.chain === '7' && document.activeElement.dataset.height === '55'")

    def wrong(self):
        unknown = "A" * 42 + "E"
        for text, words in [
            (unknown, "No chain has a block"),
            (unknown[:-3], "is no height and no block hash"),
            ("99999999999", "the cut ends at"),
            ("77/1", "has no chain 77"),
        ]:
            self.find(text)
            self.page.wait(f"document.getElementById('found').textContent.includes('{words}')")
        self.go(f"#/block/{unknown}", None)
        self.page.wait("document.querySelector('#page .failure')?.textContent.includes('No chain has')")

    def keyboard(self):
        """From the address to a block without a pointer."""
        self.go("#/")
        self.page.run("document.activeElement.blur()")
        self.page.key("Tab")
        self.page.key("Enter")
        expect(self.page.run("document.activeElement.id") == "main", "Tab, Enter does not skip the head")
        expect(self.page.run("location.hash") == "#/", self.page.run("location.hash"))
        for _ in range(20):
            self.page.key("Tab")
            if self.page.run("document.activeElement.dataset?.hash !== undefined"):
                break
        start = self.page.run("({ ...document.activeElement.dataset })")
        expect("hash" in start, "Tab does not lead to a block")
        label = self.page.run("document.activeElement.getAttribute('aria-label')")
        expect("height" in label and "chain" in label, label)
        for key in ["ArrowDown"] * 60 + ["ArrowUp"] * 20:
            self.page.key(key)
        height = int(start["height"]) - 40
        self.page.wait(f"document.activeElement.dataset?.height === '{height}'")
        self.page.key("ArrowRight")
        self.page.wait(f"document.activeElement.dataset?.hash !== '{start['hash']}'")
        self.page.key("End")
        self.page.wait("document.activeElement.dataset?.height === '0'")
        self.page.key("PageUp")
        self.page.wait("Number(document.activeElement.dataset?.height) > 5")
        hash = self.page.run("document.activeElement.dataset.hash")
        self.page.key("Enter")
        self.page.wait(f"document.querySelector('#page .hash')?.textContent === '{hash}'")

    def live(self, heights):
        """Blocks that come while somebody watches."""
        self.go("#/")
        self.page.wait("document.getElementById('live').dataset.live === 'true'")
        slowest = 0
        for some in heights:
            began = time.monotonic()
            self.server.push(some)
            self.await_canonical(some)
            slowest = max(slowest, time.monotonic() - began)
        expect(slowest < LIVE_SECONDS_MAX, f"{slowest:.2f} s")
        return f"{len(heights)} heights, each {CHAINS} blocks, within {slowest:.2f} s of being pushed"

    def await_canonical(self, some):
        self.page.wait(
            f"{json.dumps([record.hash for record in some])}.every((hash) =>"
            "document.querySelector(`#links a[data-hash='${hash}'][data-kind=canonical]`))"
        )

    def reorganisation(self, side, main):
        """A branch that is canonical until a heavier one comes."""
        self.go("#/")
        kind = f"document.querySelector('#links a[data-hash=\"{side.hash}\"]')?.dataset.kind"
        self.server.push([side])
        self.page.wait(f"{kind} === 'canonical'")
        for some in main:
            self.server.push(some)
        self.page.wait(f"{kind} === 'orphan'")
        low, high, seen, _ = self.seen()
        self.page.wait(SETTLED)
        low, high, seen, _ = self.seen()
        there = self.server.blocks(low, high)
        expect(seen == there, f"{set(seen.items()) ^ set(there.items())}")

    def restart(self, some):
        """The server goes away while somebody watches, and comes back with more blocks."""
        self.go("#/")
        self.server.stop()
        self.page.wait("document.getElementById('live').dataset.live === 'false'")
        self.find("A" * 42 + "E")
        self.page.wait("document.getElementById('found').textContent.includes('cannot be reached')")
        self.server.start()
        self.server.push(some)
        self.page.wait("document.getElementById('live').dataset.live === 'true'")
        self.await_canonical(some)

    def decode(self, pasted):
        self.go("#/decode", "document.getElementById('pasted')")
        self.page.run("document.getElementById('decoded').replaceChildren()")
        self.page.paste("#pasted", pasted)
        self.page.click("#decode")
        self.page.wait("document.querySelector('#decoded .check, #decoded .failure')")
        return self.verdicts()

    def real(self):
        """Headers of mainnet01, and the same ones altered."""
        lines = VECTORS.read_text().splitlines()
        for line in lines:
            verdicts = self.decode(line)
            expect(verdicts["hash"] == verdicts["work"] == "right", f"{line}: {verdicts}")
            whole = self.page.text("pre.text")
            expect(len(whole) == 424, f"{len(whole)} characters")
            verdicts = self.decode(whole)
            expect(verdicts["hash"] == verdicts["work"] == "right", f"{whole}: {verdicts}")
        data = bytearray(decoded(whole))
        for at, hash, work in [(280, "wrong", "wrong"), (160, "wrong", "wrong"), (300, "wrong", "right"), (230, "wrong", "wrong")]:
            altered = bytearray(data)
            altered[at] ^= 1
            verdicts = self.decode(altered.hex())
            expect((verdicts["hash"], verdicts["work"]) == (hash, work), f"byte {at}: {verdicts}")
        self.decode(data.hex()[:-2])
        expect("317" in self.page.text("#decoded .failure"), self.page.text("#decoded"))
        self.decode("no header!")
        expect("neither" in self.page.text("#decoded .failure"), self.page.text("#decoded"))
        return f"{len(lines)} headers right, altered ones wrong"

    def stats(self):
        self.go("#/stats", None)
        self.page.wait("document.title.startsWith('Statistics')")
        self.page.wait("document.querySelector('#page figure, #page .failure')")
        numbers = self.server.get("stats")
        if numbers is None:
            expect("no statistics" in self.page.text("#page .failure"), self.page.text("#page"))
            return "skipped, this server has no statistics"
        plots = self.page.run("document.querySelectorAll('figure svg').length")
        expect(plots == 6, f"{plots} plots")
        row = numbers["rows"][0]
        said = "".join(self.page.text("#page p").split())
        expect(f"{row['blocks']}canonical" in said and f"{row['orphans']}orphan" in said, said)
        self.page.run("document.querySelector('figure svg').focus()")
        self.page.key("Home")
        expect(":" in self.page.text("figure output"), "nothing is read out")
        return f"{plots} plots"

    def state(self):
        self.go("#/state", "document.querySelectorAll('#page table a').length === 20")
        said = "".join(self.page.text("#page").split())
        cut = self.server.get("cut")
        expect(f"{cut['height']}," in said, said)
        expect(cut["id"] in said and "HealthcheckOK." in said, said)

    def looks(self):
        """No page is wider than a phone, and the dark one is dark."""
        hash = self.server.get("cut")["hashes"]["3"]["hash"]
        pages = {"braid": "#/", "block": f"#/block/{hash}", "stats": "#/stats", "state": "#/state", "decode": "#/decode"}
        for size, dark in [((360, 740), False), ((1280, 800), True)]:
            self.page.look(size, dark)
            for name, fragment in pages.items():
                self.go(fragment, None)
                self.page.rest(0.7)
                width = self.page.run(
                    "Math.max(document.documentElement.scrollWidth, document.getElementById('page').scrollWidth)"
                )
                expect(width <= size[0], f"{name} is {width} wide on {size[0]}")
            paper = self.page.run("getComputedStyle(document.body).backgroundColor")
            expect((paper == "rgb(255, 255, 255)") != dark, paper)
        self.page.look((1280, 800))

    def clean(self):
        """Nothing has gone wrong in the page, and nobody else was asked."""
        others = [url for url in self.page.requests if not url.startswith((self.server.page, "data:", "about:"))]
        expect(not others, f"requests to {others}")
        expect(not self.page.problems, f"{self.page.problems}")
        return f"{len(self.page.requests)} requests"

    def smooth(self):
        """Scrolls fast over the whole history; what frames take, and what others wait meanwhile."""
        self.go("#/")
        alone = Latency(self.server).measured(3)
        self.page.run(
            "window.frames_ = []; (function next(before) { requestAnimationFrame((now) => {"
            "frames_.push(now - before); next(now); }); })(performance.now())"
        )
        beside = Latency(self.server)
        top = self.page.run("Number(document.getElementById('slider').max)")
        end = time.monotonic() + 8
        step = 0
        while time.monotonic() < end:
            step += 1
            if step % 40 == 0:
                self.page.run(
                    f"(() => {{ const slider = document.getElementById('slider');"
                    f"slider.value = {top * (step * 7 % 400) // 400}; slider.dispatchEvent(new Event('input')); }})()"
                )
            self.page.wheel(600, 400, 400)
        busy = beside.stopped()
        frames = sorted(self.page.run("frames_"))
        late = frames[len(frames) * 95 // 100]
        self.page.wait(SETTLED)
        low, high, seen, more = self.seen()
        expect(len(self.server.blocks(low, high)) == len(seen) + more, "blocks are missing at the end")
        middle = statistics.median(frames)
        said = f"{len(frames)} frames, {middle:.0f} ms, {late:.0f} ms at 95 %;"
        said += f" p99 of another client {alone:.1f} ms alone, {busy:.1f} ms beside"
        expect(middle < FRAME_MILLIS_MAX, said)
        return said


class Latency:
    """Another client, which asks for pages one after another."""

    def __init__(self, server):
        self.times, self.is_over = [], False
        self.thread = threading.Thread(target=self.ask, args=[server])
        self.thread.start()

    def ask(self, server):
        while not self.is_over:
            began = time.monotonic()
            server.get("chain/0/header?limit=50&minheight=40", "application/octet-stream")
            self.times.append(1000 * (time.monotonic() - began))

    def stopped(self):
        self.is_over = True
        self.thread.join()
        self.times.sort()
        return self.times[len(self.times) * 99 // 100]

    def measured(self, seconds):
        time.sleep(seconds)
        return self.stopped()


def partial(args, folder, browser):
    """A few blocks of mainnet01 without those below, and a page of theirs."""
    db = folder / "partial"
    replay(args.plait, db, VECTORS, "--network", "mainnet01", "--allow-partial")
    with Server(args.plait, db, folder / "log", listen=args.listen, origin=args.origin) as server:
        with Browser(browser) as page:
            watched = Watched(page, server)
            watched.go("#/", "document.querySelectorAll('#links a').length > 0")
            hash = json.loads(VECTORS.read_text().splitlines()[0])["hash"]
            watched.find(hash)
            page.wait("document.querySelectorAll('.neighbours h3').length === 5")
            expect(watched.verdicts() == {"hash": "right", "work": "right", "graph": "right"}, watched.verdicts())
            watched.go("#/chain/6/height/1554652", "document.activeElement.dataset?.chain === '6'")
            watched.go("#/chain/15/height/852054", None)
            watched.go("#/height/10", None)
            watched.go("#/state", "document.querySelectorAll('#page table a').length === 3")
            watched.clean()


def filling(args, folder, browser, file):
    """A database that is empty at first and is filled while somebody watches."""
    more = ["--network", "development", "--replay", file]
    with Server(args.plait, folder / "filled", folder / "log", *more, listen=args.listen, origin=args.origin) as server:
        with Browser(browser) as page:
            watched = Watched(page, server)
            watched.go("#/", "document.getElementById('live').dataset.live === 'true'")
            top = max(record.height for record in records(file))
            link = f"document.querySelectorAll('#links a[data-height=\"{top}\"][data-kind=canonical]').length"
            page.wait(f"{link} === {CHAINS}")
            watched.clean()


def history(args, folder):
    """A database without the highest blocks; these by height; a branch that is heaviest for a while."""
    file, db = folder / "blocks.bin", folder / "db"
    top = args.heights
    if args.heights > WHOLE_HEIGHTS_MAX:
        generate(args.plait, file, top, "--forks", "0.05", "--fork-depth", "6")
        replay(args.plait, db, file, "--network", "development", "--verify", "none")
        file.unlink()
        return db, [], None
    split = top - HELD
    branch = f"0:{split + 2}:1"
    forks = ["--forks", "0.05", "--fork-depth", "6", "--branch", CROWD]
    generate(args.plait, folder / "plain.bin", top)
    generate(args.plait, file, top, *forks, "--branch", branch)
    straight = {record.hash for record in records(folder / "plain.bin")}
    everything = records(file)
    (folder / "low.bin").write_bytes(b"".join(it.data for it in everything if it.height <= split))
    replay(args.plait, db, folder / "low.bin", "--network", "development")
    held = [
        [it for it in everything if it.height == height and it.hash in straight]
        for height in range(split + 1, top + 1)
    ]
    parents = {it.hash for it in held[0]}
    side = next(
        it
        for it in everything
        if it.height == split + 2 and it.chain == 0 and it.hash not in straight and it.parent in parents
    )
    return db, held, side


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--plait", required=True, type=pathlib.Path)
    parser.add_argument("--heights", type=int, default=300)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--origin")
    args = parser.parse_args()
    browser = chromium()
    if browser is None:
        print("skipped: there is no chromium", file=sys.stderr)
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tries = Tries(args, folder)
        db, held, side = history(args, folder)
        server = Server(args.plait, db, folder / "log", listen=args.listen, origin=args.origin)
        with server, Browser(browser) as page:
            watched = Watched(page, server)
            check = tries.check
            check("hashes of the page", hashes)
            check("first paint", watched.paint)
            check("size and policy", watched.size)
            check("blocks of the braid", watched.braid, side is not None)
            check("a click opens the header", watched.click)
            check("search finds", watched.search)
            check("search says what is wrong", watched.wrong)
            check("keyboard alone", watched.keyboard)
            check("real and altered headers", watched.real)
            if held:
                check("live blocks", watched.live, held[:1])
                check("reorganisation", watched.reorganisation, side, held[1:4])
                check("live blocks after it", watched.live, held[4:-1])
                check("restart of the server", watched.restart, held[-1])
            else:
                check("smooth", watched.smooth)
            check("statistics", watched.stats)
            check("state", watched.state)
            check("phone and dark", watched.looks)
            check("no errors, nobody else asked", watched.clean)
        if held:
            tries.check("partial history", partial, args, folder, browser)
            tries.check("history that grows from nothing", filling, args, folder, browser, folder / "plain.bin")
    print(f"{tries.failed} failed")
    sys.exit(1 if tries.failed else 0)


if __name__ == "__main__":
    main()
