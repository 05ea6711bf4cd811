// Block hash and proof of work, computed from a header.

import { blake2s } from "./blake2s.js";
import { sha512_256 } from "./sha512_256.js";
import { little } from "./text.js";

const ADJACENTS = [54, 90, 126];

// Where the leaves of the tree are, in their order: offset, bytes and tag. Without a tag it is a root
// itself, and goes in as it is.
const LEAVES = [
    [0, 8, 0x0006],
    [8, 8, 0x0007],
    [16, 32],
    [158, 32, 0x0011],
    [190, 32],
    [222, 4, 0x0002],
    [226, 32, 0x0004],
    [258, 8, 0x0003],
    [266, 4, 0x0008],
    [270, 8, 0x0019],
    [278, 8, 0x0020],
    ...ADJACENTS.map((at) => [at, 32]),
];

const joined = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));

const leaf = (bytes, [at, length, tag]) => {
    const part = bytes.subarray(at, at + length);
    return tag === undefined ? part : sha512_256(joined([0, tag >> 8, tag & 0xff], part));
};

// The root of a tree in the form of RFC 6962.
const merkleRoot = (nodes) => {
    if (nodes.length === 1) return nodes[0];
    const left = 2 ** Math.floor(Math.log2(nodes.length - 1));
    return sha512_256(joined([1], merkleRoot(nodes.slice(0, left)), merkleRoot(nodes.slice(left))));
};

// The block hash that a header should have. Adjacent hashes go in by ascending chain, as they stand.
export const blockHash = (bytes) => merkleRoot(LEAVES.map((place) => leaf(bytes, place)));

// The hash of what is mined: all but the block hash. As a number it must not exceed the target.
export const work = (bytes) => {
    const hash = blake2s(bytes.subarray(0, 286));
    return { hash, isEnough: little(hash) <= little(bytes.subarray(158, 190)) };
};

const MAX = 2n ** 256n - 1n;

// Hashes that it takes to hit a target, on average.
export const difficulty = (target) => (target === 0n ? MAX : MAX / target);
