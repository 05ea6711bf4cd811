// What is fixed about the network, as `/info` tells it.

import { askRoot, setNetwork } from "./api.js";

export const NETWORKS = new Map([
    [1, "recap-development"],
    [2, "development"],
    [5, "mainnet01"],
    [7, "testnet04"],
]);

// Below this height of mainnet01 the feature flags are the nonce of miners.
export const FLAGS_FROM = 530500;

// The network of the server.
export const askNetwork = async () => {
    const info = await askRoot("info");
    setNetwork(info.nodeVersion);
    const rows = (graph) => new Map(graph.map(([chain, adjacent]) => [Number(chain), adjacent]));
    const graphs = info.nodeGraphHistory
        .map(([from, graph]) => ({ from, adjacent: rows(graph) }))
        .sort((a, b) => a.from - b.from);
    const genesis = new Map(info.nodeGenesisHeights.map(([chain, at]) => [Number(chain), at]));
    const chains = [...genesis.keys()].sort((a, b) => a - b);
    const graphAt = (height) => graphs.findLast(({ from }) => from <= height) ?? graphs[0];
    return {
        name: info.nodeVersion,
        release: info.nodePackageVersion,
        chains,
        delay: info.nodeBlockDelay / 1e6,
        lowest: Math.min(...genesis.values()),
        genesisHeight: (chain) => genesis.get(chain) ?? 0,
        isGenesis: ({ chain, height }) => genesis.get(chain) === height,
        hasWork: info.nodeVersion !== "development",
        // The chains whose blocks a block refers to: by the graph of the height below, and a genesis
        // block by that of its own.
        adjacent: (chain, height) => {
            const at = genesis.get(chain) === height ? height : height - 1;
            return [...(graphAt(at).adjacent.get(chain) ?? [])].sort((a, b) => a - b);
        },
    };
};
