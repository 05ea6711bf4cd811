//! Backups → the lines of `plait backup list`.

use plait_engine::backup::{Contents, Listed};
use serde_json::json;

/// The lines of a table with a headline.
pub(super) fn table(listed: &[Listed]) -> Vec<String> {
    let headline = format!(
        "{:<18} {:<18} {:>12} {:>12} {:>15} {:>15}",
        "name", "status", "headers", "cut height", "bytes", "of its own"
    );
    [headline].into_iter().chain(listed.iter().map(row)).collect()
}

fn row(listed: &Listed) -> String {
    let Listed { id, status, contents, damage, own_bytes, cause } = listed;
    let number = |of: fn(&Contents) -> u64| {
        contents.as_ref().map_or_else(|| "-".to_owned(), |contents| of(contents).to_string())
    };
    let [blocks, height, bytes] =
        [number(|c| c.blocks), number(|c| c.cut_height), number(Contents::bytes)];
    let lost = contents.as_ref().and_then(|contents| contents.damaged_log.as_ref());
    let lost = lost.map(|lost| format!(" may lack the last writes: {lost}"));
    let damage = damage.as_ref().map(|damage| format!(" damaged: {damage}"));
    let cause = cause.as_ref().map(|cause| format!(" {cause}"));
    let cause = damage.or(cause).or(lost).unwrap_or_default();
    format!(
        "{:<18} {:<18} {blocks:>12} {height:>12} {bytes:>15} {own_bytes:>15}{cause}",
        id.as_str(),
        status.name()
    )
}

/// An object of JSON.
pub(super) fn object(listed: &Listed) -> String {
    let Listed { id, status, contents, damage, own_bytes, cause } = listed;
    let contents = contents.as_ref().map(|contents| {
        json!({
            "network": contents.network,
            "damagedLog": contents.damaged_log,
            "blocks": contents.blocks,
            "cutHeight": contents.cut_height,
            "cutId": contents.cut_id,
            "files": contents.files.len(),
            "bytes": contents.bytes(),
        })
    });
    json!({
        "id": id.as_str(),
        "status": status.name(),
        "contents": contents,
        "damage": damage,
        "ownBytes": own_bytes,
        "cause": cause,
    })
    .to_string()
}
