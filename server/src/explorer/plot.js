// Plots as SVG: lines over time and bars, with axes, a readout that pointers and arrow keys move, and the
// same numbers as a table.

import { draw, make } from "./dom.js";

const WIDTH = 640;
const HEIGHT = 236;
const LEFT = 84;
const RIGHT = 14;
const TOP = 26;
const FOOT = 36;
const TICKS = 5;
// The width of a character on a phone, where it is largest, and the gap between two labels.
const DIGIT = 9.5;
const GAP = 8;

const inside = WIDTH - LEFT - RIGHT;

// Round numbers from `low` to `high`.
const linearTicks = (low, high) => {
    const rough = (high - low || 1) / TICKS;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((digit) => digit * power).find((step) => step >= rough);
    const ticks = [];
    for (let tick = Math.ceil(low / step); tick * step <= high * (1 + 1e-9); tick += 1)
        ticks.push(tick * step);
    return ticks;
};

// Powers of ten; if they are too few, also what is two and five times as much.
const logTicks = (low, high) => {
    const decades = Math.log10(high / low);
    const apart = Math.max(1, Math.ceil(decades / TICKS));
    const digits = decades > 2.5 ? [1] : decades > 1 ? [1, 3] : [1, 1.5, 2, 3, 5, 7];
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
        if (power % apart === 0) ticks.push(...digits.map((digit) => digit * 10 ** power));
    }
    return ticks.filter((tick) => tick >= low && tick <= high);
};

// From values to places; with a margin at the ends.
const vertical = (values, isLog, reference) => {
    const all = reference === undefined ? values : [...values, reference];
    let [low, high] = [Math.min(...all), Math.max(...all)];
    if (isLog) [low, high] = [low / 1.15, high * 1.15];
    else [low, high] = [Math.min(0, low), (high || 1) * 1.05];
    const scale = isLog ? Math.log : Number;
    const span = scale(high) - scale(low) || 1;
    const place = (value) =>
        HEIGHT - FOOT - ((scale(value) - scale(low)) / span) * (HEIGHT - TOP - FOOT);
    return { place, ticks: isLog ? logTicks(low, high) : linearTicks(low, high) };
};

const YEAR = 365.25 * 86400e6;
const UNITS = [
    [YEAR, (date) => date.slice(0, 4)],
    [YEAR / 12, (date) => date.slice(0, 7)],
    [86400e6, (date) => date.slice(0, 10)],
    [60e6, (date) => date.slice(5, 16).replace("T", " ")],
    [1e6, (date) => date.slice(11, 19)],
    [0, (date) => date.slice(11, 23)],
];

// Evenly spaced times with labels that are no finer than necessary; repeated labels are omitted.
export const timeTicks = (low, high) => {
    if (low === high)
        return [[low, new Date(low / 1000).toISOString().slice(0, 16).replace("T", " ")]];
    const [, word] = UNITS.find(([unit]) => (high - low) / TICKS >= unit);
    const ticks = Array.from({ length: TICKS }, (_, at) => {
        const time = low + ((at + 0.5) * (high - low)) / TICKS;
        return [time, word(new Date(time / 1000).toISOString())];
    });
    return ticks.filter(([, words], at) => words !== ticks[at - 1]?.[1]);
};

