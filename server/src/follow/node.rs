use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use plait_engine::header::{LEN, text};
use plait_engine::{BlockHash, BlockHeight, ChainId, ChainwebVersion, PayloadHash, RawHeader};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zerocopy::FromBytes;

use super::answer::{Answer, Media};
use super::client::Client;
use super::error::FollowError;
use super::lies::Lies;
use crate::address::Upstream;

/// The media types to request for headers: the shorter form, if the node has it.
pub(super) const HEADERS: &str = "application/octet-stream, application/json;q=0.5";

const JSON: &str = "application/json";

/// Bytes of `info` and `cut`.
const SMALL_BYTES: usize = 1 << 20;

/// Bytes of a page in JSON: twice as many as 4,096 hashes or 360 headers have.
pub(super) const PAGE_BYTES: usize = 1 << 20;

/// Bytes of a batch of payloads.
const PAYLOAD_BYTES: usize = 32 << 20;

/// A node to ask.
#[derive(Clone, Debug)]
pub(super) struct Node {
    client: Client,
    upstream: Upstream,
    lies: Arc<Lies>,
}

/// The cut of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeCut {
    /// The sum of the heights.
    pub(super) height: u64,
    pub(super) members: BTreeMap<ChainId, (BlockHeight, BlockHash)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    node_version: String,
}

#[derive(Deserialize)]
struct CutText {
    hashes: BTreeMap<String, Member>,
    #[serde(default)]
    instance: Option<String>,
}

#[derive(Deserialize)]
struct Member {
    height: u64,
    hash: String,
}

/// A page of strings: of hashes, or of headers.
#[derive(Debug, Deserialize)]
pub(super) struct PageText {
    pub(super) items: Vec<String>,
    #[serde(default)]
    pub(super) next: Option<String>,
}

impl Node {
    pub(super) const fn new(client: Client, upstream: Upstream, lies: Arc<Lies>) -> Self {
        Self { client, upstream, lies }
    }

    /// The same address, over a new connection for each request: behind a load balancer that may be
    /// another node.
    pub(super) fn opening(&self) -> Self {
        Self { client: self.client.opening(), ..self.clone() }
    }

    /// The same node, given up as soon as it is silent.
    pub(super) fn brief(&self) -> Self {
        Self { client: self.client.brief(), ..self.clone() }
    }

    /// Whether it is given up that soon.
    pub(super) const fn is_brief(&self) -> bool {
        self.client.is_brief()
    }

    /// The network that the node has to be on.
    pub(super) fn version(&self) -> ChainwebVersion {
        self.lies.version()
    }

    /// The blocks of this node that are known to be false.
    pub(super) const fn lies(&self) -> &Arc<Lies> {
        &self.lies
    }

    /// Its name in messages.
    pub(super) fn name(&self) -> String {
        self.upstream.to_string()
    }

    /// The name of the network that it is on.
    pub(super) async fn network(&self) -> Result<String, FollowError> {
        let answer = self.client.ask(&self.upstream, "/info", JSON, None).await?.successful()?;
        let info: Info = parsed(answer, SMALL_BYTES, "the info of a node").await?;
        Ok(info.node_version)
    }

    /// Makes sure that the node is on the followed network.
    pub(super) async fn check_network(&self) -> Result<(), FollowError> {
        let got = self.network().await?;
        let expected = self.version().name();
        if got == expected { Ok(()) } else { Err(FollowError::Network { got, expected }) }
    }

