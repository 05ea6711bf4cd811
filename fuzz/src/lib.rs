//! What targets share: numbers that are often near an edge, and a server with a small history.

mod edge;
mod world;

pub use edge::{Edge, pieces};
pub use world::{Answer, World};
