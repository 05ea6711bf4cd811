use std::fmt;

/// A position on one chain, in blocks above genesis.
///
/// Heights come from headers that anybody may have made, so every step from one to another says what
/// becomes of those that do not exist: it is checked, or it stops at the ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHeight(u64);

impl BlockHeight {
    /// The height with this number.
    #[must_use]
    pub const fn new(height: u64) -> Self {
        Self(height)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The height of the parent: the genesis block has none.
    #[must_use]
    pub const fn parent(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(height) => Some(Self(height)),
            None => None,
        }
    }

    /// The height of a child: the greatest height has none.
    #[must_use]
    pub const fn child(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(height) => Some(Self(height)),
            None => None,
        }
    }

    /// How many heights this is above `lower`; `None` if it is below.
    #[must_use]
    pub const fn since(self, lower: Self) -> Option<u64> {
        self.0.checked_sub(lower.0)
    }

    /// The height so many above this one, or the greatest that there is.
    #[must_use]
    pub const fn up(self, heights: u64) -> Self {
        Self(self.0.saturating_add(heights))
    }

    /// The height so many below this one, or that of the genesis block.
    #[must_use]
    pub const fn down(self, heights: u64) -> Self {
        Self(self.0.saturating_sub(heights))
    }
}

impl fmt::Display for BlockHeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
