// The cut, kept up to date by the events of the server, or by polling while there are no events.

import { ask, updatesUrl } from "./api.js";
import { Feed } from "./feed.js";
import { fromObject, parseObject, readBlock } from "./record.js";

// Without events, the page polls the cut this often.
const POLL_MILLIS = 5000;
// The cut is asked for again when events have come, but not more often than this.
const CUT_MILLIS = 1000;

const membersOf = ({ hashes }) =>
    new Map(Object.entries(hashes).map(([chain, member]) => [Number(chain), member]));

export class Live extends EventTarget {
    constructor() {
        super();
        this.members = new Map();
        this.top = -1;
        // "live" with events, "connecting" without; after a while "polled", or "off" if polling fails too.
        this.state = "connecting";
        this.trouble = "";
        this.isOpen = false;
        this.polling = null;
        this.cutTimer = 0;
    }

    async start() {
        await this.askCut();
        this.feed = new Feed(updatesUrl(), (message) => this.hear(message));
        this.pollSoon();
    }

    hear({ kind, data }) {
        if (kind === "events") return this.take(data);
        this.isOpen = kind === "open";
        if (!this.isOpen) {
            this.set("connecting");
            return this.pollSoon();
        }
        this.set("live");
        // The stream does not report earlier blocks.
        return this.askCut().catch(() => {});
    }

    set(state, trouble = "") {
        if (this.state === state && this.trouble === trouble) return;
        this.state = state;
        this.trouble = trouble;
        this.dispatchEvent(new CustomEvent("live"));
    }

    // Polls the cut while there are no events and the page has not left the feed.
    pollSoon() {
        this.polling ??= setTimeout(() => this.poll(), POLL_MILLIS);
    }

    async poll() {
        if (!this.isOpen && this.feed.part) {
            let [state, trouble] = ["polled", ""];
            try {
                await this.askCut();
            } catch (error) {
                [state, trouble] = ["off", error.message];
            }
            if (!this.isOpen) this.set(state, trouble);
        }
        this.polling = null;
        if (!this.isOpen) this.pollSoon();
    }

    // Takes events; `data` is null if there were too many to pass on.
    take(data) {
        const blocks = [];
        if (data) {
            for (const text of data) {
                const bytes = fromObject(parseObject(text).header);
                if (bytes) blocks.push(readBlock(bytes));
            }
            const members = new Map(this.members);
            for (const { chain, height, hash } of blocks) members.set(chain, { height, hash });
            this.change(members, blocks, true);
        }
        if (!this.cutTimer) {
            this.cutTimer = setTimeout(() => {
                this.cutTimer = 0;
                this.askCut().catch(() => {});
            }, CUT_MILLIS);
        }
    }

    async askCut() {
        const members = membersOf(await ask("cut"));
        this.change(members, [], false);
    }

    // Tells of a new cut: the blocks that have come, and whether they are all that there is to know.
    change(members, blocks, isWhole) {
        const before = this.members;
        const moved = [...members].filter(([chain, { hash }]) => before.get(chain)?.hash !== hash);
        const isFirst = before.size === 0;
        this.members = members;
        this.top = Math.max(-1, ...Array.from(members.values(), ({ height }) => height));
        if (moved.length === 0 && !isFirst) return;
        const detail = { before, moved: moved.map(([chain]) => chain), blocks, isWhole };
        this.dispatchEvent(new CustomEvent("cut", { detail }));
    }
}
