use std::borrow::Cow;

use http::HeaderMap;
use http::HeaderName;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use plait_engine::Position;
use plait_engine::query::PositionError;

use crate::error::Error;

/// The header of an event source that connects again.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// An id with a greater form number is not from a later release, but malformed.
const FORM_MAX: u8 = 15;

/// Whether a client of an event stream wants to go on where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// It does not, now or later.
    No,
    /// It wants to be told how it can later.
    Now,
    /// It does; `None` if the id has the format of another release, as can happen during an
    /// upgrade.
    Behind(Option<Position>),
}

impl Resume {
    /// Reads the flag `resume` of the query, which may have any value that does not say no; then the
    /// header `Last-Event-ID`, or the parameter `lastEventId` for those who cannot set headers. An
    /// empty one is none.
    ///
    /// # Errors
    ///
    /// [`Error::Position`] if that is not the id of an event.
    pub(crate) fn of(head: &Parts) -> Result<Self, Error> {
        let query = head.uri.query().unwrap_or_default();
        if find(query, "resume").is_none_or(|value| matches!(&*value, "false" | "0")) {
            return Ok(Self::No);
        }
        let id = header(&head.headers).or_else(|| find(query, "lastEventId"));
        match id.filter(|id| !id.is_empty()) {
            Some(id) => match id.parse() {
                Ok(position) => Ok(Self::Behind(Some(position))),
                Err(PositionError::Form { got: ..=FORM_MAX }) => Ok(Self::Behind(None)),
                Err(_) => Err(Error::Position),
            },
            None => Ok(Self::Now),
        }
    }
}

fn header(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let value = headers.get(LAST_EVENT_ID)?;
    Some(String::from_utf8_lossy(value.as_bytes())).filter(|id| !id.is_empty())
}

/// The value of the first parameter with this name, empty if it has none.
fn find<'a>(query: &'a str, wanted: &str) -> Option<Cow<'a, str>> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_wanted = percent_decode_str(name).decode_utf8().is_ok_and(|name| name == wanted);
        is_wanted.then(|| percent_decode_str(value).decode_utf8_lossy())
    })
}

#[cfg(test)]
mod tests {
    use http::Request;
    use plait_engine::{BlockHash, BlockHeight, ChainId, Past, Rank};

    use super::*;

    fn position(height: u64) -> Position {
        let rank = Rank { height: BlockHeight::new(height), hash: BlockHash::new([7; 32]) };
        Past::new([(ChainId::new(3), rank)]).position()
    }

    fn resume(query: &str, id: Option<&str>) -> Result<Resume, Error> {
        let request = Request::builder().uri(format!("/header/updates{query}"));
        let request = id.into_iter().fold(request, |r, id| r.header("Last-Event-ID", id));
        Resume::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn nothing_is_resumed_unless_asked_for() {
        let id = position(1).to_string();
        for query in
            ["", "?", "?resume=false", "?resume=0", "?Resume", "?a=resume", "?lastEventId=x"]
        {
            for id in [None, Some(&*id), Some("nonsense")] {
                assert_eq!(resume(query, id).unwrap(), Resume::No, "{query}");
            }
        }
    }

    #[test]
    fn position_is_in_the_header_or_else_in_the_query() {
        let (one, other) = (position(1), position(2));
        for query in ["?resume", "?resume=", "?a=b&resume=true", "?res%75me=1"] {
            assert_eq!(resume(query, None).unwrap(), Resume::Now);
            assert_eq!(resume(query, Some("")).unwrap(), Resume::Now);
            let behind = Resume::Behind(Some(one.clone()));
            assert_eq!(resume(query, Some(&one.to_string())).unwrap(), behind);
            let query = format!("{query}&lastEventId={other}");
            assert_eq!(resume(&query, Some(&one.to_string())).unwrap(), behind);
            for id in [None, Some("")] {
                assert_eq!(resume(&query, id).unwrap(), Resume::Behind(Some(other.clone())));
            }
        }
    }

    #[test]
    fn id_of_another_release_is_one_that_is_not_known_here() {
        for id in ["AgAA", "Dw"] {
            assert_eq!(resume("?resume", Some(id)).unwrap(), Resume::Behind(None), "{id}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for id in ["0", "nonsense", "1234", "EAAA", " ", "\u{e9}", &"A".repeat(5000)] {
            assert!(matches!(resume("?resume", Some(id)), Err(Error::Position)), "{id}");
        }
        assert!(matches!(resume("?resume&lastEventId=7", None), Err(Error::Position)));
    }
}
