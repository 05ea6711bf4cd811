// The events of the server for one tab. All tabs of a browser share one stream, because over HTTP/1.1 a browser
// opens at most six connections to a host, and a stream occupies one of them.
//
// A SharedWorker holds the stream; where there is none, one of the tabs does (`relay.js`). A tab leaves when it
// enters the back/forward cache, and when it has been hidden for some minutes: browsers then throttle its timers
// or freeze it, and messages to a frozen tab pile up.

import { Relay } from "./relay.js";
import { Stream } from "./stream.js";

// Change this with the messages: pages of two releases may be open at once.
const PROTOCOL = "plait-events-1";
// Browsers throttle and freeze after five minutes.
const HIDDEN_MILLIS = 240_000;
const HERE_MILLIS = 3000;
// After this many unanswered messages the worker counts as failed.
const UNANSWERED_MAX = 3;

let hasWorkers = typeof SharedWorker === "function";

// This tab's share of a worker's stream.
class Member {
    constructor(name, tell, failed) {
        this.unanswered = 0;
        const worker = new SharedWorker(new URL("./worker.js", import.meta.url), {
            name,
            type: "module",
        });
        worker.onerror = failed;
        this.port = worker.port;
        let isOpen = false;
        this.port.onmessage = ({ data }) => {
            this.unanswered = 0;
            if (data.isAnswer && isOpen === (data.kind === "open")) return;
            if (data.kind !== "events") isOpen = data.kind === "open";
            tell(data);
        };
        const here = () => {
            if (this.unanswered >= UNANSWERED_MAX) return failed();
            this.unanswered += 1;
            return this.port.postMessage("here");
        };
        here();
        this.timer = setInterval(here, HERE_MILLIS);
    }

    close() {
        clearInterval(this.timer);
        this.port.postMessage("leave");
        this.port.close();
    }
}

export class Feed {
    // `tell` is called with the messages of a `Stream`.
    constructor(url, tell) {
        this.url = String(url);
        this.tell = tell;
        this.part = null;
        addEventListener("pagehide", () => this.leave());
        document.addEventListener("freeze", () => this.leave());
        document.addEventListener("resume", () => this.seen());
        addEventListener("pageshow", () => this.join());
        document.addEventListener("visibilitychange", () => this.seen());
        this.join();
        this.seen();
    }

    seen() {
        clearTimeout(this.hiding);
        if (document.hidden) this.hiding = setTimeout(() => this.leave(), HIDDEN_MILLIS);
        else this.join();
    }

    join() {
        if (this.part) return;
        const name = `${PROTOCOL} ${this.url}`;
        const open = (tell) => new Stream(this.url, tell);
        // Ignore late messages from a part that this tab has left.
        const from = (message) => this.part === part && this.tell(message);
        let part = null;
        try {
            if (hasWorkers)
                part = new Member(
                    name,
                    (message) => from(message),
                    () => this.failed(part),
                );
        } catch {
            hasWorkers = false;
        }
        if (!part && typeof BroadcastChannel === "function") part = new Relay(name, open, from);
        this.part = part ??= open(from);
    }

    leave() {
        const { part } = this;
        if (!part) return;
        this.part = null;
        part.close();
        this.tell({ kind: "lost" });
    }

    // The worker cannot be loaded, or has ended: continue without workers.
    failed(part) {
        hasWorkers = false;
        if (part !== this.part) return;
        this.leave();
        this.join();
    }
}
