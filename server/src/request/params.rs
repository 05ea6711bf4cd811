use std::borrow::Cow;

use percent_encoding::percent_decode;
use plait_engine::{BlockHeight, Cursor, Heights};

use crate::error::{Error, excerpt};

/// The query parameters of every endpoint; if one is repeated, the first counts.
/// [`QueryRule`](super::QueryRule) decides whether to ignore others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params {
    /// `limit`: items wanted at most.
    pub(crate) limit: Option<usize>,
    /// `next`: where to resume.
    pub(crate) next: Option<Cursor>,
    /// `minheight`, `maxheight`.
    pub(crate) heights: Heights,
}

impl Params {
    /// Reads the query of a URI, the part behind `?`.
    ///
    /// A parameter without `=` counts as absent, as in the reference. Numbers too large for their
    /// type are as good as the largest.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if a value does not parse.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Error> {
        Ok(Self {
            limit: find(query, "limit", "a number of items", index)?,
            next: find(query, "next", "inclusive:HASH or exclusive:HASH", |text| {
                text.parse().ok()
            })?,
            heights: Self::heights(query)?,
        })
    }

    /// Reads `minheight` and `maxheight` from the query of a URI.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if a value does not parse.
    pub(crate) fn heights(query: Option<&str>) -> Result<Heights, Error> {
        Ok(Heights {
            min: find(query, "minheight", "a block height", height)?,
            max: Self::height_max(query)?,
        })
    }

    /// Reads `maxheight` from the query of a URI, where no other parameter counts.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if its value does not parse.
    pub(crate) fn height_max(query: Option<&str>) -> Result<Option<BlockHeight>, Error> {
        find(query, "maxheight", "a block height", height)
    }

    /// Reads `height` from the query of a URI: of a block that has what is asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if its value does not parse.
    pub(crate) fn height(query: Option<&str>) -> Result<Option<BlockHeight>, Error> {
        find(query, "height", "a block height", height)
    }

    /// Reads `step` from the query of a URI: heights that are told of together.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if its value is no number above 0.
    pub(crate) fn step(query: Option<&str>) -> Result<Option<u64>, Error> {
        let step = |text: &str| number(text).filter(|step| *step > 0);
        find(query, "step", "a number of heights, at least 1", step)
    }

    /// Reads `by` from the query of a URI: whether each chain is told of by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if its value is not `chain`.
    pub(crate) fn by_chain(query: Option<&str>) -> Result<bool, Error> {
        let by = find(query, "by", "chain", |text| (text == "chain").then_some(()))?;
        Ok(by.is_some())
    }

    /// Items to put on a page of at most `max`.
    pub(crate) fn limit_of(&self, max: usize) -> usize {
        self.limit.map_or(max, |limit| limit.min(max))
    }
}

/// The query parameters of a page of peers. Its cursor is an item number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerRange {
    /// The first item.
    pub(crate) first: usize,
    /// Maximum number of items.
    pub(crate) limit: usize,
}

impl PeerRange {
    /// The default and the maximum of `limit`, as in `P2P.Node.RestAPI.Server`.
    const LIMITS: (usize, usize) = (64, 512);

    /// Reads `limit` and `next` from the query of a URI.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if a value does not parse.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Error> {
        let (usual, max) = Self::LIMITS;
        let limit = find(query, "limit", "a number of items", index)?.unwrap_or(usual).min(max);
        let first = find(query, "next", "inclusive:NUMBER or exclusive:NUMBER", |text| match text
            .split_once(':')?
        {
            ("inclusive", at) => index(at),
            ("exclusive", at) => index(at).map(|at| at.saturating_add(1)),
            _ => None,
        })?;
        Ok(Self { first: first.unwrap_or(0), limit })
    }
}

fn find<T>(
    query: Option<&str>,
    name: &'static str,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Error> {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, raw)) = pairs.into_iter().find(|(key, _)| decode(key) == name) else {
        return Ok(None);
    };
    let text = decode(raw);
    match parse(&text) {
        Some(value) => Ok(Some(value)),
        None => Err(Error::Parameter { name, expected, got: excerpt(&text) }),
    }
}

