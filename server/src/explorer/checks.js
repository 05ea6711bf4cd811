// What can be told of a header by itself: block hash and proof of work, computed here, and its place.

import { make } from "./dom.js";
import { blockHash, work } from "./merkle.js";
import { NETWORKS } from "./network.js";
import { readNumbers } from "./record.js";
import { base64url, hex } from "./text.js";

const number = (bytes) => hex(Uint8Array.from(bytes).reverse());

const item = (name, verdict, says, ...rows) =>
    make(
        "section",
        { class: "check", "data-check": name, "data-verdict": verdict },
        make("h3", {}, `${says} `, make("b", { class: "verdict" }, verdict)),
        make(
            "dl",
            {},
            rows.map(([what, value]) => [
                make("dt", {}, what),
                make("dd", {}, make("code", {}, value)),
            ]),
        ),
    );

const hashCheck = (block) => {
    const computed = base64url(blockHash(block.bytes));
    return item(
        "hash",
        computed === block.hash ? "right" : "wrong",
        "Block hash",
        ["in the header", block.hash],
        ["computed here", computed],
    );
};

// Whose work is not looked at: genesis blocks, and all blocks of development.
const workCheck = (block) => {
    const { hash, isEnough } = work(block.bytes);
    const rows = [
        ["computed here", number(hash)],
        ["at most, by its target", number(block.bytes.subarray(158, 190))],
    ];
    const needsNone = block.isGenesis || block.network === "development";
    const verdict = isEnough ? "right" : needsNone ? "not needed" : "wrong";
    return item("work", verdict, "Proof of work", ...rows);
};

const graphCheck = (block, network) => {
    if (!block.isOurs) return null;
    const there = block.adjacents.map(({ chain }) => chain);
    const expected = network.adjacent(block.chain, block.height);
    const isRight = readNumbers(block.bytes).adjacents === 3 && String(there) === String(expected);
    return item(
        "graph",
        isRight ? "right" : "wrong",
        "Adjacent chains",
        ["in the header", there.join(", ")],
        ["in the graph", expected.join(", ") || "none: no such chain"],
    );
};

// Adds to a block which network it is of, whether that is ours, and whether it is the first of its chain.
export const placed = (block, network) => {
    block.network = NETWORKS.get(readNumbers(block.bytes).code);
    block.isOurs = block.network === network.name;
    block.isGenesis = block.isOurs ? network.isGenesis(block) : block.height === 0;
    return block;
};

export const checks = (block, network) =>
    make(
        "div",
        { class: "checks" },
        hashCheck(block),
        workCheck(block),
        graphCheck(block, network) ?? [],
    );
