//! Store → Apache Parquet, for engines that others wrote.
//!
//! Enters: a view of a database, and a folder. Leaves: a dataset, one row a header.
//!
//! ```text
//! DIR/chainwebVersion=mainnet01/_SUCCESS
//!                               chainId=0/0000000000-0000262143.parquet
//!                               chainId=0/0000262144-0000524287.parquet
//! ```
//!
//! `docs/analytics.md` has the columns, and queries. Modules are layers: each uses only those above it in
//! this list.
//!
//! - `D-1` What an export writes depends on the blocks that are held and on nothing else: not on the order
//!   in which they came, nor on what is sealed.
//! - `D-2` A file appears under its name when it is whole and durable. At no moment is a block in two files.
//! - `D-3` `_SUCCESS` is there if and only if the dataset is that of one view: it is removed before the
//!   first file is touched, and written behind the last.
//! - `D-4` Every row has all that is needed to make the 318 bytes of its header again, but for a weight of
//!   10^38 and more, which no work brings about.

mod error;

mod schema;

mod columns;

mod rows;

mod folder;

mod export;

pub use error::ParquetError;
pub use export::{Export, HEIGHTS, Progress, Summary};
pub use schema::schema;
