#!/usr/bin/env python3
"""Checks the explorer's pages for first-time users in a headless chromium.

    try_pages.py --plait PATH [CHECK...]

A line for each check. Exit status: 0 no failure, 1 failures, 77 skipped, because there is no chromium.
"""

import argparse
import pathlib
import sys
import tempfile

from devtools import Browser, chromium
from served import Server, generate, records, replay, run
from try_browser import SETTLED, SKIPPED, VECTORS, Tries, Watched, expect

FIGURES = "document.querySelectorAll('#page figure').length === 6 || document.querySelector('#page .failure')"
# The text below the title of each plot, and the number of points of its line.
PLOTS = """[...document.querySelectorAll('figure')].map((figure) => [
    figure.querySelector('b').textContent,
    figure.querySelector('figcaption span').textContent,
    (figure.querySelector('path.line')?.getAttribute('d').match(/[ML]/g) ?? []).length])"""
# Labels that overflow their plot or overlap each other.
CLIPPED = """[...document.querySelectorAll('figure svg')].flatMap((svg) => {
    const { width } = svg.viewBox.baseVal;
    const boxes = [...svg.querySelectorAll('.axes text')].map((text) => [text.textContent, text.getBBox()]);
    const out = boxes.filter(([, box]) => box.x < 0 || box.x + box.width > width);
    const on = boxes.filter(([, a], at) => boxes.some(([, b], other) => other > at
        && a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height));
    return [...out, ...on].map(([text]) => text);
})"""
# Records every text that is drawn, and how much of it is cut off on the left.
DRAWN = """window.drawn = new Map();
const fill = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
    drawn.set(text.replace(/\\D/g, ''), Math.max(this.measureText(text).width - x, 0));
    return fill.call(this, text, x, y);
};"""
PHONE = (390, 844)


def plain(text):
    return "".join(text.split())


class Visit:
    """A server with a database, and a page that shows it."""

    def __init__(self, args, folder, db, *more):
        self.server = Server(args.plait, db, folder / "log", *more)
        self.browser = Browser(args.browser)

    def __enter__(self):
        self.server.__enter__()
        self.page = self.browser.__enter__()
        return Watched(self.page, self.server)

    def __exit__(self, *_):
        self.browser.__exit__()
        self.server.__exit__()


def mainnet(args, folder, heights):
    """A database of mainnet01 with this many heights. Ten of its chains begin far above."""
    if heights == 0:
        return folder / "mainnet", "--network", "mainnet01"
    file = folder / "mainnet.bin"
    run(args.plait, "generate", "--network", "mainnet01", "--heights", heights, "--out", file)
    replay(args.plait, folder / "mainnet", file, "--network", "mainnet01", "--verify", "none")
    return (folder / "mainnet",)


def statistics(args, folder, heights):
    with Visit(args, folder, *mainnet(args, folder, heights)) as watched:
        page = watched.page
        watched.go("#/stats", FIGURES)
        expect(not page.text("#page .failure"), page.text("#page .failure"))
        plots = page.run(PLOTS)
        said = plain(page.text("#page p"))
        expect(f"{10 * heights + 10}canonical" in said and f"heights0to{heights}." in said, said)
        lines = {title: points for title, _, points in plots}
        if heights == 0:
            expect(lines["Difficulty"] == 1 and lines["Block time"] == 0, plots)
            expect(page.run("document.querySelectorAll('circle.point').length") == 2, "one point is not seen")
        else:
            expect(all(lines[title] > 40 for title in ["Difficulty", "Block time", "Growth"]), plots)
            # There is no hash rate for few blocks.
            expect(heights < 1000 or lines["Estimated hash rate"] > 40, plots)
        for size in [PHONE, (1280, 800)]:
            page.look(size)
            expect(not page.run(CLIPPED), page.run(CLIPPED))
        watched.clean()
        return plots


def reason(args, folder):
    """If the limit on steps is too low, the server reports an error, and the page shows it."""
    with Visit(args, folder, *mainnet(args, folder, 300), "--max-stats-steps", "9") as watched:
        watched.go("#/stats", "document.querySelector('#page .failure')")
        said = watched.page.text("#page .failure")
        expect("at most 9 are allowed" in said, said)
    return said


def fewer(args, folder):
    """With a lower limit on steps than the default, the page still works."""
    with Visit(args, folder, *mainnet(args, folder, 300), "--max-stats-steps", "200") as watched:
        watched.go("#/stats", FIGURES)
        expect(not watched.page.text("#page .failure"), watched.page.text("#page .failure"))


def part(args, folder, low, top):
    """A database with only the upper heights of a history."""
    generate(args.plait, folder / "all.bin", top)
    upper = [record.data for record in records(folder / "all.bin") if record.height >= low]
    (folder / "upper.bin").write_bytes(b"".join(upper))
    flags = ["--network", "development", "--verify", "hash", "--allow-partial"]
    replay(args.plait, folder / "part", folder / "upper.bin", *flags)
    return folder / "part"


