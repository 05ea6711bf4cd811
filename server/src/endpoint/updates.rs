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
/// As in the reference, `Accept` and the body are ignored. With `resume`, events have ids, and the
/// stream continues after the id in `Last-Event-ID`. The server reads the database after the
/// response has begun, so the client reconnects whatever the result.
pub(crate) fn updates(app: &App, head: &Parts, kind: Kind) -> Result<Response<Body>, Error> {
    let begin = match Resume::of(head)? {
        Resume::No => Begin::Now,
        Resume::Now => Begin::NowWithIds,
        Resume::Behind(position) => Begin::Behind(position),
    };
    if head.method == Method::HEAD {
        return Ok(response::events(None));
    }
    // Such a stream may end so that the client connects to another server. Node.js would reuse the
    // connection, and through a load balancer of TCP connections reach this server again.
    let is_last = begin != Begin::Now && head.version < Version::HTTP_2;
    let response = response::events(Some(app.updates.subscribe(kind, begin)?));
    Ok(if is_last { response::last(response) } else { response })
}
