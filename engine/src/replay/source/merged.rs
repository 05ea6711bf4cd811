use std::io;
use std::mem;

use bytes::{Buf, Bytes};
use zerocopy::FromBytes;

use super::{Chunk, Source};
use crate::header::{LEN, RawHeader};
use crate::replay::ReplayError;
use crate::store::MarkedAt;
use crate::types::{BlockHash, BlockHeight, ChainId, Grow, Rank};

/// Bytes of a record.
const RECORD_LEN: u64 = LEN as u64;

/// The blocks of one chain by ascending [`Rank`], some whole records at a time; `None` at the end.
/// It may block.
pub type Feed = Box<dyn FnMut() -> io::Result<Option<Bytes>> + Send>;

/// Is told the height that is read next.
pub type Watcher = Box<dyn FnMut(BlockHeight) + Send>;

/// Several chains as one input, by ascending height, so that parents come first on every chain.
///
/// A chain that begins above the others is not read before they have come that far: its feed may wait
/// for them.
///
/// A feed's blocks are checked to be of its chain and in order; others verify the blocks
/// themselves. A feed that is ahead of the others waits, with its latest records.
pub struct Merged {
    name: String,
    chains: Vec<Lane>,
    watcher: Watcher,
    position: u64,
    /// Chains that begin above this height are not read yet.
    reached: BlockHeight,
    /// The error that ends the input after the latest records.
    failed: Option<io::Error>,
}

/// One chain.
struct Lane {
    chain: ChainId,
    /// The first height of the feed, or one below that.
    begin: BlockHeight,
    /// `None` at its end.
    feed: Option<Feed>,
    /// What it gave and was not taken yet; its first record is the next one.
    bytes: Bytes,
    /// The record that was taken last.
    last: Option<Rank>,
}

impl Merged {
    /// Makes the input of the blocks of these chains from height `from` on, each with the height at
    /// which it begins; errors call the input `name`.
    #[must_use]
    pub fn new(
        name: String,
        from: BlockHeight,
        feeds: impl IntoIterator<Item = (ChainId, BlockHeight, Feed)>,
        watcher: Watcher,
    ) -> Self {
        // Whatever is below is not in order.
        let last = from.parent().map(|height| Rank { height, hash: BlockHash::new([u8::MAX; 32]) });
        let lane = |(chain, begin, feed)| Lane {
            chain,
            begin,
            feed: Some(feed),
            bytes: Bytes::new(),
            last,
        };
        let chains = feeds.into_iter().map(lane).collect();
        Self { name, chains, watcher, position: 0, reached: from, failed: None }
    }

    /// The next records; an error only if no records come before it.
    fn read(&mut self, records_max: usize) -> io::Result<Vec<u8>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut records =
            Vec::with_capacity(records_max.saturating_add(self.chains.len()).saturating_mul(LEN));
        match self.read_into(&mut records, records_max) {
            Err(error) if records.is_empty() => return Err(error),
            result => self.failed = result.err(),
        }
        Ok(records)
    }

    fn read_into(&mut self, records: &mut Vec<u8>, records_max: usize) -> io::Result<()> {
        while records.len() < records_max.saturating_mul(LEN) {
            let Some(lowest) = self.lowest()? else { break };
            (self.watcher)(lowest);
            for lane in self.chains.iter_mut().filter(|lane| lane.begin <= lowest) {
                while lane.height()? == Some(lowest) {
                    lane.take(records)?;
                }
            }
        }
        Ok(())
    }

    /// The lowest height of the records that come next, if any do.
    fn lowest(&mut self) -> io::Result<Option<BlockHeight>> {
        loop {
            let (mut lowest, mut later): (Option<BlockHeight>, Option<BlockHeight>) = (None, None);
            for lane in &mut self.chains {
                if lane.begin > self.reached {
                    later = Some(later.map_or(lane.begin, |later| later.min(lane.begin)));
                } else if let Some(height) = lane.height()? {
                    lowest = Some(lowest.map_or(height, |lowest| lowest.min(height)));
                }
            }
            match later.filter(|later| lowest.is_none_or(|lowest| lowest >= *later)) {
                Some(later) => {
                    self.reached = later;
                    (self.watcher)(later);
                }
                None => return Ok(lowest),
            }
        }
    }
}

