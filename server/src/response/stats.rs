use bytes::Bytes;
use plait_engine::tally::BOUNDS;
use plait_engine::{ChainwebVersion, Micros, StatsRow};
use serde::Serialize;

/// Statistics: what rows have in common, then the rows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statistics<'a> {
    network: &'static str,
    /// Below which block times are in each bin but the last, in microseconds.
    block_time_bounds: Vec<i64>,
    rows: Vec<Row<'a>>,
}

/// What the blocks of some heights come to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<u32>,
    min_height: u64,
    max_height: u64,
    blocks: u64,
    orphans: u64,
    /// In decimal: it may take more than a number of JSON holds exactly.
    difficulty: String,
    /// The sum of the block times, in microseconds.
    time: i64,
    block_times: &'a [u32],
    hash_rate: Option<f64>,
    /// Microseconds since 1970.
    last_time: Option<i64>,
}

/// Statistics as `GET stats` answers them: JSON.
pub fn stats_json(rows: &[StatsRow], version: ChainwebVersion) -> Bytes {
    let statistics = Statistics {
        network: version.name(),
        block_time_bounds: BOUNDS.iter().copied().map(Micros::get).collect(),
        rows: rows.iter().map(Row::new).collect(),
    };
    let text = serde_json::to_vec(&statistics);
    debug_assert!(text.is_ok(), "a vector takes everything");
    let mut text = text.unwrap_or_default();
    // The buffer may be twice as long as the text, but only the text is charged to the budget.
    text.shrink_to_fit();
    text.into()
}

impl<'a> Row<'a> {
    fn new(row: &'a StatsRow) -> Self {
        let (first, last) = row.heights;
        let sums = &row.stats.sums;
        Self {
            chain: row.chain.map(plait_engine::ChainId::get),
            min_height: first.get(),
            max_height: last.get(),
            blocks: row.stats.blocks,
            orphans: row.stats.orphans,
            difficulty: sums.difficulty.to_string(),
            time: sums.time,
            block_times: sums.times.get(),
            hash_rate: row.hash_rate,
            last_time: row.stats.last.map(Micros::get),
        }
    }
}
