use http::HeaderMap;
use http::header::{IF_RANGE, RANGE};

/// What of a representation a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it.
    Whole,
    /// The bytes from the first to the last of these, which are both there.
    Part {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// None of it: the range lies behind the end.
    Nothing,
}

impl Wanted {
    /// What the headers ask for of a representation of `len` bytes with this strong entity tag.
    ///
    /// Several ranges, other units and what is not well formed ask for all, as servers may take it;
    /// and so does a condition on another representation.
    pub(crate) fn of(headers: &HeaderMap, tag: &str, len: u64) -> Self {
        let mut ranges = headers.get_all(RANGE).iter();
        let (Some(range), None) = (ranges.next(), ranges.next()) else { return Self::Whole };
        if headers.get(IF_RANGE).is_some_and(|condition| condition.as_bytes() != tag.as_bytes()) {
            return Self::Whole;
        }
        range.to_str().ok().and_then(|range| Self::parse(range, len)).unwrap_or(Self::Whole)
    }

    fn parse(range: &str, len: u64) -> Option<Self> {
        let (unit, range) = range.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.trim().split_once('-')?;
        let (first, last) = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last.min(len.saturating_sub(1))),
            (Some(first), None) if last.is_empty() => (first, len.saturating_sub(1)),
            (None, Some(0)) if first.is_empty() => return Some(Self::Nothing),
            (None, Some(count)) if first.is_empty() => {
                (len.saturating_sub(count), len.saturating_sub(1))
            }
            _ => return None,
        };
        Some(if first < len { Self::Part { first, last } } else { Self::Nothing })
    }
}

/// A number; one that is too great for any file is the greatest there is.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"x\"";

    fn wanted(fields: &[(&'static str, &str)]) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        Wanted::of(&headers, TAG, 1000)
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_has_them() {
        let part = |first, last| Wanted::Part { first, last };
        for (range, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=0-499", part(0, 499)),
            ("bytes=500-", part(500, 999)),
            ("bytes=999-", part(999, 999)),
            ("bytes=0-", part(0, 999)),
            ("Bytes=10-99999999999999999999999", part(10, 999)),
            ("bytes=-1", part(999, 999)),
            ("bytes=-1000", part(0, 999)),
            ("bytes=-99999999999999999999999", part(0, 999)),
            ("bytes=1000-", Wanted::Nothing),
            ("bytes=1000-2000", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
        ] {
            assert_eq!(wanted(&[("range", range)]), expected, "{range}");
        }
    }

    #[test]
    fn what_is_not_one_range_asks_for_all() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=0-1,5-6",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes= 1 - 2",
            "items=0-1",
            "0-1",
        ] {
            assert_eq!(wanted(&[("range", range)]), Wanted::Whole, "{range}");
        }
        assert_eq!(wanted(&[]), Wanted::Whole);
        assert_eq!(wanted(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]), Wanted::Whole);
    }

    #[test]
    fn a_range_of_another_representation_asks_for_all() {
        let range = ("range", "bytes=1-2");
        assert_eq!(wanted(&[range, ("if-range", TAG)]), Wanted::Part { first: 1, last: 2 });
        for condition in ["\"y\"", "W/\"x\"", "x", "Sat, 15 Nov 2025 00:00:00 GMT", "*"] {
            assert_eq!(wanted(&[range, ("if-range", condition)]), Wanted::Whole, "{condition}");
        }
    }
}