impl Lane {
    /// The height of the next record, if there is one.
    fn height(&mut self) -> io::Result<Option<BlockHeight>> {
        while self.bytes.is_empty()
            && let Some(feed) = &mut self.feed
        {
            match feed()? {
                Some(bytes) if bytes.len() % LEN == 0 => self.bytes = bytes,
                Some(_) => return Err(wrong("records are cut".to_owned())),
                None => self.feed = None,
            }
        }
        Ok(first(&self.bytes).map(|record| BlockHeight::new(record.height.get())))
    }

    /// Moves the next record to `records`.
    fn take(&mut self, records: &mut Vec<u8>) -> io::Result<()> {
        let Some(record) = first(&self.bytes) else { return Ok(()) };
        let rank = Rank { height: BlockHeight::new(record.height.get()), hash: record.hash };
        if record.chain.get() != self.chain.get() {
            let text = format!("a block of chain {} among those of {}", record.chain, self.chain);
            return Err(wrong(text));
        }
        if self.last.is_some_and(|last| rank <= last) {
            let text = format!("chain {}: block {} is not in order", self.chain, rank.hash);
            return Err(wrong(text));
        }
        records.extend_from_slice(self.bytes.get(..LEN).unwrap_or_default());
        self.bytes.advance(LEN);
        self.last = Some(rank);
        Ok(())
    }
}

fn first(bytes: &Bytes) -> Option<&RawHeader> {
    RawHeader::ref_from_prefix(bytes).ok().map(|(record, _)| record)
}

