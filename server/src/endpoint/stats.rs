use http::Response;
use http::request::Parts;
use plait_engine::{ChainId, Heights, Steps, View};

use super::App;
use crate::error::Error;
use crate::request::{Media, Params, negotiate};
use crate::response::{self, Body};

/// The most runs of headers that are read to add them up, 21 MB.
const RUNS_MAX: u64 = 256;

/// `GET stats` and `GET chain/{chain}/stats`: counts and sums of the blocks of a range of heights, for each
/// `step` of them.
pub(crate) async fn stats(
    app: &App,
    head: &Parts,
    chain: Option<ChainId>,
) -> Result<Response<Body>, Error> {
    let media = negotiate(&head.headers, Media::JSON)?;
    let query = head.uri.query();
    let heights = Params::heights(query)?;
    if let (Some(min), Some(max)) = (heights.min, heights.max)
        && min > max
    {
        return Err(Error::Empty { min, max });
    }
    let asked = Asked {
        chains: chain.map_or_else(|| app.version.chain_ids().collect(), |chain| vec![chain]),
        heights,
        step: Params::step(query)?,
        by_chain: chain.is_some() || Params::by_chain(query)?,
        steps_max: app.config.stats_steps_max,
    };
    let version = app.version;
    let Some((steps, rows)) = asked.plan(&app.bridge.reader().view())? else {
        return Ok(response::json(media.content_type(), response::stats_json(&[], version)));
    };
    let render = move |view: &View| {
        let rows = view.stats_rows(&asked.chains, steps, asked.by_chain)?;
        Ok(response::stats_json(&rows, version))
    };
    let body = app.bridge.read_slowly(rows, render).await?;
    Ok(response::json(media.content_type(), body))
}

/// What is asked for.
struct Asked {
    chains: Vec<ChainId>,
    heights: Heights,
    /// All heights together, without it.
    step: Option<u64>,
    by_chain: bool,
    /// Steps of a chain, of all chains together, that are added up at most.
    steps_max: usize,
}

impl Asked {
    /// The steps to answer with, and about how many rows of the database they read; `None` if there are no
    /// blocks.
    ///
    /// If a step begins inside a run of 256 headers, that run has to be read: 81 kB for one row of the
    /// response. If there are too many such steps, they are rounded up to whole runs, whose sums are
    /// stored.
    fn plan(&self, view: &View) -> Result<Option<(Steps, u64)>, Error> {
        let Some(steps) = Steps::of(view, &self.chains, self.heights, self.step) else {
            return Ok(None);
        };
        let got = steps.count_of(view, &self.chains);
        if got > self.steps_max as u64 {
            return Err(Error::Steps { got, max: self.steps_max });
        }
        let cost = view.stats_cost(&self.chains, steps);
        if cost.runs <= RUNS_MAX {
            return Ok(Some((steps, cost.in_rows())));
        }
        let steps = steps.rounded(view.run_heights());
        let cost = view.stats_cost(&self.chains, steps);
        if cost.runs > RUNS_MAX {
            return Err(Error::NoSums);
        }
        Ok(Some((steps, cost.in_rows())))
    }
}
