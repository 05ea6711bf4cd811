// Unit tests of the explorer's modules.
//
//     node --test explorer.test.mjs

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";

// Load the files as modules, whatever the default of this version of node for .js is.
const folder = mkdtempSync(join(tmpdir(), "explorer-"));
cpSync(new URL("../../server/src/explorer", import.meta.url), folder, { recursive: true });
writeFileSync(join(folder, "package.json"), '{"type": "module"}');
after(() => rmSync(folder, { recursive: true }));
globalThis.document = { baseURI: "http://server.test/" };
const explorer = (name) => import(pathToFileURL(join(folder, name)));

const api = await explorer("api.js");
const { Layout } = await explorer("layout.js");
const { timeTicks } = await explorer("plot.js");
const { Relay } = await explorer("relay.js");
const { understand } = await explorer("search.js");
const { askStats } = await explorer("stats.js");
const { Stored } = await explorer("stored.js");
const { Stream } = await explorer("stream.js");

const PATIENCE = 20_000;

const until = async (isSo, what) => {
    const end = Date.now() + PATIENCE;
    while (!isSo()) {
        assert.ok(Date.now() < end, what);
        await new Promise((done) => setTimeout(done, 5));
    }
};

// Tabs that share a stream, and how many streams are open.
class Tabs {
    static count = 0;

    constructor(size) {
        this.name = `tabs-${(Tabs.count += 1)}`;
        this.streams = new Set();
        this.tabs = Array.from({ length: size }, () => this.open());
    }

    open() {
        const tab = { events: [], isOpen: false, opened: 0 };
        const times = { ask: 60, spread: 40, beat: 50, silence: 250 };
        const hear = ({ kind, data }) => {
            if (kind === "events") return tab.events.push(...data);
            tab.isOpen = kind === "open";
            tab.opened += tab.isOpen;
            return undefined;
        };
        const stream = (tell) => {
            const stream = { tell, close: () => this.streams.delete(stream) };
            this.streams.add(stream);
            setTimeout(() => tell({ kind: "open" }), 1);
            return stream;
        };
        tab.relay = new Relay(this.name, stream, hear, times);
        return tab;
    }

    leader() {
        return this.tabs.find(({ relay }) => relay.stream);
    }

    // Sends an event, and waits until all tabs have received it from one stream.
    async settled() {
        const are = () => this.streams.size === 1 && this.tabs.every(({ isOpen }) => isOpen);
        await until(are, `${this.streams.size} streams for ${this.tabs.length} tabs`);
        const [stream] = this.streams;
        const event = `event ${Math.random()}`;
        stream.tell({ kind: "events", data: [event] });
        await until(
            () => this.tabs.every(({ events }) => events.at(-1) === event),
            "not all tabs hear an event",
        );
    }

    drop(tab) {
        this.tabs = this.tabs.filter((other) => other !== tab);
    }

    end() {
        this.tabs.forEach(({ relay }) => relay.close());
        assert.equal(this.streams.size, 0);
    }
}

test("tabs of a relay share one stream, and one that comes later joins them", async () => {
    const tabs = new Tabs(8);
    await tabs.settled();
    tabs.tabs.push(tabs.open());
    await tabs.settled();
    tabs.end();
});

test("another tab leads when the leader is closed", async () => {
    const tabs = new Tabs(5);
    await tabs.settled();
    while (tabs.tabs.length > 1) {
        const leader = tabs.leader();
        tabs.drop(leader);
        leader.relay.close();
        const before = tabs.tabs.map(({ opened }) => opened);
        await tabs.settled();
        // The other tabs may have missed events, and are notified of it.
        tabs.tabs.forEach(({ opened }, at) => assert.ok(opened > before[at]));
    }
    tabs.end();
});

test("another tab leads when the leader crashes and says nothing", async () => {
    const tabs = new Tabs(4);
    await tabs.settled();
    const leader = tabs.leader();
    tabs.drop(leader);
    clearTimeout(leader.relay.timer);
    leader.relay.channel.close();
    tabs.streams.clear();
    await tabs.settled();
    tabs.end();
});