def partial(args, folder):
    """Statistics of a partial history begin at its lowest height."""
    low, top = 2950, 3000
    with Visit(args, folder, part(args, folder, low, top)) as watched:
        page = watched.page
        watched.go("#/stats", FIGURES)
        expect(f"heights{low}to{top}." in plain(page.text("#page p")), page.text("#page p"))
        plots = page.run(PLOTS)
        lines = {title: points for title, _, points in plots}
        expect(all(lines[title] > 40 for title in ["Difficulty", "Block time", "Growth"]), plots)
        for svg in range(page.run("document.querySelectorAll('figure svg').length")):
            labels = f"[...document.querySelectorAll('figure svg')[{svg}].querySelectorAll('text')]"
            words = page.run(f"{labels}.map((text) => text.textContent)")
            expect(len(words) == len(set(words)), f"the same label twice: {words}")
        watched.go("#/state", "document.querySelector('#page table a')")
        expect(f"fromheight{low}on" in plain(page.text("#page")), page.text("#page"))
        watched.clean()


def beginning(args, folder):
    """The braid of a partial history begins at its lowest height, and shows a message for lower heights."""
    low, top = 2950, 3000
    about = "document.getElementById('about').textContent.replaceAll('\\u202f', '')"
    with Visit(args, folder, part(args, folder, low, top)) as watched:
        page = watched.page
        watched.go("#/")
        slider = page.run("[Number(slider.min), Number(slider.max)]")
        expect(slider == [low, top + 2], f"the slider is of {slider}")
        watched.find("5")
        page.wait("!document.getElementById('found').hidden")
        said = plain(page.text("#found"))
        expect(f"heights{low}to{top}." in said, said)
        expect(page.run("document.querySelectorAll('#links a').length") > 0, "no block is in view any more")
        # Point at a block, then request something else.
        watched.go(f"#/height/{top - 5}")
        link = f"#links a[data-height='{top - 5}'][data-chain='7']"
        box = page.run(f"(({{ x, y, width, height }}) => [x + width / 2, y + height / 2])(document.querySelector(\"{link}\").getBoundingClientRect())")
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
        page.wait(f"{about}.includes('Height {top - 5}, chain 7')")
        page.run("location.hash = '#/height/5'")
        page.wait(f"{about}.includes('holds blocks from height {low} on')")
        page.wait(f"document.querySelector('#links a[data-height=\"{low}\"]')")
        page.run("location.hash = '#/chain/3/height/5'")
        page.wait(f"{about}.includes('This server holds blocks of chain 3 from height {low} on')")
        page.run("location.hash = '#/height/99999999'")
        page.wait(f"{about}.includes('The cut ends at height {top}')")
        watched.go(f"#/chain/3/height/{top - 2}", f"document.activeElement.dataset?.height === '{top - 2}'")
        page.key("End")
        page.wait(f"document.activeElement.dataset?.height === '{low}'")
        page.key("Enter")
        page.wait("document.querySelectorAll('.neighbours h3').length === 5")
        parents = page.run("[...document.querySelectorAll('.neighbours li')].slice(0, 4).map((item) => item.textContent)")
        expect(len(parents) == 4 and all("not stored here" in text for text in parents), parents)
        watched.clean()


def labels(args, folder):
    """The heights of the rows are fully visible, on a phone too, although they have seven digits."""
    db = folder / "partial"
    replay(args.plait, db, VECTORS, "--network", "mainnet01", "--allow-partial")
    for size in [(320, 640), PHONE, (1280, 800)]:
        with Visit(args, folder, db) as watched:
            page = watched.page
            page.look(size)
            page.before(DRAWN)
            watched.go("#/", "document.querySelectorAll('#links a').length > 0")
            page.wait("[...drawn.keys()].some((text) => text.length === 7)")
            cut = page.run("[...drawn].filter(([, cut]) => cut > 0)")
            expect(not cut, f"cut off on {size[0]}: {cut[:3]}")


CHECKS = {
    "statistics-0": (statistics, 0),
    "statistics-300": (statistics, 300),
    "statistics-30000": (statistics, 30_000),
    "reason": (reason,),
    "fewer-steps": (fewer,),
    "partial-statistics": (partial,),
    "partial-braid": (beginning,),
    "labels": (labels,),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--plait", required=True, type=pathlib.Path)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(CHECKS)}; all without")
    args = parser.parse_args()
    args.browser = chromium()
    if args.browser is None:
        print("skipped: there is no chromium", file=sys.stderr)
        sys.exit(SKIPPED)
    tries = Tries(args, None)
    for name in args.checks or CHECKS:
        check, *more = CHECKS[name]
        with tempfile.TemporaryDirectory() as folder:
            tries.check(name, check, args, pathlib.Path(folder), *more)
    print(f"{tries.failed} failed")
    sys.exit(1 if tries.failed else 0)


if __name__ == "__main__":
    main()
