// The braid: the blocks of all chains around a height, which scrolls over the whole history.

import { About } from "./about.js";
import { Blocks } from "./blocks.js";
import { Canvas } from "./canvas.js";
import { byId, make } from "./dom.js";
import { Layout, ROW } from "./layout.js";
import { Links } from "./links.js";
import { pageOf } from "./pages.js";
import { grouped } from "./text.js";

// Rows that can be scrolled over at once: browsers have no elements of any height. Near the end of them
// they are moved.
const TRACK_ROWS = 100_000;
const TRACK_EDGE = 1_000;
// Blocks may be above the cut.
const ABOVE = 2;
const SETTLE_MILLIS = 90;
const LINK_MILLIS = 30;
// Screens between two looks at what to ask for.
const FLYING_SCREENS = 3;

export class Braid {
    constructor(network, live, stored) {
        this.network = network;
        this.live = live;
        this.stored = stored;
        this.blocks = new Blocks(network, live, stored);
        this.scroller = byId("scroller");
        this.track = byId("track");
        this.slider = byId("slider");
        this.canvas = new Canvas(byId("canvas"));
        this.links = new Links(byId("links"), (block, isFocus) => this.point(block, isFocus));
        this.about = new About();
        this.top = 0;
        this.wantedAt = 0;
        this.base = 0;
        this.highest = -1;
        this.cursor = null;
        this.pointed = null;
        // The message for a requested height that is not stored.
        this.elsewhere = null;
        this.isAwaited = false;
        this.isShown = false;
        this.frame = 0;
        this.listen();
    }