test("of two leaders, one of which was frozen, one goes on", async () => {
    const tabs = new Tabs(4);
    await tabs.settled();
    const { relay } = tabs.leader();
    clearTimeout(relay.timer);
    const hear = relay.channel.onmessage;
    const missed = [];
    relay.channel.onmessage = (message) => missed.push(message);
    await until(() => tabs.streams.size > 1, "nobody else leads");
    relay.channel.onmessage = hear;
    missed.forEach(hear);
    if (relay.stream) relay.beat();
    await tabs.settled();
    tabs.end();
});

class FakeSource {
    static CLOSED = 2;
    static all = [];

    constructor(url) {
        this.url = url;
        this.readyState = 0;
        FakeSource.all.push(this);
    }

    addEventListener(_, listener) {
        this.listener = listener;
    }

    close() {
        this.readyState = FakeSource.CLOSED;
    }
}

test("a stream that was refused is opened again, and too many events are not passed on", async (t) => {
    globalThis.EventSource = FakeSource;
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const told = [];
    const stream = new Stream("url", (message) => told.push(message));
    const [first] = FakeSource.all;
    first.readyState = FakeSource.CLOSED;
    first.onerror();
    t.mock.timers.tick(5000);
    const [, second] = FakeSource.all;
    second.onopen();
    second.listener({ data: "a" });
    second.listener({ data: "b" });
    t.mock.timers.tick(100);
    for (let at = 0; at < 10_000; at += 1) second.listener({ data: "c" });
    assert.ok(stream.events.length < 1000);
    t.mock.timers.tick(100);
    stream.close();
    assert.deepEqual(told, [
        { kind: "lost" },
        { kind: "open" },
        { kind: "events", data: ["a", "b"] },
        { kind: "events", data: null },
    ]);
});

const CHAINS = 20;
// The genesis blocks of ten chains of mainnet01.
const LATE = 852_054;

// A server of mainnet01 with blocks from `low` to `top`, and genesis blocks above if it begins at 0.
const server = (low, top, stepsMax = 4096) => {
    const asked = [];
    const ask = async (path) => {
        asked.push(path);
        const query = new URLSearchParams(path.split("?")[1]);
        const highest = low === 0 ? Math.max(top, LATE) : top;
        const last = Math.min(Number(query.get("maxheight") ?? Infinity), highest);
        const step = Number(query.get("step") ?? Infinity);
        const first = Math.floor(low / step) || 0;
        const count = step === Infinity ? 1 : Math.floor(last / step) - first + 1;
        if (count * CHAINS > stepsMax)
            throw new api.Trouble(400, `${count * CHAINS} steps are too many.`);
        const rows = Array.from({ length: count }, (_, at) => ({
            minHeight: Math.max(low, count > 1 ? (first + at) * step : low),
            maxHeight: count > 1 ? Math.min(last, (first + at + 1) * step - 1) : last,
        }));
        return { rows: last < low ? [] : rows };
    };
    return { ask, asked };
};

for (const top of [0, 1, 300, 30_000, 626_000, 1_000_000, 7_000_000, 12_345_678]) {
    test(`statistics up to a cut at ${top} ask for as many steps as are allowed`, async () => {
        const { ask } = server(0, top);
        const { all, rows } = await askStats(ask, top);
        assert.deepEqual([all.minHeight, all.maxHeight], [0, top]);
        assert.equal(rows.at(-1).maxHeight, top);
        assert.ok(rows.length >= Math.min(top + 1, 40), `${rows.length} steps`);
    });
}

test("statistics of a partial history begin at its lowest height", async () => {
    for (const [low, top] of [
        [1_800_000, 1_800_049],
        [1_800_000, 1_800_000],
        [6_000_000, 6_525_600],
    ]) {
        const { rows } = await askStats(server(low, top).ask, top);
        assert.deepEqual([rows[0].minHeight, rows.at(-1).maxHeight], [low, top]);
        assert.ok(rows.length >= Math.min(top - low + 1, 40), `${rows.length} steps`);
    }
});

