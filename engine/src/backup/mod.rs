//! A store → a copy of one moment, and back.
//!
//! Enters: an open database, or one that another process has open. Leaves: a folder with the layout
//! of a database, by links where that can be; from it a database in a new place.
//!
//! - `I-1` A backup says `backup-done` only once every byte and every name of it is durable, and
//!   what was copied was opened and compared with what it is of. From then on no crash unmakes it.
//! - `I-2` Until then it has another name. A job whose process ended is `backup-failed`, and frees
//!   what it took as soon as the next one begins.
//! - `I-3` One job runs at a time in a folder of backups, whatever processes there are.
//! - `I-4` Nothing of the database changes but that it writes to tables what it has in memory, and
//!   not even that where another process has it open.
//! - `I-5` A restore writes nothing before the whole backup is verified, and never over anything.
//! - `I-6` Only folders are deleted whose file `status` says that they are backups, and unfinished ones
//!   by their name.
//!
//! ```text
//! {dir}/.lock                         held while a job runs, and its name
//! {dir}/.{id}.tmp/                    the same as below, in the making
//! {dir}/{id}/status                   backup-done, backup-in-progress or backup-failed
//! {dir}/{id}/contents.json            what it holds, and every file
//! {dir}/{id}/0/rocksDb/...            the database
//! {dir}/{id}/0/sqlite/...             those of Pact, if they were asked for
//! {dir}/{id}/error                    why it failed
//! ```
//!
//! # Source
//!
//! [`POST /make-backup`](https://github.com/kadena-io/chainweb-openapi) and `Chainweb.Backup` of
//! chainweb-node 2.32, whose layout this is but for `contents.json` and `error`.

mod check;
mod contents;
mod disk;
mod error;
mod folder;
mod id;
mod job;
mod listed;
mod pact;
mod place;
mod restore;
mod take;

pub use check::verify;
pub use contents::{Contents, FileEntry};
pub use error::BackupError;
pub use folder::{Backups, Begun};
pub use id::{BackupId, BackupIdError, Status};
pub use job::{Job, Origin, Request};
pub use listed::Listed;
pub use restore::{Event as RestoreEvent, Restore};
