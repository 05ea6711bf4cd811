use http::request::Parts;
use http::{Method, Response, Version};

use super::App;
use crate::error::Error;
use crate::request::Resume;
use crate::response::{self, Body};
use crate::updates::{Begin, Kind};

/// `GET header/updates` and `GET block/updates`, `POST` alike: an event for every block that joins
/// the cut, as it does.
///
/// As in the reference, neither the media type that is asked for nor a body is looked at. With
/// `resume` events have ids, and the stream goes on behind the one of `Last-Event-ID`. The database is
/// read when the answer has begun: whatever comes of it, the client connects again.
pub(crate) fn updates(app: &App, head: &Parts, kind: Kind) -> Result<Response<Body>, Error> {
    let begin = match Resume::of(head)? {
        Resume::No => Begin::Now,
        Resume::Now => Begin::NowWithIds,
        Resume::Behind(position) => Begin::Behind(position),
    };
    if head.method == Method::HEAD {
        return Ok(response::events(None));
    }
    // Such a stream may end so that the client goes elsewhere. Node.js would send its next request over
    // the same connection, and through a balancer of connections reach this server again.
    let is_last = begin != Begin::Now && head.version < Version::HTTP_2;
    let response = response::events(Some(app.updates.subscribe(kind, begin)?));
    Ok(if is_last { response::last(response) } else { response })
}