test("statistics ask for fewer steps where a server allows fewer", async () => {
    const { ask, asked } = server(0, 30_000, 200);
    const { rows } = await askStats(ask, 30_000);
    assert.ok(rows.length > 1 && rows.length <= 10, `${rows.length} steps`);
    assert.ok(asked.length < 12, `${asked.length} requests`);
    await assert.rejects(askStats(server(0, 30_000, 10).ask, 30_000), { status: 400 });
});

test("moments on the axis of a plot are all different", () => {
    for (let length = 1000; length < 1e15; length *= 3) {
        const words = timeTicks(1.626e15, 1.626e15 + length).map(([, word]) => word);
        assert.equal(new Set(words).size, words.length, `${length}: ${words}`);
    }
    assert.equal(timeTicks(1.626e15, 1.626e15).length, 1);
});

test("there is room for the label of a row", () => {
    const chains = Array.from({ length: 20 }, (_, chain) => chain);
    for (const width of [320, 390, 1280]) {
        for (const label of [20, 52, 62, 75]) {
            const layout = new Layout(width, chains, label);
            assert.ok(layout.label - label >= 4, `${label} on ${width}`);
            const right = layout.x(19) + layout.size / 2;
            assert.ok(layout.x(0) - layout.size / 2 > layout.label && right < width);
        }
    }
});

const network = {
    name: "mainnet01",
    chains: Array.from({ length: 20 }, (_, chain) => chain),
    lowest: 0,
    genesisHeight: (chain) => (chain < 10 ? 0 : LATE),
};

test("a search for a height that is not stored says which heights are", () => {
    const stored = new Stored(network);
    stored.take({ history: "partial", lowest: { 0: 1_800_000, 12: 1_800_002 } });
    const find = (text) => understand(text, network, stored, 1_800_049);
    const plain = (words) => words.replaceAll("\u202f", "");
    assert.match(plain(find("5").trouble), /not hold height 5.* 1800000 to 1800049/);
    assert.match(plain(find("12/1800001").trouble), /chain 12 from height 1800002/);
    assert.equal(find("1 800 010").address, "#/height/1800010");
    stored.take({ history: "full", lowest: { 0: 0, 12: LATE } });
    assert.equal(find("5").address, "#/height/5");
    assert.match(plain(find("12/5").trouble), /begins at height 852054/);
});

test("what goes wrong is told with the reason of the server", async (t) => {
    const answer = (status, body, type = "application/json;charset=utf-8") => {
        const headers = { "Content-Type": type };
        t.mock.method(globalThis, "fetch", async () => new Response(body, { status, headers }));
        return api.ask("stats").then(assert.fail, ({ message }) => message);
    };
    const steps = "85220 steps, of all chains together, at most 4096 are allowed";
    assert.ok((await answer(400, JSON.stringify({ reason: steps }))).includes(steps));
    assert.match(
        await answer(503, '{"reason":"all read slots are taken"}'),
        /all read slots.*taken/,
    );
    assert.match(await answer(404, '{"reason":"no chain 99"}'), /no chain 99/);
    assert.match(await answer(503, "draining\n", "text/plain"), /draining/);
    assert.doesNotMatch(await answer(502, "<html>", "text/html"), /html/);
    assert.match(await answer(500, "no JSON"), /status 500/);
    t.mock.method(globalThis, "fetch", () => Promise.reject(new TypeError("failed")));
    await assert.rejects(api.ask("cut"), { status: 0, message: /cannot be reached/ });
});

test("requests without an answer are noticed and given up", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
    const never = (_, { signal }) =>
        new Promise((_, fail) => {
            signal.addEventListener("abort", () => fail(new DOMException("", "AbortError")));
        });
    t.mock.method(globalThis, "fetch", never);
    const asked = api.ask("cut");
    t.mock.timers.tick(6000);
    assert.ok(api.silence() >= api.SLOW_MILLIS);
    t.mock.timers.tick(60_000);
    await assert.rejects(asked, { status: 0, message: /has not answered/ });
    assert.equal(api.silence(), 0);
});
