use crate::store::{History, Snapshot, StoreError};
use crate::tree::cut::Ceiling;
use crate::tree::{Forest, Trunk};
use crate::types::ChainId;

/// A chain as it is on disk.
pub(crate) struct Loaded {
    pub(crate) forest: Forest,
    /// The weights of the blocks that are not sealed.
    pub(crate) ceiling: Ceiling,
}

/// The forest of a chain as it is on disk: what is sealed, and every block that is not.
///
/// # Cost
///
/// One scan of the blocks that are not sealed.
///
/// # Errors
///
/// [`StoreError`] if the disk cannot be read or holds something else.
pub(crate) fn load(snapshot: &Snapshot, chain: ChainId) -> Result<Loaded, StoreError> {
    let sealed = snapshot.sealed(chain)?;
    let trunk = sealed.map(|(first, end, parent)| Trunk::new(first, end, parent));
    let meta = snapshot.meta();
    let mut forest = Forest::new(meta.run_length, trunk);
    let (mut ceiling, mut doubtful) = (Ceiling::default(), Vec::new());
    snapshot.for_each_loose(chain, |header| {
        let (rank, parent, weight) = (header.rank(), header.parent(), header.weight());
        ceiling.add(rank.height, weight);
        if !forest.may_stand_on_trunk(rank.height, &parent) {
            forest.insert(rank, parent, weight);
        } else if meta.history == History::Full {
            // Its parent is stored, and is not loose.
            forest.insert_on_trunk(rank, weight);
        } else {
            doubtful.push((rank, parent, weight));
        }
    })?;
    for (rank, parent, weight) in doubtful {
        let below = rank.height.parent().map(|below| (chain, below));
        let is_node = forest.find(&parent).is_some();
        if !is_node && snapshot.place(&parent)? == below {
            forest.insert_on_trunk(rank, weight);
        } else {
            forest.insert(rank, parent, weight);
        }
    }
    Ok(Loaded { forest, ceiling })
}
