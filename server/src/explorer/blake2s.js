// BLAKE2s-256 of RFC 7693, without a key.

const INITIAL = Int32Array.from([
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
]);

// A digit is the place of a word of the message, a row is a round.
const SIGMA = Array.from(
    "0123456789abcdef" +
        "ea489fd61c02b753" +
        "b8c052fdae367194" +
        "7931dcbe265a40f8" +
        "905724afe1bc683d" +
        "2c6a0b834d75fe19" +
        "c51fed4a0763928b" +
        "db7ec13950f4862a" +
        "6fe9b308c2d714a5" +
        "a2847615fb9e3cd0",
    (digit) => parseInt(digit, 16),
);

const COLUMNS_THEN_DIAGONALS = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

const V = new Int32Array(16);

const turn = (word, bits) => (word >>> bits) | (word << (32 - bits));

// Mixes one block of 64 bytes into the state; `length` counts all bytes up to its end.
const mix = (state, view, offset, length, last) => {
    V.set(state);
    V.set(INITIAL, 8);
    V[12] ^= length;
    if (last) V[14] = ~V[14];
    for (let at = 0; at < 160; at += 2) {
        const [a, b, c, d] = COLUMNS_THEN_DIAGONALS[(at >> 1) & 7];
        V[a] += V[b] + view.getInt32(offset + 4 * SIGMA[at], true);
        V[d] = turn(V[d] ^ V[a], 16);
        V[c] += V[d];
        V[b] = turn(V[b] ^ V[c], 12);
        V[a] += V[b] + view.getInt32(offset + 4 * SIGMA[at + 1], true);
        V[d] = turn(V[d] ^ V[a], 8);
        V[c] += V[d];
        V[b] = turn(V[b] ^ V[c], 7);
    }
    for (let at = 0; at < 8; at += 1) state[at] ^= V[at] ^ V[at + 8];
};

// The hash of some bytes, 32 bytes.
export const blake2s = (bytes) => {
    const blocks = Math.max(1, Math.ceil(bytes.length / 64));
    const padded = new Uint8Array(blocks * 64);
    padded.set(bytes);
    const view = new DataView(padded.buffer);
    const state = INITIAL.slice();
    // A hash of 32 bytes, no key, one leaf.
    state[0] ^= 0x01010020;
    for (let block = 1; block <= blocks; block += 1) {
        const last = block === blocks;
        mix(state, view, 64 * (block - 1), last ? bytes.length : 64 * block, last);
    }
    const hash = new DataView(new ArrayBuffer(32));
    for (let at = 0; at < 8; at += 1) hash.setInt32(4 * at, state[at], true);
    return new Uint8Array(hash.buffer);
};
