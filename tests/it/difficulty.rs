//! Targets and epochs against a second implementation: exact fractions of big integers, straight
//! from the protocol, without any code of the engine but the layout of a header.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Zero;
use plait_engine::header::RawHeader;
use plait_engine::verify::{Adjacents, Failure, Level, Parent, Verifier};
use plait_engine::{ChainId, ChainwebVersion, Header, HeaderRef, Micros};
use proptest::prelude::*;

/// Heights below which the old rules hold: slow epochs, old targets, old difficulty.
fn eras(version: ChainwebVersion) -> [u64; 3] {
    match version {
        ChainwebVersion::Mainnet01 => [80_000, 452_820, 771_414],
        ChainwebVersion::Testnet04 => [0, 0, 318_204],
        ChainwebVersion::RecapDevelopment => [0, 0, 13],
        ChainwebVersion::Development => [0, 0, 0],
    }
}

fn first_height(version: ChainwebVersion, chain: u32) -> u64 {
    match version {
        _ if chain < 10 => 0,
        ChainwebVersion::Mainnet01 => 852_054,
        ChainwebVersion::Testnet04 => 332_604,
        ChainwebVersion::RecapDevelopment => 60,
        ChainwebVersion::Development => 0,
    }
}

/// What the rules look at in a block.
#[derive(Clone, Copy, Debug)]
struct Block {
    target: [u8; 32],
    creation: i64,
    epoch: i64,
}

fn limit() -> BigInt {
    BigInt::from(1) << 256
}

fn word(bytes: [u8; 32]) -> BigInt {
    BigInt::from_bytes_le(num_bigint::Sign::Plus, &bytes)
}

/// Modulo 2^256.
fn wrap(number: &BigInt) -> BigInt {
    ((number % limit()) + limit()) % limit()
}

fn window(height: u64) -> u64 {
    if height <= 120 { 12 } else { 120 }
}

fn is_last(height: u64) -> bool {
    (height + 1).is_multiple_of(window(height))
}

/// The target above `parent` at `height`, or none where the protocol divides by zero.
fn target(
    version: ChainwebVersion,
    height: u64,
    parent: Block,
    adjacents: &[Block],
    creation: i64,
) -> Option<BigInt> {
    let [slow_below, old_target_below, old_da_below] = eras(version);
    let slow = height < slow_below
        && i128::from(creation) - i128::from(parent.epoch) > 5 * 120 * 30_000_000;
    if !slow && !is_last(height) {
        return Some(word(parent.target));
    }
    let nominal = BigInt::from(30_000_000 * window(height));
    if height + 1 < old_da_below {
        let end = if height < old_target_below { creation } else { parent.creation };
        let actual = BigInt::from(end) - BigInt::from(parent.epoch);
        if actual.is_zero() || word(parent.target).is_zero() {
            return None;
        }
        let difficulty = (limit() - 1) / word(parent.target);
        let difficulty = wrap(BigRational::new(difficulty * nominal, actual).ceil().numer());
        return (!difficulty.is_zero()).then(|| (limit() - 1) / difficulty);
    }
    let targets = std::iter::once(&parent).chain(adjacents).map(|block| {
        let actual = BigInt::from(block.creation) - BigInt::from(block.epoch);
        let scaled = BigRational::new(actual * word(block.target), nominal.clone());
        wrap(scaled.ceil().numer())
    });
    Some(targets.sum::<BigInt>() / BigInt::from(1 + adjacents.len()))
}

fn epoch(version: ChainwebVersion, chain: u32, height: u64, parent: Block, creation: i64) -> i64 {
    let fixes_first =
        matches!(version, ChainwebVersion::RecapDevelopment | ChainwebVersion::Development);
    let is_second = height > 1 && height == first_height(version, chain) + 1;
    if fixes_first && height == 1 || is_second {
        parent.creation
    } else if is_last(height) {
        if height < eras(version)[1] { creation } else { parent.creation }
    } else {
        parent.epoch
    }
}

/// A header with these numbers; its hash and its parents are made up.
fn header(version: ChainwebVersion, chain: u32, height: u64, block: Block) -> Header {
    let genesis = version.genesis_header(ChainId::new(chain)).unwrap();
    let raw = RawHeader {
        height: height.into(),
        target: block.target,
        creation_time: block.creation.into(),
        epoch_start: block.epoch.into(),
        ..*genesis.view().raw()
    };
    Header::new(raw).unwrap()
}

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
        nudge in prop::sample::select(vec![false, true]),
    ) {
        let height = height.max(first_height(version, chain));
        let creation = parent.creation + later;
        let target = target(version, height, parent, &adjacents, creation);
        let epoch = epoch(version, chain, height, parent, creation);
        let mut bytes = [0; 32];
        let right = target.unwrap_or_default().to_bytes_le().1;
        bytes[..right.len()].copy_from_slice(&right);
        let divides_by_zero = right == [0] && self::target(version, height, parent, &adjacents, creation).is_none();
        if nudge {
            bytes[0] ^= 1;
        }
        let block = Block { target: bytes, creation, epoch: epoch + i64::from(nudge) };
        let verifier = Verifier::new(version, Level::Full, Micros::new(i64::MAX));
        let child = header(version, chain, height + 1, block);
        let below = header(version, chain, height, parent);
        let adjacents = adjacents.map(|block| header(version, chain, height, block));
        let blocks: [HeaderRef<'_>; 3] = adjacents.each_ref().map(Header::view);
        let checked = verifier.check(child.view());
        let result = verifier.conclude(checked, Parent::Block(below.view()), Adjacents::Blocks(blocks));
        let failures = result.unwrap_err();
        let names: Vec<&str> = failures.iter().map(Failure::name).collect();
        prop_assert_eq!(names.contains(&"IncorrectTarget"), nudge || divides_by_zero);
        // An epoch neither starts after the block, nor, in the old days, before that of the parent.
        let old_da = height + 1 < eras(version)[2];
        let ordered = block.epoch <= creation && (!old_da || parent.epoch <= block.epoch);
        prop_assert_eq!(names.contains(&"IncorrectEpoch"), nudge || !ordered);
    }
}
