use self::tables::{PETERSEN, TWENTY};
use crate::header::DEGREE;
use crate::types::{BlockHeight, ChainId, ChainwebVersion, Grow};

/// Who is adjacent to whom: a symmetric 3-regular graph of chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainGraph(&'static [[u32; DEGREE]]);

impl ChainGraph {
    /// The number of chains.
    #[must_use]
    pub const fn order(self) -> usize {
        self.0.len()
    }

    /// Its chains, ascending.
    pub fn chain_ids(self) -> impl Iterator<Item = ChainId> + Clone {
        (0u32..).zip(self.0).map(|(chain, _)| ChainId::new(chain))
    }

    /// The greatest distance between two chains: 2 of ten chains, 3 of twenty.
    ///
    /// # Cost
    ///
    /// A microsecond.
    #[must_use]
    pub fn diameter(self) -> u64 {
        let around = |chains: u64| {
            let rows = (0u32..).zip(self.0).filter(|(chain, _)| chains & (1 << chain) != 0);
            rows.flat_map(|(_, row)| row).fold(chains, |reached, chain| reached | (1 << chain))
        };
        let mut reached: Vec<u64> = (0..self.order()).map(|chain| 1 << chain).collect();
        let all = reached.iter().fold(0, |all, chain| all | chain);
        let mut diameter = 0_u64;
        // Both graphs are connected, so this ends.
        while reached.iter().any(|chains| *chains != all) {
            for chains in &mut reached {
                *chains = around(*chains);
            }
            diameter.grow(1);
        }
        diameter
    }

    /// The neighbours of `chain`, ascending; `None` if the graph has no such chain.
    #[must_use]
    pub fn adjacent(self, chain: ChainId) -> Option<[ChainId; DEGREE]> {
        self.0.get(chain.index()).map(|row| row.map(ChainId::new))
    }
}

/// Adjacency by chain.
mod tables {
    /// The Petersen graph, of ten chains.
    pub(super) const PETERSEN: &[[u32; 3]] = &[
        [2, 3, 5],
        [3, 4, 6],
        [0, 4, 7],
        [0, 1, 8],
        [1, 2, 9],
        [0, 6, 9],
        [1, 5, 7],
        [2, 6, 8],
        [3, 7, 9],
        [4, 5, 8],
    ];

    /// The graph of twenty chains.
    pub(super) const TWENTY: &[[u32; 3]] = &[
        [5, 10, 15],
        [6, 11, 16],
        [7, 12, 17],
        [8, 13, 18],
        [9, 14, 19],
        [0, 7, 8],
        [1, 8, 9],
        [2, 5, 9],
        [3, 5, 6],
        [4, 6, 7],
        [0, 11, 19],
        [1, 10, 12],
        [2, 11, 13],
        [3, 12, 14],
        [4, 13, 15],
        [0, 14, 16],
        [1, 15, 17],
        [2, 16, 18],
        [3, 17, 19],
        [4, 10, 18],
    ];
}

const fn from(height: u64, rows: &'static [[u32; DEGREE]]) -> (BlockHeight, ChainGraph) {
    (BlockHeight::new(height), ChainGraph(rows))
}

impl ChainwebVersion {
    /// The graphs of the network with the height of the first block that each holds for,
    /// ascending.
    #[must_use]
    pub fn graphs(self) -> &'static [(BlockHeight, ChainGraph)] {
        const MAINNET01: &[(BlockHeight, ChainGraph)] = &[from(0, PETERSEN), from(852_054, TWENTY)];
        const TESTNET04: &[(BlockHeight, ChainGraph)] = &[from(0, PETERSEN), from(332_604, TWENTY)];
        const RECAP: &[(BlockHeight, ChainGraph)] = &[from(0, PETERSEN), from(60, TWENTY)];
        const DEVELOPMENT: &[(BlockHeight, ChainGraph)] = &[from(0, TWENTY)];
        match self {
            Self::Mainnet01 => MAINNET01,
            Self::Testnet04 => TESTNET04,
            Self::RecapDevelopment => RECAP,
            Self::Development => DEVELOPMENT,
        }
    }

    /// The graph in force at `height`.
    #[must_use]
    pub fn graph_at(self, height: BlockHeight) -> ChainGraph {
        let later = self.graphs().iter().rev();
        later
            .skip_while(|(from, _)| *from > height)
            .map(|(_, graph)| *graph)
            .next()
            .unwrap_or(ChainGraph(PETERSEN))
    }

    /// The graph whose edges the adjacent parents of a block at `height` of `chain` follow: that
    /// of the height below, but the chain's own first one for its genesis block.
    #[must_use]
    pub fn parent_graph_at(self, chain: ChainId, height: BlockHeight) -> ChainGraph {
        match height.parent() {
            Some(parent) if Some(height) != self.genesis_height(chain) => self.graph_at(parent),
            _ => self.graph_at(height),
        }
    }

    /// The chains that the network ever has, ascending.
    pub fn chain_ids(self) -> impl Iterator<Item = ChainId> + Clone {
        self.graph_at(BlockHeight::new(u64::MAX)).chain_ids()
    }

    /// Whether the network ever has this chain.
    #[must_use]
    pub fn has_chain(self, chain: ChainId) -> bool {
        self.genesis_height(chain).is_some()
    }

    /// The height at which `chain` begins; `None` if the network never has it.
    #[must_use]
    pub fn genesis_height(self, chain: ChainId) -> Option<BlockHeight> {
        let mut graphs = self.graphs().iter();
        graphs.find(|(_, graph)| chain.index() < graph.order()).map(|(height, _)| *height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_are_symmetric_without_loops_and_ascending() {
        for rows in [PETERSEN, TWENTY] {
            let graph = ChainGraph(rows);
            for chain in graph.chain_ids() {
                let adjacent = graph.adjacent(chain).unwrap();
                assert!(adjacent.is_sorted() && !adjacent.contains(&chain));
                for neighbour in adjacent {
                    assert!(graph.adjacent(neighbour).unwrap().contains(&chain));
                }
            }
        }
    }

    #[test]
    fn every_chain_is_within_two_or_three_steps_of_every_other() {
        assert_eq!([PETERSEN, TWENTY].map(|rows| ChainGraph(rows).diameter()), [2, 3]);
    }

    #[test]
    fn graph_changes_at_its_height() {
        let main = ChainwebVersion::Mainnet01;
        let order = |height| main.graph_at(BlockHeight::new(height)).order();
        assert_eq!([order(0), order(852_053), order(852_054), order(u64::MAX)], [10, 10, 20, 20]);
        assert_eq!(ChainwebVersion::Development.graph_at(BlockHeight::new(0)).order(), 20);
    }

    #[test]
    fn adjacent_parents_follow_the_graph_of_the_height_below() {
        let main = ChainwebVersion::Mainnet01;
        let order = |chain, height| {
            main.parent_graph_at(ChainId::new(chain), BlockHeight::new(height)).order()
        };
        assert_eq!(order(3, 852_054), 10);
        assert_eq!(order(3, 852_055), 20);
        assert_eq!(order(13, 852_054), 20, "a genesis block has the graph of its own height");
        assert_eq!(order(0, 0), 10);
    }

    #[test]
    fn chains_begin_with_their_graph() {
        let main = ChainwebVersion::Mainnet01;
        let begin = |chain| main.genesis_height(ChainId::new(chain)).map(BlockHeight::get);
        assert_eq!(
            [begin(9), begin(10), begin(19), begin(20)],
            [Some(0), Some(852_054), Some(852_054), None]
        );
        assert_eq!(main.chain_ids().count(), 20);
    }
}
