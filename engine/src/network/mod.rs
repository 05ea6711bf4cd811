//! What each network fixes: graphs, first blocks, and which rule holds from which height.
//!
//! Facts are those of chainweb-node 2.32 (`Chainweb.Version.*`, `Chainweb.Graph`,
//! `Chainweb.BlockHeader.Genesis`).

mod genesis;
mod graph;
mod rules;

pub use graph::ChainGraph;
