// The heights that the server holds: in a full history, from the first block of each chain on; in a partial one,
// from the lowest stored block on.

import { ask } from "./api.js";

// Blocks may be added below those of a partial history.
const AGAIN_MILLIS = 15_000;

export class Stored extends EventTarget {
    constructor(network) {
        super();
        this.network = network;
        this.isPartial = false;
        this.lows = new Map();
        this.lowest = network.lowest;
        this.askedAt = -Infinity;
    }

    // Asks again when the cut moves, if the answer may have changed.
    watch(live) {
        live.addEventListener("cut", () => {
            const isDue = performance.now() - this.askedAt > AGAIN_MILLIS;
            if ((this.isPartial || this.askedAt < 0) && isDue) this.ask();
        });
    }

    // Asks the server. Until it has answered, the history counts as a full one.
    async ask() {
        let state;
        try {
            state = await ask("state");
        } catch (error) {
            if (!("status" in error)) throw error;
            return;
        }
        this.askedAt = performance.now();
        this.take(state);
    }

    take({ history, lowest = {} }) {
        this.isPartial = history === "partial";
        this.lows = new Map(Object.entries(lowest).map(([chain, at]) => [Number(chain), at]));
        const { network, lows } = this;
        const isKnown = this.isPartial && lows.size > 0;
        this.lowest = isKnown ? Math.min(...lows.values()) : network.lowest;
        const taken = JSON.stringify([history, lowest]);
        if (taken === this.taken) return;
        this.taken = taken;
        this.dispatchEvent(new CustomEvent("change"));
    }

    // The lowest stored height of a chain.
    lowestOf(chain) {
        const genesis = this.network.genesisHeight(chain);
        return this.isPartial ? (this.lows.get(chain) ?? genesis) : genesis;
    }
}
