// What is said below the braid: of a block, of one that is missing, or of the braid itself.

import { byId, make } from "./dom.js";
import { readNumbers } from "./record.js";
import { counted, grouped, moment } from "./text.js";

const KINDS = { true: "canonical, ", false: "orphan, ", null: "" };

const link = ({ hash }) => make("a", { href: `#/block/${hash}`, class: "hash" }, hash);

const described = (block) =>
    make(
        "p",
        {},
        make("b", {}, `Height ${grouped(block.height)}, chain ${block.chain}`),
        `, ${KINDS[block.canonical]}made ${moment(readNumbers(block.bytes).time)}, `,
        `refers to chains ${block.adjacents.map(({ chain }) => chain).join(", ")}`,
        make("br"),
        link(block),
    );

// The other blocks at the same place, as not all may be drawn.
const beside = (others) =>
    make(
        "p",
        {},
        `${counted(others.length, "other block")} there:`,
        others.flatMap((other) => [" ", link(other)]),
    );

export class About {
    constructor() {
        this.element = byId("about");
        this.said = null;
    }

    // What is said already stays: somebody may be about to follow or to copy it.
    say(said, ...content) {
        if (said === this.said) return;
        this.said = said;
        this.element.replaceChildren(...content);
    }

    help() {
        this.say("", byId("help").content.cloneNode(true));
    }

    missing(words) {
        this.say(words, make("p", {}, words));
    }

    block(block, others) {
        const said = [block.hash, block.canonical, others.length].join();
        this.say(said, described(block), ...(others.length ? [beside(others)] : []));
    }
}
