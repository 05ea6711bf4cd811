// Calls the published chainweb library, unchanged, against a Plait server, and compares what it
// returns with the 318-byte records that the server sends.
//
//     node run.mjs http://127.0.0.1:1848 mainnet01 CHAIN
//
// updates.mjs tests header.stream.

import assert from "node:assert/strict";
import chainweb from "chainweb";

const [host, network, chain] = process.argv.slice(2);
const base = `${host}/chainweb/0.0/${network}`;

const json = async (path) => {
    const response = await fetch(`${base}/${path}`);
    assert.equal(response.status, 200, path);
    return response.json();
};

// All records of the branch below a block, ascending.
const records = async (upper) => {
    const response = await fetch(`${base}/chain/${chain}/header/branch`, {
        method: "POST",
        headers: { "Content-Type": "application/json", Accept: "application/octet-stream" },
        body: JSON.stringify({ upper: [upper] }),
    });
    assert.equal(response.status, 200);
    const bytes = Buffer.from(await response.arrayBuffer());
    assert.equal(bytes.length % 318, 0);
    const list = [];
    for (let at = bytes.length - 318; at >= 0; at -= 318) list.push(bytes.subarray(at, at + 318));
    return list;
};

const text = (bytes) => bytes.toString("base64url");

// What the record says, in the words of a header object.
const fields = (record) => ({
    nonce: record.readBigUInt64LE(278).toString(),
    creationTime: Number(record.readBigInt64LE(8)),
    parent: text(record.subarray(16, 48)),
    adjacents: Object.fromEntries(
        [50, 86, 122].map((at) => [record.readUInt32LE(at), text(record.subarray(at + 4, at + 36))]),
    ),
    target: text(record.subarray(158, 190)),
    payloadHash: text(record.subarray(190, 222)),
    chainId: record.readUInt32LE(222),
    weight: text(record.subarray(226, 258)),
    height: Number(record.readBigUInt64LE(258)),
    chainwebVersion: network,
    epochStart: Number(record.readBigInt64LE(270)),
    featureFlags: Number(record.readBigUInt64LE(0)),
    hash: text(record.subarray(286, 318)),
});

let done = 0;
const check = async (name, test) => {
    await test();
    done += 1;
    console.log(`ok ${name}`);
};

const cut = await json("cut");
const tip = cut.hashes[chain];
const all = await records(tip.hash);
const objects = all.map(fields);
const low = objects[0].height;
const at = (height) => objects[height - low];
assert.ok(all.length > 20, "a chain of more than a few blocks");

await check("cut.current", async () => {
    assert.deepEqual(await chainweb.cut.current(network, host), cut);
});

await check("cut.peers", async () => {
    assert.deepEqual(await chainweb.cut.peers(network, host), []);
});

await check("header.range", async () => {
    const got = await chainweb.header.range(chain, low + 3, low + 17, network, host);
    assert.deepEqual(got, objects.slice(3, 18));
});

await check("header.range over several pages", async () => {
    const got = await chainweb.header.range(chain, low, tip.height, network, host);
    assert.deepEqual(got, objects);
});

await check("header.range of one block", async () => {
    const got = await chainweb.header.range(chain, low, low, network, host);
    assert.deepEqual(got, objects.slice(0, 1));
});

await check("header.range beyond the tip is empty", async () => {
    const above = tip.height + 1000;
    assert.deepEqual(await chainweb.header.range(chain, above, above + 5, network, host), []);
});

await check("header.recent", async () => {
    // The library counts from the height of chain 0, whatever the chain.
    const end = cut.hashes["0"].height - 4;
    const got = await chainweb.header.recent(chain, 4, 6, network, host);
    const expected = objects.filter((object) => object.height > end - 6 && object.height <= end);
    assert.deepEqual(got, expected);
    if (cut.hashes["0"].height <= tip.height) assert.equal(got.length, 6);
});

