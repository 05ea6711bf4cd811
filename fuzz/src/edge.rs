use arbitrary::Arbitrary;

/// A number, most often a small one or one near the ends of its type.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Edge {
    /// A small one.
    Small(u8),
    /// One near a power of two.
    Near(u8, i8),
    /// Any.
    Any(u64),
}

impl Edge {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        match self {
            Self::Small(number) => number as u64,
            Self::Near(power, off) => (1_u64 << (power % 64)).wrapping_add_signed(off as i64),
            Self::Any(number) => number,
        }
    }
}

/// `data` in pieces of these lengths, the last one whatever is left.
#[must_use]
pub fn pieces<'a>(mut data: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths {
        let (piece, rest) = data.split_at(data.len().min((*length).into()));
        pieces.push(piece);
        data = rest;
    }
    pieces.push(data);
    pieces
}
