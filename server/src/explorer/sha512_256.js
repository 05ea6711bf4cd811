// SHA-512/256 of FIPS 180-4: SHA-512 with initial values of its own, cut to 32 bytes. WebCrypto does
// not have it. A word of 64 bits is two of 32 here, the high one first.

const words = (text) => Int32Array.from(text.match(/[0-9a-f]{8}/g), (word) => parseInt(word, 16));

const K = words(`
    428a2f98d728ae22 7137449123ef65cd b5c0fbcfec4d3b2f e9b5dba58189dbbc 3956c25bf348b538
    59f111f1b605d019 923f82a4af194f9b ab1c5ed5da6d8118 d807aa98a3030242 12835b0145706fbe
    243185be4ee4b28c 550c7dc3d5ffb4e2 72be5d74f27b896f 80deb1fe3b1696b1 9bdc06a725c71235
    c19bf174cf692694 e49b69c19ef14ad2 efbe4786384f25e3 0fc19dc68b8cd5b5 240ca1cc77ac9c65
    2de92c6f592b0275 4a7484aa6ea6e483 5cb0a9dcbd41fbd4 76f988da831153b5 983e5152ee66dfab
    a831c66d2db43210 b00327c898fb213f bf597fc7beef0ee4 c6e00bf33da88fc2 d5a79147930aa725
    06ca6351e003826f 142929670a0e6e70 27b70a8546d22ffc 2e1b21385c26c926 4d2c6dfc5ac42aed
    53380d139d95b3df 650a73548baf63de 766a0abb3c77b2a8 81c2c92e47edaee6 92722c851482353b
    a2bfe8a14cf10364 a81a664bbc423001 c24b8b70d0f89791 c76c51a30654be30 d192e819d6ef5218
    d69906245565a910 f40e35855771202a 106aa07032bbd1b8 19a4c116b8d2d0c8 1e376c085141ab53
    2748774cdf8eeb99 34b0bcb5e19b48a8 391c0cb3c5c95a63 4ed8aa4ae3418acb 5b9cca4f7763e373
    682e6ff3d6b2b8a3 748f82ee5defb2fc 78a5636f43172f60 84c87814a1f0ab72 8cc702081a6439ec
    90befffa23631e28 a4506cebde82bde9 bef9a3f7b2c67915 c67178f2e372532b ca273eceea26619c
    d186b8c721c0c207 eada7dd6cde0eb1e f57d4f7fee6ed178 06f067aa72176fba 0a637dc5a2c898a6
    113f9804bef90dae 1b710b35131c471b 28db77f523047d84 32caab7b40c72493 3c9ebe0a15c9bebc
    431d67c49c100d4c 4cc5d4becb3e42b6 597f299cfc657e2a 5fcb6fab3ad6faec 6c44198c4a475817
`);

const INITIAL = words(`
    22312194fc2bf72c 9f555fa3c84c64c2 2393b86b6f53b151 963877195940eabd 96283ee2a88effe3
    be5e1e2553863992 2b0199fc2c85b8aa 0eb72ddc81c52ca2
`);

const W = new Int32Array(160);

// Mixes one block of 128 bytes into the state.
const mix = (state, view, offset) => {
    for (let at = 0; at < 32; at += 1) W[at] = view.getInt32(offset + 4 * at);
    for (let at = 32; at < 160; at += 2) {
        let [h, l] = [W[at - 30], W[at - 29]];
        const s0h = ((h >>> 1) | (l << 31)) ^ ((h >>> 8) | (l << 24)) ^ (h >>> 7);
        const s0l = ((l >>> 1) | (h << 31)) ^ ((l >>> 8) | (h << 24)) ^ ((l >>> 7) | (h << 25));
        [h, l] = [W[at - 4], W[at - 3]];
        const s1h = ((h >>> 19) | (l << 13)) ^ ((l >>> 29) | (h << 3)) ^ (h >>> 6);
        const s1l = ((l >>> 19) | (h << 13)) ^ ((h >>> 29) | (l << 3)) ^ ((l >>> 6) | (h << 26));
        const low = (s0l >>> 0) + (s1l >>> 0) + (W[at - 13] >>> 0) + (W[at - 31] >>> 0);
        W[at] = s0h + s1h + W[at - 14] + W[at - 32] + Math.floor(low / 2 ** 32);
        W[at + 1] = low;
    }
    let [ah, al, bh, bl, ch, cl, dh, dl, eh, el, fh, fl, gh, gl, hh, hl] = state;
    for (let at = 0; at < 160; at += 2) {
        const s1h =
            ((eh >>> 14) | (el << 18)) ^ ((eh >>> 18) | (el << 14)) ^ ((el >>> 9) | (eh << 23));
        const s1l =
            ((el >>> 14) | (eh << 18)) ^ ((el >>> 18) | (eh << 14)) ^ ((eh >>> 9) | (el << 23));
        const chosen = (el & fl) ^ (~el & gl);
        let low = (hl >>> 0) + (s1l >>> 0) + (chosen >>> 0) + (K[at + 1] >>> 0) + (W[at + 1] >>> 0);
        const t1h =
            (hh + s1h + ((eh & fh) ^ (~eh & gh)) + K[at] + W[at] + Math.floor(low / 2 ** 32)) | 0;
        const t1l = low | 0;
        const s0h =
            ((ah >>> 28) | (al << 4)) ^ ((al >>> 2) | (ah << 30)) ^ ((al >>> 7) | (ah << 25));
        const s0l =
            ((al >>> 28) | (ah << 4)) ^ ((ah >>> 2) | (al << 30)) ^ ((ah >>> 7) | (al << 25));
        const most = (al & bl) ^ (al & cl) ^ (bl & cl);
        low = (s0l >>> 0) + (most >>> 0);
        const t2h = s0h + ((ah & bh) ^ (ah & ch) ^ (bh & ch)) + Math.floor(low / 2 ** 32);
        const t2l = low | 0;
        [hh, hl, gh, gl, fh, fl] = [gh, gl, fh, fl, eh, el];
        low = (dl >>> 0) + (t1l >>> 0);
        [eh, el] = [(dh + t1h + Math.floor(low / 2 ** 32)) | 0, low | 0];
        [dh, dl, ch, cl, bh, bl] = [ch, cl, bh, bl, ah, al];
        low = (t1l >>> 0) + (t2l >>> 0);
        [ah, al] = [(t1h + t2h + Math.floor(low / 2 ** 32)) | 0, low | 0];
    }
    const end = [ah, al, bh, bl, ch, cl, dh, dl, eh, el, fh, fl, gh, gl, hh, hl];
    for (let at = 0; at < 16; at += 2) {
        const low = (state[at + 1] >>> 0) + (end[at + 1] >>> 0);
        state[at] += end[at] + Math.floor(low / 2 ** 32);
        state[at + 1] = low;
    }
};

// The hash of some bytes, 32 bytes.
export const sha512_256 = (bytes) => {
    const padded = new Uint8Array(Math.ceil((bytes.length + 17) / 128) * 128);
    padded.set(bytes);
    padded[bytes.length] = 0x80;
    const view = new DataView(padded.buffer);
    view.setUint32(padded.length - 4, bytes.length * 8);
    const state = INITIAL.slice();
    for (let offset = 0; offset < padded.length; offset += 128) mix(state, view, offset);
    const hash = new DataView(new ArrayBuffer(32));
    for (let at = 0; at < 8; at += 1) hash.setInt32(4 * at, state[at]);
    return new Uint8Array(hash.buffer);
};
