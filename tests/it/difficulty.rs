//! Targets and epochs against a second implementation.

use plait_engine::ChainwebVersion;
use proptest::prelude::*;
use testkit::difficulty::{Block, Case, first_height};

fn block() -> impl Strategy<Value = Block> {
    // Targets of every size, down to 0, and epochs of every length, below 0 too.
    let target = (any::<[u8; 32]>(), 0..=32_usize).prop_map(|(mut bytes, len)| {
        bytes[len..].fill(0);
        bytes
    });
    let begin = 1_572_393_660_000_000_i64;
    let span = prop_oneof![
        Just(0_i64),
        1_000_000..100_000_000_i64,
        3_000_000_000..4_200_000_000_i64,
        -50_000_000_000..50_000_000_000_i64,
    ];
    (target, begin..begin + 200_000_000_000_000, span).prop_map(|(target, epoch, span)| Block {
        target,
        creation: epoch + span,
        epoch,
    })
}

fn height() -> impl Strategy<Value = u64> {
    let near = |height: u64| height.saturating_sub(3)..height + 3;
    let ends = (1..8_000_u64).prop_map(|epoch| epoch * 120 - 1);
    prop_oneof![
        0..400_u64,
        ends,
        near(80_000),
        near(452_820),
        near(771_414),
        near(318_204),
        near(332_604),
        near(852_054),
        // The last blocks of the epochs around each guard.
        prop::sample::select(vec![
            79_919, 79_999, 452_759, 452_879, 771_359, 771_479, 318_119, 318_239
        ]),
        0..6_400_000_u64,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn targets_and_epochs_are_those_of_exact_fractions(
        version in prop::sample::select(ChainwebVersion::ALL.to_vec()),
        chain in prop::sample::select(vec![0_u32, 7, 13]),
        height in height(),
        parent in block(),
        adjacents in prop::array::uniform3(block()),
        later in prop_oneof![1..60_000_000_i64, 1..40_000_000_000_i64],
        off in prop::sample::select(vec![false, true]),
    ) {
        let height = height.max(first_height(version, chain));
        let creation = parent.creation + later;
        Case { version, chain, height, parent, adjacents, creation, off }.check();
    }
}
