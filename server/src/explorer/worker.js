// The SharedWorker that holds the event stream of all tabs of one browser. It runs while one of them is open; the
// browser ends it with the last one.
//
// A tab sends "here" every few seconds, and "leave" when it closes. A tab that crashes sends nothing, so the
// worker forgets tabs that have been silent for long.

import { Stream } from "./stream.js";

const SILENCE_MILLIS = 60_000;

// The URL of the stream is the last word of the worker's name.
const url = self.name.split(" ").at(-1);
// The time of the last message of each tab.
const ports = new Map();
let stream = null;
let isOpen = false;

const state = () => ({ kind: isOpen ? "open" : "lost" });

const tell = (message) => {
    if (message.kind !== "events") isOpen = message.kind === "open";
    for (const port of ports.keys()) port.postMessage(message);
};

const forget = (port) => {
    ports.delete(port);
    port.close();
    if (ports.size > 0) return;
    stream?.close();
    stream = null;
    isOpen = false;
};

self.onconnect = ({ ports: [port] }) => {
    port.onmessage = ({ data }) => {
        if (data === "leave") return forget(port);
        ports.set(port, Date.now());
        stream ??= new Stream(url, tell);
        return port.postMessage({ ...state(), isAnswer: true });
    };
};

setInterval(() => {
    const long = Date.now() - SILENCE_MILLIS;
    for (const [port, last] of ports) if (last < long) forget(port);
}, SILENCE_MILLIS / 4);