    /// Its cut.
    pub(super) async fn cut(&self) -> Result<NodeCut, FollowError> {
        let answer = self.get("/cut", JSON).await?;
        if answer.status() == StatusCode::NOT_FOUND && answer.media() == Media::Json {
            return Err(FollowError::Empty);
        }
        let answer = answer.successful()?;
        let path = answer.path().to_owned();
        let cut: CutText = parsed(answer, SMALL_BYTES, "a cut").await?;
        let wrong = |text: String| FollowError::content(&path, text);
        if let Some(instance) = cut.instance.filter(|name| name != self.version().name()) {
            let expected = self.version().name();
            return Err(FollowError::Network { got: instance, expected });
        }
        let mut members = BTreeMap::new();
        for (chain, Member { height, hash }) in cut.hashes {
            let known = self.version().chain_ids().find(|known| known.to_string() == chain);
            let known = known.ok_or_else(|| wrong(format!("there is no chain {chain:?}")))?;
            let hash = hash.parse().map_err(|_| wrong(format!("{hash:?} is not a block hash")))?;
            members.insert(known, (BlockHeight::new(height), hash));
        }
        if members.is_empty() {
            return Err(wrong("the cut has no blocks".to_owned()));
        }
        let heights = members.values().map(|(height, _)| height.get());
        let height = heights.fold(0_u64, u64::saturating_add);
        Ok(NodeCut { height, members })
    }

    /// The blocks of `chain` at these heights, ascending; if there are pages, the first one.
    pub(super) async fn range(
        &self,
        chain: ChainId,
        (min, max): (u64, u64),
    ) -> Result<Answer, FollowError> {
        let path = format!("/chain/{chain}/header?minheight={min}&maxheight={max}");
        self.get(&path, HEADERS).await?.successful()
    }

    /// The lowest of these heights at which `chain` has a block, if any.
    pub(super) async fn lowest(
        &self,
        chain: ChainId,
        (min, max): (u64, u64),
    ) -> Result<Option<u64>, FollowError> {
        let path = format!("/chain/{chain}/header?minheight={min}&maxheight={max}&limit=1");
        let answer = self.get(&path, JSON).await?.successful()?;
        let page: PageText = parsed(answer, PAGE_BYTES, "a page of headers").await?;
        // A node that ignores the limit may answer in any order.
        let heights = page.items.iter().map(|item| raw(&path, item).map(|raw| raw.height.get()));
        let height = heights.collect::<Result<Vec<u64>, _>>()?.into_iter().min();
        if height.is_some_and(|height| height < min || height > max) {
            return Err(FollowError::content(&path, "blocks of heights that were not requested"));
        }
        Ok(height)
    }

    /// The hashes of the blocks of `chain` at this height, from the first page. It has all of them,
    /// unless somebody made more on purpose.
    pub(super) async fn hashes_at(
        &self,
        chain: ChainId,
        height: u64,
    ) -> Result<Vec<BlockHash>, FollowError> {
        let page = self.hashes(chain, (height, Some(height)), None).await?;
        let parsed = page.items.iter().map(|text| {
            let wrong = |_| FollowError::content("hash", format!("{text:?} is not a block hash"));
            text.parse().map_err(wrong)
        });
        parsed.collect()
    }

    /// `upper` and its ancestors down to height `min`, descending; if there are pages, the first
    /// one.
    ///
    /// # Errors
    ///
    /// [`FollowError::Unknown`] if the node does not know `upper`.
    pub(super) async fn branch(
        &self,
        chain: ChainId,
        upper: BlockHash,
        min: u64,
    ) -> Result<Answer, FollowError> {
        let path = format!("/chain/{chain}/header/branch?minheight={min}");
        let bounds = serde_json::json!({ "upper": [upper.to_string()], "lower": [] });
        known(self.post(&path, HEADERS, bounds.to_string()).await?, upper).await
    }

    /// A page of the hashes of `chain` at these heights, ascending.
    pub(super) async fn hashes(
        &self,
        chain: ChainId,
        (min, max): (u64, Option<u64>),
        next: Option<&str>,
    ) -> Result<PageText, FollowError> {
        let cursor = next.map_or_else(String::new, |next| format!("&next={next}"));
        let max = max.map_or_else(String::new, |max| format!("&maxheight={max}"));
        let path = format!("/chain/{chain}/hash?minheight={min}{max}{cursor}");
        let answer = self.get(&path, JSON).await?.successful()?;
        parsed(answer, PAGE_BYTES, "a page of hashes").await
    }