/// Decodes a key or a value of a form: `+` is a space, `%3A` a colon. What is no UTF-8 turns into
/// a character that parses as nothing.
pub(super) fn decode(raw: &str) -> Cow<'_, str> {
    if !raw.contains(['+', '%']) {
        return Cow::Borrowed(raw);
    }
    let spaced = raw.replace('+', " ");
    Cow::Owned(percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned())
}

/// A number of decimal digits only; too large ones are the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// A number of items; too large numbers become the maximum.
fn index(text: &str) -> Option<usize> {
    number(text).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

fn height(text: &str) -> Option<BlockHeight> {
    number(text).map(BlockHeight::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "qgsxD1G5m8dGZ4W9nMKBotU2I10ilURkRIE3_UKHlLM";

    fn parse(query: &str) -> Result<Params, Error> {
        Params::parse(Some(query))
    }

    #[test]
    fn absent_parameters_leave_the_defaults() {
        for query in ["", "t=json", "chain=0&t=json", "limit", "&&=&", "Limit=x", "%", "limit&next"]
        {
            assert_eq!(parse(query).unwrap(), Params::default(), "{query}");
        }
        assert_eq!(Params::parse(None).unwrap(), Params::default());
    }

    #[test]
    fn values_are_percent_decoded() {
        let cursor = format!("inclusive:{HASH}").parse().unwrap();
        for next in [format!("next=inclusive:{HASH}"), format!("n%65xt=%69nclusive%3a{HASH}")] {
            assert_eq!(parse(&next).unwrap().next, Some(cursor));
        }
        assert_eq!(parse("limit=%31%30").unwrap().limit, Some(10));
    }

    #[test]
    fn first_of_a_repeated_parameter_counts() {
        assert_eq!(parse("limit=1&limit=2&limit=x").unwrap().limit, Some(1));
    }

    #[test]
    fn numbers_beyond_their_type_are_the_largest() {
        let params = parse("limit=99999999999999999999999&maxheight=99999999999999999999").unwrap();
        assert_eq!(params.limit, Some(usize::MAX));
        assert_eq!(params.heights.max, Some(BlockHeight::new(u64::MAX)));
        assert_eq!(params.limit_of(360), 360);
        assert_eq!(parse("limit=0").unwrap().limit_of(360), 0);
        assert_eq!(parse("minheight=007").unwrap().heights.min, Some(BlockHeight::new(7)));
    }

    #[test]
    fn steps_are_above_none_and_rows_are_by_chain_or_not() {
        assert_eq!(Params::step(Some("step=256")).unwrap(), Some(256));
        assert_eq!(Params::step(Some("by=chain")).unwrap(), None);
        assert!(Params::by_chain(Some("step=1&by=chain")).unwrap());
        assert!(!Params::by_chain(None).unwrap());
        for query in ["step=0", "step=", "step=-1", "step=all"] {
            assert!(Params::step(Some(query)).is_err(), "{query}");
        }
        for query in ["by=", "by=height", "by=Chain"] {
            assert!(Params::by_chain(Some(query)).is_err(), "{query}");
        }
    }

    #[test]
    fn pages_of_peers_are_counted_in_items() {
        let parse = |query| PeerRange::parse(Some(query)).map(|range| (range.first, range.limit));
        for (query, expected) in [
            ("", (0, 64)),
            ("limit=3&t=json", (0, 3)),
            ("limit=9999", (0, 512)),
            ("next=inclusive%3A7", (7, 64)),
            ("next=exclusive:7&limit=0", (8, 0)),
            ("next=exclusive:99999999999999999999999", (usize::MAX, 64)),
        ] {
            assert_eq!(parse(query).unwrap(), expected, "{query}");
        }
        for query in ["limit=x", "next=7", "next=inclusive:", "next=inclusive:-1", "next=other:1"] {
            assert!(parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn values_that_do_not_parse_are_refused() {
        for query in [
            "limit=-1",
            "limit=",
            "limit=+5",
            "limit=1e9",
            "limit=%FF",
            "limit=5%00",
            "minheight=0x10",
            "maxheight=-0",
            "next=",
            "next=null",
            "next=inclusive:",
            "next=inclusive%3Ashort",
            "next=INCLUSIVE:qgsxD1G5m8dGZ4W9nMKBotU2I10ilURkRIE3_UKHlLM",
        ] {
            assert!(matches!(parse(query), Err(Error::Parameter { .. })), "{query}");
        }
    }
}
