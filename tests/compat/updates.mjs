// Reads an event stream with the published chainweb library, unchanged, and either the event source
// that it depends on (1.x) or one that follows the standard (3.x), which gives up for good at any
// status other than 200. Prints one line per event.
//
//     node updates.mjs stream http://127.0.0.1:1848 mainnet01 DEPTH CHAIN...
//     node updates.mjs source http://127.0.0.1:1848/chainweb/0.0/mainnet01/header/updates?resume
//     node updates.mjs source3 http://127.0.0.1:1848/chainweb/0.0/mainnet01/header/updates?resume
//
// With one more argument it also prints ids without a block.

import chainweb from "chainweb";
import EventSource1 from "eventsource";
import { EventSource as EventSource3 } from "eventsource-3";

const [mode, host, network, depth, ...chains] = process.argv.slice(2);

const hear = ({ header, txCount }) => console.log(`block ${header.hash} ${txCount}`);

if (mode === "stream") {
    // It hands on the header alone.
    const heard = (header) => hear({ header, txCount: null });
    const source = chainweb.header.stream(Number(depth), chains.map(Number), heard, network, host);
    source.onopen = () => console.log("open");
} else {
    const source = new (mode === "source3" ? EventSource3 : EventSource1)(host);
    source.onopen = () => console.log("open");
    source.addEventListener("BlockHeader", (event) => hear(JSON.parse(event.data)));
    if (network) source.addEventListener("Position", () => console.log("position"));
    source.onerror = () => {
        if (source.readyState === 2) console.log("closed");
    };
    source.onmessage = (event) => console.log(`strange ${event.data}`);
}