    /// The block with this hash.
    pub(super) async fn header(
        &self,
        chain: ChainId,
        hash: BlockHash,
    ) -> Result<RawHeader, FollowError> {
        let path = format!("/chain/{chain}/header/{hash}");
        let answer = known(self.get(&path, HEADERS).await?, hash).await?;
        let (path, media) = (answer.path().to_owned(), answer.media());
        let wrong = || FollowError::content(&path, "expected a header");
        let body = answer.whole(4 * LEN).await?;
        let header = if media == Media::Octets {
            RawHeader::read_from_bytes(&body).map_err(|_| wrong())?
        } else {
            let text: String = serde_json::from_slice(&body).map_err(|_| wrong())?;
            raw(&path, &text)?
        };
        let fits = header.hash == hash && header.chain.get() == chain.get();
        if fits { Ok(header) } else { Err(FollowError::content(&path, "another block")) }
    }

    /// The stored ones of these payloads, as a list in JSON, and the requested path.
    pub(super) async fn payloads(
        &self,
        chain: ChainId,
        hashes: &[PayloadHash],
    ) -> Result<(String, Bytes), FollowError> {
        let path = format!("/chain/{chain}/payload/outputs/batch");
        let hashes: Vec<String> = hashes.iter().map(PayloadHash::to_string).collect();
        let body = serde_json::Value::from(hashes).to_string();
        let answer = self.post(&path, JSON, body).await?.successful()?;
        let path = answer.path().to_owned();
        Ok((path, answer.json(PAYLOAD_BYTES).await?))
    }

    /// Its stream of new blocks; `None` if it has no such stream.
    pub(super) async fn updates(&self) -> Result<Option<Answer>, FollowError> {
        let answer = self.get("/header/updates", "text/event-stream").await?;
        let has_none = matches!(
            answer.status(),
            StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_ACCEPTABLE
                | StatusCode::NOT_IMPLEMENTED
        );
        if has_none {
            return Ok(None);
        }
        let answer = answer.successful()?;
        Ok((answer.media() == Media::Events).then_some(answer))
    }

    async fn get(&self, path: &str, accept: &'static str) -> Result<Answer, FollowError> {
        self.client.ask(&self.upstream, &self.path(path), accept, None).await
    }

    async fn post(
        &self,
        path: &str,
        accept: &'static str,
        body: String,
    ) -> Result<Answer, FollowError> {
        self.client.ask(&self.upstream, &self.path(path), accept, Some(body)).await
    }

    fn path(&self, path: &str) -> String {
        format!("/chainweb/0.0/{}{path}", self.version())
    }
}

/// Returns the answer if it is a success, and the error that `hash` is unknown if it is a 404.
async fn known(answer: Answer, hash: BlockHash) -> Result<Answer, FollowError> {
    if answer.status() != StatusCode::NOT_FOUND {
        return answer.successful();
    }
    // Read the body, so that the connection can be used again.
    answer.whole(SMALL_BYTES).await?;
    Err(FollowError::Unknown(hash))
}

async fn parsed<T: DeserializeOwned>(
    answer: Answer,
    bytes_max: usize,
    what: &str,
) -> Result<T, FollowError> {
    let path = answer.path().to_owned();
    let body = answer.json(bytes_max).await?;
    from_json(&path, &body, what)
}

/// The meaning of a JSON text, which should be `what`.
pub(super) fn from_json<'a, T: Deserialize<'a>>(
    path: &str,
    body: &'a [u8],
    what: &str,
) -> Result<T, FollowError> {
    serde_json::from_slice(body).map_err(|error| {
        let wrong = if error.is_data() {
            format!("the answer is not {what}")
        } else {
            format!("the answer is not JSON: {error}")
        };
        FollowError::content(path, wrong)
    })
}

/// The header that a string is.
pub(super) fn raw(path: &str, text: &str) -> Result<RawHeader, FollowError> {
    let header = text::from_string(text);
    let header = header.map_err(|error| FollowError::content(path, error.to_string()))?;
    Ok(*header.view().raw())
}
