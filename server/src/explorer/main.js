// Starts the page, and shows what its address says.

import { findHeader, silence, SLOW_MILLIS } from "./api.js";
import { Braid } from "./braid.js";
import { showDecode } from "./decode.js";
import { byId, failure, make } from "./dom.js";
import { showBlock } from "./header.js";
import { Live } from "./live.js";
import { askNetwork } from "./network.js";
import { understand } from "./search.js";
import { showState } from "./state.js";
import { showStats } from "./stats.js";
import { Stored } from "./stored.js";

const RETRY_MILLIS = 2000;

const live = new Live();
let network;
let stored;
let braid;
// What is shown last wins over what takes longer.
let turn = 0;

const say = (text) => {
    byId("found").textContent = text;
    byId("found").hidden = text === "";
};

// Shows the braid, or the other section.
const turnTo = (page) => {
    byId("braid").hidden = page !== "braid";
    byId("page").hidden = page === "braid";
    if (page === "braid") byId("page").replaceChildren();
    else braid.hide();
    for (const link of document.querySelectorAll("nav a")) {
        if (link.dataset.page === page) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
    }
};

const STATES = {
    live: ["live", "New blocks appear as they join the cut."],
    connecting: ["connecting", "The server is not sending events at the moment. The page tries again."],
    polled: [
        "every 5 s",
        "No event stream is available, so the page requests new blocks every five seconds. Other pages of this address may be using all connections that the browser opens to one host.",
    ],
    off: ["no connection", "The page tries again every five seconds."],
};

const PAGES = {
    stats: { title: "Statistics", show: showStats },
    state: { title: "State", show: showState },
    decode: { title: "Decode", show: showDecode },
    block: { title: "Block", show: showBlock },
};

const route = async () => {
    const [name = "", first, second, third] = location.hash.replace(/^#\/?/, "").split("/");
    turn += 1;
    say("");
    const page = PAGES[name];
    if (!page) {
        document.title = `Braid – ${network.name}`;
        turnTo("braid");
        if (name === "height") braid.show(Number(first) || 0);
        else if (name === "chain" && second === "height")
            braid.show(Number(third) || 0, Number(first));
        else braid.show();
        return;
    }
    document.title = `${page.title} – ${network.name}`;
    turnTo(name);
    const mine = turn;
    const section = byId("page");
    section.replaceChildren(make("p", { class: "faint" }, "Loading"));
    const isShown = () => mine === turn;
    try {
        const shown = await page.show({ network, stored, live, isShown }, first);
        if (isShown()) section.replaceChildren(...[shown].flat());
    } catch (error) {
        if (isShown()) section.replaceChildren(failure(error));
        if (!("status" in error)) throw error;
    }
    if (!isShown()) return;
    section.scrollTop = 0;
    // Arrow keys scroll it, and it is read from its beginning.
    section.focus({ preventScroll: true });
};

const search = async (text) => {
    const wanted = understand(text, network, stored, live.top);
    if (wanted.hash) {
        const mine = (turn += 1);
        say("Looking");
        try {
            const found = await findHeader(network.chains, wanted.hash);
            if (mine !== turn) return;
            if (!found) return say(`No chain has a block with the hash ${wanted.hash}.`);
        } catch (error) {
            return say(error.message);
        }
    }
    if (wanted.trouble) return say(wanted.trouble);
    say("");
    if (location.hash === wanted.address) return route();
    location.hash = wanted.address;
    return undefined;
};

const showLive = () => {
    const element = byId("live");
    const [word, title] = STATES[live.state];
    element.dataset.live = live.state === "live";
    element.dataset.state = live.state;
    element.textContent = word;
    element.title = `${title} ${live.trouble}`.trim();
};

// Shows the likely cause once the server has been silent for a while.
const showSilence = () => {
    byId("slow").hidden = silence() < SLOW_MILLIS;
    setTimeout(showSilence, 500);
};

const start = async () => {
    try {
        network = await askNetwork();
        stored = new Stored(network);
        await Promise.all([live.start(), stored.ask()]);
    } catch (error) {
        if (!("status" in error)) throw error;
        const none = "This server has no database to look into.";
        say(error.status === 404 ? none : `${error.message} Trying again.`);
        return setTimeout(start, RETRY_MILLIS);
    }
    byId("network").textContent = network.name;
    stored.watch(live);
    braid = new Braid(network, live, stored);
    live.addEventListener("live", showLive);
    addEventListener("hashchange", route);
    // The address says which page is shown, so this may not go there.
    byId("skip").addEventListener("click", (event) => {
        event.preventDefault();
        byId("main").focus();
    });
    byId("search").addEventListener("submit", (event) => {
        event.preventDefault();
        search(byId("query").value);
    });
    showLive();
    return route();
};

showSilence();
start();
