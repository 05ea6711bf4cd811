// Calls what the published chainweb library, unchanged, has for blocks, transactions and events, and
// compares what it returns with the pages of blocks that the server sends.
//
//     node payloads.mjs http://127.0.0.1:1848 mainnet01 CHAIN

import assert from "node:assert/strict";
import chainweb from "chainweb";

const [host, network, chain] = process.argv.slice(2);
const base = `${host}/chainweb/0.0/${network}`;

const json = async (path, body) => {
    const response = await fetch(`${base}/${path}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
    });
    assert.equal(response.status, 200, path);
    return response.json();
};

const decoded = (text) => JSON.parse(Buffer.from(text, "base64url").toString());

// A block of a page in the words of the library.
const block = ({ header, payloadWithOutputs: payload }) => ({
    header,
    payload: {
        ...payload,
        minerData: decoded(payload.minerData),
        coinbase: decoded(payload.coinbase),
        transactions: payload.transactions.map(([transaction, output]) => {
            const { cmd, ...rest } = decoded(transaction);
            return { transaction: { ...rest, cmd: JSON.parse(cmd) }, output: decoded(output) };
        }),
    },
});

const transactions = (blocks) =>
    blocks.flatMap(({ header, payload }) =>
        payload.transactions.map((transaction) => ({ ...transaction, height: header.height })),
    );

const events = (blocks) =>
    transactions(blocks).flatMap(({ output, height }) =>
        (output.events ?? []).map((event) => ({ ...event, height })),
    );

const cut = await (await fetch(`${base}/cut`)).json();
const tip = cut.hashes[chain];
const all = [];
let next = null;
do {
    const query = next ? `?limit=30&next=${encodeURIComponent(next)}` : "?limit=30";
    const page = await json(`chain/${chain}/block/branch${query}`, { upper: [tip.hash] });
    assert.ok(page.limit === page.items.length && page.limit <= 30);
    all.unshift(...page.items.map(block).reverse());
    next = page.next;
} while (next);
const low = all[0].header.height;
const between = (from, to) => all.slice(from - low, to - low + 1);
assert.ok(all.length > 40, "a chain of more than a few blocks");

// Each call of one kind of thing, with the blocks that what it returns is made of.
const calls = (kind) => {
    const { range, recent, height, blockHash } = chainweb[kind];
    const end = cut.hashes["0"].height - 4;
    return [
        [() => range(chain, low + 3, low + 37, network, host), between(low + 3, low + 37)],
        [() => range(chain, tip.height, tip.height, network, host), all.slice(-1)],
        // The library counts from the height of chain 0, whatever the chain.
        [() => recent(chain, 4, 6, network, host), between(end - 5, end)],
        [() => height(chain, low + 9, network, host), between(low + 9, low + 9)],
        [() => blockHash(chain, all[7].header.hash, network, host), [all[7]]],
    ];
};

for (const [kind, of] of Object.entries({ block: (blocks) => blocks, transaction: transactions, event: events })) {
    let count = 0;
    for (const [call, blocks] of calls(kind)) {
        const got = await call();
        const list = Array.isArray(got) ? got : [got];
        assert.deepEqual(list, of(blocks), kind);
        count += list.length;
    }
    console.log(`ok ${count} of ${kind}`);
}
