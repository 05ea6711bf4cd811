use http::Response;
use http::request::Parts;

use super::App;
use crate::request::is_known;
use crate::response::{self, Body};

/// `GET openapi.json`: what this server answers. JSON whatever the client accepts.
pub(crate) fn openapi(app: &App, head: &Parts) -> Response<Body> {
    let (bytes, tag) = (app.document.bytes(), app.document.tag());
    if is_known(&head.headers, tag) {
        return response::revalidated(response::not_modified(tag), tag);
    }
    response::revalidated(response::shared_json(bytes), tag)
}
