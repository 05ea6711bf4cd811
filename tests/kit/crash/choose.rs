//! Which blocks a step is given.

use super::{Kind, Model, Number, Random, Set};

/// The next blocks to be pushed, and those of them that come without what they carry.
pub(super) fn push(model: &Model, random: &mut Random) -> (Set, Set) {
    let count = 1 + random.index(30);
    let mut blocks: Set = ahead(model, count).into_iter().collect();
    if random.happens(30) {
        // What stands on those that are left out waits.
        blocks.retain(|_| !random.happens(10));
    }
    if random.happens(30) {
        // Again, with what they carry.
        let incomplete = model.known.held.difference(&model.known.payloads);
        blocks.extend(incomplete.take(random.index(12)));
    }
    let bare = blocks.iter().copied().filter(|_| random.happens(30)).collect();
    (blocks, bare)
}

/// The blocks of the next dump, in its order.
pub(super) fn dump(model: &Model, random: &mut Random) -> Vec<Number> {
    let mut blocks = ahead(model, 10 + random.index(110));
    if blocks.is_empty() {
        return blocks;
    }
    if random.happens(30) {
        let some = random.index(30);
        let known = model.known.held.iter().rev().take(some).copied();
        blocks.splice(0..0, known.collect::<Vec<_>>().into_iter().rev());
    }
    if model.world.kind == Kind::Full && random.happens(40) {
        for _ in 0..blocks.len() / 4 {
            let (a, b) = (random.index(blocks.len()), random.index(blocks.len()));
            if a.abs_diff(b) < 60 {
                blocks.swap(a, b);
            }
        }
    }
    blocks
}

/// The first blocks that are not held, in the order of the world.
fn ahead(model: &Model, count: usize) -> Vec<Number> {
    let missing = model.world.order.iter().filter(|number| !model.known.held.contains(number));
    missing.take(count).copied().collect()
}

/// Some blocks in any order.
pub(super) fn shuffled(blocks: &Set, random: &mut Random) -> Vec<Number> {
    let mut order: Vec<Number> = blocks.iter().copied().collect();
    for at in (1..order.len()).rev() {
        order.swap(at, random.index(at + 1));
    }
    order
}
