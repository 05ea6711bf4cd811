// The state of the store: what it holds, how far that was verified, and what the server does beside
// answering.

import { ask, askText } from "./api.js";
import { facts, make } from "./dom.js";
import { counted, grouped, lasting, little, fromBase64url, moment, scaled } from "./text.js";

const REFRESH_MILLIS = 5000;

const ago = (seconds) => `${moment(seconds * 1e6)}, ${lasting(Date.now() / 1000 - seconds)} ago`;

const verification = (state) => {
    if (state.fullyVerified === true) return "full: every rule was checked of every block";
    if (state.fullyVerified === false)
        return "less than full: of some blocks not every rule was checked";
    return "not told by this server";
};

const historyOf = ({ history, lowest }) => {
    const lows = Object.values(lowest ?? {});
    if (history !== "partial" || lows.length === 0) return history;
    return `partial, from height ${grouped(Math.min(...lows))} on`;
};

const replay = (replay) => {
    if (!replay) return "none since the server began";
    const { running, stored, known, rejected } = replay;
    const counts = `${grouped(stored)} stored, ${grouped(known)} already there, ${grouped(rejected)} rejected`;
    return `${running ? "running" : "ended"}: ${counts}`;
};

const follow = (follow) => {
    if (!follow) return "follows no other node";
    const behind =
        follow.behindHeights === null
            ? ""
            : `, ${counted(follow.behindHeights, "height")} behind in the cut`;
    const phase = follow.phase?.replaceAll("-", " ");
    return [phase, follow.inStep ? "in step" : `not in step${behind}`].filter(Boolean).join(": ");
};

const backup = (backup) => {
    if (!backup) return "not told by this server";
    const last =
        backup.lastSuccess === null ? "none since the server began" : ago(backup.lastSuccess);
    const failed = backup.failed ? `; ${grouped(backup.failed)} failed` : "";
    return `${last}${backup.running ? "; one is being made" : ""}${failed}`;
};

const blockLink = (hash) => make("a", { class: "hash", href: `#/block/${hash}` }, hash);

const members = (cut, network) =>
    make(
        "table",
        {},
        make(
            "thead",
            {},
            make(
                "tr",
                {},
                ["chain", "height", "block"].map((head) => make("th", { scope: "col" }, head)),
            ),
        ),
        make(
            "tbody",
            {},
            network.chains.map((chain) => {
                const member = cut.hashes[chain];
                return make(
                    "tr",
                    {},
                    make("th", { scope: "row", class: "number" }, String(chain)),
                    make("td", { class: "number" }, member ? grouped(member.height) : "–"),
                    make("td", {}, member ? blockLink(member.hash) : "not in the cut"),
                );
            }),
        ),
    );

const page = async (network) => {
    const [cut, state, health, ready] = await Promise.all([
        ask("cut"),
        ask("state").catch((error) => {
            if (error.status === 404) return {};
            throw error;
        }),
        askText("health-check"),
        askText("ready"),
    ]);
    const weight = Number(little(fromBase64url(cut.weight)));
    return [
        make("h1", {}, "State of the store"),
        facts([
            ["network", network.name],
            ["release of Plait", state.version ?? network.release],
            ["health check", health.text.trim()],
            ["ready for requests", ready.text.trim()],
            state.blocks !== undefined && ["blocks", grouped(state.blocks)],
            state.history && ["history", historyOf(state)],
            ["verification level", verification(state)],
            "replay" in state && ["replay", replay(state.replay)],
            "follow" in state && ["follow", follow(state.follow)],
            "backup" in state && ["last backup", backup(state.backup)],
            state.formatVersion !== undefined && [
                "format of the database",
                `version ${state.formatVersion}`,
            ],
        ]),
        make("h2", {}, "Cut"),
        facts([
            [
                "height",
                `${grouped(cut.height)}, the sum over ${counted(Object.keys(cut.hashes).length, "chain")}`,
            ],
            ["weight", scaled(weight, "H")],
            ["id", make("code", { class: "hash" }, cut.id)],
        ]),
        make("div", { class: "scrolled" }, members(cut, network)),
    ];
};

export const showState = async ({ network, isShown }) => {
    const shown = await page(network);
    const section = make("div", {}, shown);
    const trouble = make("p", { role: "status" });
    // Told anew as long as it is looked at.
    const refresh = async () => {
        if (!isShown()) return;
        try {
            const shown = await page(network);
            // What somebody is about to follow or to copy stays.
            const isBusy = section.contains(document.activeElement) || !getSelection().isCollapsed;
            if (!isBusy) section.replaceChildren(...shown);
            trouble.textContent = "";
        } catch (error) {
            trouble.textContent = `${error.message} This is what was known before.`;
        }
        setTimeout(refresh, REFRESH_MILLIS);
    };
    setTimeout(refresh, REFRESH_MILLIS);
    return [trouble, section];
};
