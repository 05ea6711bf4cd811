use bytes::Bytes;
use http::Response;
use http::request::Parts;
use serde::Serialize;

use super::App;
use crate::address::Peer;
use crate::error::Error;
use crate::request::{Media, PeerRange, negotiate};
use crate::response::{self, Body};

/// `GET cut/peer`: a page of the nodes in the setting `peers`. Plait does not join the peer-to-peer
/// network, so it knows no others.
pub(crate) fn cut_peers(app: &App, head: &Parts) -> Result<Response<Body>, Error> {
    let media = negotiate(&head.headers, Media::JSON)?;
    let range = PeerRange::parse(head.uri.query())?;
    let body = serde_json::to_vec(&Page::of(&app.config.peers, range)).map_err(|_| Error::Bug)?;
    Ok(response::json(media.content_type(), Bytes::from(body)))
}

/// A page, in the format of the reference.
#[derive(Debug, Serialize)]
struct Page<'a> {
    limit: usize,
    items: Vec<Item<'a>>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Item<'a> {
    id: Option<&'a str>,
    address: Address<'a>,
}

#[derive(Debug, Serialize)]
struct Address<'a> {
    hostname: &'a str,
    port: u16,
}

impl<'a> Page<'a> {
    /// The page of `peers` for `range`.
    fn of(peers: &'a [Peer], range: PeerRange) -> Self {
        let rest = peers.get(range.first..).unwrap_or_default();
        let items: Vec<Item<'a>> = rest.iter().take(range.limit).map(Item::of).collect();
        let after = range.first.saturating_add(items.len());
        let next = (items.len() < rest.len()).then(|| format!("inclusive:{after}"));
        Self { limit: items.len(), items, next }
    }
}

impl<'a> Item<'a> {
    fn of(peer: &'a Peer) -> Self {
        let Peer { id, hostname, port } = peer;
        Self { id: id.as_deref(), address: Address { hostname, port: *port } }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn page(peers: &[Peer], range: PeerRange) -> Value {
        json!(Page::of(peers, range))
    }

    #[test]
    fn pages_join_to_the_list() {
        let peers: Vec<Peer> = (1..=7).map(|i| format!("n{i}:{i}").parse().unwrap()).collect();
        for limit in 1..9 {
            let (mut range, mut hosts) = (PeerRange { first: 0, limit }, Vec::new());
            loop {
                let page = page(&peers, range);
                let items = page["items"].as_array().unwrap();
                assert_eq!(page["limit"], items.len());
                hosts.extend(items.iter().map(|item| item["address"]["hostname"].clone()));
                let Some(next) = page["next"].as_str() else { break };
                let query = format!("next={next}&limit={limit}");
                range = PeerRange::parse(Some(&query)).unwrap();
            }
            assert_eq!(hosts, ["n1", "n2", "n3", "n4", "n5", "n6", "n7"], "{limit}");
        }
        let none = json!({ "limit": 0, "items": [], "next": null });
        assert_eq!(page(&[], PeerRange { first: 0, limit: 64 }), none);
        assert_eq!(page(&peers, PeerRange { first: 8, limit: 64 }), none);
    }
}