    listen() {
        this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
        this.scroller.addEventListener("keydown", (event) => this.key(event));
        this.slider.addEventListener("input", () => this.leaveFor(Number(this.slider.value)));
        byId("newest").addEventListener("click", () => this.leaveFor(this.highest));
        this.stored.addEventListener("change", () => this.grow());
        new ResizeObserver(() => this.resize()).observe(this.scroller);
        this.blocks.addEventListener("change", ({ detail }) => {
            if (detail) this.canvas.flash(detail);
            this.grow();
            this.soon();
            this.linkSoon();
            if (this.isShown) this.tell();
        });
        this.blocks.addEventListener("failure", ({ detail }) => {
            byId("braid-failure").textContent = detail ? `${detail.message} Trying again.` : "";
        });
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.soon());
    }

    // Shows the newest blocks, or those around a height; the block of a chain there gets the focus.
    show(height, chain) {
        this.isShown = true;
        this.pointed = null;
        this.elsewhere = this.outside(height);
        this.resize();
        this.grow();
        const isThere = this.network.chains.includes(chain);
        if (isThere) this.cursor = { chain, height };
        this.goTo(height === undefined ? this.highest : height + Math.floor(this.rows / 2));
        // Who comes back goes on where the focus was.
        const row = this.top - (this.cursor?.height ?? Infinity);
        this.isAwaited = isThere || (row >= 0 && row < this.rows);
        if (!this.isAwaited) this.cursor = null;
        this.wantedAt = this.top;
        this.elsewhereTop = this.top;
        this.want();
        this.tell();
    }

    hide() {
        this.isShown = false;
        this.blocks.pages.want([]);
    }

    resize() {
        const { clientWidth: width, clientHeight: height } = this.scroller;
        if (!this.isShown || width === 0) return;
        const label = this.canvas.labelWidth(Math.max(this.highest, 0));
        this.layout = new Layout(width, this.network.chains, label);
        this.rows = Math.max(Math.floor(height / ROW), 1);
        this.canvas.resize(width, height);
        const names = this.network.chains.map((chain) => {
            const name = make("span", {}, String(chain));
            name.style.left = `${this.layout.x(chain)}px`;
            return name;
        });
        byId("chains").replaceChildren(make("b", {}, "chain"), ...names);
        this.stretch(this.top);
        this.soon();
        this.settle();
    }

    // Takes in that the cut has become higher. Who looks at the newest blocks goes on doing so, for
    // others everything stays where it is.
    grow() {
        const highest = this.live.top < 0 ? -1 : this.live.top + ABOVE;
        const { lowest } = this.stored;
        if (highest === this.highest && lowest === this.lowest) return;
        const isAtTop = this.highest < 0 || this.top >= this.highest - 0.5;
        const isWider = String(highest).length !== String(this.highest).length;
        this.highest = highest;
        this.lowest = lowest;
        this.slider.min = Math.min(lowest, Math.max(highest, 0));
        this.slider.max = Math.max(highest, 0);
        byId("nothing").hidden = highest >= 0;
        if (!this.isShown) return;
        this.stretch(isAtTop ? highest : this.top);
        // A longer height has a longer label.
        if (isWider) this.resize();
    }

    // Makes the rows around a height the ones that can be scrolled over, and goes there.
    stretch(top) {
        const { lowest } = this.stored;
        const isAll = this.highest - lowest < TRACK_ROWS;
        const middle = Math.min(Math.round(top) + TRACK_ROWS / 2, this.highest);
        this.base = isAll ? this.highest : Math.max(middle, lowest + TRACK_ROWS);
        this.foot = Math.max(lowest, this.base - TRACK_ROWS);
        this.track.style.height = `${Math.max(this.base - this.foot + 1, 0) * ROW + ROW / 2}px`;
        this.scroller.scrollTop = Math.round((this.base - top) * ROW);
        this.top = this.base - this.scroller.scrollTop / ROW;
    }

    // Moves away from the requested height.
    leaveFor(top) {
        this.elsewhere = null;
        this.goTo(top);
        this.tell();
    }

    // Brings a height to the upper edge.
    goTo(top) {
        const height = Math.min(Math.max(top, this.stored.lowest), this.highest);
        this.stretch(height);
        this.soon();
        this.settle();
    }

    scrolled() {
        if (!this.isShown) return;
        this.top = this.base - this.scroller.scrollTop / ROW;
        const isNearTop = this.base < this.highest && this.base - this.top < TRACK_EDGE;
        const isNearFoot = this.foot > this.stored.lowest && this.top - this.foot < TRACK_EDGE;
        if (isNearTop || isNearFoot) this.stretch(this.top);
        this.soon();
        this.settle();
    }

    // Does what is too much for every frame of a movement: asks for blocks now and then, and makes links
    // when it has ended.
    settle() {
        this.wanting ??= setTimeout(() => {
            this.wanting = null;
            if (this.isShown) this.want();
        }, SETTLE_MILLIS);
        clearTimeout(this.moving);
        this.moving = setTimeout(() => {
            this.moving = null;
            if (!this.isShown) return;
            if (Math.abs(this.top - this.elsewhereTop) > 1) this.elsewhere = null;
            this.link();
            this.remember();
        }, SETTLE_MILLIS);
    }

    // Makes links of what has come, unless a movement will do so at its end.
    linkSoon() {
        if (this.moving) return;
        this.linking ??= setTimeout(() => {
            this.linking = null;
            if (this.isShown) this.link();
        }, LINK_MILLIS);
    }

    // The heights in view, the highest first.
    heights(beyond = 0) {
        const first = Math.min(Math.ceil(this.top) + beyond, this.highest);
        const last = Math.max(Math.floor(this.top) - this.rows - 1 - beyond, this.stored.lowest);
        return Array.from({ length: Math.max(first - last + 1, 0) }, (_, row) => first - row);
    }

    want() {
        // What flies by is not asked for.
        const isFlying = Math.abs(this.top - this.wantedAt) > FLYING_SCREENS * this.rows;
        this.wantedAt = this.top;
        if (isFlying) {
            this.blocks.pages.want([]);
            return this.settle();
        }
        const numbers = [...new Set(this.heights(8).map(pageOf))];
        const middle = (this.top - this.rows / 2) / 64 - 0.5;
        numbers.sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle));
        const { chains } = this.network;
        this.blocks.pages.want(numbers.flatMap((number) => chains.map((chain) => [chain, number])));
        return undefined;
    }

    soon() {
        if (this.frame || !this.isShown || !this.layout) return;
        this.frame = requestAnimationFrame(() => {
            this.frame = 0;
            this.draw();
        });
    }

    slots(heights) {
        const { pages } = this.blocks;
        return heights.map((height) => [
            height,
            this.network.chains.map((chain) =>
                this.layout.slots(chain, pages.at(chain, height) ?? []),
            ),
        ]);
    }

    cutHashes() {
        return new Set(Array.from(this.live.members.values(), ({ hash }) => hash));
    }

    draw() {
        if (!this.isShown) return;
        const rows = this.slots(this.heights(1));
        const marked = this.pointed?.hash ?? this.cursorBlock()?.hash;
        const { top, layout } = this;
        const isMoving = this.canvas.draw({ top, rows, layout, marked, cut: this.cutHashes() });
        const heights = this.heights().filter((height) => height <= this.live.top);
        const range = heights.length
            ? `${grouped(heights.at(-1))} to ${grouped(heights[0])}`
            : "none";
        byId("range").textContent = `Heights ${range}`;
        byId("waiting").hidden = !this.blocks.pages.isWaiting();
        this.slider.value = Math.round(this.top);
        this.slider.setAttribute("aria-valuetext", `height ${grouped(Math.round(this.top))}`);
        if (isMoving) this.soon();
    }

    link() {
        if (!this.layout) return;
        const rows = this.slots(this.heights());
        const block = this.cursorBlock();
        this.links.show(rows, this.base, block?.hash, this.cutHashes());
        // A block that has left the view is no longer pointed at.
        if (this.pointed && !this.links.blocks.has(this.pointed.hash)) this.point(null);
        if (!this.isAwaited) return;
        const isMissing = this.missing() !== null;
        if (!block && !isMissing) return;
        this.isAwaited = !isMissing && !this.links.focus(block.hash);
        this.tell();
    }

    // Where the page is, for those who come back or share it.
    remember() {
        const { isAwaited, top, highest, rows } = this;
        if (isAwaited) return;
        const place =
            top >= highest - 0.5 ? "#/" : `#/height/${Math.round(top) - Math.floor(rows / 2)}`;
        const isHere = /^#\/(height\/-?\d+)?$/.test(location.hash) || location.hash === "";
        if (isHere && location.hash !== place) history.replaceState(null, "", place);
    }

    // The block that arrow keys move from.
    cursorBlock() {
        if (!this.cursor) return null;
        const { chain, height, hash } = this.cursor;
        const blocks = this.blocks.pages.at(chain, height) ?? [];
        const canonical = blocks.find((block) => block.canonical) ?? blocks[0];
        return blocks.find((block) => block.hash === hash) ?? canonical ?? null;
    }

    point(block, isFocus) {
        this.pointed = block;
        if (isFocus) this.cursor = { chain: block.chain, height: block.height, hash: block.hash };
        this.tell();
        this.soon();
    }

    // Says what is known of the block that is pointed at, or where the focus is.
    tell() {
        const block = this.pointed ?? this.cursorBlock();
        const missing = this.missing();
        if (block) {
            const same = this.blocks.pages.at(block.chain, block.height) ?? [];
            const others = this.pointed ? [] : same.filter(({ hash }) => hash !== block.hash);
            this.about.block(block, others);
        } else if (missing ?? this.elsewhere) this.about.missing(missing ?? this.elsewhere);
        else this.about.help();
    }

    // The message for a requested height below or above all blocks.
    outside(height) {
        const { lowest } = this.stored;
        if (this.live.top < 0) return null;
        if (height < lowest) return `This server holds blocks from height ${grouped(lowest)} on.`;
        return height > this.live.top ? `The cut ends at height ${grouped(this.live.top)}.` : null;
    }

    // What is said where a block was asked for and none is stored.
    missing() {
        if (!this.cursor) return null;
        const { chain, height } = this.cursor;
        const genesis = this.network.genesisHeight(chain);
        if (height < genesis) return `Chain ${chain} begins at height ${grouped(genesis)}.`;
        const lowest = this.stored.lowestOf(chain);
        if (height < lowest)
            return `This server holds blocks of chain ${chain} from height ${grouped(lowest)} on.`;
        const isEmpty = this.blocks.pages.at(chain, height)?.length === 0;
        return isEmpty
            ? `No block of chain ${chain} at height ${grouped(height)} is stored.`
            : null;
    }

    key(event) {
        if (event.altKey || event.ctrlKey || event.metaKey) return;
        const block = this.cursorBlock();
        const from = this.cursor ?? { chain: this.network.chains[0], height: this.live.top };
        const to = {
            ArrowUp: () => ({ chain: from.chain, height: from.height + 1 }),
            ArrowDown: () => ({ chain: from.chain, height: from.height - 1 }),
            PageUp: () => ({ chain: from.chain, height: from.height + this.rows }),
            PageDown: () => ({ chain: from.chain, height: from.height - this.rows }),
            Home: () => ({ chain: from.chain, height: this.live.members.get(from.chain)?.height }),
            End: () => ({ chain: from.chain, height: this.stored.lowestOf(from.chain) }),
            ArrowLeft: () => this.beside(from, block, -1),
            ArrowRight: () => this.beside(from, block, 1),
        }[event.key]?.();
        if (!to) return;
        event.preventDefault();
        this.moveTo(to);
    }

    // The block before or after another in its row.
    beside({ chain, height }, block, step) {
        const row = this.slots([height])[0][1].flat();
        const place = row.findIndex((slot) => slot.block.hash === block?.hash);
        if (place < 0)
            return {
                chain: this.network.chains.at(this.network.chains.indexOf(chain) + step),
                height,
            };
        const next = row[place + step]?.block ?? block;
        return { chain: next.chain, height, hash: next.hash };
    }

    moveTo({ chain, height = this.live.top, hash }) {
        const lowest = this.stored.lowestOf(chain);
        this.elsewhere = null;
        this.cursor = { chain, height: Math.min(Math.max(height, lowest), this.highest), hash };
        // Above the cut and in gaps there may be none.
        const blocks = this.blocks.pages.at(chain, this.cursor.height);
        if (blocks?.length === 0) this.cursor.height = Math.min(this.cursor.height, this.live.top);
        this.pointed = null;
        this.isAwaited = true;
        if (!this.links.hasFocus()) this.scroller.focus({ preventScroll: true });
        const row = this.top - this.cursor.height;
        if (row < 0) this.goTo(this.cursor.height + 0.5);
        else if (row > this.rows - 2) this.goTo(this.cursor.height + this.rows - 2);
        this.link();
        this.soon();
        this.settle();
    }
}