await check("header.height", async () => {
    for (const height of [low, low + 9, tip.height]) {
        assert.deepEqual(await chainweb.header.height(chain, height, network, host), at(height));
    }
    assert.equal(await chainweb.header.height(chain, tip.height + 1, network, host), undefined);
});

await check("header.blockHash", async () => {
    for (const object of [objects[0], objects[7], at(tip.height)]) {
        const got = await chainweb.header.blockHash(chain, object.hash, network, host);
        assert.deepEqual(got, object);
    }
});

const pages = async (format, limit) => {
    const items = [];
    let next = null;
    do {
        const page = await chainweb.internal.branchPage(
            chain, [tip.hash], [at(low + 2).hash], null, tip.height - 1, limit, next, format, network, host,
        );
        assert.equal(page.limit, page.items.length);
        assert.ok(page.limit <= limit);
        items.push(...page.items);
        next = page.next;
    } while (next);
    return items.reverse();
};

for (const limit of [7, 20, 1000]) {
    await check(`pages of ${limit} objects`, async () => {
        assert.deepEqual(await pages("json", limit), objects.slice(3, -1));
    });
    await check(`pages of ${limit} strings`, async () => {
        assert.deepEqual(await pages("binary", limit), all.slice(3, -1).map(text));
    });
}

await check("branch of a number of blocks", async () => {
    const got = await chainweb.internal.branch(
        chain, [tip.hash], [], null, null, 11, "binary", network, host,
    );
    assert.deepEqual(got, all.slice(-11).map(text));
});

await check("currentBranch", async () => {
    const got = await chainweb.internal.currentBranch(
        chain, low + 1, low + 4, null, "binary", network, host,
    );
    assert.deepEqual(got, all.slice(1, 5).map(text));
});

await check("an unknown block is a response error", async () => {
    const unknown = "A".repeat(43);
    await assert.rejects(
        chainweb.header.blockHash(chain, unknown, network, host),
        (error) => error instanceof chainweb.ResponseError && error.response.status === 404,
    );
});

// Blocks and what they carry, where that is stored.
const decoded = (string) => JSON.parse(Buffer.from(string, "base64url").toString());

const blocks = async () => {
    const page = await json(`chain/${chain}/block?minheight=${low}&maxheight=${tip.height}`);
    const canonical = new Set(objects.map((object) => object.hash));
    return page.items.filter((item) => canonical.has(item.header.hash)).map((item) => {
        const payload = { ...item.payloadWithOutputs };
        payload.minerData = decoded(payload.minerData);
        payload.coinbase = decoded(payload.coinbase);
        payload.transactions = payload.transactions.map(([transaction, output]) => {
            const inner = decoded(transaction);
            inner.cmd = JSON.parse(inner.cmd);
            return { transaction: inner, output: decoded(output) };
        });
        return { header: item.header, payload };
    });
};

const first = await fetch(`${base}/chain/${chain}/block?minheight=${tip.height}&limit=1`);
if (first.status === 200) {
    const expected = await blocks();

    await check("block.range", async () => {
        const got = await chainweb.block.range(chain, low + 3, low + 17, network, host);
        assert.deepEqual(got, expected.slice(3, 18));
    });

    await check("block.height", async () => {
        const got = await chainweb.block.height(chain, low + 9, network, host);
        assert.deepEqual(got, expected[9]);
    });

    await check("block.blockHash", async () => {
        for (const block of [expected[0], expected[7], expected.at(-1)]) {
            const got = await chainweb.block.blockHash(chain, block.header.hash, network, host);
            assert.deepEqual(got, block);
        }
    });

    await check("payloads in a batch", async () => {
        const hashes = expected.map((block) => block.payload.payloadHash);
        const got = await chainweb.internal.payloads(chain, hashes, "json", network, host);
        assert.deepEqual(got, expected.map((block) => block.payload));
    });
} else {
    assert.equal(first.status, 404, "a block without its payload");
}

console.log(`${done} checks of chainweb on chain ${chain} of ${network}, ${all.length} blocks`);
