// A client with the types that openapi-typescript generates from a document, for the network
// `development`.
//
//     node client.js http://127.0.0.1:1848

import createClient from "openapi-fetch";
import type { components, paths } from "./document.js";

const check = (right: boolean, what: string): void => {
    if (!right) throw new Error(`wrong: ${what}`);
};

const client = createClient<paths>({ baseUrl: process.argv[2] });
const base = "/chainweb/0.0/development";

const info = await client.GET("/info");
check(info.data?.nodeVersion === "development", "nodeVersion");
check(info.data?.nodeServiceDate === null, "nodeServiceDate");

const cut = await client.GET(`${base}/cut`);
const tip = cut.data?.hashes["0"];
check(tip !== undefined && tip.height > 0, "the tip of chain 0");

const path = { chain: 0 };
const page = await client.GET(`${base}/chain/{chain}/hash`, { params: { path, query: { limit: 3 } } });
const hashes: components["schemas"]["PageOfHashes"] | undefined = page.data;
check(hashes?.limit === 3 && hashes.items.length === 3, "a page of 3");

const branch = await client.POST(`${base}/chain/{chain}/hash/branch`, {
    params: { path, query: { limit: 2 } },
    body: { upper: [tip!.hash] },
});
check(branch.data?.items.length === 2, "a branch");

const refused = await client.GET(`${base}/stats`, { params: { query: { step: 0 } } });
check(refused.error?.reason.includes("step") === true, "the reason of an error");

const health = await client.GET("/health-check", { parseAs: "text" });
check(health.data === "Health check OK.\n", "health");
