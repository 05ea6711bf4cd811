//! The naive twin of the rules for targets and epochs: exact fractions of big integers, straight from
//! the protocol, without any code of the engine but the layout of a header.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Zero;
use plait_engine::header::RawHeader;
use plait_engine::verify::{Adjacents, Failure, Level, Parent, Verifier};
use plait_engine::{ChainId, ChainwebVersion, Header, HeaderRef, Micros};

/// Heights below which the old rules hold: slow epochs, old targets, old difficulty.
fn eras(version: ChainwebVersion) -> [u64; 3] {
    match version {
        ChainwebVersion::Mainnet01 => [80_000, 452_820, 771_414],
        ChainwebVersion::Testnet04 => [0, 0, 318_204],
        ChainwebVersion::RecapDevelopment => [0, 0, 13],
        ChainwebVersion::Development => [0, 0, 0],
    }
}

/// The height of the first block of a chain.
#[must_use]
pub fn first_height(version: ChainwebVersion, chain: u32) -> u64 {
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
pub struct Block {
    /// Its target, little endian.
    pub target: [u8; 32],
    /// Its creation time, in microseconds.
    pub creation: i64,
    /// When its epoch began.
    pub epoch: i64,
}

/// A block, what is below it, and whether its target and its epoch are off by one.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The network.
    pub version: ChainwebVersion,
    /// The chain, which has a block at this height.
    pub chain: u32,
    /// The height of its parents.
    pub height: u64,
    /// Its parent.
    pub parent: Block,
    /// Its adjacent parents.
    pub adjacents: [Block; 3],
    /// Its creation time.
    pub creation: i64,
    /// Whether its target and its epoch are not those of the rules.
    pub off: bool,
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

impl Case {
    /// Checks that the block passes or breaks the two rules exactly if it does by the twin.
    pub fn check(&self) {
        let Self { version, chain, height, parent, ref adjacents, creation, off } = *self;
        let target = target(version, height, parent, adjacents, creation);
        let epoch = epoch(version, chain, height, parent, creation);
        let divides_by_zero = target.is_none();
        let mut bytes = [0; 32];
        let right = target.unwrap_or_default().to_bytes_le().1;
        bytes[..right.len()].copy_from_slice(&right);
        if off {
            bytes[0] ^= 1;
        }
        let block = Block { target: bytes, creation, epoch: epoch.wrapping_add(off.into()) };
        let names = self.broken(block);
        assert_eq!(names.contains(&"IncorrectTarget"), off || divides_by_zero, "{self:?}");
        // An epoch neither starts after the block, nor, in the old days, before that of the parent.
        let old_da = height + 1 < eras(version)[2];
        let ordered = block.epoch <= creation && (!old_da || parent.epoch <= block.epoch);
        assert_eq!(names.contains(&"IncorrectEpoch"), off || !ordered, "{self:?}");
    }

    /// The rules that a block breaks above these parents.
    fn broken(&self, block: Block) -> Vec<&'static str> {
        let Self { version, chain, height, parent, .. } = *self;
        let verifier = Verifier::new(version, Level::Full, Micros::new(i64::MAX));
        let child = header(version, chain, height + 1, block);
        let below = header(version, chain, height, parent);
        let adjacents = self.adjacents.map(|block| header(version, chain, height, block));
        let adjacents: [HeaderRef<'_>; 3] = adjacents.each_ref().map(Header::view);
        let checked = verifier.check(child.view());
        let parent = Parent::Block(below.view());
        let result = verifier.conclude(checked, parent, Adjacents::Blocks(adjacents));
        // Its hash is made up, so that it breaks one rule at least.
        let failures = result.expect_err("a wrong hash");
        failures.iter().map(Failure::name).collect()
    }
}

/// A header with these numbers; its hash and its parents are made up.
fn header(version: ChainwebVersion, chain: u32, height: u64, block: Block) -> Header {
    let genesis = version.genesis_header(ChainId::new(chain)).expect("a chain of the network");
    let raw = RawHeader {
        height: height.into(),
        target: block.target,
        creation_time: block.creation.into(),
        epoch_start: block.epoch.into(),
        ..*genesis.view().raw()
    };
    Header::new(raw).expect("adjacent parents are in order")
}
