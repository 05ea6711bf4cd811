use plait_engine::{BlockHeight, PayloadHash};
use serde::Deserialize;
use serde_json::Number;

use crate::error::{Error, excerpt};

/// A payload that a batch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Its hash.
    pub(crate) hash: PayloadHash,
    /// The height of a block that has it, if the client says so.
    pub(crate) height: Option<BlockHeight>,
}

/// The body of a batch as later releases of the reference take it.
#[derive(Debug, Deserialize)]
struct Body {
    hashes: Vec<String>,
    #[serde(default)]
    heights: Option<Vec<Whole>>,
}

/// A whole number as JSON has it: `7` and `7.0` are the same.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Number")]
struct Whole(u64);

impl TryFrom<Number> for Whole {
    type Error = String;

    fn try_from(number: Number) -> Result<Self, String> {
        // A sum with zero has no sign where it is zero.
        let float = number.as_f64().filter(|float| float.fract() == 0.0).map(|float| float + 0.0);
        let whole = || float.and_then(|float| format!("{float:.0}").parse().ok());
        let value = number.as_u64().or_else(whole);
        value.map(Self).ok_or_else(|| format!("expected a height, got {number}"))
    }
}

/// Reads what a batch asks for from a JSON body, a list of hashes or an object with `hashes` and
/// `heights`: the first `max` of them.
///
/// # Errors
///
/// - [`Error::BatchMissing`] if the body is empty, [`Error::Body`] if it is not JSON of this form.
/// - [`Error::BatchHash`] if an element is not a payload hash.
pub(crate) fn parse_batch(body: &[u8], max: usize) -> Result<Vec<Asked>, Error> {
    let (hashes, heights) = match body.trim_ascii_start().first() {
        None => return Err(Error::BatchMissing),
        // serde would read an array as the members in order.
        Some(b'[') => (serde_json::from_slice(body).map_err(Error::Body)?, None),
        Some(_) => {
            let Body { hashes, heights } = serde_json::from_slice(body).map_err(Error::Body)?;
            (hashes, heights)
        }
    };
    let hashes: Vec<String> = hashes;
    let heights =
        heights.unwrap_or_default().into_iter().map(|Whole(height)| Some(BlockHeight::new(height)));
    let heights = heights.chain(std::iter::repeat(None));
    let asked = hashes.iter().zip(heights).map(|(text, height)| {
        let hash = text.parse();
        let hash = hash.map_err(|source| Error::BatchHash { got: excerpt(text), source })?;
        Ok(Asked { hash, height })
    });
    let mut asked = asked.collect::<Result<Vec<_>, Error>>()?;
    asked.truncate(max);
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    fn hash(i: u8) -> PayloadHash {
        PayloadHash::new([i; 32])
    }

    fn parse(text: &str) -> Result<Vec<Asked>, Error> {
        parse_batch(text.as_bytes(), MAX)
    }

    #[test]
    fn list_and_object_are_read() {
        let [a, b] = [hash(1), hash(2)];
        let asked =
            |hash, height: Option<u64>| Asked { hash, height: height.map(BlockHeight::new) };
        assert_eq!(parse("[]").unwrap(), []);
        assert_eq!(
            parse(&format!(" [\"{b}\",\"{a}=\",\"{b}\"]\n")).unwrap(),
            [asked(b, None), asked(a, None), asked(b, None)]
        );
        for (heights, expected) in [
            ("", [None, None]),
            (r#","heights":null"#, [None, None]),
            (r#","heights":[7]"#, [Some(7), None]),
            (r#","heights":[7.0,-0.0]"#, [Some(7), Some(0)]),
            (r#","heights":[1e3,0]"#, [Some(1000), Some(0)]),
            (r#","heights":[7,18446744073709551615,3]"#, [Some(7), Some(u64::MAX)]),
        ] {
            let body = format!(r#"{{"x":{{}},"hashes":["{a}","{b}"]{heights}}}"#);
            assert_eq!(parse(&body).unwrap(), [asked(a, expected[0]), asked(b, expected[1])]);
        }
    }

    #[test]
    fn first_of_too_many_are_taken() {
        let hashes: Vec<String> = (0..9).map(|i| hash(i).to_string()).collect();
        let body = serde_json::json!(hashes).to_string();
        let asked = parse_batch(body.as_bytes(), 4).unwrap();
        assert_eq!(
            asked.iter().map(|asked| asked.hash).collect::<Vec<_>>(),
            [0, 1, 2, 3].map(hash)
        );
        assert_eq!(parse_batch(body.as_bytes(), 0).unwrap(), []);
    }

    #[test]
    fn bodies_of_another_form_are_refused() {
        assert!(matches!(parse(" \n"), Err(Error::BatchMissing)));
        let hash = hash(1);
        for text in [
            "nope".to_owned(),
            "{}".to_owned(),
            "null".to_owned(),
            format!("\"{hash}\""),
            format!("[\"{hash}\""),
            format!("[\"{hash}\"]1"),
            "[1]".to_owned(),
            "[null]".to_owned(),
            // White space, but not that of JSON.
            "\u{c}[]".to_owned(),
            format!("[[\"{hash}\"]]"),
            format!(r#"{{"heights":[1],"hashes":"{hash}"}}"#),
            // Twice, whichever of the two is wrong.
            format!(r#"{{"heights":[1],"hashes":["{hash}"],"heights":["x"]}}"#),
            format!(r#"{{"heights":["x"],"hashes":["{hash}"],"heights":[1]}}"#),
            format!(r#"{{"heights":[-1],"hashes":["{hash}"]}}"#),
            format!(r#"{{"heights":[-1.0],"hashes":["{hash}"]}}"#),
            format!(r#"{{"heights":[18446744073709551616],"hashes":["{hash}"]}}"#),
            format!(r#"{{"heights":[1.5],"hashes":["{hash}"]}}"#),
            format!(r#"{{"heights":["1"],"hashes":["{hash}"]}}"#),
            "[".repeat(100_000),
        ] {
            assert!(matches!(parse(&text), Err(Error::Body(_))), "{text}");
        }
        assert!(matches!(parse_batch(b"[\"\xff\"]", MAX), Err(Error::Body(_))));
    }

    #[test]
    fn text_that_is_no_hash_is_named() {
        let error = parse(&format!("[\"{}\",\"short\"]", hash(1))).unwrap_err();
        assert!(matches!(&error, Error::BatchHash { got, .. } if got == "short"));
        assert!(error.to_string().contains("\"short\""));
    }
}
