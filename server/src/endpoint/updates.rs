use http::request::Parts;
use http::{Method, Response};

use super::App;
use crate::error::Error;
use crate::request::Resume;
use crate::response::{self, Body};
use crate::updates::{Begin, Kind};

/// `GET header/updates` and `GET block/updates`, `POST` alike: an event for every block that joins
/// the cut, as it does.
///
/// As in the reference, neither the media type that is asked for nor a body is looked at. With
/// `resume` events have ids, and the stream goes on behind the one of `Last-Event-ID`.
pub(crate) async fn updates(app: &App, head: &Parts, kind: Kind) -> Result<Response<Body>, Error> {
    let begin = match Resume::of(head)? {
        Resume::No => Begin::Now,
        Resume::Now => Begin::NowWithIds,
        Resume::Behind(position) => {
            let past = app.bridge.read(move |view| view.past_at(&position)).await?;
            Begin::Behind(past?)
        }
    };
    if head.method == Method::HEAD {
        return Ok(response::events(None));
    }
    Ok(response::events(Some(app.updates.subscribe(kind, begin)?)))
}
