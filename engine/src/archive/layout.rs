use std::num::NonZeroU32;

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::types::{BlockHeight, ChainId, ChainwebVersion, RunLength};

/// The layout of files and manifest that this release writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// How every file begins. The first byte is no text, and a transfer that alters line ends is
/// found at once.
const MAGIC: [u8; 8] = *b"\x89PLAIT\r\n";

/// What the blocks of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What the member of the chain in the cut has below it, itself too: one block a height.
    Canonical,
    /// All other blocks.
    Orphans,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Canonical, Self::Orphans];

    /// The name, as it stands in the manifest and in names of files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Canonical => "canonical",
            Self::Orphans => "orphans",
        }
    }

    /// The number, as it stands in the headers of files.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Canonical => 0,
            Self::Orphans => 1,
        }
    }

    /// The one with this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The number of heights of a file. Files begin at its multiples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeights(NonZeroU32);

impl FileHeights {
    /// That of archives: full files of 20.8 MB, some 100 a chain of mainnet01.
    pub const DEFAULT: Self = Self(NonZeroU32::new(1 << 16).expect("65,536 is not zero"));

    /// The one with this number.
    #[must_use]
    pub const fn new(heights: NonZeroU32) -> Self {
        Self(heights)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get() as u64
    }

    /// The height at which the file with a block at `height` begins.
    #[must_use]
    pub const fn start(self, height: BlockHeight) -> BlockHeight {
        RunLength::new(self.0).start(height)
    }

    /// The last height of that file.
    #[must_use]
    pub const fn last(self, height: BlockHeight) -> BlockHeight {
        RunLength::new(self.0).last(height)
    }
}

/// The first bytes of a file; records of 318 bytes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FileHeader {
    /// Offset 0.
    magic: [u8; 8],
    /// Offset 8: format version.
    format: U32,
    /// Offset 12: code of the network.
    network: U32,
    /// Offset 16: the chain.
    chain: U32,
    /// Offset 20: 0 canonical, 1 orphans.
    kind: U32,
    /// Offset 24: the height at which the range begins.
    from: U64,
    /// Offset 32: heights of the range.
    heights: U64,
    /// Offset 40: the number of records.
    records: U64,
}

/// Bytes of a [`FileHeader`].
pub(super) const HEADER_LEN: usize = size_of::<FileHeader>();

const _: () = assert!(HEADER_LEN == 48);

impl FileHeader {
    /// The header of a file with so many records of the range that begins at `from`.
    #[must_use]
    pub fn new(
        version: ChainwebVersion,
        heights: FileHeights,
        (chain, from, kind): (ChainId, BlockHeight, Kind),
        records: u64,
    ) -> Self {
        Self {
            magic: MAGIC,
            format: FORMAT_VERSION.into(),
            network: version.code().into(),
            chain: chain.get().into(),
            kind: kind.code().into(),
            from: from.get().into(),
            heights: heights.get().into(),
            records: records.into(),
        }
    }

    /// The first field in which it differs from what is expected, if any.
    pub(super) fn difference(&self, expected: &Self) -> Option<&'static str> {
        let fields = [
            ("magic", self.magic == expected.magic),
            ("format version", self.format == expected.format),
            ("network", self.network == expected.network),
            ("chain", self.chain == expected.chain),
            ("kind", self.kind == expected.kind),
            ("first height", self.from == expected.from),
            ("number of heights", self.heights == expected.heights),
            ("number of records", self.records == expected.records),
        ];
        fields.into_iter().find(|(_, same)| !same).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_has_the_documented_bytes() {
        let place = (ChainId::new(7), BlockHeight::new(65_536), Kind::Orphans);
        let header =
            FileHeader::new(ChainwebVersion::Mainnet01, FileHeights::DEFAULT, place, 0x0102);
        let mut expected = b"\x89PLAIT\r\n\x01\0\0\0\x05\0\0\0\x07\0\0\0\x01\0\0\0".to_vec();
        expected.extend(b"\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\x02\x01\0\0\0\0\0\0");
        assert_eq!(header.as_bytes(), expected);
    }

    #[test]
    fn every_bit_of_a_header_is_compared() {
        let place = (ChainId::new(7), BlockHeight::new(65_536), Kind::Orphans);
        let header = FileHeader::new(ChainwebVersion::Testnet04, FileHeights::DEFAULT, place, 9);
        assert_eq!(header.difference(&header), None);
        for bit in 0..8 * HEADER_LEN {
            let mut other = header;
            other.as_mut_bytes()[bit / 8] ^= 1 << (bit % 8);
            assert!(other.difference(&header).is_some(), "bit {bit}");
        }
    }
}
