//! Whole-system tests: the engine through its public face, and the real binary on a real socket.
#![cfg(test)]

mod cut;
mod cut_vectors;
