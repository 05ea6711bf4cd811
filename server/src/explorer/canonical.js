// Which blocks are canonical: the member of the chain in the cut and all that it has below it. All
// others are orphans.

import { askBranch } from "./api.js";
import { PAGE_HEIGHTS } from "./pages.js";

// Marks the blocks of a page. Where the page has several blocks at a height, or none, and does not hold
// the block of the cut, the server is asked.
export const mark = async (page, network, member, isPartial) => {
    const from = Math.max(page.number * PAGE_HEIGHTS, network.genesisHeight(page.chain));
    const last = (page.number + 1) * PAGE_HEIGHTS - 1;
    const to = member ? Math.min(last, member.height) : -1;
    let canonical = new Set();
    if (member && member.height >= from && member.height <= last) {
        canonical = below(page, member);
    } else if (to >= from) {
        canonical = isPartial ? null : straight(page, from, to);
        canonical ??= new Set(await askBranch(page.chain, member.hash, from, to));
    }
    for (const blocks of page.blocks.values()) {
        for (const block of blocks) block.canonical = canonical.has(block.hash);
    }
};

// The blocks of the page that are on the way down from the block of the cut.
const below = (page, { height, hash }) => {
    const found = new Set();
    for (;;) {
        const block = page.blocks.get(height)?.find((block) => block.hash === hash);
        if (!block) return found;
        found.add(hash);
        hash = block.parent;
        height -= 1;
    }
};

// All blocks of the page, if there is just one at each height.
const straight = (page, from, to) => {
    const found = new Set();
    for (let height = from; height <= to; height += 1) {
        const blocks = page.blocks.get(height);
        if (blocks?.length !== 1) return null;
        found.add(blocks[0].hash);
    }
    return found;
};
