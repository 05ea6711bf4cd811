use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::layout::WORK_LEN;
use super::{AdjacentRecord, DecodeError, LEN, RawHeader};
use crate::types::{BlockHash, BlockHeight, ChainId, Micros, PayloadHash, Rank, Target, Weight};

/// A header as its miner sees it.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Mined {
    work: [u8; WORK_LEN],
    hash: BlockHash,
}

/// A header where it lies: a checked view of 318 bytes, of any alignment.
///
/// Checked is the form only, not the content; that is what [`verify`](crate::verify) does. Fields
/// are decoded when they are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HeaderRef<'a>(&'a RawHeader);

impl<'a> HeaderRef<'a> {
    /// The header that `bytes` are.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if these are not 318 bytes with three adjacent parents in ascending order.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        match RawHeader::ref_from_bytes(bytes) {
            Ok(raw) => Self::new(raw),
            Err(_) => Err(DecodeError::Length { got: bytes.len() }),
        }
    }

    /// The header that `raw` is.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it does not have three adjacent parents in ascending order.
    pub fn new(raw: &'a RawHeader) -> Result<Self, DecodeError> {
        raw.adjacents.check()?;
        Ok(Self(raw))
    }

    /// The 318 bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8; LEN] {
        zerocopy::transmute_ref!(self.0)
    }

    /// The 286 bytes that were mined: all but the block hash.
    #[must_use]
    pub fn work_bytes(self) -> &'a [u8; WORK_LEN] {
        let mined: &'a Mined = zerocopy::transmute_ref!(self.0);
        &mined.work
    }

    /// The fields as they lie.
    #[must_use]
    pub const fn raw(self) -> &'a RawHeader {
        self.0
    }

    /// The low half is the fork number, the high half are the votes.
    #[must_use]
    pub fn feature_flags(self) -> u64 {
        self.0.feature_flags.get()
    }

    /// When the block was made, by its miner's clock.
    #[must_use]
    pub fn creation_time(self) -> Micros {
        Micros::new(self.0.creation_time.get())
    }

    /// The block below.
    #[must_use]
    pub const fn parent(self) -> BlockHash {
        self.0.parent
    }

    /// The blocks below on the neighbouring chains.
    #[must_use]
    pub const fn adjacents(self) -> &'a AdjacentRecord {
        &self.0.adjacents
    }

    /// What the proof-of-work hash must not exceed.
    #[must_use]
    pub const fn target(self) -> Target {
        Target::from_le(self.0.target)
    }

    /// What the block carries.
    #[must_use]
    pub const fn payload_hash(self) -> PayloadHash {
        self.0.payload_hash
    }

    /// The chain that the block is on.
    #[must_use]
    pub fn chain(self) -> ChainId {
        ChainId::new(self.0.chain.get())
    }

    /// The work behind the block.
    #[must_use]
    pub const fn weight(self) -> Weight {
        Weight::from_le(self.0.weight)
    }

    /// The position on the chain.
    #[must_use]
    pub fn height(self) -> BlockHeight {
        BlockHeight::new(self.0.height.get())
    }

    /// The code of the network.
    #[must_use]
    pub fn version_code(self) -> u32 {
        self.0.version.get()
    }

    /// When the difficulty epoch of the block began.
    #[must_use]
    pub fn epoch_start(self) -> Micros {
        Micros::new(self.0.epoch_start.get())
    }

    /// What the miner varied.
    #[must_use]
    pub fn nonce(self) -> u64 {
        self.0.nonce.get()
    }

    /// The block hash that the header states.
    #[must_use]
    pub const fn hash(self) -> BlockHash {
        self.0.hash
    }

    /// The place on the chain.
    #[must_use]
    pub fn rank(self) -> Rank {
        Rank { height: self.height(), hash: self.hash() }
    }

    /// The header with bytes of its own.
    #[must_use]
    pub fn to_owned(self) -> Header {
        Header(*self.0)
    }
}

impl std::fmt::Debug for HeaderRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.chain(), self.height(), self.hash())
    }
}

/// A header with bytes of its own, checked as [`HeaderRef`] is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header(RawHeader);

impl Header {
    /// The header that `raw` is.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] as for [`HeaderRef::new`].
    pub fn new(raw: RawHeader) -> Result<Self, DecodeError> {
        HeaderRef::new(&raw)?;
        Ok(Self(raw))
    }

    /// The view of the bytes.
    #[must_use]
    pub const fn view(&self) -> HeaderRef<'_> {
        HeaderRef(&self.0)
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view().fmt(f)
    }
}
