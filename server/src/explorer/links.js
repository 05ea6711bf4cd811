// The blocks in view as links, above what is drawn: for pointers, for the keyboard, and for those who
// hear the page. One of them can be reached by Tab, and arrow keys move on from there.

import { ROW } from "./layout.js";
import { make } from "./dom.js";
import { counted, grouped } from "./text.js";

const SIZE_MIN = 11;

export class Links {
    // `pointed` is called with a block that is pointed at or has the focus, or null.
    constructor(layer, pointed) {
        this.layer = layer;
        this.pointed = pointed;
        this.links = new Map();
        this.current = null;
        const blockOf = ({ target }) => this.blocks?.get(target.closest?.("a")?.dataset.hash);
        layer.addEventListener("pointerover", (event) => this.pointed(blockOf(event) ?? null));
        layer.addEventListener("pointerleave", () => this.pointed(null));
        layer.addEventListener("focusin", (event) => {
            const block = blockOf(event);
            if (block) this.pointed(block, true);
        });
    }

    // Shows links for rows of slots; `base` is the height at the top of the layer.
    show(rows, base, cursor, cut) {
        const old = this.links;
        this.links = new Map();
        this.blocks = new Map();
        const order = [];
        for (const [height, cells] of rows) {
            for (const { block, x, y, size, more } of cells.flat()) {
                const link = old.get(block.hash) ?? this.make(block);
                old.delete(block.hash);
                const side = Math.max(size + 2, SIZE_MIN);
                link.style.left = `${x - side / 2}px`;
                link.style.top = `${(base - height) * ROW + ROW / 2 + y - side / 2}px`;
                link.style.width = link.style.height = `${side}px`;
                this.tell(link, block, more, cut);
                this.links.set(block.hash, link);
                this.blocks.set(block.hash, block);
                order.push(link);
            }
        }
        for (const link of old.values()) link.remove();
        order.forEach((link, place) => {
            if (this.layer.children[place] !== link) {
                this.layer.insertBefore(link, this.layer.children[place] ?? null);
            }
        });
        this.reach(cursor);
    }

    make({ hash, chain, height }) {
        const link = make("a", { tabindex: -1, draggable: "false" });
        Object.assign(link.dataset, { hash, chain, height });
        return link;
    }

    tell(link, block, more, cut) {
        const kinds = { true: "canonical", false: "orphan", null: "block" };
        const kind = more > 0 ? "more" : kinds[block.canonical];
        if (link.dataset.kind === kind && link.dataset.more === String(more)) return;
        const place = `height ${grouped(block.height)}, chain ${block.chain}`;
        const words = {
            more: `${counted(more + 1, "orphan")} more, ${place}`,
            canonical: `canonical block, ${place}${cut.has(block.hash) ? ", in the cut" : ""}`,
            orphan: `orphan, ${place}`,
            block: `block, ${place}`,
        };
        Object.assign(link.dataset, { kind, more });
        link.setAttribute("aria-label", words[kind]);
        const path =
            more > 0 ? `chain/${block.chain}/height/${block.height}` : `block/${block.hash}`;
        link.setAttribute("href", `#/${path}`);
    }

    // Lets Tab reach the link of a block, or any if it is not in view.
    reach(hash) {
        const next = this.links.get(hash) ?? this.links.values().next().value;
        if (next === this.current) return;
        this.current?.setAttribute("tabindex", "-1");
        next?.setAttribute("tabindex", "0");
        this.current = next ?? null;
    }

    focus(hash) {
        const link = this.links.get(hash);
        link?.focus({ preventScroll: true });
        return Boolean(link);
    }

    hasFocus() {
        return this.layer.contains(document.activeElement);
    }
}
