// The cut, kept up to date by the events of the server.

import { ask, updatesUrl } from "./api.js";
import { fromObject, parseObject, readBlock } from "./record.js";

const RETRY_MILLIS = 2000;
// The cut is asked for again when events have come, but not more often than this.
const CUT_MILLIS = 1000;
// More events at once than this are not worth looking at one by one.
const EVENTS_MAX = 400;

const membersOf = ({ hashes }) =>
    new Map(Object.entries(hashes).map(([chain, member]) => [Number(chain), member]));

export class Live extends EventTarget {
    constructor() {
        super();
        this.members = new Map();
        this.top = -1;
        this.isLive = false;
        this.events = [];
        this.cutTimer = 0;
    }

    async start() {
        await this.askCut();
        this.listen();
    }

    listen() {
        const source = new EventSource(updatesUrl());
        source.onopen = () => {
            this.set(true);
            // What has happened before is not told.
            this.askCut().catch(() => {});
        };
        source.onerror = () => {
            this.set(false);
            // It goes on by itself unless the answer was of another kind, such as 503.
            if (source.readyState === EventSource.CLOSED)
                setTimeout(() => this.listen(), RETRY_MILLIS);
        };
        source.addEventListener("BlockHeader", (event) => {
            if (this.events.push(event.data) === 1) setTimeout(() => this.take(), 20);
        });
    }

    set(isLive) {
        if (this.isLive === isLive) return;
        this.isLive = isLive;
        this.dispatchEvent(new CustomEvent("live"));
    }

    // Takes the events that have come.
    take() {
        const events = this.events.splice(0);
        const blocks = [];
        if (events.length <= EVENTS_MAX) {
            for (const data of events) {
                const bytes = fromObject(parseObject(data).header);
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
