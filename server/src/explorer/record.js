// The 318 bytes of a header, read and made.

import { NETWORKS } from "./network.js";
import { base64url, fromBase64url } from "./text.js";

export const HEADER_BYTES = 318;

const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

// A height as a number: there are none above 2^53.
const heightIn = (data) => data.getUint32(258, true) + data.getUint32(262, true) * 2 ** 32;

// What the braid needs of a header.
export const readBlock = (bytes) => {
    const data = view(bytes);
    return {
        bytes,
        chain: data.getUint32(222, true),
        height: heightIn(data),
        hash: base64url(bytes.subarray(286)),
        parent: base64url(bytes.subarray(16, 48)),
        adjacents: [50, 86, 122].map((at) => ({
            chain: data.getUint32(at, true),
            hash: base64url(bytes.subarray(at + 4, at + 36)),
        })),
        canonical: null,
    };
};

// The blocks of headers that stand one behind the other.
export const readBlocks = (bytes) => {
    const blocks = [];
    for (let at = 0; at + HEADER_BYTES <= bytes.length; at += HEADER_BYTES) {
        blocks.push(readBlock(bytes.subarray(at, at + HEADER_BYTES)));
    }
    return blocks;
};

// Everything else in a header.
export const readNumbers = (bytes) => {
    const data = view(bytes);
    return {
        flags: data.getBigUint64(0, true),
        forkNumber: data.getUint32(0, true),
        votes: data.getUint32(4, true),
        time: data.getBigInt64(8, true),
        adjacents: data.getUint16(48, true),
        code: data.getUint32(266, true),
        epochStart: data.getBigInt64(270, true),
        nonce: data.getBigUint64(278, true),
    };
};

// Numbers of more than 53 bits stay text.
export const parseObject = (text) =>
    JSON.parse(
        text.replace(/("(?:featureFlags|creationTime|epochStart|nonce)"\s*:\s*)(-?\d+)/g, '$1"$2"'),
    );

// The bytes of a header object, as nodes and events have it; null if something is missing.
export const fromObject = (object) => {
    const bytes = new Uint8Array(HEADER_BYTES);
    const data = view(bytes);
    try {
        const put = (at, text) => {
            const part = fromBase64url(text);
            if (part.length !== 32) throw new RangeError();
            bytes.set(part, at);
        };
        const adjacents = Object.entries(object.adjacents).sort(([a], [b]) => a - b);
        if (adjacents.length !== 3) throw new RangeError();
        data.setBigUint64(0, BigInt(object.featureFlags), true);
        data.setBigInt64(8, BigInt(object.creationTime), true);
        put(16, object.parent);
        data.setUint16(48, adjacents.length, true);
        adjacents.forEach(([chain, hash], place) => {
            data.setUint32(50 + 36 * place, Number(chain), true);
            put(54 + 36 * place, hash);
        });
        put(158, object.target);
        put(190, object.payloadHash);
        data.setUint32(222, object.chainId, true);
        put(226, object.weight);
        data.setBigUint64(258, BigInt(object.height), true);
        const known = [...NETWORKS].find(([, name]) => name === object.chainwebVersion);
        data.setUint32(266, known[0], true);
        data.setBigInt64(270, BigInt(object.epochStart), true);
        data.setBigUint64(278, BigInt(object.nonce), true);
        put(286, object.hash);
    } catch {
        return null;
    }
    return bytes;
};
