//! A [`Forest`] in a database, and its oracle.

use std::collections::BTreeMap;

use plait_engine::{BlockHash, Header, QueryError, Records, View};

use crate::database::Database;
use crate::forest::Forest;
use crate::oracle::{Oracle, Unknown};

/// A forest that is stored.
pub struct Planted {
    database: Database,
    /// What its chain should answer.
    pub oracle: Oracle,
    headers: BTreeMap<BlockHash, Header>,
}

impl Planted {
    /// Stores the blocks of `forest`.
    #[must_use]
    pub fn new(forest: &Forest) -> Self {
        Self::in_order(forest, &[forest.blocks.clone(), forest.others.clone()])
    }

    /// Stores the blocks of `forest` as `commits` has them, commit after commit.
    #[must_use]
    pub fn in_order(forest: &Forest, commits: &[Vec<Header>]) -> Self {
        // Runs and windows of all lengths, the same for the same blocks.
        let blocks = u32::try_from(forest.blocks.len()).expect("a small forest");
        let mut database = Database::sealing(1 + blocks % 6, (blocks / 6 % 9).into());
        for commit in commits {
            database.add(commit);
        }
        let headers = forest.blocks.iter().map(|header| (header.view().hash(), *header)).collect();
        Self { database, oracle: Oracle::new(&forest.blocks), headers }
    }

    /// Closes its database and opens it again.
    #[must_use]
    pub fn reopen(self) -> Self {
        Self { database: self.database.reopen(), ..self }
    }

    /// The database as it is now.
    #[must_use]
    pub fn view(&self) -> View {
        self.database.reader().view()
    }

    /// Checks that `records` are the headers with these hashes, byte for byte.
    pub fn assert_headers(&self, records: &Records, hashes: &[BlockHash]) {
        let expected: Vec<Header> = hashes.iter().map(|hash| self.headers[hash]).collect();
        let got: Vec<Header> = records.iter().map(plait_engine::HeaderRef::to_owned).collect();
        assert_eq!(got, expected);
        assert_eq!(records.len(), expected.len());
        assert_eq!(records.is_empty(), expected.is_empty());
    }
}

/// Checks that a query failed for one of the `unknown` hashes.
pub fn assert_unknown<T>(result: Result<T, QueryError>, unknown: &Unknown) {
    match result {
        Err(QueryError::UnknownHash(hash)) => assert!(unknown.contains(&hash), "{hash} is known"),
        Err(QueryError::Store(error)) => panic!("{error}"),
        Err(QueryError::Cold) => panic!("the view waits for the disk"),
        Ok(_) => panic!("an answer, though {unknown:?} are unknown"),
    }
}
