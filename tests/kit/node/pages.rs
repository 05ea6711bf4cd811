use std::collections::HashMap;

use plait_engine::header::text::{push_object, push_string};
use plait_engine::{BlockHash, ChainwebVersion, Header, HeaderRef};
use serde_json::json;

use super::Reply;

/// A page: the items, and the cursor behind them.
pub(super) type Page = (Vec<Header>, Option<String>);

pub(super) fn ascending(blocks: &[Header], query: &HashMap<&str, &str>, most: usize) -> Page {
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<u64>().ok());
    let (min, max) = (number("minheight"), number("maxheight"));
    let below = |height: u64| blocks.partition_point(|block| block.view().height().get() < height);
    let first = min.map_or(0, below);
    let end = max.and_then(|max| max.checked_add(1)).map_or(blocks.len(), below);
    let within = blocks.get(first..end).unwrap_or_default();
    let (items, next) = from_cursor(within, query, most);
    // The list is taken to grow.
    let last = items.last().map(|block| format!("exclusive:{}", block.view().hash()));
    (items, next.or(last))
}

/// A page of a branch, down to the requested minimum height.
pub(super) fn descending(
    mut branch: Vec<Header>,
    query: &HashMap<&str, &str>,
    most: usize,
) -> Page {
    let min = query.get("minheight").and_then(|text| text.parse().ok()).unwrap_or(0);
    branch.retain(|block| block.view().height().get() >= min);
    from_cursor(&branch, query, most)
}

fn from_cursor(blocks: &[Header], query: &HashMap<&str, &str>, most: usize) -> Page {
    let cursor = query.get("next").map(|next| next.replace("%3A", ":"));
    let mut rest = blocks;
    if let Some((kind, hash)) = cursor.as_ref().and_then(|cursor| cursor.split_once(':')) {
        let hash: Option<BlockHash> = hash.parse().ok();
        let at = blocks.iter().position(|block| Some(block.view().hash()) == hash);
        let first = at.map_or(blocks.len(), |at| at + usize::from(kind == "exclusive"));
        rest = blocks.get(first..).unwrap_or_default();
    }
    let limit = query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(most).min(most);
    let next = rest.get(limit).map(|block| format!("inclusive:{}", block.view().hash()));
    (rest.iter().take(limit).copied().collect(), next)
}

pub(super) fn page((items, next): &Page, item: fn(&Header) -> String) -> Reply {
    let items: Vec<String> = items.iter().map(item).collect();
    let next = next.as_ref().map_or("null".to_owned(), |next| format!("\"{next}\""));
    let count = items.len();
    Reply::Json(
        200,
        format!("{{\"limit\":{count},\"items\":[{}],\"next\":{next}}}", items.join(",")),
    )
}

pub(super) fn string(block: &Header) -> String {
    let mut text = Vec::new();
    push_string(&mut text, block.view());
    String::from_utf8_lossy(&text).into_owned()
}

pub(super) fn hash(block: &Header) -> String {
    format!("\"{}\"", block.view().hash())
}

pub(super) fn event(version: ChainwebVersion, header: HeaderRef<'_>) -> String {
    let mut object = Vec::new();
    push_object(&mut object, header, version);
    let object = String::from_utf8_lossy(&object);
    format!("event:BlockHeader\ndata:{{\"header\":{object},\"txCount\":0}}\n\n")
}

pub(super) fn not_found(key: &str) -> Reply {
    Reply::Json(404, json!({ "key": key, "reason": "key not found" }).to_string())
}
