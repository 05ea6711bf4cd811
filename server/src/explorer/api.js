// Requests to the server that the page came from. What goes wrong is said in plain words.

const OCTETS = "application/octet-stream";

// An answer that is none, with its status; 0 without an answer.
export class Trouble extends Error {
    constructor(status, message) {
        super(message);
        this.status = status;
    }
}

const WORDS = {
    404: "The server does not have this",
    429: "Too many requests, try again in a moment",
    503: "The server is overloaded or shutting down, try again in a moment",
};
const UNREACHABLE = "The server cannot be reached.";
// A request without a response after this time is aborted.
const ANSWER_MILLIS = 60_000;
// After this time the page explains the delay.
export const SLOW_MILLIS = 5000;
const REASON_MAX = 400;

// Requests whose responses have not begun, the oldest first.
const waiting = new Set();

// How long the oldest of them has been waiting, in milliseconds; 0 if there is none.
export const silence = () => {
    const [oldest] = waiting;
    return oldest ? Date.now() - oldest.since : 0;
};

const root = new URL(".", document.baseURI);
let base = "";

// Says which network the paths of `ask` are of.
export const setNetwork = (name) => {
    base = `chainweb/0.0/${name}/`;
};

// Where the events of blocks are.
export const updatesUrl = () => new URL(`${base}header/updates`, root);

// Waits for the beginning of a response, up to a timeout.
const begun = async (url, { signal, ...options }) => {
    const giveUp = new AbortController();
    const abort = () => giveUp.abort();
    signal?.addEventListener("abort", abort);
    const timer = setTimeout(abort, ANSWER_MILLIS);
    const entry = { since: Date.now() };
    waiting.add(entry);
    try {
        return await fetch(url, { ...options, signal: giveUp.signal });
    } catch (error) {
        if (signal?.aborted) throw error;
        const slow = `The server has not answered for ${ANSWER_MILLIS / 1000} seconds.`;
        throw new Trouble(0, giveUp.signal.aborted ? slow : UNREACHABLE);
    } finally {
        clearTimeout(timer);
        waiting.delete(entry);
    }
};

// The reason in an error response. A proxy may respond with HTML.
const reasonOf = async (response) => {
    const type = response.headers.get("Content-Type") ?? "";
    const text = (await response.text().catch(() => "")).trim();
    if (type.startsWith("text/plain")) return text.slice(0, REASON_MAX);
    try {
        return String(JSON.parse(text).reason ?? "").slice(0, REASON_MAX);
    } catch {
        return "";
    }
};

const request = async (path, { accept = "application/json", body, signal } = {}) => {
    const headers = { Accept: accept };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const method = body === undefined ? "GET" : "POST";
    body = JSON.stringify(body);
    const response = await begun(new URL(path, root), { method, headers, body, signal });
    if (response.ok) return response;
    const { status } = response;
    const reason = await reasonOf(response);
    const words = WORDS[status] ?? `The server rejects this with status ${status}`;
    const error = new Trouble(status, `${words}${reason ? `: ${reason.replace(/\.$/, "")}` : ""}.`);
    error.reason = reason;
    throw error;
};

const read = async (response, form) => {
    try {
        return await response[form]();
    } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Trouble(0, "The server broke off its answer.");
    }
};

// JSON of a path below the root.
export const askRoot = async (path, options) => read(await request(path, options), "json");

// Text of a path below the root and its status, whatever it is.
export const askText = async (path) => {
    try {
        return { status: 200, text: await read(await request(path, { accept: "*/*" }), "text") };
    } catch (error) {
        return { status: error.status, text: error.reason || error.message };
    }
};

// JSON of a path of the network.
export const ask = async (path, options) => askRoot(base + path, options);

// All headers of a range of heights of a chain, as bytes.
export const askHeaders = async (chain, from, to, signal) => {
    const path = `${base}chain/${chain}/header?minheight=${from}&maxheight=${to}&limit=360`;
    const parts = [];
    let next = "";
    for (;;) {
        const response = await request(path + next, { accept: OCTETS, signal });
        parts.push(new Uint8Array(await read(response, "arrayBuffer")));
        // The last page names its last block too, as excluded.
        const cursor = response.headers.get("X-Next");
        if (!cursor?.startsWith("inclusive:")) break;
        next = `&next=${cursor}`;
    }
    if (parts.length === 1) return parts[0];
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
    return whole;
};

// The header of a block, 318 bytes; null if the chain does not have it.
export const askHeader = async (chain, hash, signal) => {
    try {
        const path = `${base}chain/${chain}/header/${hash}`;
        const response = await request(path, { accept: OCTETS, signal });
        return new Uint8Array(await read(response, "arrayBuffer"));
    } catch (error) {
        if (error.status === 404) return null;
        throw error;
    }
};

// The header with a hash, wherever it is; null if no chain has it. Six chains are asked at a time.
export const findHeader = async (chains, hash) => {
    const rest = [...chains];
    const others = new AbortController();
    let found = null;
    const lookUp = async () => {
        while (rest.length > 0 && !found) {
            const bytes = await askHeader(rest.shift(), hash, others.signal);
            if (!bytes) continue;
            found = bytes;
            others.abort();
        }
    };
    const all = await Promise.allSettled(Array.from({ length: 6 }, lookUp));
    const failed = all.find(({ status }) => status === "rejected");
    if (!found && failed) throw failed.reason;
    return found;
};

// The hashes of a block and of what is below it on its chain, at these heights.
export const askBranch = async (chain, hash, from, to, signal) => {
    const path = `chain/${chain}/hash/branch?minheight=${from}&maxheight=${to}&limit=4096`;
    const page = await ask(path, { body: { upper: [hash] }, signal });
    return page.items;
};
