use crate::header::{HeaderRef, merkle};
use crate::types::{BlockHash, ChainId, ChainwebVersion};

/// The genesis block of a chain is not that of the network whose code its headers have, as on a
/// development network that began with payloads of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherGenesis {
    /// The chain.
    pub chain: ChainId,
    /// The genesis block of the network.
    pub expected: BlockHash,
    /// That of the input.
    pub got: BlockHash,
}

impl OtherGenesis {
    /// What a header shows that is the genesis block of its chain or the block above it. Nothing, if its
    /// block hash is wrong: then the hash that it names may be wrong, too.
    #[must_use]
    pub fn of(header: HeaderRef<'_>, version: ChainwebVersion) -> Option<Self> {
        let chain = header.chain();
        let (got, expected) = genesis_blocks(header, version)?;
        let other = got != expected && merkle::block_hash(header) == header.hash();
        other.then_some(Self { chain, expected, got })
    }
}

/// Whether a header stands right above the genesis block of its chain.
pub(super) fn is_above_genesis(header: HeaderRef<'_>, version: ChainwebVersion) -> bool {
    let is_right = |(got, expected)| got == expected && got != header.hash();
    genesis_blocks(header, version).is_some_and(is_right)
        && merkle::block_hash(header) == header.hash()
}

/// The genesis block that a header is or stands right above, and that of the network.
fn genesis_blocks(
    header: HeaderRef<'_>,
    version: ChainwebVersion,
) -> Option<(BlockHash, BlockHash)> {
    let (chain, height) = (header.chain(), header.height());
    let lowest = version.genesis_height(chain)?;
    let got = if height == lowest {
        header.hash()
    } else if height.parent() == Some(lowest) {
        header.parent()
    } else {
        return None;
    };
    Some((got, version.genesis_header(chain)?.view().hash()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Header;
    use crate::types::PayloadHash;

    const NETWORK: ChainwebVersion = ChainwebVersion::Development;

    /// The genesis block of chain 0 with other contents.
    fn other() -> Header {
        let genesis = NETWORK.genesis_header(ChainId::new(0)).unwrap();
        let mut raw = *genesis.view().raw();
        raw.payload_hash = PayloadHash::new([7; 32]);
        raw.hash = merkle::block_hash(Header::new(raw).unwrap().view());
        Header::new(raw).unwrap()
    }

    #[test]
    fn another_genesis_block_is_seen_in_itself_and_in_the_block_above_it() {
        let (genesis, other) = (NETWORK.genesis_header(ChainId::new(0)).unwrap(), other());
        let (expected, got) = (genesis.view().hash(), other.view().hash());
        let found = Some(OtherGenesis { chain: ChainId::new(0), expected, got });
        assert_eq!(OtherGenesis::of(genesis.view(), NETWORK), None);
        assert_eq!(OtherGenesis::of(other.view(), NETWORK), found);
        let child = |parent: BlockHash, height: u64| {
            let mut raw = *other.view().raw();
            (raw.parent, raw.height) = (parent, height.into());
            raw.hash = merkle::block_hash(Header::new(raw).unwrap().view());
            Header::new(raw).unwrap()
        };
        assert_eq!(OtherGenesis::of(child(got, 1).view(), NETWORK), found);
        assert_eq!(OtherGenesis::of(child(expected, 1).view(), NETWORK), None);
        assert!(is_above_genesis(child(expected, 1).view(), NETWORK));
        for header in &[genesis, other, child(got, 1), child(expected, 2)] {
            assert!(!is_above_genesis(header.view(), NETWORK));
        }
        assert_eq!(OtherGenesis::of(child(got, 2).view(), NETWORK), None);
        // A block that is damaged says nothing.
        let mut damaged = *child(expected, 1).view().raw();
        damaged.parent = BlockHash::new([1; 32]);
        assert_eq!(OtherGenesis::of(Header::new(damaged).unwrap().view(), NETWORK), None);
    }
}
