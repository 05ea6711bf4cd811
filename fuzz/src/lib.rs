//! What targets share: numbers that are often near an edge, a server with a small history, and databases
//! that take an input in both ways.

mod both;
mod edge;
mod world;

pub use both::{history, replay_both};
pub use edge::{Edge, pieces};
pub use world::{Answer, World};
