// Draws the part of the braid that is in view.

import { ROW } from "./layout.js";
import { grouped } from "./text.js";

const FLASH_MILLIS = 1200;

// The colours of the style sheet, which change with the scheme.
const colours = (element) => {
    const style = getComputedStyle(element);
    return (name) => style.getPropertyValue(`--${name}`).trim();
};

export class Canvas {
    constructor(element) {
        this.element = element;
        this.context = element.getContext("2d");
        this.readColours();
        const dark = matchMedia("(prefers-color-scheme: dark)");
        dark.addEventListener("change", () => this.readColours());
        this.isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
        this.fresh = new Map();
    }

    readColours() {
        const of = colours(this.element);
        const names = [
            "ink",
            "faint",
            "rule",
            "edge",
            "parent",
            "block",
            "orphan",
            "accent",
            "paper",
        ];
        this.colour = Object.fromEntries(names.map((name) => [name, of(name)]));
        this.font = `11px ${of("font") || "sans-serif"}`;
    }

    resize(width, height) {
        const scale = devicePixelRatio || 1;
        this.width = width;
        this.height = height;
        this.element.width = Math.round(width * scale);
        this.element.height = Math.round(height * scale);
        this.context.setTransform(scale, 0, 0, scale, 0, 0);
    }

    // The width of labels up to this height: digits may differ in width.
    labelWidth(highest) {
        this.context.font = this.font;
        const widths = ["0", "8"].map(
            (digit) =>
                this.context.measureText(grouped(String(highest).replace(/\d/g, digit))).width,
        );
        return Math.max(...widths);
    }

    // Lets new blocks flash for a moment.
    flash(blocks) {
        if (this.isCalm) return;
        const now = performance.now();
        for (const [hash, since] of this.fresh)
            if (now - since > FLASH_MILLIS) this.fresh.delete(hash);
        for (const { hash } of blocks) this.fresh.set(hash, now);
    }

    // `top` is the height at the upper edge; `rows` are [height, slots by chain], `marked` is a hash, and
    // `cut` has the hashes of the cut. Returns whether it should be drawn again soon.
    draw({ top, rows, layout, marked, cut }) {
        const { context: ctx, colour } = this;
        ctx.clearRect(0, 0, this.width, this.height);
        const y = (height) => (top - height) * ROW + ROW / 2;
        this.lines(rows, layout, y);
        const places = new Map();
        for (const [height, cells] of rows) {
            for (const slots of cells) {
                for (const { block, ...slot } of slots) {
                    places.set(block.hash, { block, ...slot, y: slot.y + y(height) });
                }
            }
        }
        this.edges(places, marked);
        let isMoving = false;
        for (const place of places.values()) isMoving = this.block(place, marked, cut) || isMoving;
        return isMoving;
    }

    lines(rows, layout, y) {
        const { context: ctx, colour } = this;
        ctx.font = this.font;
        ctx.textAlign = "right";
        ctx.textBaseline = "middle";
        for (const [height] of rows) {
            ctx.fillStyle = height % 10 === 0 ? colour.ink : colour.faint;
            ctx.fillText(grouped(height), layout.label, y(height));
            if (height % 10 !== 0) continue;
            ctx.fillStyle = colour.rule;
            ctx.fillRect(layout.gutter - 4, Math.round(y(height) + ROW / 2), this.width, 1);
        }
    }

    edges(places, marked) {
        const { context: ctx, colour } = this;
        const kinds = {
            adjacent: { path: new Path2D(), stroke: colour.edge, width: 0.6 },
            parent: { path: new Path2D(), stroke: colour.parent, width: 2 },
            orphan: { path: new Path2D(), stroke: colour.orphan, width: 1, dash: [3, 2] },
            markedAdjacent: { path: new Path2D(), stroke: colour.accent, width: 1.5 },
            markedParent: { path: new Path2D(), stroke: colour.accent, width: 3 },
        };
        const line = (kind, from, to) => {
            if (!to) return;
            kinds[kind].path.moveTo(from.x, from.y);
            kinds[kind].path.lineTo(to.x, to.y);
        };
        for (const from of places.values()) {
            const { block } = from;
            const isMarked = block.hash === marked;
            const isOrphan = block.canonical === false;
            const kind = isMarked || block.parent === marked ? "markedParent" : "parent";
            line(isOrphan && kind === "parent" ? "orphan" : kind, from, places.get(block.parent));
            for (const { hash } of block.adjacents) {
                if (isMarked || hash === marked) line("markedAdjacent", from, places.get(hash));
                else if (!isOrphan) line("adjacent", from, places.get(hash));
            }
        }
        for (const { path, stroke, width, dash } of Object.values(kinds)) {
            ctx.strokeStyle = stroke;
            ctx.lineWidth = width;
            ctx.setLineDash(dash ?? []);
            ctx.stroke(path);
        }
        ctx.setLineDash([]);
    }

    // Canonical blocks are full squares, orphans are empty and turned.
    block({ block, x, y, size, more }, marked, cut) {
        const { context: ctx, colour } = this;
        const half = size / 2;
        const isMarked = block.hash === marked;
        ctx.lineWidth = 1.5;
        ctx.fillStyle = isMarked ? colour.accent : colour.block;
        if (more > 0) {
            ctx.fillStyle = colour.orphan;
            ctx.fillRect(x - half, y - 0.75, size, 1.5);
            ctx.fillRect(x - 0.75, y - half, 1.5, size);
        } else if (block.canonical === false) {
            ctx.beginPath();
            ctx.moveTo(x, y - half - 1);
            ctx.lineTo(x + half + 1, y);
            ctx.lineTo(x, y + half + 1);
            ctx.lineTo(x - half - 1, y);
            ctx.closePath();
            ctx.fillStyle = isMarked ? colour.accent : colour.paper;
            ctx.fill();
            ctx.strokeStyle = isMarked ? colour.accent : colour.orphan;
            ctx.stroke();
        } else {
            ctx.fillRect(x - half, y - half, size, size);
            if (block.canonical === null) {
                ctx.fillStyle = colour.paper;
                ctx.fillRect(x - half + 1, y - half + 1, size - 2, size - 2);
            }
        }
        if (cut.has(block.hash)) {
            ctx.strokeStyle = colour.block;
            ctx.strokeRect(x - half - 2.5, y - half - 2.5, size + 5, size + 5);
        }
        const age = performance.now() - (this.fresh.get(block.hash) ?? -FLASH_MILLIS);
        if (age >= FLASH_MILLIS) return false;
        ctx.globalAlpha = 1 - age / FLASH_MILLIS;
        ctx.strokeStyle = colour.accent;
        ctx.lineWidth = 3;
        const grown = half + 3 + (age / FLASH_MILLIS) * 6;
        ctx.strokeRect(x - grown, y - grown, 2 * grown, 2 * grown);
        ctx.globalAlpha = 1;
        return true;
    }
}
