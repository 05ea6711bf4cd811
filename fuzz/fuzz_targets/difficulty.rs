//! Targets and epochs of any numbers, by the engine and by exact fractions.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::Edge;
use libfuzzer_sys::fuzz_target;
use plait_engine::ChainwebVersion;
use testkit::difficulty::{Block, Case, first_height};

/// Heights at which a rule changes or a chain begins.
const EDGES: [u64; 12] =
    [0, 1, 12, 60, 120, 80_000, 318_204, 332_604, 452_820, 771_414, 852_054, 1 << 62];

#[derive(Arbitrary, Debug)]
struct Input {
    version: u8,
    chain: bool,
    height: (u8, i8),
    is_last: bool,
    parent: Numbers,
    adjacents: [Numbers; 3],
    later: Edge,
    off: bool,
}

/// What the rules look at in a block, but for its creation time the length of its epoch.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Numbers {
    target: [u8; 32],
    target_len: u8,
    creation: i64,
    /// Rather a creation time of these days.
    of_today: bool,
    span: Edge,
    is_before: bool,
}

fuzz_target!(|input: Input| {
    let number = usize::from(input.version) % ChainwebVersion::ALL.len();
    let Some(version) = ChainwebVersion::ALL.get(number).copied() else { return };
    let chain = if input.chain { 13 } else { 7 };
    let (edge, off) = input.height;
    let edge = EDGES.get(usize::from(edge) % EDGES.len()).copied().unwrap_or_default();
    let height = edge.saturating_add_signed(off.into());
    let height = if input.is_last { height.next_multiple_of(120) + 119 } else { height };
    let height = height.max(first_height(version, chain));
    let parent = input.parent.block();
    Case {
        version,
        chain,
        height,
        parent,
        adjacents: input.adjacents.map(Numbers::block),
        creation: parent.creation.wrapping_add_unsigned(input.later.get()),
        off: input.off,
    }
    .check();
});

impl Numbers {
    fn block(self) -> Block {
        let mut target = self.target;
        target.iter_mut().skip(usize::from(self.target_len) % 33).for_each(|byte| *byte = 0);
        let today = 1_572_393_660_000_000 + self.creation.rem_euclid(200_000_000_000_000);
        let creation = if self.of_today { today } else { self.creation };
        let span = self.span.get();
        let epoch = match self.is_before {
            true => creation.wrapping_sub_unsigned(span),
            false => creation.wrapping_add_unsigned(span),
        };
        Block { target, creation, epoch }
    }
}
