// One block: what its header says, what it should say, and which blocks are around it.

import { askBranch, askHeaders, findHeader, Trouble } from "./api.js";
import { checks, placed } from "./checks.js";
import { make } from "./dom.js";
import { fieldTable, hexDump } from "./fields.js";
import { readBlock, readBlocks } from "./record.js";
import { base64url, counted, grouped, hashIn } from "./text.js";

const link = ({ hash, chain, height, words = "" }) =>
    make(
        "li",
        {},
        `chain ${chain}, height ${grouped(height)}${words} `,
        make("a", { class: "hash", href: `#/block/${hash}` }, hash),
    );

const group = (name, blocks) =>
    make(
        "section",
        {},
        make("h3", {}, name),
        blocks.length ? make("ul", {}, blocks.map(link)) : make("p", { class: "faint" }, "none"),
    );

// The blocks beside and above: siblings, children, and those that refer to it from adjacent chains.
const around = async (block, network) => {
    const above = block.height + 1;
    const at = async (chain, height) => readBlocks(await askHeaders(chain, height, height));
    // A chain that begins above does not refer to anything yet.
    const chains = network.chains.filter((chain) =>
        network.adjacent(chain, above).includes(block.chain),
    );
    const [siblings, children, ...adjacent] = await Promise.all([
        at(block.chain, block.height),
        at(block.chain, above),
        ...chains.map((chain) => at(chain, above)),
    ]);
    return {
        siblings: siblings.filter(({ hash }) => hash !== block.hash),
        children: children.filter(({ parent }) => parent === block.hash),
        adjacent: adjacent
            .flat()
            .filter(({ adjacents }) => adjacents.some(({ hash }) => hash === block.hash)),
    };
};

const neighbours = async (block, network, stored) => {
    const { siblings, children, adjacent } = await around(block, network);
    const below = block.height - 1;
    // In a partial history the parent may be missing.
    const parent = ({ hash, chain }) => {
        const words = below < stored.lowestOf(chain) ? ", not stored here:" : "";
        return { hash, chain, height: below, words };
    };
    return make(
        "div",
        { class: "neighbours" },
        group("Parent", block.isGenesis ? [] : [parent({ ...block, hash: block.parent })]),
        group("Adjacent parents", block.isGenesis ? [] : block.adjacents.map(parent)),
        group("Children", children),
        group("Refer to it from adjacent chains", adjacent),
        group("Siblings at the same height", siblings),
    );
};

// Whether it is canonical, in words.
const standing = async (block, live) => {
    const member = live.members.get(block.chain);
    if (!member) return "orphan: the cut does not have this chain";
    if (member.hash === block.hash) return "canonical, in the cut";
    if (member.height <= block.height) return "orphan";
    const [hash] = await askBranch(block.chain, member.hash, block.height, block.height);
    if (hash !== block.hash) return "orphan";
    return `canonical, ${counted(member.height - block.height, "block")} below the cut`;
};

// What is shown of a header, wherever it comes from.
export const described = (block, network) => [
    make("h2", {}, "Computed again in this page"),
    checks(block, network),
    make("h2", {}, "Fields"),
    fieldTable(block),
    make("h2", {}, "The 318 bytes"),
    hexDump(block.bytes),
    make("p", {}, "As base64url:"),
    make(
        "pre",
        { class: "text", tabindex: 0, "aria-label": "The header as base64url" },
        base64url(block.bytes),
    ),
];

export const showBlock = async ({ network, stored, live, isShown }, text) => {
    const hash = hashIn(decodeURIComponent(text ?? ""));
    if (!hash)
        throw new Trouble(
            404,
            "The address has no block hash: it has 43 letters, digits, - and _.",
        );
    const bytes = await findHeader(network.chains, hash);
    if (!bytes) throw new Trouble(404, `No chain has a block with the hash ${hash}.`);
    const block = placed(readBlock(bytes), network);
    const kind = make(
        "p",
        { class: "standing", role: "status" },
        "Looking whether it is canonical",
    );
    const links = make("div", {}, make("p", { class: "faint" }, "Looking for neighbours"));
    // The rest comes when it comes: what the header says does not wait for it.
    const late = (promise, put) =>
        promise.then(put, (error) => {
            if (isShown()) put(error.message);
            if (!("status" in error)) throw error;
        });
    late(standing(block, live), (words) => kind.replaceChildren(words));
    late(neighbours(block, network, stored), (list) => links.replaceChildren(list));
    const here = `#/chain/${block.chain}/height/${block.height}`;
    return [
        make("h1", {}, `Block at height ${grouped(block.height)} of chain ${block.chain}`),
        make("p", { class: "hash" }, block.hash),
        kind,
        make("p", {}, make("a", { href: here }, "Show it in the braid")),
        ...described(block, network),
        make("h2", {}, "Neighbours"),
        links,
    ];
};
