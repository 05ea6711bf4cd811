// The fields of a header: where each is, what it says, and what that means.

import { difficulty } from "./merkle.js";
import { make } from "./dom.js";
import { FLAGS_FROM, NETWORKS } from "./network.js";
import { readNumbers } from "./record.js";
import { base64url, grouped, hex, little, moment, scaled } from "./text.js";

const bigEndian = (bytes) => `0x${hex(Uint8Array.from(bytes).reverse())}`;

const hash = (text) => make("code", { class: "hash" }, text);

// A block that another names, as a link where it is one.
const linked = (text, { isOurs, isGenesis }) =>
    isOurs && !isGenesis ? make("a", { class: "hash", href: `#/block/${text}` }, text) : hash(text);

const time = (micros) => [
    make("time", {}, moment(micros)),
    make("span", { class: "faint" }, ` ${micros} µs`),
];

const flags = ({ flags, forkNumber, votes }, block) => {
    if (block.network === "mainnet01" && block.height < FLAGS_FROM) {
        return [`${flags}`, make("span", { class: "faint" }, " nonce of the miner")];
    }
    return `fork number ${forkNumber}, votes ${votes}`;
};

const target = (bytes) => {
    const number = little(bytes);
    return [hash(bigEndian(bytes)), make("br"), `difficulty ${scaled(Number(difficulty(number)))}`];
};

const adjacent = (place) => [
    {
        name: `adjacent ${place + 1}, chain`,
        kind: place % 2 ? "adjacent2" : "adjacent",
        at: 50 + 36 * place,
        bytes: 4,
        value: (bytes, { block }) => `${block.adjacents[place].chain}`,
        meaning:
            "A chain next to this one in the graph of chains. It has no part in the block hash.",
    },
    {
        name: `adjacent ${place + 1}, hash`,
        kind: place % 2 ? "adjacent2" : "adjacent",
        at: 54 + 36 * place,
        bytes: 32,
        value: (bytes, { block }) => linked(block.adjacents[place].hash, block),
        meaning: "The block one height below on that chain, which braids the chains together.",
    },
];

const FIELDS = [
    {
        name: "feature flags",
        kind: "flags",
        at: 0,
        bytes: 8,
        value: (bytes, { block, numbers }) => flags(numbers, block),
        meaning:
            "Low half the fork number, high half votes for the next fork. Below height 530,500 of mainnet01 miners had their nonce here.",
    },
    {
        name: "creation time",
        kind: "time",
        at: 8,
        bytes: 8,
        value: (bytes, { numbers }) => time(numbers.time),
        meaning:
            "When the miner says that it was made: microseconds since 1970, later than the parent.",
    },
    {
        name: "parent",
        kind: "parent",
        at: 16,
        bytes: 32,
        value: (bytes, { block }) => linked(block.parent, block),
        meaning:
            "The block one height below on this chain. A genesis block has a hash of network and chain.",
    },
    {
        name: "adjacents",
        kind: "count",
        at: 48,
        bytes: 2,
        value: (bytes, { numbers }) => `${numbers.adjacents}`,
        meaning: "How many adjacent blocks follow: always 3. It has no part in the block hash.",
    },
    ...[0, 1, 2].flatMap(adjacent),
    {
        name: "target",
        kind: "target",
        at: 158,
        bytes: 32,
        value: target,
        meaning:
            "The work hash may not exceed it, as a number of 256 bits. Difficulty is the number of hashes that it takes on average.",
    },
    {
        name: "payload hash",
        kind: "payload",
        at: 190,
        bytes: 32,
        value: (bytes) => hash(base64url(bytes)),
        meaning: "Merkle root of transactions and outputs, which are no part of a header.",
    },
    {
        name: "chain",
        kind: "chain",
        at: 222,
        bytes: 4,
        value: (bytes, { block }) => `${block.chain}`,
        meaning: "The chain that the block is on.",
    },
    {
        name: "weight",
        kind: "weight",
        at: 226,
        bytes: 32,
        value: (bytes) => {
            const number = little(bytes);
            return [
                grouped(number),
                make("span", { class: "faint" }, ` about ${scaled(Number(number), "H")}`),
            ];
        },
        meaning:
            "Hashes that it took to make the chain up to here: the difficulties of all its blocks, added up. The heaviest branch wins.",
    },
    {
        name: "height",
        kind: "height",
        at: 258,
        bytes: 8,
        value: (bytes, { block }) => grouped(block.height),
        meaning: "Blocks above genesis: one more than the parent.",
    },
    {
        name: "network code",
        kind: "code",
        at: 266,
        bytes: 4,
        value: (bytes, { numbers }) =>
            `${numbers.code}, ${NETWORKS.get(numbers.code) ?? "no network that is known"}`,
        meaning: "The network that the block belongs to.",
    },
    {
        name: "epoch start",
        kind: "epoch",
        at: 270,
        bytes: 8,
        value: (bytes, { numbers }) => time(numbers.epochStart),
        meaning:
            "When the epoch of 120 blocks began that has the same target: microseconds since 1970.",
    },
    {
        name: "nonce",
        kind: "nonce",
        at: 278,
        bytes: 8,
        value: (bytes, { numbers }) => `${numbers.nonce}`,
        meaning: "What the miner has changed until the work hash was low enough.",
    },
    {
        name: "block hash",
        kind: "hash",
        at: 286,
        bytes: 32,
        value: (bytes, { block }) => hash(block.hash),
        meaning: "Merkle root of the fields, which names the block.",
    },
];

// All fields of a block with value and meaning.
export const fieldTable = (block) => {
    const context = { block, numbers: readNumbers(block.bytes) };
    const row = ({ name, kind, at, bytes, value, meaning }) =>
        make(
            "tr",
            { "data-field": name },
            make("td", { class: "number" }, String(at)),
            make("td", { class: "number" }, String(bytes)),
            make("th", { scope: "row" }, make("i", { class: `swatch f-${kind}` }), name),
            make(
                "td",
                {},
                make(
                    "div",
                    { class: "value" },
                    value(block.bytes.subarray(at, at + bytes), context),
                ),
                make("div", { class: "meaning" }, meaning),
            ),
        );
    const heads = ["offset", "bytes", "field", "value and meaning"];
    return make(
        "table",
        { class: "fields" },
        make(
            "thead",
            {},
            make(
                "tr",
                {},
                heads.map((head) => make("th", { scope: "col" }, head)),
            ),
        ),
        make("tbody", {}, FIELDS.map(row)),
    );
};

const LINE = 16;

// The bytes in hexadecimal digits, in the colours of their fields.
export const hexDump = (bytes) => {
    const lines = make("pre", {
        class: "hex",
        tabindex: 0,
        "aria-label": "The bytes of the header",
    });
    for (let line = 0; line < bytes.length; line += LINE) {
        lines.append(make("span", { class: "offset" }, String(line).padStart(3, "0")), "  ");
        for (const { name, kind, at, bytes: length } of FIELDS) {
            const from = Math.max(at, line);
            const to = Math.min(at + length, line + LINE, bytes.length);
            if (from >= to) continue;
            const digits = Array.from(bytes.subarray(from, to), (byte) =>
                byte.toString(16).padStart(2, "0"),
            );
            lines.append(make("span", { class: `f-${kind}`, title: name }, digits.join(" ")));
            if (to % LINE !== 0) lines.append(" ");
        }
        lines.append("\n");
    }
    return lines;
};
