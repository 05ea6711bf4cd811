// A header from anywhere: pasted, read, and checked.

import { askHeader } from "./api.js";
import { placed } from "./checks.js";
import { make } from "./dom.js";
import { described } from "./header.js";
import { fromObject, HEADER_BYTES, parseObject, readBlock } from "./record.js";
import { counted, fromBase64url, fromHex, grouped } from "./text.js";

// The bytes of what was pasted; or what is wrong with it.
const bytesOf = (text) => {
    const pasted = text.trim();
    if (pasted === "") return { trouble: "Nothing was pasted." };
    if (pasted.startsWith("{")) {
        try {
            const object = parseObject(pasted);
            const bytes = fromObject(object.header ?? object);
            return bytes
                ? { bytes }
                : { trouble: "Fields of the object are missing or of a wrong form." };
        } catch {
            return { trouble: "This is no JSON object." };
        }
    }
    const digits = pasted.replace(/[\s",]/g, "");
    // 424 digits of base64url may all be hexadecimal ones, but 318 bytes never have that many.
    const bytes = (digits.length !== 424 && fromHex(digits)) || fromBase64url(digits);
    if (!bytes)
        return { trouble: "This is neither hexadecimal digits nor base64url nor a JSON object." };
    if (bytes.length === HEADER_BYTES) return { bytes };
    return {
        trouble: `A header has ${HEADER_BYTES} bytes, and this has ${counted(bytes.length, "byte")}.`,
    };
};

export const showDecode = async ({ network, isShown }, text = "") => {
    const input = make("textarea", {
        id: "pasted",
        rows: 6,
        spellcheck: "false",
        "aria-label": "The bytes of a header",
        placeholder: "636 hexadecimal digits, 424 characters of base64url, or a header object",
    });
    input.value = decodeURIComponent(text);
    const result = make("div", { id: "decoded" });
    const stored = async (block) => {
        const place = make("p", { class: "faint", role: "status" });
        if (!block.isOurs) {
            place.append(
                `A block of ${block.network ?? "an unknown network"}; this server has ${network.name}.`,
            );
        } else {
            try {
                const found =
                    network.chains.includes(block.chain) &&
                    (await askHeader(block.chain, block.hash));
                place.append(
                    found
                        ? "This server has a block with this hash."
                        : "This server has no block with this hash.",
                );
            } catch (error) {
                place.append(error.message);
            }
        }
        return place;
    };
    const decode = async () => {
        const { bytes, trouble } = bytesOf(input.value);
        if (trouble) {
            result.replaceChildren(make("p", { class: "failure", role: "alert" }, trouble));
            return;
        }
        const block = placed(readBlock(bytes), network);
        result.replaceChildren(
            make(
                "h2",
                {},
                `Height ${grouped(block.height)} of chain ${block.chain}, ${block.network ?? "unknown network"}`,
            ),
            ...described(block, network),
        );
        const place = await stored(block);
        if (isShown()) result.firstElementChild?.after(place);
    };
    const form = make(
        "form",
        {
            submit: (event) => {
                event.preventDefault();
                decode();
            },
        },
        input,
        make("button", { id: "decode" }, "Decode"),
    );
    if (input.value) decode();
    return [
        make("h1", {}, "Decode a header"),
        make(
            "p",
            {},
            "Paste any header, also one that was altered, to see what it says and what is wrong with it. It stays in this page.",
        ),
        form,
        result,
    ];
};
