// One event stream of the server. It reconnects whenever it ends, even after a status that closes an EventSource
// for good, such as 503.

const RETRY_MILLIS = 2000;
const RETRY_MILLIS_MAX = 30_000;
// Events that arrive together are passed on together.
const GATHER_MILLIS = 20;
// If more events than this arrive at once, `null` is passed on instead of them, and the page requests the cut.
// This also bounds the memory for a tab that does not listen.
const EVENTS_MAX = 400;

export class Stream {
    // `tell` is called with { kind: "open" }, { kind: "lost" }, and { kind: "events", data }, where `data` is a
    // list of strings or null.
    constructor(url, tell) {
        this.url = url;
        this.tell = tell;
        this.events = [];
        this.wait = RETRY_MILLIS;
        this.connect();
    }

    connect() {
        const source = new EventSource(this.url);
        this.source = source;
        source.onopen = () => {
            this.wait = RETRY_MILLIS;
            this.tell({ kind: "open" });
        };
        source.onerror = () => {
            this.tell({ kind: "lost" });
            if (source.readyState !== EventSource.CLOSED) return;
            // Spread the retries: if all clients reconnected at once, the server would be full again.
            this.retry = setTimeout(() => this.connect(), this.wait * (1 + Math.random()));
            this.wait = Math.min(2 * this.wait, RETRY_MILLIS_MAX);
        };
        source.addEventListener("BlockHeader", ({ data }) => {
            if (this.events.length <= EVENTS_MAX) this.events.push(data);
            this.gathering ??= setTimeout(() => this.flush(), GATHER_MILLIS);
        });
    }

    flush() {
        this.gathering = null;
        const data = this.events.splice(0);
        this.tell({ kind: "events", data: data.length > EVENTS_MAX ? null : data });
    }

    close() {
        clearTimeout(this.retry);
        clearTimeout(this.gathering);
        this.source.close();
    }
}
