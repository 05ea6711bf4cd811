// Listens to an event stream with the published chainweb library, unchanged, or with the event
// source that comes with it, and says what it hears, a line each.
//
//     node updates.mjs stream http://127.0.0.1:1848 mainnet01 DEPTH CHAIN...
//     node updates.mjs source http://127.0.0.1:1848/chainweb/0.0/mainnet01/header/updates?resume

import chainweb from "chainweb";
import EventSource from "eventsource";

const [mode, host, network, depth, ...chains] = process.argv.slice(2);

const hear = ({ header, txCount }) => console.log(`block ${header.hash} ${txCount}`);

if (mode === "stream") {
    // It hands on the header alone.
    const heard = (header) => hear({ header, txCount: null });
    const source = chainweb.header.stream(Number(depth), chains.map(Number), heard, network, host);
    source.onopen = () => console.log("open");
} else {
    const source = new EventSource(host);
    source.onopen = () => console.log("open");
    source.addEventListener("BlockHeader", (event) => hear(JSON.parse(event.data)));
    source.onmessage = (event) => console.log(`strange ${event.data}`);
}
