//! What can be configured: one table of settings for flags, environment and file.
//!
//! Enters: a file, flags, variables of the environment. Leaves: [`Settings`].
//!
//! - `I-1` Flags win over the environment, that over the file, and that over the defaults.
//! - `I-2` A setting is one row of [`rows`]: its key in the file, its flag, what it means, and what
//!   it may be. Its variable in the environment is `PLAIT_` and the name of the flag.
//! - `I-3` What [`print`] writes is read as the same settings.

mod bounds;
mod data_rows;
mod field;
mod file;
mod flags;
mod print;
mod row;
mod rows;
mod shown;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use plait::{Config, Follow, Ingest};
use plait_engine::store::CacheSizes;

pub(super) use file::FileError;
pub(super) use flags::{Flags, FollowFlags, LogFlags};
pub(super) use print::print;
pub(super) use shown::shown;

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// All that can be configured.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    /// The folder of the database.
    pub(super) db: Option<PathBuf>,
    /// Whether nothing is written.
    pub(super) read_only: bool,
    /// Time between two looks for what another process wrote.
    pub(super) refresh_time: Duration,
    /// Where the API listens.
    pub(super) listen: SocketAddr,
    /// What is offered beside the database, backups, limits.
    pub(super) config: Config,
    /// Where blocks may be pushed.
    pub(super) ingest: Ingest,
    /// Which nodes are followed.
    pub(super) follow: Follow,
    /// Where metrics are offered.
    pub(super) metrics: Option<SocketAddr>,
    /// What is kept in memory.
    pub(super) caches: CacheSizes,
    /// What is logged, as `tracing_subscriber` reads it.
    pub(super) log: String,
    /// The form of the log.
    pub(super) log_format: LogFormat,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            db: None,
            read_only: false,
            refresh_time: Duration::from_secs(1),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 1848)),
            config: Config::default(),
            ingest: Ingest::default(),
            follow: Follow::default(),
            metrics: None,
            caches: CacheSizes::default(),
            log: "info".to_owned(),
            log_format: LogFormat::Text,
        }
    }
}

impl Settings {
    /// What `file` says, and defaults for the rest.
    ///
    /// # Errors
    ///
    /// [`FileError`] if there is a file and it cannot be read or says something that is not known.
    pub(super) fn load(file: Option<&Path>) -> Result<Self, FileError> {
        let mut settings = Self::default();
        if let Some(path) = file {
            file::read(path, &mut settings)?;
        }
        Ok(settings)
    }

    /// What flags and environment say, else what `file` says, else defaults.
    ///
    /// # Errors
    ///
    /// As for [`Settings::load`].
    pub(super) fn resolve(
        file: Option<&Path>,
        flags: &Flags,
        log: &LogFlags,
    ) -> Result<Self, FileError> {
        let mut settings = Self::load(file)?;
        flags.apply(&mut settings);
        log.apply(&mut settings);
        Ok(settings)
    }
}
