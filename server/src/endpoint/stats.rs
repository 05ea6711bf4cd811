use http::Response;
use http::request::Parts;
use plait_engine::{ChainId, Heights, QueryError, StatsRow, Steps, View};

use super::App;
use crate::error::Error;
use crate::request::{Media, Params, negotiate};
use crate::response::{self, Body};

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
    let render =
        move |view: &View| Ok(asked.rows(view)?.map(|rows| response::stats_json(&rows, version)));
    let body = app.bridge.read_blocking(render).await?;
    Ok(response::json(media.content_type(), body?))
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
    /// The rows, of heights that have blocks; an error if it would take too much.
    fn rows(&self, view: &View) -> Result<Result<Vec<StatsRow>, Error>, QueryError> {
        let Some(steps) = Steps::of(view, &self.chains, self.heights, self.step) else {
            return Ok(Ok(Vec::new()));
        };
        let got = steps.count().saturating_mul(self.chains.len() as u64);
        if got > self.steps_max as u64 {
            return Ok(Err(Error::Steps { got, max: self.steps_max }));
        }
        view.stats_rows(&self.chains, steps, self.by_chain).map(Ok)
    }
}
