use http::Response;
use http::request::Parts;

use crate::error::Error;
use crate::explorer::File;
use crate::missing::Missing;
use crate::request::is_known;
use crate::response::{self, Body};

/// `GET /` and `GET explorer/{name}`: the page, and what it is made of.
pub(crate) fn explorer(head: &Parts, name: &str) -> Result<Response<Body>, Error> {
    let file = File::find(name).ok_or_else(|| Error::Path(Missing::endpoint(head.uri.path())))?;
    let tag = file.tag();
    if is_known(&head.headers, &tag) {
        return Ok(response::page(response::not_modified(&tag), &tag));
    }
    Ok(response::page(response::asset(file.content_type(), file.bytes()), &tag))
}
