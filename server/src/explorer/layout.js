// Where blocks are drawn. Chains go across, heights down with the highest on top. A canonical block
// stands on the line of its chain, orphans beside it, two above each other.

export const ROW = 30;
// The margins of a row's label.
const LABEL_LEFT = 4;
const LABEL_RIGHT = 10;

export class Layout {
    // `label` is the width of the widest label.
    constructor(width, chains, label) {
        this.chains = chains;
        this.gutter = Math.max(width < 600 ? 54 : 72, Math.ceil(label) + LABEL_RIGHT + LABEL_LEFT);
        this.label = this.gutter - LABEL_RIGHT;
        this.cell = (width - this.gutter - 4) / Math.max(chains.length, 1);
        this.size = Math.min(Math.max(this.cell * 0.45, 7), 14);
        this.orphan = Math.max(this.size * 0.6, 5);
        const room = this.cell * 0.64 - this.size / 2 - 2;
        this.orphansMax = 2 * Math.max(1, Math.floor(room / (this.orphan + 2)));
        this.columns = new Map(chains.map((chain, column) => [chain, column]));
    }

    // The middle of the line of a chain.
    x(chain) {
        return this.gutter + this.cell * (this.columns.get(chain) + 0.36);
    }

    // Where the blocks of a chain at one height stand: x, y beside the middle of the row, size. The last
    // place stands for all that there is no room for.
    slots(chain, blocks) {
        if (blocks.length === 0) return [];
        const x = this.x(chain);
        const first = blocks.find(({ canonical }) => canonical) ?? blocks[0];
        const slots = [{ block: first, x, y: 0, size: this.size, more: 0 }];
        const others = blocks.filter((block) => block !== first);
        const shown = others.length > this.orphansMax ? this.orphansMax : others.length;
        for (let place = 0; place < shown; place += 1) {
            const column = Math.floor(place / 2);
            const isPair = shown > 2 * column + 1;
            const lift = (this.orphan + 2) / 2;
            slots.push({
                block: others[place],
                x: x + this.size / 2 + 2 + this.orphan / 2 + column * (this.orphan + 2),
                y: isPair ? (place % 2 ? lift : -lift) : 0,
                size: this.orphan,
                more: place + 1 === shown ? others.length - shown : 0,
            });
        }
        return slots;
    }
}
