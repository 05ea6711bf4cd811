use ruint::aliases::U256;
use zerocopy::byteorder::little_endian::{I64, U32, U64};

use crate::header::{AdjacentRecord, DEGREE, HeaderRef, RawHeader};
use crate::types::{BlockHash, BlockHeight, ChainwebVersion, Micros, PayloadHash, Weight};
use crate::verify::difficulty;
use crate::verify::votes::{self, Phase};

/// What a miner chooses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// When the block is made.
    pub(super) time: Micros,
    /// What it carries.
    pub(super) payload: PayloadHash,
    /// Where the search for a nonce begins.
    pub(super) nonce: u64,
    /// Whether it votes for the next fork, where it may.
    pub(super) vote: bool,
}

/// The block above these, with all that the rules make of its miner's choice; it is neither mined
/// nor hashed. `None` if the rules have no target or epoch for it.
pub(super) fn above(
    version: ChainwebVersion,
    parent: HeaderRef<'_>,
    adjacents: &[HeaderRef<'_>; DEGREE],
    choice: Choice,
) -> Option<RawHeader> {
    let height = parent.height().child()?;
    let target = difficulty::target(parent, adjacents, choice.time)?;
    let work = difficulty::difficulty(target)?;
    let weight: U256 = parent.weight().get().wrapping_add(work);
    Some(RawHeader {
        feature_flags: U64::new(flags(version, parent, adjacents, height, choice.vote)),
        creation_time: I64::new(choice.time.get()),
        parent: parent.hash(),
        adjacents: AdjacentRecord::new(adjacents.map(|header| (header.chain(), header.hash()))),
        target: target.to_le(),
        payload_hash: choice.payload,
        chain: U32::new(parent.chain().get()),
        weight: Weight::new(weight).to_le(),
        height: U64::new(height.get()),
        version: U32::new(version.code()),
        epoch_start: I64::new(difficulty::epoch_start(parent, choice.time)?.get()),
        nonce: U64::new(choice.nonce),
        hash: BlockHash::new([0; 32]),
    })
}

/// Fork number and votes; nothing where the rules do not look at them yet.
fn flags(
    version: ChainwebVersion,
    parent: HeaderRef<'_>,
    adjacents: &[HeaderRef<'_>; DEGREE],
    height: BlockHeight,
    vote: bool,
) -> u64 {
    if version.skip_feature_flag_guard(height) {
        return 0;
    }
    let before = votes::votes(parent);
    let vote = if vote { votes::STEP } else { 0 };
    let (raise, votes) = match Phase::at(height) {
        Phase::Start => (votes::decide(before), vote),
        Phase::Voting => (false, before.wrapping_add(vote)),
        Phase::Counting => {
            let [a, b, c] = adjacents.map(votes::votes);
            (false, votes::count([before, a, b, c].into_iter()).unwrap_or(0))
        }
    };
    let number = votes::number(parent).wrapping_add(u32::from(raise));
    u64::from(votes) << 32 | u64::from(number)
}
