// The blocks of some heights, in pages of one chain. What is in view is asked for, a few pages at a
// time; what has left it is no longer waited for, and what was used least is forgotten.

import { askHeaders } from "./api.js";
import { readBlocks } from "./record.js";

// Heights of a page, blocks of which one answer of the server has room for.
export const PAGE_HEIGHTS = 64;
const PAGES_MAX = 640;
// The browser opens six connections; one of them is for events, and one for everything else.
const ASKED_AT_ONCE = 4;
const RETRY_MILLIS = 2000;

export const pageOf = (height) => Math.floor(height / PAGE_HEIGHTS);

const keyOf = (chain, number) => `${chain}/${number}`;

export class Pages {
    // `changed` is called with each page that has come, and with an error where it has not.
    constructor(stored, changed) {
        this.stored = stored;
        this.changed = changed;
        // By use: the first one has not been used for longest.
        this.pages = new Map();
        this.wanted = [];
        this.asked = new Map();
        this.pausedUntil = 0;
    }

    // The blocks at a height of a chain, by hash; undefined while they are not known.
    at(chain, height) {
        const page = this.pages.get(keyOf(chain, pageOf(height)));
        return page && (page.blocks.get(height) ?? []);
    }

    get(chain, number) {
        return this.pages.get(keyOf(chain, number));
    }

    find(chain, height, hash) {
        return this.at(chain, height)?.find((block) => block.hash === hash);
    }

    // Says which pages are in view, the most important ones first: [chain, number] each.
    want(wanted) {
        this.wanted = wanted.filter(
            ([chain, number]) => (number + 1) * PAGE_HEIGHTS > this.stored.lowestOf(chain),
        );
        const keys = new Set(this.wanted.map(([chain, number]) => keyOf(chain, number)));
        for (const [key, request] of this.asked) if (!keys.has(key)) request.abort();
        for (const key of keys) {
            const page = this.pages.get(key);
            if (page) this.pages.delete(key) && this.pages.set(key, page);
        }
        for (const key of this.pages.keys()) {
            if (this.pages.size <= PAGES_MAX) break;
            if (!keys.has(key)) this.pages.delete(key);
        }
        this.ask();
    }

    // Whether something in view is not there yet.
    isWaiting() {
        return this.wanted.some(([chain, number]) => !this.get(chain, number));
    }

    ask() {
        if (Date.now() < this.pausedUntil) return;
        for (const [chain, number] of this.wanted) {
            if (this.asked.size >= ASKED_AT_ONCE) return;
            const key = keyOf(chain, number);
            const page = this.pages.get(key);
            if (!this.asked.has(key) && (!page || page.isStale)) this.load(key, chain, number);
        }
    }

    async load(key, chain, number) {
        const request = new AbortController();
        this.asked.set(key, request);
        const from = number * PAGE_HEIGHTS;
        let failed = null;
        try {
            const bytes = await askHeaders(chain, from, from + PAGE_HEIGHTS - 1, request.signal);
            const page = { chain, number, blocks: new Map(), isStale: false };
            for (const block of readBlocks(bytes)) {
                const same = page.blocks.get(block.height);
                if (same) same.push(block);
                else page.blocks.set(block.height, [block]);
            }
            this.pages.set(key, page);
            this.changed(page, null);
        } catch (error) {
            if (!request.signal.aborted) failed = error;
        }
        this.asked.delete(key);
        if (failed) this.pause(failed);
        else this.ask();
    }

    // Leaves the server alone for a while after something has failed.
    pause(error) {
        if (Date.now() < this.pausedUntil) return;
        this.pausedUntil = Date.now() + RETRY_MILLIS;
        setTimeout(() => this.ask(), RETRY_MILLIS + 10);
        this.changed(null, error);
    }

    // Puts in a block that has come by itself. Its page is asked for again later on: there may be
    // siblings that have not been told of.
    add(block) {
        const page = this.get(block.chain, pageOf(block.height));
        if (!page) return;
        const same = page.blocks.get(block.height) ?? [];
        if (same.some(({ hash }) => hash === block.hash)) return;
        page.blocks.set(
            block.height,
            [...same, block].sort((a, b) => (a.hash < b.hash ? -1 : 1)),
        );
    }

    // Asks for pages again when they are in view; what they hold is shown until then.
    makeStale(isStale) {
        for (const page of this.pages.values()) if (isStale(page)) page.isStale = true;
        this.ask();
    }
}