// The frame of a plot: the ticks of both axes, as [value, words].
const axes = (y, yTicks, x, xTicks, unit) =>
    draw(
        "g",
        { class: "axes" },
        yTicks.map(([value, words]) => [
            draw("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
            draw("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, words),
        ]),
        xTicks.map(([value, words]) =>
            draw("text", { x: x(value), y: HEIGHT - 9, "text-anchor": "middle" }, words),
        ),
        draw("text", { x: 2, y: 13 }, unit),
    );

// Lets a pointer and arrow keys choose one of the points, and says which.
const readable = (svg, places, words, readout) => {
    const cursor = draw("line", { class: "cursor", y1: TOP, y2: HEIGHT - FOOT });
    svg.append(cursor);
    let at = places.length - 1;
    const choose = (next) => {
        at = Math.min(Math.max(next, 0), places.length - 1);
        cursor.setAttribute("x1", places[at]);
        cursor.setAttribute("x2", places[at]);
        svg.classList.add("chosen");
        readout.textContent = words(at);
    };
    svg.addEventListener("pointermove", (event) => {
        const box = svg.getBoundingClientRect();
        const x = ((event.clientX - box.left) / box.width) * WIDTH;
        choose(
            places.reduce(
                (best, place, next) =>
                    Math.abs(place - x) < Math.abs(places[best] - x) ? next : best,
                0,
            ),
        );
    });
    svg.addEventListener("keydown", (event) => {
        const page = Math.ceil(places.length / 10);
        const to = {
            ArrowLeft: at - 1,
            ArrowRight: at + 1,
            PageDown: at - page,
            PageUp: at + page,
            Home: 0,
            End: places.length - 1,
        }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        choose(to);
    });
    svg.addEventListener("focus", () => choose(at));
};

const figure = (title, note, svg, readout, heads, rows) =>
    make(
        "figure",
        {},
        make("figcaption", {}, make("b", {}, title), make("span", {}, note)),
        svg,
        make("p", { class: "readout" }, readout),
        make(
            "details",
            {},
            make("summary", {}, "The numbers"),
            make(
                "div",
                {
                    class: "scrolled",
                    tabindex: 0,
                    role: "region",
                    "aria-label": `${title}, the numbers`,
                },
                make(
                    "table",
                    {},
                    make(
                        "thead",
                        {},
                        make(
                            "tr",
                            {},
                            heads.map((head) => make("th", { scope: "col" }, head)),
                        ),
                    ),
                    make(
                        "tbody",
                        {},
                        rows.map((row) =>
                            make(
                                "tr",
                                {},
                                row.map((cell) => make("td", {}, cell)),
                            ),
                        ),
                    ),
                ),
            ),
        ),
    );

const board = (title) =>
    draw("svg", {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        role: "img",
        tabindex: 0,
        "aria-label": `${title}. Arrow keys read single values; the numbers are in the table below.`,
    });

// A line over time. `points` are {x, y}, x in microseconds; `reference` is a level to compare with.
export const linePlot = ({
    title,
    note,
    unit,
    points,
    isLog,
    isArea,
    say,
    sayTime,
    reference,
    none,
}) => {
    const shown = points.filter(({ y }) => Number.isFinite(y) && (!isLog || y > 0));
    if (shown.length === 0) return figure(title, none ?? "no blocks yet", "", "", [], []);
    const { place: y, ticks } = vertical(
        shown.map((point) => point.y),
        isLog,
        reference,
    );
    const [low, high] = [shown[0].x, shown.at(-1).x];
    const x = (time) => LEFT + (low === high ? 0.5 : (time - low) / (high - low)) * inside;
    const svg = board(title);
    const yTicks = ticks.map((tick) => [tick, say(tick)]);
    svg.append(axes(y, yTicks, x, timeTicks(low, high), unit));
    const path = shown.map(
        (point, at) => `${at ? "L" : "M"}${x(point.x).toFixed(1)} ${y(point.y).toFixed(1)}`,
    );
    const foot = HEIGHT - FOOT;
    if (isArea) svg.append(draw("path", { class: "area", d: `${path.join("")}V${foot}H${LEFT}Z` }));
    if (reference !== undefined) {
        const level = y(reference);
        svg.append(
            draw("line", { class: "reference", x1: LEFT, x2: WIDTH - RIGHT, y1: level, y2: level }),
        );
    }
    svg.append(draw("path", { class: "line", d: path.join("") }));
    // A line needs two points, so draw a single one as a dot.
    if (shown.length === 1)
        svg.append(draw("circle", { class: "point", cx: x(low), cy: y(shown[0].y), r: 4 }));
    const readout = make("output", {});
    const words = (at) => `${sayTime(shown[at].x)}: ${say(shown[at].y)}`;
    readable(
        svg,
        shown.map((point) => x(point.x)),
        words,
        readout,
    );
    const rows = shown.map((point) => [sayTime(point.x), say(point.y)]);
    return figure(title, note, svg, readout, ["time (UTC)", unit], rows);
};

// Bars side by side. `bars` are {name, y}; the axis names as many as fit.
export const barPlot = ({ title, note, unit, bars, say, what }) => {
    if (bars.length === 0) return figure(title, "no blocks yet", "", "", [], []);
    const { place: y, ticks } = vertical(
        bars.map((bar) => bar.y),
        false,
    );
    const width = inside / bars.length;
    const x = (at) => LEFT + (at + 0.5) * width;
    const svg = board(title);
    const longest = Math.max(...bars.map(({ name }) => name.length));
    const nth = Math.ceil((longest * DIGIT + GAP) / width);
    const xTicks = bars.map(({ name }, at) => [at, name]).filter(([at]) => at % nth === 0);
    svg.append(
        axes(
            y,
            ticks.map((tick) => [tick, say(tick)]),
            x,
            xTicks,
            unit,
        ),
    );
    bars.forEach((bar, at) => {
        const height = Math.max(HEIGHT - FOOT - y(bar.y), 0);
        svg.append(
            draw("rect", {
                class: "bar",
                x: x(at) - width * 0.4,
                y: y(bar.y),
                width: width * 0.8,
                height,
            }),
        );
    });
    const readout = make("output", {});
    const words = (at) => `${what} ${bars[at].name}: ${bars[at].words ?? say(bars[at].y)}`;
    readable(
        svg,
        bars.map((_, at) => x(at)),
        words,
        readout,
    );
    const rows = bars.map((bar) => [bar.name, bar.words ?? say(bar.y)]);
    return figure(title, note, svg, readout, [what, unit], rows);
};
