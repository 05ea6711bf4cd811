use std::borrow::Cow;
use std::fmt;

use plait_engine::{BlockHeight, HashError, PayloadHash};
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
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
/// The whole body must be valid, but no more than `max` hashes are kept: a body of two megabytes
/// has 45,000 hashes, or 700,000 empty strings.
///
/// # Errors
///
/// - [`Error::BatchMissing`] if the body is empty, [`Error::Body`] if it is not JSON of this form.
/// - [`Error::BatchHash`] if an element is not a payload hash.
pub(crate) fn parse_batch(body: &[u8], max: usize) -> Result<Vec<Asked>, Error> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut hashes = Hashes { max, kept: Vec::new(), wrong: None };
    let heights = match body.trim_ascii_start().first() {
        None => return Err(Error::BatchMissing),
        Some(b'[') => (&mut hashes).deserialize(&mut json).map(|()| Vec::new()),
        Some(_) => json.deserialize_map(Object(&mut hashes)),
    };
    let heights = heights.and_then(|heights| json.end().map(|()| heights)).map_err(Error::Body)?;
    if let Some((got, source)) = hashes.wrong {
        return Err(Error::BatchHash { got, source });
    }
    let heights = heights.into_iter().map(Some).chain(std::iter::repeat(None));
    let asked = hashes.kept.into_iter().zip(heights);
    Ok(asked.map(|(hash, height)| Asked { hash, height }).collect())
}

/// The hashes of a batch: the first `max`, and the first string that is not a hash.
struct Hashes {
    max: usize,
    kept: Vec<PayloadHash>,
    wrong: Option<(String, HashError)>,
}

impl<'de> DeserializeSeed<'de> for &mut Hashes {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Hashes {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Text(&mut *self))?.is_some() {}
        Ok(())
    }
}

/// One string of the list.
struct Text<'a>(&'a mut Hashes);

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let Self(hashes) = self;
        // Errors in the JSON take precedence, so this reads on to the end.
        if hashes.wrong.is_none() {
            match text.parse() {
                Ok(hash) if hashes.kept.len() < hashes.max => hashes.kept.push(hash),
                Ok(_) => {}
                Err(source) => hashes.wrong = Some((excerpt(text), source)),
            }
        }
        Ok(())
    }
}

/// The body of a batch for later releases of the reference, with `hashes` and `heights`. Returns
/// the first `max` heights.
struct Object<'a>(&'a mut Hashes);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Vec<BlockHeight>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of hashes, or an object with the member \"hashes\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Vec<BlockHeight>, A::Error> {
        let Self(hashes) = self;
        let (mut has_hashes, mut heights) = (false, None);
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            match &*name {
                "hashes" if has_hashes => return Err(A::Error::duplicate_field("hashes")),
                "hashes" => {
                    members.next_value_seed(&mut *hashes)?;
                    has_hashes = true;
                }
                "heights" if heights.is_some() => return Err(A::Error::duplicate_field("heights")),
                "heights" => heights = Some(members.next_value_seed(Heights { max: hashes.max })?),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        if !has_hashes {
            return Err(A::Error::missing_field("hashes"));
        }
        Ok(heights.unwrap_or_default())
    }
}

/// A list of heights, or null for none: the first `max`.
struct Heights {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for Heights {
    type Value = Vec<BlockHeight>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Heights {
    type Value = Vec<BlockHeight>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while let Some(Whole(height)) = list.next_element()? {
            if kept.len() < self.max {
                kept.push(BlockHeight::new(height));
            }
        }
        Ok(kept)
    }
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
