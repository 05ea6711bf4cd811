use std::collections::BTreeMap;
use std::fmt;

use crate::store::LogFinding;
use crate::types::{BlockHeight, ChainId, ChainwebVersion};

/// A warning about an input, given before it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something about the logs of a node's database.
    Log(LogFinding),
    /// The heights of an input that lacks some.
    Heights(Vec<Span>),
}

/// The lowest and the highest block of a chain that an input has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The chain.
    pub chain: ChainId,
    /// The height of the lowest one.
    pub first: BlockHeight,
    /// The height of the highest one.
    pub last: BlockHeight,
}

impl Span {
    /// Whether blocks are missing between the genesis block of the chain and the lowest one.
    #[must_use]
    pub fn begins_late(&self, version: ChainwebVersion) -> bool {
        let genesis = version.genesis_height(self.chain);
        // The genesis block itself is known.
        genesis.and_then(BlockHeight::child).is_some_and(|second| self.first > second)
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(finding) => finding.fmt(f),
            Self::Heights(spans) => {
                f.write_str("headers that are there: ")?;
                fmt_spans(spans, f)
            }
        }
    }
}

/// Writes the heights of each chain; of chains with the same heights at once.
fn fmt_spans(spans: &[Span], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut groups: BTreeMap<(BlockHeight, BlockHeight), Vec<ChainId>> = BTreeMap::new();
    for Span { chain, first, last } in spans {
        groups.entry((*first, *last)).or_default().push(*chain);
    }
    for (number, ((first, last), chains)) in groups.iter().enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        write!(f, "{comma}heights {first} to {last} of {}", Chains(chains))?;
    }
    Ok(())
}

/// Some chains, by ascending number.
struct Chains<'a>(&'a [ChainId]);

impl fmt::Display for Chains<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for chain in self.0 {
            match runs.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(chain.get()) => *last = chain.get(),
                _ => runs.push((chain.get(), chain.get())),
            }
        }
        f.write_str(if self.0.len() == 1 { "chain" } else { "chains" })?;
        for (number, (first, last)) in runs.iter().enumerate() {
            f.write_str(if number == 0 { " " } else { ", " })?;
            if first == last {
                write!(f, "{first}")?;
            } else {
                write!(f, "{first}-{last}")?;
            }
        }
        Ok(())
    }
}

/// Records of an input that were skipped and are not invalid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skips {
    /// Rows of a node's database that are of another network.
    pub foreign: u64,
    /// Blocks without payloads, in a node's database that has other payloads.
    pub bare: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_said_of_chains_that_have_the_same_at_once() {
        let span = |chain, first, last| Span {
            chain: ChainId::new(chain),
            first: BlockHeight::new(first),
            last: BlockHeight::new(last),
        };
        let spans = [span(0, 5, 9), span(1, 5, 9), span(2, 6, 9), span(3, 5, 9), span(4, 5, 9)];
        assert_eq!(
            Notice::Heights(spans.to_vec()).to_string(),
            "headers that are there: heights 5 to 9 of chains 0-1, 3-4, heights 6 to 9 of chain 2"
        );
        let version = ChainwebVersion::Mainnet01;
        assert!(!span(0, 0, 9).begins_late(version) && !span(0, 1, 9).begins_late(version));
        assert!(span(0, 2, 9).begins_late(version));
        let second = version.genesis_height(ChainId::new(10)).unwrap().get() + 1;
        assert!(!span(10, second, second).begins_late(version));
        assert!(span(10, second + 1, second + 1).begins_late(version));
    }
}
