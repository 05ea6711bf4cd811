use super::votes::{self, Phase};
use super::{Failure, Failures, Level, Verifier, pow};
use crate::header::HeaderRef;
use crate::types::{BlockHash, ChainId, ChainwebVersion};

/// The hashes of a header, as far as they are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashes {
    /// That of its fields.
    pub(super) block: BlockHash,
    /// That of its work; if it is not here, it is made where a rule asks for it.
    pub(super) work: Option<BlockHash>,
}

/// The rules that need nothing but the header and its hashes, in the reference's order.
///
/// There are hashes if the level asks for them.
pub(super) fn check(
    verifier: &Verifier,
    header: HeaderRef<'_>,
    hashes: Option<Hashes>,
    failures: &mut Failures,
) {
    let version = ChainwebVersion::from_code(header.version_code());
    if let Some(Hashes { block: expected, work }) = hashes {
        if header.hash() != expected {
            failures.push(Failure::IncorrectHash { got: header.hash(), expected });
        }
        if version.unwrap_or(verifier.version).checks_pow() && !verifier.is_genesis(header) {
            let got = work.unwrap_or_else(|| pow::pow_hash(header));
            if !pow::meets(got, header.target()) {
                failures.push(Failure::IncorrectPow { got });
            }
        }
    }
    // What follows depends on the network, and this one may have none.
    let Some(version) = version else { return };
    if verifier.level == Level::Full {
        check_genesis_target(version, header, failures);
        if header.creation_time() > verifier.now {
            let (got, now) = (header.creation_time(), verifier.now);
            failures.push(Failure::BlockInTheFuture { got, now });
        }
    }
    check_graph(version, header, failures);
    if verifier.level == Level::Full
        && !version.skip_feature_flag_guard(header.height())
        && Phase::at(header.height()) == Phase::Start
        && !votes::follow(votes::votes(header), 0)
    {
        failures.push(Failure::InvalidForkVotes { got: votes::votes(header) });
    }
}

fn check_genesis_target(version: ChainwebVersion, header: HeaderRef<'_>, failures: &mut Failures) {
    if version.genesis_height(header.chain()) == Some(header.height())
        && header.target() != version.genesis_target(header.chain())
    {
        failures.push(Failure::IncorrectGenesisTarget);
    }
}

/// Checks that the network has the chain, and that the adjacent parents are on the chains that
/// the graph joins to it.
///
/// Part of every level: the block hash does not cover the numbers of the adjacent chains, so
/// nothing else tells a header from one with other numbers.
fn check_graph(version: ChainwebVersion, header: HeaderRef<'_>, failures: &mut Failures) {
    let (chain, height) = (header.chain(), header.height());
    if version.genesis_height(chain).is_none_or(|first| height < first) {
        return failures.push(Failure::UnknownChain { got: chain, height });
    }
    let expected = version.parent_graph_at(chain, height).adjacent(chain);
    let mut got = [ChainId::new(0); 3];
    for (slot, (adjacent, _)) in got.iter_mut().zip(header.adjacents().iter()) {
        *slot = adjacent;
    }
    if Some(got) != expected {
        failures.push(Failure::AdjacentChainMismatch { got });
    }
}
