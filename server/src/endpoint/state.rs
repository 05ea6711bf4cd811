use std::collections::BTreeMap;

use http::Response;
use http::request::Parts;
use plait_engine::{QueryError, View};
use serde::Serialize;

use super::App;
use crate::error::Error;
use crate::metrics::Work;
use crate::request::{Media, negotiate};
use crate::response::{self, Body};

/// What the store holds, and what the server does beside answering.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct State {
    network: &'static str,
    version: &'static str,
    history: &'static str,
    format_version: u32,
    blocks: u64,
    /// Whether every block is; counts by level take a scan, which `plait info` makes.
    fully_verified: bool,
    cut: CutState,
    /// The lowest height of each chain that has blocks.
    lowest: BTreeMap<u32, u64>,
    #[serde(flatten)]
    work: Work,
}

#[derive(Debug, Serialize)]
struct CutState {
    height: u64,
    id: String,
}

/// `GET state`: what the store holds, and what the server does beside answering.
pub(crate) async fn state(app: &App, head: &Parts) -> Result<Response<Body>, Error> {
    let media = negotiate(&head.headers, Media::JSON)?;
    let history = app.bridge.reader().meta().history.name();
    let metrics = app.metrics.clone();
    let read = move |view: &View| State::read(view, history, metrics.work());
    let state = app.bridge.read_blocking(read).await?;
    let body = serde_json::to_vec(&state).map_err(|_| Error::Bug)?;
    Ok(response::json(media.content_type(), body.into()))
}

impl State {
    fn read(view: &View, history: &'static str, work: Work) -> Result<Self, QueryError> {
        let version = view.version();
        let blocks = view.total_block_count();
        let cut = view.cut(None)?;
        let lowest = version
            .chain_ids()
            .filter_map(|chain| view.lowest(chain).map(|height| (chain.get(), height.get())));
        Ok(Self {
            network: version.name(),
            version: env!("CARGO_PKG_VERSION"),
            history,
            format_version: view.format_version(),
            blocks,
            fully_verified: view.is_fully_verified()?,
            cut: CutState { height: cut.height(), id: cut.id().to_string() },
            lowest: lowest.collect(),
            work,
        })
    }
}
