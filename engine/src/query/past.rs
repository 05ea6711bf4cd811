use super::Position;
use crate::types::{ChainId, Rank};

/// Blocks with all that is below them: of each chain one line, known by its highest block.
///
/// Of a cut it is what its members lead down to: parents, and adjacent parents, which are of the
/// lines of the other members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// By ascending chain, each once.
    tops: Vec<(ChainId, Rank)>,
}

impl Past {
    /// The past of these blocks, in any order of their chains. Of a chain that is there more than
    /// once the last one counts.
    #[must_use]
    pub fn new(tops: impl IntoIterator<Item = (ChainId, Rank)>) -> Self {
        let mut past = Self::default();
        for (chain, rank) in tops {
            past.set(chain, rank);
        }
        past
    }

    /// The highest block of each chain, by ascending chain.
    #[must_use]
    pub fn tops(&self) -> impl ExactSizeIterator<Item = (ChainId, Rank)> {
        self.tops.iter().copied()
    }

    /// The highest block of `chain`, if there is any.
    #[must_use]
    pub fn top(&self, chain: ChainId) -> Option<Rank> {
        let at = self.tops.binary_search_by_key(&chain, |(chain, _)| *chain).ok()?;
        self.tops.get(at).map(|(_, rank)| *rank)
    }

    /// Makes a block the highest of its chain.
    pub fn set(&mut self, chain: ChainId, rank: Rank) {
        match self.tops.binary_search_by_key(&chain, |(chain, _)| *chain) {
            Ok(at) => {
                if let Some(top) = self.tops.get_mut(at) {
                    top.1 = rank;
                }
            }
            Err(at) => self.tops.insert(at, (chain, rank)),
        }
    }

    /// The same as a text.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::of(self.tops())
    }
}

#[cfg(feature = "store")]
impl From<&super::Cut> for Past {
    fn from(cut: &super::Cut) -> Self {
        Self::new(cut.blocks().map(|(chain, height, hash)| (chain, Rank { height, hash })))
    }
}
