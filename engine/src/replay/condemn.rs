use std::mem;

use hashbrown::{HashMap, HashSet};

use super::{Admission, Replay, ReplayError};
use crate::header::{Header, HeaderRef};
use crate::types::{BlockHash, BlockHeight};
use crate::verify::{Adjacents, Level, Parent};

/// Maximum number of blocks whose parents are searched for, and of hashes of a height in memory: 200 MB.
/// Further blocks are admitted, and verified when their parents arrive.
const BLOCKS_MAX: usize = 1 << 20;

impl Replay<'_> {
    /// Finds the waiting blocks that must not be admitted as first blocks of parts, because their
    /// parents are waiting, too, and show that they are wrong.
    ///
    /// Waiting blocks are processed by ascending height, so that a parent comes before its children.
    /// But a block that states too low a height comes before its parent, and would be admitted without it:
    ///
    /// ```text
    /// waiting, by height     1: R, whose parent is P    ...    999: P    1000: Q, whose parent is P
    /// ```
    ///
    /// So all of them are searched first: for those whose parent is not directly below, and then for
    /// parents that wait anywhere else.
    ///
    /// # Cost
    ///
    /// Two scans of the waiting headers, only if any block may be admitted.
    pub(super) fn condemn(&mut self) -> Result<(), ReplayError> {
        self.condemned.clear();
        // At level `none` hashes say nothing of who is whose parent.
        if self.admission != Admission::Any || self.verifier.level() == Level::None {
            return Ok(());
        }
        let wanted = self.without_parents()?;
        if wanted.is_empty() {
            return Ok(());
        }
        let (verifier, condemned) = (self.verifier.at_any_time(), &mut self.condemned);
        self.writer.for_each_pending(&mut |parent| {
            for child in wanted.get(&parent.hash()).into_iter().flatten() {
                let child = child.view();
                let (below, beside) = (Parent::Block(parent), Adjacents::Admitted);
                let lies = parent.height().child() != Some(child.height())
                    || parent.chain() != child.chain();
                if lies
                    && let Err(failures) = verifier.conclude(verifier.check(child), below, beside)
                {
                    condemned.insert(child.hash(), failures);
                }
            }
        })?;
        Ok(())
    }

    /// Waiting blocks whose parents are neither stored nor waiting directly below, keyed by parent.
    fn without_parents(&self) -> Result<HashMap<BlockHash, Vec<Header>>, ReplayError> {
        let (mut below, mut here) = (HashSet::new(), HashSet::new());
        let mut height = BlockHeight::new(0);
        let mut orphans: Vec<Header> = Vec::new();
        self.writer.for_each_pending(&mut |header: HeaderRef<'_>| {
            if header.height() != height {
                below = mem::take(&mut here);
                if height.child() != Some(header.height()) {
                    below.clear();
                }
                height = header.height();
            }
            if here.len() < BLOCKS_MAX {
                here.insert(header.hash());
            }
            if !below.contains(&header.parent()) && orphans.len() < BLOCKS_MAX {
                orphans.push(header.to_owned());
            }
        })?;
        let mut wanted: HashMap<BlockHash, Vec<Header>> = HashMap::new();
        for header in orphans {
            let parent = header.view().parent();
            if self.writer.find(parent)?.is_none() {
                wanted.entry(parent).or_default().push(header);
            }
        }
        Ok(wanted)
    }
}
