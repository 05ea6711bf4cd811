use super::votes::{self, Phase};
use super::{Failure, Failures, difficulty};
use crate::header::{DEGREE, HeaderRef};
use crate::types::{BlockHash, ChainId, ChainwebVersion};

/// What stands below a header on the neighbouring chains.
#[derive(Clone, Copy, Debug)]
pub enum Adjacents<'a> {
    /// The blocks that the header names as its adjacent parents, in its order.
    Blocks([HeaderRef<'a>; DEGREE]),
    /// One of them is not known.
    Missing(ChainId, BlockHash),
    /// One of them is not known, and the operator says that this header may do without.
    Admitted,
}

/// The rules between a header and all its parents, in the reference's order.
pub(super) fn check(
    header: HeaderRef<'_>,
    parent: HeaderRef<'_>,
    adjacents: &[HeaderRef<'_>; DEGREE],
    failures: &mut Failures,
) {
    let Some(version) = ChainwebVersion::from_code(header.version_code()) else { return };
    let old_da = version.old_da_guard(header.height());
    let epoch = difficulty::epoch_start(parent, header.creation_time());
    let ordered = header.epoch_start() <= header.creation_time()
        && (!old_da || parent.epoch_start() <= header.epoch_start());
    if Some(header.epoch_start()) != epoch || !ordered {
        let (got, created) = (header.epoch_start(), header.creation_time());
        failures.push(Failure::IncorrectEpoch { got, expected: epoch, created });
    }
    let target = difficulty::target(parent, adjacents, header.creation_time());
    if Some(header.target()) != target {
        failures.push(Failure::IncorrectTarget { got: header.target(), expected: target });
    }
    let later = |other: &HeaderRef<'_>| header.creation_time() > other.creation_time();
    if !later(&parent) || !old_da && !adjacents.iter().all(later) {
        failures.push(Failure::CreatedBeforeParent { got: header.creation_time() });
    }
    // That these are the blocks that the header names is for whoever looked them up.
    let mut named = header.adjacents().iter().zip(adjacents);
    if !named.all(|((chain, _), adjacent)| adjacent.chain() == chain) {
        failures.push(Failure::AdjacentParentChainMismatch);
    }
    if !adjacents.iter().all(|adjacent| adjacent.version_code() == header.version_code()) {
        failures.push(Failure::InvalidAdjacentVersion);
    }
    check_votes(version, header, parent, adjacents, failures);
}

fn check_votes(
    version: ChainwebVersion,
    header: HeaderRef<'_>,
    parent: HeaderRef<'_>,
    adjacents: &[HeaderRef<'_>; DEGREE],
    failures: &mut Failures,
) {
    if version.skip_feature_flag_guard(header.height()) {
        return;
    }
    let (got, before) = (votes::votes(header), votes::votes(parent));
    let follows = match Phase::at(header.height()) {
        Phase::Start => votes::follow(got, 0),
        Phase::Voting => votes::follow(got, before),
        Phase::Counting => {
            let [a, b, c] = adjacents.map(votes::votes);
            votes::count([before, a, b, c].into_iter()) == Some(got)
        }
    };
    if !follows {
        failures.push(Failure::InvalidForkVotes { got });
    }
}
