//! Whole-system tests: the engine through its public face, and the real binary on a real socket.
#![cfg(test)]

mod archive;
mod archive_damage;
mod audit;
mod branches;
mod cli;
mod cut;
mod cut_vectors;
mod difficulty;
mod full;
mod http_archive;
mod http_branch;
mod http_data;
mod http_documents;
mod http_forms;
mod http_mainnet;
mod http_node;
mod http_noise;
mod http_npm;
mod http_octets;
mod http_pages;
mod http_slow;
mod http_stop;
mod http_two;
mod http_wire;
mod node;
mod order;
mod ranges;
mod replay;
mod resume;
mod rocks;
mod runs;
mod tidy;
mod validation;
mod vectors;
