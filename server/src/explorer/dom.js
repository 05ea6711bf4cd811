// Elements made in one expression.

const filled = (element, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) {
        if (typeof value === "function") element.addEventListener(name, value);
        else if (value !== null && value !== undefined && value !== false) {
            element.setAttribute(name, value === true ? "" : value);
        }
    }
    element.append(...children.flat(3).filter((child) => child !== null && child !== undefined));
    return element;
};

// An element with attributes, or listeners where they are functions.
export const make = (tag, attributes = {}, ...children) =>
    filled(document.createElement(tag), attributes, children);

// The same of SVG.
export const draw = (tag, attributes = {}, ...children) =>
    filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

export const byId = (id) => document.getElementById(id);

// A table whose first column names what the second one says.
export const facts = (rows) =>
    make(
        "dl",
        { class: "facts" },
        rows
            .filter(Boolean)
            .map(([name, ...value]) => [make("dt", {}, name), make("dd", {}, ...value)]),
    );

// What is said instead of a page that cannot be shown.
export const failure = (error) => make("p", { class: "failure", role: "alert" }, error.message);
