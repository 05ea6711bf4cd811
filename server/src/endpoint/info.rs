use bytes::Bytes;
use http::Response;
use http::request::Parts;
use plait_engine::header::text::hash_map_rank;
use plait_engine::network::ChainGraph;
use plait_engine::{BlockHeight, ChainId, ChainwebVersion};
use serde::Serialize;

use super::App;
use crate::config::Config;
use crate::error::Error;
use crate::request::{Media, negotiate};
use crate::response::{self, Body};

/// `GET info`: which network this is, and what is fixed about it.
pub(crate) async fn info(app: &App, head: &Parts) -> Result<Response<Body>, Error> {
    let media = negotiate(&head.headers, Media::JSON)?;
    let cut = app.bridge.read_blocking(|view| view.cut(None)).await?;
    let height = cut.blocks().map(|(_, height, _)| height).max();
    let body =
        serde_json::to_vec(&Info::new(app.version, height, &app.config)).map_err(|_| Error::Bug)?;
    Ok(response::json(media.content_type(), Bytes::from(body)))
}

/// A graph as rows of a chain and its neighbours.
type Rows = Vec<(u32, Vec<u32>)>;

/// The members in the order of the reference, which is that of the alphabet. Chains stand in the
/// order of its hash map, as in cuts; graphs the newest first.
///
/// # Source
///
/// `Chainweb.RestAPI.NodeInfo`, and a response of 2.30 in Kadena's documentation. 3.2 has no
/// `nodeServiceDate`, but hack-a-chain's indexer rejects a response without it; null means "never".
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names are those of the protocol")]
pub(crate) struct Info {
    node_api_version: &'static str,
    node_block_delay: i64,
    node_chains: Vec<String>,
    node_genesis_heights: Vec<(String, u64)>,
    node_graph_history: Vec<(u64, Rows)>,
    node_historical_chains: Vec<(u64, Rows)>,
    node_latest_behavior_height: u64,
    node_number_of_chains: usize,
    node_package_version: String,
    node_service_date: Option<&'static str>,
    node_version: &'static str,
}

impl Info {
    /// What holds for a network whose highest block is at `height`.
    pub(crate) fn new(
        version: ChainwebVersion,
        height: Option<BlockHeight>,
        config: &Config,
    ) -> Self {
        let graph = version.graph_at(height.unwrap_or(BlockHeight::new(u64::MAX)));
        let history: Vec<(u64, Rows)> = version
            .graphs()
            .iter()
            .rev()
            .map(|(height, graph)| (height.get(), rows(*graph)))
            .collect();
        let begin = |chain: ChainId| version.genesis_height(chain).map_or(0, BlockHeight::get);
        Self {
            node_api_version: "0.0",
            node_block_delay: version.block_delay().get(),
            node_chains: ranked(graph.chain_ids()).iter().map(ChainId::to_string).collect(),
            node_genesis_heights: ranked(version.chain_ids())
                .into_iter()
                .map(|chain| (chain.to_string(), begin(chain)))
                .collect(),
            node_graph_history: history.clone(),
            node_historical_chains: history,
            node_latest_behavior_height: latest_behavior(version),
            node_number_of_chains: graph.order(),
            // Clients compare this with releases of chainweb-node.
            node_package_version: config.node_version.to_str().unwrap_or_default().to_owned(),
            node_service_date: None,
            node_version: version.name(),
        }
    }
}

/// The chains in the order of the reference's hash map.
fn ranked(chains: impl IntoIterator<Item = ChainId>) -> Vec<ChainId> {
    let mut chains: Vec<ChainId> = chains.into_iter().collect();
    chains.sort_unstable_by_key(|chain| hash_map_rank(*chain));
    chains
}

fn rows(graph: ChainGraph) -> Rows {
    let numbers = |chains: Vec<ChainId>| chains.into_iter().map(ChainId::get).collect();
    let row = |chain: ChainId| {
        graph.adjacent(chain).map(|adjacent| (chain.get(), numbers(ranked(adjacent))))
    };
    ranked(graph.chain_ids()).into_iter().filter_map(row).collect()
}

/// One above the height of the network's last fork.
///
/// # Source
///
/// `latestBehaviorAt` of `Chainweb.Version.*` at 3.2: `Chainweb31`, on testnet04 `Chainweb231Pact`.
/// Forks that activate at a fork number instead of a height do not count.
const fn latest_behavior(version: ChainwebVersion) -> u64 {
    match version {
        ChainwebVersion::Mainnet01 => 6_510_743,
        ChainwebVersion::Testnet04 => 5_783_986,
        ChainwebVersion::RecapDevelopment => 711,
        ChainwebVersion::Development => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_has_the_form_of_the_reference() {
        let info =
            Info::new(ChainwebVersion::Mainnet01, Some(BlockHeight::new(60)), &Config::default());
        let text = serde_json::to_string(&info).unwrap();
        // From an answer of chainweb-node 2.30 at height 60.
        assert!(text.starts_with(concat!(
            r#"{"nodeApiVersion":"0.0","nodeBlockDelay":30000000,"#,
            r#""nodeChains":["9","0","6","4","1","2","3","5","8","7"],"#,
            r#""nodeGenesisHeights":[["16",852054],["9",0],["0",0],"#,
        )));
        let history = concat!(
            "[[852054,[[16,[1,17,15]],[9,[6,4,7]],[0,[10,5,15]],[6,[9,1,8]],[4,[9,14,19]],",
            "[1,[16,6,11]],[2,[12,17,7]],[18,[3,17,19]],[14,[4,15,13]],[10,[0,11,19]],",
            "[3,[18,8,13]],[12,[2,11,13]],[5,[0,8,7]],[17,[16,2,18]],[11,[1,10,12]],",
            "[8,[6,3,5]],[7,[9,2,5]],[15,[16,0,14]],[13,[14,3,12]],[19,[4,18,10]]]],",
            "[0,[[9,[4,5,8]],[0,[2,3,5]],[6,[1,5,7]],[4,[9,1,2]],[1,[6,4,3]],[2,[0,4,7]],",
            "[3,[0,1,8]],[5,[9,0,6]],[8,[9,3,7]],[7,[6,2,8]]]]]",
        );
        assert!(text.contains(&format!(
            r#""nodeGraphHistory":{history},"nodeHistoricalChains":{history},"nodeLatest"#
        )));
        assert!(text.contains(r#""nodeNumberOfChains":10,"#));
        let end = r#""nodePackageVersion":"3.2","nodeServiceDate":null,"nodeVersion":"mainnet01"}"#;
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn chains_are_those_of_the_height_reached() {
        let config = Config::default();
        let info = |height| Info::new(ChainwebVersion::Mainnet01, height, &config);
        let chains = |height| info(height).node_chains.len();
        assert_eq!(chains(Some(BlockHeight::new(852_053))), 10);
        assert_eq!(chains(Some(BlockHeight::new(852_054))), 20);
        assert_eq!(chains(None), 20);
    }
}
