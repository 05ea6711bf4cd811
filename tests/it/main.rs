//! Whole-system tests: the engine through its public face, and the real binary on a real socket.
