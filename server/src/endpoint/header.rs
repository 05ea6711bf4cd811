use bytes::Bytes;
use http::Response;
use http::request::Parts;
use plait_engine::{BlockHash, ChainId};

use super::App;
use crate::error::{Error, excerpt};
use crate::request::{Media, is_known, negotiate};
use crate::response::{self, Body};

/// `GET chain/{chain}/header/{hash}`: one header, which can never change.
pub(crate) async fn header(
    app: &App,
    head: &Parts,
    chain: ChainId,
    hash: &str,
) -> Result<Response<Body>, Error> {
    let media = negotiate(&head.headers, Media::HEADERS)?;
    let hash: BlockHash =
        hash.parse().map_err(|source| Error::PathHash { got: excerpt(hash), source })?;
    let header = app.bridge.read(move |view| view.header(chain, &hash)).await?;
    let header = header.ok_or(Error::Unknown(hash))?;
    let (form, body) = match media {
        Media::Json => ("json", response::header(header.view(), None)),
        Media::Object => ("object", response::header(header.view(), Some(app.version))),
        Media::Octets => ("octets", Bytes::copy_from_slice(header.view().as_bytes())),
    };
    let tag = format!("\"{hash}.{form}\"");
    if is_known(&head.headers, &tag) {
        return Ok(response::not_modified(&tag));
    }
    Ok(response::immutable(response::json(media.content_type(), body), &tag))
}
