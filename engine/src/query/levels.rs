use super::{QueryError, View};
use crate::header::HeaderRef;
use crate::verify::Level;

impl View {
    /// The level at which a stored block is verified.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`].
    pub fn verified_level(&self, header: HeaderRef<'_>) -> Result<Level, QueryError> {
        let chain = header.chain();
        let forest = self.tree().forest(chain);
        let is_node = forest.is_some_and(|forest| forest.find(&header.hash()).is_some());
        Ok(self.snapshot().level(chain, header.rank(), !is_node)?)
    }

    /// Whether every block is fully verified.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`].
    pub fn is_fully_verified(&self) -> Result<bool, QueryError> {
        Ok(!self.snapshot().has_levels()?)
    }

    /// The number of blocks of each level below [`Level::Full`].
    ///
    /// # Cost
    ///
    /// One scan of those blocks.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`].
    pub fn count_levels(&self) -> Result<[u64; 2], QueryError> {
        Ok(self.snapshot().count_levels()?)
    }

    /// The number of blocks that wait for a parent or an adjacent parent.
    ///
    /// # Cost
    ///
    /// One scan of those blocks.
    ///
    /// # Errors
    ///
    /// [`QueryError::Store`].
    pub fn count_pending(&self) -> Result<u64, QueryError> {
        Ok(self.snapshot().count_pending()?)
    }
}
