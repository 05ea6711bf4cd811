// Compares the hashes of the explorer with those of OpenSSL, for every length up to some blocks.
//
//     node hashes.mjs

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

// As modules, whatever a node takes files named .js for.
const explorer = (name) => {
    const text = readFileSync(
        new URL(`../../server/src/explorer/${name}`, import.meta.url),
        "utf8",
    );
    return import(`data:text/javascript,${encodeURIComponent(text)}`);
};
const { blake2s } = await explorer("blake2s.js");
const { sha512_256 } = await explorer("sha512_256.js");

const hex = (bytes) => Buffer.from(bytes).toString("hex");

// FIPS 180-4 and RFC 7693 by their own examples.
const abc = new TextEncoder().encode("abc");
assert.equal(
    hex(sha512_256(abc)),
    "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
);
assert.equal(hex(blake2s(abc)), "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");

let state = 1;
const byte = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
};
for (let length = 0; length <= 700; length += 1) {
    const bytes = Uint8Array.from({ length }, byte);
    const openssl = (name) => createHash(name).update(bytes).digest("hex");
    assert.equal(hex(sha512_256(bytes)), openssl("sha512-256"), `SHA-512/256 of ${length} bytes`);
    assert.equal(hex(blake2s(bytes)), openssl("blake2s256"), `BLAKE2s of ${length} bytes`);
}
console.log("hashes of the explorer are those of OpenSSL: lengths 0 to 700");