fn wrong(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

impl Source for Merged {
    fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, ReplayError> {
        let records = self.read(records_max.max(1));
        let records = records.map_err(|source| {
            let input = mem::take(&mut self.name);
            ReplayError::Io { input, source }
        })?;
        let position = self.position;
        self.position.grow(records.len() as u64);
        let count = self.position / RECORD_LEN;
        let end =
            MarkedAt { position: self.position.into(), steps: 0.into(), records: count.into() };
        Ok((!records.is_empty()).then(|| Chunk::whole(position, records.into(), end)))
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn name(&self) -> Option<[u8; 32]> {
        None
    }

    fn resume(&mut self, _: MarkedAt) -> Result<bool, ReplayError> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    /// A record of a chain that is nothing but its rank.
    fn record(chain: u32, height: u64, hash: u8) -> [u8; LEN] {
        let mut raw = RawHeader::read_from_bytes(&[0; LEN]).unwrap();
        (raw.chain, raw.height) = (chain.into(), height.into());
        raw.hash = BlockHash::new([hash; 32]);
        raw.as_bytes().try_into().unwrap()
    }

    /// Gives these records, `at_once` at a time.
    fn feed(chain: u32, records: &[(u64, u8)], at_once: usize) -> (ChainId, BlockHeight, Feed) {
        let records: Vec<_> = records.iter().map(|(h, hash)| record(chain, *h, *hash)).collect();
        let chunks: Vec<Bytes> =
            records.chunks(at_once).map(|chunk| Bytes::from(chunk.concat())).collect();
        let mut chunks = chunks.into_iter();
        (ChainId::new(chain), BlockHeight::new(0), Box::new(move || Ok(chunks.next())))
    }

    type Taken = Vec<(u32, u64, u8)>;

    fn merged(
        from: u64,
        feeds: Vec<(ChainId, BlockHeight, Feed)>,
        records_max: usize,
    ) -> Result<Taken, ReplayError> {
        let from = BlockHeight::new(from);
        let mut merged = Merged::new("them".to_owned(), from, feeds, Box::new(|_| ()));
        let mut taken = Vec::new();
        while let Some(chunk) = merged.next(records_max)? {
            let records = chunk.records().iter();
            taken.extend(
                records.map(|raw| (raw.chain.get(), raw.height.get(), raw.hash.as_bytes()[0])),
            );
        }
        Ok(taken)
    }

    #[test]
    fn chains_come_by_height_whatever_the_pieces() {
        for (at_once, records_max) in [(1, 1), (2, 3), (100, 100), (3, 1)] {
            let feeds = vec![
                feed(0, &[(1, 5), (1, 6), (2, 1), (3, 1)], at_once),
                feed(1, &[(3, 9)], at_once),
                feed(2, &[], at_once),
                feed(7, &[(1, 1), (2, 2), (5, 5)], at_once),
            ];
            let expected = [
                (0, 1, 5),
                (0, 1, 6),
                (7, 1, 1),
                (0, 2, 1),
                (7, 2, 2),
                (0, 3, 1),
                (1, 3, 9),
                (7, 5, 5),
            ];
            assert_eq!(merged(1, feeds, records_max).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_not_in_order_or_of_another_chain_ends_it() {
        for (records, text) in [
            (&[(3, 1), (2, 1)][..], "not in order"),
            (&[(3, 2), (3, 2)], "not in order"),
            (&[(3, 2), (3, 1)], "not in order"),
            (&[(2, 1)], "not in order"),
        ] {
            let error = merged(3, vec![feed(0, records, 1)], 10).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
        let (_, begin, other) = feed(1, &[(3, 1)], 1);
        let error = merged(3, vec![(ChainId::new(0), begin, other)], 10).unwrap_err();
        assert!(error.to_string().contains("of chain 1 among those of 0"), "{error}");
    }

    #[test]
    fn a_feed_that_fails_or_cuts_a_record_ends_it() {
        let cut: Feed = Box::new(|| Ok(Some(Bytes::from_static(&[0; LEN - 1]))));
        let zero = (ChainId::new(0), BlockHeight::new(0));
        let error = merged(0, vec![(zero.0, zero.1, cut)], 10).unwrap_err();
        assert!(error.to_string().contains("them: records are cut"), "{error}");
        let fails: Feed = Box::new(|| Err(io::Error::other("gone")));
        let error = merged(0, vec![(zero.0, zero.1, fails)], 10).unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }

    #[test]
    fn what_came_before_a_failure_is_given() {
        let mut pieces = vec![Err(io::Error::other("gone")), Ok(Some(record(0, 2, 1).to_vec()))];
        pieces.push(Ok(Some(record(0, 1, 1).to_vec())));
        let fails: Feed =
            Box::new(move || pieces.pop().unwrap_or(Ok(None)).map(|piece| piece.map(Bytes::from)));
        let feeds = vec![(ChainId::new(0), BlockHeight::new(0), fails)];
        let from = BlockHeight::new(0);
        let mut merged = Merged::new("them".to_owned(), from, feeds, Box::new(|_| ()));
        assert_eq!(merged.next(10).unwrap().unwrap().len(), 2);
        assert!(merged.next(10).unwrap_err().to_string().contains("gone"));
    }

    #[test]
    fn the_watcher_is_told_the_heights() {
        let (sender, heights) = std::sync::mpsc::channel();
        let feeds = vec![feed(0, &[(1, 1), (4, 1)], 1), feed(1, &[(2, 1)], 1)];
        let watcher = Box::new(move |height: BlockHeight| sender.send(height.get()).unwrap());
        let mut merged = Merged::new("them".to_owned(), BlockHeight::new(0), feeds, watcher);
        while merged.next(1).unwrap().is_some() {}
        drop(merged);
        assert_eq!(heights.iter().collect::<Vec<_>>(), [1, 2, 4]);
    }

    #[test]
    fn a_chain_that_begins_above_is_read_once_the_others_are_there() {
        use std::sync::atomic::{AtomicU64, Ordering};

        for others in [&[(1, 1), (2, 1), (3, 1), (4, 1)][..], &[(1, 1)], &[]] {
            let reached = std::sync::Arc::new(AtomicU64::new(0));
            let (_, _, mut above) = feed(1, &[(4, 2), (5, 2)], 1);
            let read = std::sync::Arc::clone(&reached);
            let above: Feed = Box::new(move || {
                assert!(read.load(Ordering::Relaxed) >= 4, "it is read too early");
                above()
            });
            let feeds = vec![feed(0, others, 1), (ChainId::new(1), BlockHeight::new(4), above)];
            let watcher = Box::new(move |height: BlockHeight| {
                reached.store(height.get(), Ordering::Relaxed);
            });
            let mut merged = Merged::new("them".to_owned(), BlockHeight::new(0), feeds, watcher);
            let mut heights = Vec::new();
            while let Some(chunk) = merged.next(1).unwrap() {
                heights.extend(chunk.records().iter().map(|raw| raw.height.get()));
            }
            let mut expected: Vec<u64> = others.iter().map(|(height, _)| *height).collect();
            expected.extend([4, 5]);
            assert_eq!(heights, expected);
        }
    }
}
