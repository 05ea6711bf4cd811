use std::collections::HashSet;

use plait_engine::{BlockHash, Bounds};
use serde::Deserialize;
use serde::de::Error as _;

use crate::error::{Error, excerpt};

/// The body of a branch query as it comes; members may be missing or null, so may the whole.
#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(default)]
    lower: Option<Vec<String>>,
    #[serde(default)]
    upper: Option<Vec<String>>,
}

/// Reads the bounds of a branch query from a JSON body; repeated bounds count once.
///
/// # Errors
///
/// - [`Error::BodyMissing`] if the body is empty, [`Error::Body`] if it is not JSON of this form.
/// - [`Error::BodyHash`] if a bound is not a block hash.
/// - [`Error::Bounds`] if a side has more than `max` different bounds.
pub(crate) fn parse_bounds(body: &[u8], max: usize) -> Result<Bounds, Error> {
    if body.trim_ascii().is_empty() {
        return Err(Error::BodyMissing);
    }
    // serde would read an array as the members in order.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Error::Body(serde_json::Error::custom("expected an object, got an array")));
    }
    let body: Option<Body> = serde_json::from_slice(body).map_err(Error::Body)?;
    let Body { lower, upper } = body.unwrap_or_default();
    Ok(Bounds { upper: side("upper", upper, max)?, lower: side("lower", lower, max)? })
}

fn side(
    side: &'static str,
    texts: Option<Vec<String>>,
    max: usize,
) -> Result<Vec<BlockHash>, Error> {
    let mut seen = HashSet::new();
    let mut hashes = Vec::new();
    for text in texts.unwrap_or_default() {
        let hash: BlockHash =
            text.parse().map_err(|source| Error::BodyHash { side, got: excerpt(&text), source })?;
        if seen.insert(hash) {
            hashes.push(hash);
        }
    }
    match hashes.len() {
        got if got > max => Err(Error::Bounds { side, got, max }),
        _ => Ok(hashes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 32;

    fn hash(i: u8) -> BlockHash {
        BlockHash::new([i; 32])
    }

    fn body(hashes: impl Iterator<Item = u8>) -> String {
        let texts: Vec<String> = hashes.map(|i| hash(i).to_string()).collect();
        serde_json::json!({ "upper": texts }).to_string()
    }

    #[test]
    fn members_may_be_missing_or_null() {
        for text in [
            "{}",
            " null ",
            r#"{"lower":null,"upper":null}"#,
            r#"{"upper":[]}"#,
            r#"{"lower":[],"other":{"deep":[1]}}"#,
        ] {
            assert_eq!(parse_bounds(text.as_bytes(), MAX).unwrap(), Bounds::default(), "{text}");
        }
    }

    #[test]
    fn bounds_keep_their_order_and_lose_repetitions() {
        let bounds = parse_bounds(body([3, 1, 3, 2, 1].into_iter()).as_bytes(), MAX).unwrap();
        assert_eq!(bounds.upper, [hash(3), hash(1), hash(2)]);
    }

    #[test]
    fn too_many_bounds_are_refused_after_repetitions_are_removed() {
        let full = body((0..32).chain(0..32));
        assert_eq!(parse_bounds(full.as_bytes(), MAX).unwrap().upper.len(), 32);
        let error = parse_bounds(body(0..33).as_bytes(), MAX).unwrap_err();
        assert!(matches!(error, Error::Bounds { side: "upper", got: 33, max: 32 }));
    }

    #[test]
    fn bodies_of_another_form_are_refused() {
        for text in ["", " \n", "\0"] {
            assert!(parse_bounds(text.as_bytes(), MAX).is_err(), "{text}");
        }
        for text in [
            "nope",
            "[]",
            " [[]]",
            "{",
            "{}{}",
            "1",
            r#"{"upper":"x"}"#,
            r#"{"upper":[1]}"#,
            r#"{"lower":{}}"#,
        ] {
            assert!(matches!(parse_bounds(text.as_bytes(), MAX), Err(Error::Body(_))), "{text}");
        }
        assert!(matches!(parse_bounds(b"\xff\xfe", MAX), Err(Error::Body(_))));
        let deep = "[".repeat(100_000);
        assert!(matches!(parse_bounds(deep.as_bytes(), MAX), Err(Error::Body(_))));
    }

    #[test]
    fn text_that_is_no_hash_is_named() {
        let error = parse_bounds(br#"{"lower":["short"]}"#, MAX).unwrap_err();
        assert!(matches!(&error, Error::BodyHash { side: "lower", got, .. } if got == "short"));
        assert!(error.to_string().contains("\"short\""));
    }
}
