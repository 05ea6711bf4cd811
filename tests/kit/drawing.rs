//! Drawn trees: `tree("0-1-2-3-4  2-3a-4a")` is a chain of five blocks and a fork above block 2.
//!
//! Each word is a path of labels. A label is the height, and letters to tell siblings apart. A path
//! that begins with a label known already goes on from there; else its first block begins a part of
//! its own, and `0` is the genesis block.
//!
//! At one height the hashes are in the order of the letters: first `7`, then `7a`, then `7b`.

use std::collections::BTreeMap;

use plait_engine::{
    BlockHash, BlockHeight, Bounds, BranchQuery, ChainId, Cursor, Header, RangeQuery,
};

use crate::block::{child, genesis, root};
use crate::database::Database;

/// The chain of every drawn block.
pub const CHAIN: ChainId = ChainId::new(0);

/// Letters that order siblings, and no letter.
const SIBLINGS_MAX: u8 = 27;

/// Blocks of one chain, by their labels.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    blocks: BTreeMap<String, Header>,
}

impl Drawing {
    /// Adds the blocks of `paths` and returns the new ones, parents before children.
    pub fn draw(&mut self, paths: &str) -> Vec<Header> {
        let mut new = Vec::new();
        for path in paths.split_whitespace() {
            let mut below: Option<Header> = None;
            for label in path.split('-') {
                let known = self.blocks.get(label).copied();
                let block = known.unwrap_or_else(|| {
                    let made = make(label, below.as_ref());
                    self.blocks.insert(label.to_owned(), made);
                    new.push(made);
                    made
                });
                if let Some(below) = below {
                    assert_eq!(block.view().parent(), below.view().hash(), "{label} in {path}");
                }
                below = Some(block);
            }
        }
        new
    }

    /// The block with this label.
    #[must_use]
    pub fn header(&self, label: &str) -> &Header {
        self.blocks.get(label).unwrap_or_else(|| panic!("no block {label} was drawn"))
    }

    /// The hash of the block with this label.
    #[must_use]
    pub fn hash(&self, label: &str) -> BlockHash {
        self.header(label).view().hash()
    }

    /// The label of a block, or its hash if it was not drawn.
    #[must_use]
    pub fn label(&self, hash: BlockHash) -> String {
        let mut blocks = self.blocks.iter();
        let drawn = blocks.find(|(_, header)| header.view().hash() == hash);
        drawn.map_or_else(|| hash.to_string(), |(label, _)| label.clone())
    }

    /// Hashes of the blocks with these labels.
    #[must_use]
    pub fn hashes(&self, labels: &str) -> Vec<BlockHash> {
        labels.split_whitespace().map(|label| self.hash(label)).collect()
    }
}

/// The block that a label stands for, above `below` or as the beginning of a part.
fn make(label: &str, below: Option<&Header>) -> Header {
    let letters = label.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let height = label.strip_suffix(letters).and_then(|height| height.parse().ok());
    let height: u64 = height.unwrap_or_else(|| panic!("{label} does not begin with a height"));
    let sibling = match letters.as_bytes() {
        [] => 0,
        [letter @ b'a'..=b'z'] => letter - b'a' + 1,
        _ => panic!("{label} has more than one letter"),
    };
    if below.is_none() && label == "0" {
        return genesis(CHAIN);
    }
    let share = u8::MAX / SIBLINGS_MAX;
    let place = sibling * share..(sibling + 1) * share;
    let mut candidates = (0..).map(|nonce| match below {
        Some(below) => child(below.view(), nonce),
        None => root(CHAIN, BlockHeight::new(height), sibling, nonce),
    });
    let block = candidates.find(|block| place.contains(&block.view().hash().as_bytes()[0]));
    let block = block.expect("some nonce gives such a hash");
    assert_eq!(block.view().height().get(), height, "the height of {label}");
    block
}

/// A [`Drawing`] that is stored.
pub struct DrawnTree {
    drawing: Drawing,
    database: Database,
}

/// Stores the blocks of `paths` in a database of their own.
#[must_use]
pub fn tree(paths: &str) -> DrawnTree {
    let mut tree = DrawnTree { drawing: Drawing::default(), database: Database::empty() };
    tree.add(paths);
    tree
}

/// Labels of upper bounds, separated by blanks.
#[must_use]
pub const fn upper(labels: &str) -> Upper<'_> {
    Upper(labels)
}

/// Labels of lower bounds, separated by blanks.
#[must_use]
pub const fn lower(labels: &str) -> Lower<'_> {
    Lower(labels)
}

/// Made by [`upper`].
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a>(&'a str);

/// Made by [`lower`].
#[derive(Clone, Copy, Debug)]
pub struct Lower<'a>(&'a str);

impl DrawnTree {
    /// Draws more blocks and stores them, in one commit.
    pub fn add(&mut self, paths: &str) {
        let new = self.drawing.draw(paths);
        self.database.add(&new);
    }

    /// The labels of the whole branch between these bounds.
    #[must_use]
    pub fn branch(&self, upper: Upper<'_>, lower: Lower<'_>) -> Vec<String> {
        self.branch_page(&self.query(upper, lower)).0
    }

    /// A branch query for everything between these bounds.
    #[must_use]
    pub fn query(&self, upper: Upper<'_>, lower: Lower<'_>) -> BranchQuery {
        let (upper, lower) = (self.drawing.hashes(upper.0), self.drawing.hashes(lower.0));
        let bounds = Bounds { upper, lower };
        BranchQuery { bounds, limit: usize::MAX, ..BranchQuery::default() }
    }

    /// Labels of a page of branches, and the next cursor as `inclusive:LABEL` or `exclusive:LABEL`.
    #[must_use]
    pub fn branch_page(&self, query: &BranchQuery) -> (Vec<String>, Option<String>) {
        let page = self.database.reader().view().branch_hashes(CHAIN, query);
        let page = page.expect("the bounds are stored");
        (self.labels(&page.items), page.next.map(|next| self.cursor_label(next)))
    }

    /// Labels of a page of all blocks, and the next cursor.
    #[must_use]
    pub fn range_page(&self, query: &RangeQuery) -> (Vec<String>, Option<String>) {
        let page = self.database.reader().view().range_hashes(CHAIN, query);
        let page = page.expect("the cursor is stored");
        (self.labels(&page.items), page.next.map(|next| self.cursor_label(next)))
    }

    /// The cursor that includes the block with this label.
    #[must_use]
    pub fn inclusive(&self, label: &str) -> Cursor {
        Cursor::Inclusive(self.drawing.hash(label))
    }

    /// The cursor that excludes the block with this label.
    #[must_use]
    pub fn exclusive(&self, label: &str) -> Cursor {
        Cursor::Exclusive(self.drawing.hash(label))
    }

    /// The label of the heaviest block.
    #[must_use]
    pub fn tip(&self) -> String {
        let tip = self.database.reader().view().tip(CHAIN).expect("a block was drawn");
        self.drawing.label(tip.hash)
    }

    /// The blocks.
    #[must_use]
    pub const fn drawing(&self) -> &Drawing {
        &self.drawing
    }

    /// The database.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    fn labels(&self, hashes: &[BlockHash]) -> Vec<String> {
        hashes.iter().map(|hash| self.drawing.label(*hash)).collect()
    }

    fn cursor_label(&self, cursor: Cursor) -> String {
        let label = self.drawing.label(cursor.hash());
        match cursor {
            Cursor::Inclusive(_) => format!("inclusive:{label}"),
            Cursor::Exclusive(_) => format!("exclusive:{label}"),
        }
    }
}
