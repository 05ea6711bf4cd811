use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::types::{BlockHash, HashError};

/// Where a page goes on. The text form is `inclusive:HASH` or `exclusive:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// With this block.
    Inclusive(BlockHash),
    /// After this block.
    Exclusive(BlockHash),
}

impl Cursor {
    /// The block.
    #[must_use]
    pub const fn hash(self) -> BlockHash {
        match self {
            Self::Inclusive(hash) | Self::Exclusive(hash) => hash,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inclusive(hash) => write!(f, "inclusive:{hash}"),
            Self::Exclusive(hash) => write!(f, "exclusive:{hash}"),
        }
    }
}

/// A text is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CursorError {
    /// It does not begin with `inclusive:` or `exclusive:`.
    #[error("a cursor begins with \"inclusive:\" or \"exclusive:\"")]
    Kind,
    /// What follows is not a hash.
    #[error(transparent)]
    Hash(#[from] HashError),
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        match text.split_once(':') {
            Some(("inclusive", hash)) => Ok(Self::Inclusive(hash.parse()?)),
            Some(("exclusive", hash)) => Ok(Self::Exclusive(hash.parse()?)),
            _ => Err(CursorError::Kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_read_back() {
        for text in ["inclusive:", "exclusive:"].map(|kind| kind.to_owned() + &"A".repeat(43)) {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_text_is_refused() {
        let hash = "A".repeat(43);
        for kind in ["", "inclusive", "Inclusive:", " inclusive:", "next:"] {
            assert_eq!(format!("{kind}{hash}").parse::<Cursor>(), Err(CursorError::Kind));
        }
        assert_eq!("inclusive:".parse::<Cursor>(), Err(HashError::Length { got: 0 }.into()));
    }
}
