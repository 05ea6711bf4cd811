#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::mem;

use hashbrown::{HashMap, HashSet};

use super::{Admission, Replay, ReplayError};
use crate::header::{Header, HeaderRef};
use crate::types::{BlockHash, BlockHeight};
use crate::verify::{Adjacents, Level, Parent};

/// Blocks whose parents are looked for, and hashes of a height that are held, at most: 200 MB. Blocks
/// beyond are admitted, and verified when their parents come.
const BLOCKS_MAX: usize = 1 << 20;

impl Replay<'_> {
    /// Finds the waiting blocks that must not be admitted as the first ones of parts, since their
    /// parents wait, too, and show that they are wrong.
    ///
    /// Blocks that wait are taken up by ascending height, so that a parent comes before its children.
    /// But one that lies about its height comes before its parent, and would be admitted without:
    ///
    /// ```text
    /// waiting, by height     1: R, whose parent is P    ...    999: P    1000: Q, whose parent is P
    /// ```
    ///
    /// So all are looked through before: which of them miss their parent right below, and then whether
    /// that waits anywhere else.
    ///
    /// # Cost
    ///
    /// Two scans of the headers that wait, only where any block is admitted.
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

    /// Blocks that wait, whose parents neither are stored nor wait right below, by these parents.
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
