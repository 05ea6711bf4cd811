// What somebody means who types into the search box.

import { grouped, hashIn } from "./text.js";

const GROUPS = /[\s.,_'\u202f\u00a0]/g;

// The address of the page that is meant, also with the hash if it is one; or why there is none.
export const understand = (text, network, stored, top) => {
    const whole = text.trim();
    const hash = hashIn(whole);
    if (hash) return { hash, address: `#/block/${hash}` };
    const digits = whole.replace(/\s+/g, "");
    if (/^([\w-]{424}|[0-9a-f]{636})$/i.test(digits)) return { address: `#/decode/${digits}` };
    const [, chain, height] =
        whole.match(/^(?:(?:chain\s*)?(\d+)\s*[/:]\s*)?([\d\s.,_'\u202f\u00a0]+)$/) ?? [];
    if (height === undefined) {
        if (whole === "") return { trouble: "Type a height, chain/height, or a block hash." };
        const { length } = digits;
        if (length === 43)
            return {
                trouble:
                    "This is no block hash: it has other characters than letters, digits, - and _, or cannot end so.",
            };
        return {
            trouble: `This is no height and no block hash: a hash has 43 letters, digits, - and _, and this has ${length} characters.`,
        };
    }
    const number = Number(height.replace(GROUPS, ""));
    if (number > top)
        return {
            trouble: `There are no blocks at height ${grouped(number)}: the cut ends at ${grouped(top)}.`,
        };
    if (number < network.lowest)
        return { trouble: `${network.name} begins at height ${grouped(network.lowest)}.` };
    if (number < stored.lowest)
        return {
            trouble: `This server does not hold height ${grouped(number)}: it holds heights ${grouped(stored.lowest)} to ${grouped(top)}.`,
        };
    if (chain === undefined) return { address: `#/height/${number}` };
    if (!network.chains.includes(Number(chain)))
        return { trouble: `${network.name} has no chain ${chain}.` };
    const genesis = network.genesisHeight(Number(chain));
    if (number < genesis)
        return { trouble: `Chain ${chain} begins at height ${grouped(genesis)}.` };
    const lowest = stored.lowestOf(Number(chain));
    if (number < lowest)
        return {
            trouble: `This server holds blocks of chain ${chain} from height ${grouped(lowest)} on.`,
        };
    return { address: `#/chain/${chain}/height/${number}` };
};
