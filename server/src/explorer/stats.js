// Plots of the statistics of all stored blocks up to the cut.

import { ask, Trouble } from "./api.js";
import { make } from "./dom.js";
import { barPlot, linePlot } from "./plot.js";
import { counted, grouped, moment, scaled } from "./text.js";

const STEPS = 150;
// Steps of this many heights are added up already.
const CHEAP = 256;

// The number of heights per step, for at most `steps` steps.
export const stepOf = (heights, steps) => {
    const step = Math.max(Math.ceil(heights / steps), 1);
    return step < CHEAP ? step : Math.ceil(step / CHEAP) * CHEAP;
};

// The data of the plots, up to the cut: far above it there may be blocks such as the genesis blocks of chains that
// begin later. `ask` requests a path.
export const askStats = async (ask, top) => {
    const upTo = `maxheight=${Math.max(top, 0)}`;
    const [whole, byChain] = await Promise.all([
        ask(`stats?${upTo}`),
        ask(`stats?by=chain&${upTo}`),
    ]);
    const all = whole.rows[0];
    if (!all) return { whole, all, rows: [], chains: [], step: 1 };
    const heights = all.maxHeight - all.minHeight + 1;
    for (let parts = STEPS; ; parts = Math.floor(parts / 2)) {
        const step = stepOf(heights, parts);
        try {
            const { rows } = await ask(`stats?step=${step}&${upTo}`);
            return { whole, all, rows, chains: byChain.rows, step };
        } catch (error) {
            // The server may have a lower limit on the number of steps.
            if (error.status !== 400 || parts < 2) throw error;
        }
    }
};

// The blocks that have a block time: genesis blocks have no parent.
const timed = (row) => row.blockTimes.reduce((sum, count) => sum + count, 0);

const sayTime = (micros) => moment(Math.round(micros)).slice(0, 16).replace("T", " ");

const seconds = (number) => `${Number(number.toPrecision(3))}\u202fs`;

const lengths = (micros) => {
    const value = micros / 1e6;
    if (value < 1) return `${Number((value * 1000).toPrecision(2))}\u202fms`;
    if (value < 120) return `${Number(value.toPrecision(2))}\u202fs`;
    return value < 7200
        ? `${Math.round(value / 60)}\u202fmin`
        : `${Math.round(value / 3600)}\u202fh`;
};

const percent = (share) => `${Number((share * 100).toPrecision(3))}\u202f%`;

// Block times in the classes that the server counts; those at the ends without any are left out.
const blockTimeBars = (row, bounds) => {
    const all = timed(row);
    const bars = row.blockTimes.map((count, at) => ({
        name: at < bounds.length ? lengths(bounds[at]) : "more",
        y: all ? count / all : 0,
        words: `${percent(all ? count / all : 0)}, ${counted(count, "block")}`,
    }));
    const first = bars.findIndex(({ y }) => y > 0);
    const last = bars.findLastIndex(({ y }) => y > 0);
    return first < 0 ? [] : bars.slice(first, last + 1);
};

const orphanBars = (rows) =>
    rows.map(({ chain, blocks, orphans }) => {
        const share = blocks + orphans ? orphans / (blocks + orphans) : 0;
        return {
            name: String(chain),
            y: share,
            words: `${percent(share)}, ${counted(orphans, "orphan")}`,
        };
    });

const growth = (rows) => {
    let sum = 0;
    return rows.map((row) => ({ x: row.lastTime, y: (sum += row.blocks + row.orphans) }));
};

export const showStats = async ({ network, live }) => {
    const { top } = live;
    let found;
    try {
        found = await askStats(ask, top);
    } catch (error) {
        if (error.status !== 404) throw error;
        throw new Trouble(404, "This server has no statistics.");
    }
    const { whole, all, step, chains } = found;
    const rows = found.rows.filter(({ lastTime, blocks }) => lastTime !== null && blocks > 0);
    const each = step === 1 ? "over each height" : `over each ${counted(step, "height")}`;
    // The last step has hardly begun at times: so few blocks make no mean.
    const steady = rows.filter(
        ({ minHeight, maxHeight }) => 2 * (maxHeight - minHeight + 1) >= step,
    );
    const over = (y) => steady.map((row) => ({ x: row.lastTime, y: y(row) }));
    return [
        make("h1", {}, "Statistics"),
        make(
            "p",
            {},
            all
                ? `${counted(all.blocks, "canonical block")} and ${counted(all.orphans, "orphan")} of ${network.name}, heights ${grouped(all.minHeight)} to ${grouped(top)}.`
                : "Nothing is stored yet.",
        ),
        make(
            "div",
            { class: "plots" },
            linePlot({
                title: "Difficulty",
                note: `of a block, mean ${each}`,
                unit: "hashes a block",
                points: over((row) => Number(row.difficulty) / row.blocks),
                isLog: true,
                say: (value) => scaled(value),
                sayTime,
            }),
            linePlot({
                title: "Estimated hash rate",
                note: `of all chains together, mean ${each}`,
                unit: "hashes per second",
                points: over((row) => row.hashRate ?? NaN),
                none: "too few blocks yet",
                isLog: true,
                say: (value) => scaled(value, "H/s"),
                sayTime,
            }),
            linePlot({
                title: "Block time",
                note: `mean ${each}; the line is at ${seconds(network.delay)}, which the difficulty aims at`,
                unit: "seconds",
                points: over((row) => row.time / timed(row) / 1e6),
                none: "no blocks with a parent yet",
                reference: network.delay,
                say: seconds,
                sayTime,
            }),
            barPlot({
                title: "Block times",
                note: "how many blocks came how long after their parent",
                unit: "share of the blocks",
                bars: all ? blockTimeBars(all, whole.blockTimeBounds) : [],
                say: percent,
                what: "below",
            }),
            barPlot({
                title: "Orphan rate",
                note: "orphans among all blocks of a chain",
                unit: "share of the blocks",
                bars: orphanBars(chains),
                say: percent,
                what: "chain",
            }),
            linePlot({
                title: "Growth",
                note: "blocks stored, orphans too",
                unit: "blocks",
                points: growth(rows),
                isArea: true,
                say: (value) => scaled(value),
                sayTime,
            }),
        ),
    ];
};
