// The blocks in view and which of them are canonical, while the cut moves.

import { mark } from "./canonical.js";
import { PAGE_HEIGHTS, Pages, pageOf } from "./pages.js";

// Siblings of new blocks are looked for this often: events tell only of what joins the cut.
const SIBLINGS_MILLIS = 5000;

export class Blocks extends EventTarget {
    constructor(network, live, stored) {
        super();
        this.live = live;
        this.network = network;
        this.stored = stored;
        this.pages = new Pages(stored, (page, error) => this.come(page, error));
        this.siblingsTimer = 0;
        live.addEventListener("cut", ({ detail }) => this.moved(detail));
        // The gaps may have changed.
        stored.addEventListener("change", () => {
            for (const page of this.pages.pages.values()) this.markAgain(page);
        });
    }

    come(page, error) {
        if (page) this.markAgain(page);
        this.dispatchEvent(new CustomEvent("failure", { detail: error }));
    }

    // Marks the blocks of a page, and again if the cut has moved meanwhile.
    async markAgain(page) {
        const member = this.live.members.get(page.chain);
        try {
            await mark(page, this.network, member, this.stored.isPartial);
        } catch (error) {
            if (!("status" in error)) throw error;
            // The page is asked for again. What the server does not have any more was reorganised.
            page.isStale = true;
            if (error.status !== 404) this.pages.pause(error);
        }
        this.dispatchEvent(new CustomEvent("change"));
    }

    moved({ before, moved, blocks, isWhole }) {
        for (const block of blocks) this.pages.add(block);
        for (const chain of moved) {
            const was = before.get(chain);
            const member = this.live.members.get(chain);
            const from = pageOf(Math.min(was?.height ?? 0, member?.height ?? 0));
            const isLonger = was && member && this.descends(chain, member, was);
            for (const page of this.pages.pages.values()) {
                if (page.chain === chain && (page.number >= from || !isLonger))
                    this.markAgain(page);
            }
            if (!isLonger && !isWhole) {
                this.pages.makeStale((page) => page.chain === chain && page.number >= from);
            }
        }
        this.lookForSiblings();
        this.dispatchEvent(new CustomEvent("change", { detail: blocks }));
    }

    // Whether the way down from one block leads to another, as far as it is known.
    descends(chain, { height, hash }, lower) {
        while (height > lower.height) {
            const block = this.pages.find(chain, height, hash);
            if (!block) return false;
            hash = block.parent;
            height -= 1;
        }
        return hash === lower.hash;
    }

    lookForSiblings() {
        if (this.siblingsTimer) return;
        this.siblingsTimer = setTimeout(() => {
            this.siblingsTimer = 0;
            const isNew = ({ number }) => (number + 1) * PAGE_HEIGHTS + 8 > this.live.top;
            this.pages.makeStale(isNew);
        }, SIBLINGS_MILLIS);
    }
}
