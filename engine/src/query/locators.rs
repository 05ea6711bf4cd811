use super::{QueryError, View};
use crate::types::{BlockHeight, ChainId, Rank};

impl View {
    /// Some blocks of the heaviest branch of `chain`, by which another node can tell what it has in
    /// common with this one: the heaviest, then one, two, four, ... below it, then the lowest.
    ///
    /// # Cost
    ///
    /// One lookup for each, of which there are some 25 at most.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`].
    pub fn locators(&self, chain: ChainId) -> Result<Vec<Rank>, QueryError> {
        let Some(tip) = self.tip(chain) else { return Ok(Vec::new()) };
        let (mut locators, mut step) = (vec![tip], 1_u64);
        let mut push = |height: BlockHeight| {
            let below = self.ancestor(chain, tip, height)?;
            Ok::<_, QueryError>(below.map(|header| locators.push(header.view().rank())).is_some())
        };
        while let Some(height) = tip.height.get().checked_sub(step)
            && push(BlockHeight::new(height))?
        {
            step = step.saturating_mul(2);
        }
        if let Some(lowest) = self.lowest(chain).filter(|lowest| *lowest < tip.height) {
            push(lowest)?;
        }
        locators.dedup();
        Ok(locators)
    }
}
