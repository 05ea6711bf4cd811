use super::votes::{self, Phase};
use super::{Failure, Failures, Level, difficulty};
use crate::header::HeaderRef;
use crate::types::ChainwebVersion;

/// What stands below a header.
#[derive(Clone, Copy, Debug)]
pub enum Parent<'a> {
    /// The block that the header names as its parent.
    Block(HeaderRef<'a>),
    /// That block is not known. Only a genesis block may do without.
    Missing,
    /// That block is not known, and the operator says that this header begins a part of its own.
    Admitted,
}

/// The rules between a header and its parent, in the reference's order.
pub(super) fn check(
    level: Level,
    header: HeaderRef<'_>,
    parent: HeaderRef<'_>,
    failures: &mut Failures,
) {
    if Some(header.height()) != parent.height().child() {
        failures.push(Failure::IncorrectHeight { got: header.height(), parent: parent.height() });
    }
    if header.version_code() != parent.version_code() {
        // The network may have been found wrong before.
        failures.push_once(Failure::VersionMismatch {
            got: header.version_code(),
            expected: parent.version_code(),
        });
    }
    if level == Level::Full {
        check_weight(header, parent, failures);
    }
    if header.chain() != parent.chain() {
        failures.push(Failure::ChainMismatch { got: header.chain(), parent: parent.chain() });
    }
    if level == Level::Full {
        check_votes(header, parent, failures);
    }
}

fn check_weight(header: HeaderRef<'_>, parent: HeaderRef<'_>, failures: &mut Failures) {
    // Weights are sums modulo 2^256.
    let added = header.weight().get().wrapping_sub(parent.weight().get());
    if !difficulty::is_difficulty(added, header.target()) {
        failures.push(Failure::IncorrectWeight { got: header.weight() });
    }
}

fn check_votes(header: HeaderRef<'_>, parent: HeaderRef<'_>, failures: &mut Failures) {
    let version = ChainwebVersion::from_code(header.version_code());
    if version.is_none_or(|version| version.skip_feature_flag_guard(header.height())) {
        return;
    }
    let (got, before) = (votes::votes(header), votes::votes(parent));
    let phase = Phase::at(header.height());
    let follows = match phase {
        Phase::Start => votes::follow(got, 0),
        Phase::Voting => votes::follow(got, before),
        Phase::Counting => true,
    };
    if !follows {
        failures.push(Failure::InvalidForkVotes { got });
    }
    let raise = u32::from(phase == Phase::Start && votes::decide(before));
    let expected = votes::number(parent).wrapping_add(raise);
    if votes::number(header) != expected {
        failures.push(Failure::IncorrectForkNumber { got: votes::number(header), expected });
    }
}
