// Shares one event stream among tabs where there is no SharedWorker, as in Chrome on Android. All tabs hear one
// BroadcastChannel. One of them leads: it has the stream, and passes on what comes. There are no locks in it,
// as pages of http://HOST have none.
//
// An example. Tab A asks "who", hears nothing for a moment, leads, and says "here" every two seconds. Tab B asks
// "who", A answers "here", B follows. A is closed and says "bye": B leads at once. If A crashes, B hears
// nothing for six seconds and leads. If A was only frozen, it goes on later and both lead: they hear each other
// say "here", and the one whose name is greater closes its stream and follows.

const TIMES = {
    // How long an answer to "who" may take.
    ask: 400,
    // Tabs that notice the same at the same moment do not act at the same moment.
    spread: 300,
    // Between two "here".
    beat: 2000,
    // Nothing from the leader for so long, and it has gone.
    silence: 6000,
};

export class Relay {
    // `open` makes the stream, which calls what it is given; `tell` is called with the same messages in every
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
        // Of two that lead for a moment, the one that will go on; any other one if that is silent.
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
        // Between two streams something may have been missed, as between two connections of one.
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
