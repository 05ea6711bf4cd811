// Bytes and numbers as text, and back.

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const VALUES = new Map([...ALPHABET].map((digit, value) => [digit, value]));

// A block hash: the last digit holds four bits only.
const HASH = /[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]/;

// Bytes as base64url without padding.
export const base64url = (bytes) => {
    let text = "";
    for (let at = 0; at < bytes.length; at += 3) {
        const word = (bytes[at] << 16) | (bytes[at + 1] << 8) | bytes[at + 2];
        text += ALPHABET[word >> 18] + ALPHABET[(word >> 12) & 63];
        if (at + 1 < bytes.length) text += ALPHABET[(word >> 6) & 63];
        if (at + 2 < bytes.length) text += ALPHABET[word & 63];
    }
    return text;
};

// The bytes of base64url, or of plain base64; null if it is neither.
export const fromBase64url = (text) => {
    const digits = text.replace(/=+$/, "").replaceAll("+", "-").replaceAll("/", "_");
    const bytes = new Uint8Array(Math.floor((digits.length * 3) / 4));
    let [word, bits, at] = [0, 0, 0];
    for (const digit of digits) {
        if (!VALUES.has(digit)) return null;
        word = ((word << 6) | VALUES.get(digit)) & 0xffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes[at] = word >> bits;
            at += 1;
        }
    }
    return bits === 6 || word & ((1 << bits) - 1) ? null : bytes;
};

export const hex = (bytes) =>
    Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

// The bytes of hexadecimal digits; null if there are others, or an odd number.
export const fromHex = (text) =>
    /^([0-9a-f]{2})*$/i.test(text)
        ? Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16))
        : null;

// The unsigned number that bytes are, the lowest first.
export const little = (bytes) => BigInt(`0x${hex(Uint8Array.from(bytes).reverse()) || "0"}`);

// The block hash in what somebody pasted: alone, with spaces, or at the end of a link.
export const hashIn = (text) => {
    const whole = text.replace(/\s+/g, "");
    const last = whole.split(/[/:?&="',]/).findLast((part) => part.length >= 43);
    return last?.match(new RegExp(`^${HASH.source}$`))?.[0] ?? null;
};

// A whole number in groups of three digits, with thin spaces that do not break.
export const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");

export const counted = (number, one, many = `${one}s`) =>
    `${grouped(number)}\u00a0${number === 1 ? one : many}`;

const PREFIXES = ["", "k", "M", "G", "T", "P", "E", "Z", "Y"];

// A number with three digits that count, and a prefix of its unit.
export const scaled = (number, unit = "") => {
    if (!Number.isFinite(number)) return "–";
    const size = number === 0 ? 0 : Math.floor(Math.log10(Math.abs(number)) / 3 + 1e-9);
    const place = Math.min(Math.max(size, 0), PREFIXES.length - 1);
    const digits = Number((number / 1000 ** place).toPrecision(3));
    return `${digits}\u202f${PREFIXES[place]}${unit}`.trimEnd();
};

// Microseconds since 1970 as ISO 8601, in UTC; years that a Date does not know are left out.
export const moment = (micros) => {
    const value = BigInt(micros);
    const rest = ((value % 1000000n) + 1000000n) % 1000000n;
    const date = new Date(Number((value - rest) / 1000n));
    if (Number.isNaN(date.getTime())) return "outside of the calendar";
    return date.toISOString().replace(".000Z", `.${String(rest).padStart(6, "0")}Z`);
};

const STEPS = [
    [86400 * 365.25, "year"],
    [86400, "day"],
    [3600, "hour"],
    [60, "minute"],
    [1, "second"],
];

// A length of time in its largest unit.
export const lasting = (seconds) => {
    const [size, unit] = STEPS.find(([size]) => Math.abs(seconds) >= size) ?? STEPS.at(-1);
    return counted(Math.round(seconds / size), unit);
};
