// Shares one event stream among tabs in browsers without SharedWorker, such as Chrome on Android. All tabs listen
// to one BroadcastChannel. One of them leads: it holds the stream, and passes on the events. This does not use the
// Web Locks API, which pages that came over plain HTTP do not have.
//
// Example: tab A sends "who", gets no answer for a moment, leads, and sends "here" every two seconds. Tab B sends
// "who", A answers "here", B follows. A is closed and sends "bye": B leads at once. If A crashes, B gets nothing
// for six seconds, and leads. If A was only frozen, it continues later and both lead: each gets the other's
// "here", and the one with the greater name closes its stream and follows.

const TIMES = {
    // Timeout for an answer to "who".
    ask: 400,
    // Random delay, so that tabs do not all act at the same moment.
    spread: 300,
    // Interval between two "here".
    beat: 2000,
    // After this long without a message, the leader counts as gone.
    silence: 6000,
};

export class Relay {
    // `open` makes the stream, which calls the function that it is given; `tell` gets the same messages in every
    // tab.
    constructor(name, open, tell, times = TIMES) {
        this.open = open;
        this.tell = tell;
        this.times = times;
        this.name = String(Math.random());
        this.stream = null;
        this.leader = null;
        this.heard = 0;
        this.isOpen = false;
        this.channel = new BroadcastChannel(name);
        this.channel.onmessage = ({ data }) => this.hear(data);
        this.say({ kind: "who" });
        this.leadIn(times.ask);
    }

    say(message) {
        this.channel.postMessage({ ...message, from: this.name, isOpen: this.isOpen });
    }

    leadIn(millis) {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.lead(), millis + Math.random() * this.times.spread);
    }

    lead() {
        this.leader = null;
        this.set(false);
        this.stream = this.open((message) => {
            if (message.kind !== "events") this.isOpen = message.kind === "open";
            this.tell(message);
            this.say(message);
        });
        this.beat();
    }

    beat() {
        this.say({ kind: "here" });
        this.timer = setTimeout(() => this.beat(), this.times.beat);
    }

    hear({ kind, from, isOpen, data }) {
        if (this.stream) return this.hearAsLeader(kind, from, isOpen);
        if (kind === "who") return undefined;
        if (kind === "bye") {
            if (from !== this.leader) return undefined;
            this.leader = null;
            this.set(false);
            return this.leadIn(0);
        }
        // If two tabs lead for a moment, follow the one that will remain leader; any other if it is silent.
        const isLate = Date.now() - this.heard > 1.5 * this.times.beat;
        if (this.leader !== null && from > this.leader && !isLate) return undefined;
        this.follow(from, isOpen);
        if (kind === "events") this.tell({ kind, data });
        return undefined;
    }

    hearAsLeader(kind, from, isOpen) {
        if (kind === "who") return this.say({ kind: "here" });
        if (kind !== "here") return undefined;
        if (from > this.name) return this.say({ kind: "here" });
        this.stream.close();
        this.stream = null;
        return this.follow(from, isOpen);
    }

    follow(leader, isOpen) {
        const isOther = leader !== this.leader;
        this.leader = leader;
        this.heard = Date.now();
        this.leadIn(this.times.silence);
        // Events may have been missed between two streams, as between two connections of one stream.
        if (isOther) this.set(false);
        this.set(isOpen);
    }

    set(isOpen) {
        if (this.isOpen === isOpen) return;
        this.isOpen = isOpen;
        this.tell({ kind: isOpen ? "open" : "lost" });
    }

    close() {
        clearTimeout(this.timer);
        if (this.stream) {
            this.stream.close();
            this.say({ kind: "bye" });
        }
        this.channel.close();
    }
}
