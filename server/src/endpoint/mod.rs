//! The endpoints, one file each: from a request's head and body to an answer.
//!
//! The order of checks is that of the reference: media type, query parameters, body, database.

mod archive;
mod backup;
mod batch;
mod blocks;
mod branch;
mod config;
mod cut;
mod explorer;
mod header;
mod headers;
mod health;
mod info;
mod openapi;
mod page;
mod payload;
mod peers;
mod state;
mod stats;
mod updates;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use plait_engine::archive::Folder;
use plait_engine::{ChainwebVersion, Reader};
use tokio::sync::watch;

pub(crate) use archive::archive;
pub(crate) use backup::{check_backup, make_backup};
pub(crate) use batch::{outputs_batch, payload_batch};
pub(crate) use blocks::{block_branch, blocks};
pub(crate) use branch::{hash_branch, header_branch};
pub(crate) use config::{Shown, config};
pub(crate) use cut::cut;
pub(crate) use explorer::explorer;
pub(crate) use header::header;
pub(crate) use headers::{hashes, headers};
pub(crate) use health::{health, ready};
pub(crate) use info::{Info, info};
pub(crate) use openapi::openapi;
pub(crate) use payload::{outputs, payload};
pub(crate) use peers::cut_peers;
pub(crate) use state::state;
pub(crate) use stats::stats;
pub(crate) use updates::updates;

use crate::backup::Jobs;
use crate::bridge::{Bridge, Phase};
use crate::budget::{Budget, Charge};
use crate::config::Config;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::openapi::Document;
use crate::request::{BodyBudget, BodyLimits};
use crate::updates::Updates;

/// What every endpoint works with.
pub(crate) struct App {
    pub(crate) bridge: Bridge,
    /// The budget for responses in progress.
    pub(crate) budget: Budget,
    pub(crate) config: Config,
    pub(crate) version: ChainwebVersion,
    /// What it answers, for whoever asks.
    pub(crate) document: Document,
    /// The archive that is offered, if any.
    pub(crate) archive: Option<Arc<Folder>>,
    /// Who makes backups, if clients may ask for them.
    pub(crate) backups: Option<Arc<Jobs>>,
    /// Event streams.
    pub(crate) updates: Updates,
    /// The memory budget of all request bodies.
    pub(crate) bodies: Arc<BodyBudget>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) metrics: Metrics,
}

impl App {
    /// An application that reads from `reader` and counts in `metrics`.
    pub(crate) fn new(
        reader: Reader,
        config: Config,
        metrics: Metrics,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        metrics.serve(&reader, config.connections_max, config.reads_max);
        let version = reader.version();
        let may_back_up = config.backup.api && !config.archive_only;
        let jobs = || Arc::new(Jobs::new(&reader, &config.backup, metrics.clone()));
        let backups = may_back_up.then(jobs);
        let bridge = Bridge::new(reader, &config, metrics.clone(), phase.clone());
        let budget = bridge.budget().clone();
        let updates = Updates::new(bridge.clone(), &config, metrics.clone());
        let archive = config.archive.as_deref().map(|dir| Arc::new(Folder::new(dir)));
        let document = Document::new(version, &config);
        let bodies = BodyBudget::new(config.bodies_bytes_max);
        Self {
            bridge,
            budget,
            config,
            version,
            document,
            archive,
            backups,
            updates,
            bodies,
            phase,
            metrics,
        }
    }

    /// Takes room for a response of this length.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if there is no room now.
    pub(crate) fn take_room(&self, bytes: usize) -> Result<Charge, Error> {
        self.budget.take(bytes).ok_or_else(|| {
            self.metrics.counters().responses_refused.fetch_add(1, Relaxed);
            Error::Memory
        })
    }

    /// The limits of a body of at most `bytes_max` bytes.
    pub(crate) const fn body_limits(&self, bytes_max: usize) -> BodyLimits {
        BodyLimits { bytes_max, time: self.config.body_time }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.metrics.close();
    }
}
