use http::Response;
use http::request::Parts;
use plait_engine::{ChainId, PayloadHash, View};

use super::App;
use crate::error::{Error, excerpt};
use crate::request::{Media, Params, is_known, negotiate};
use crate::response::{self, Body, Form};

/// Bytes of a payload that is written where the request arrived.
const SMALL_BYTES: usize = 256 << 10;

/// `GET chain/{chain}/payload/{hash}`: what a block carries, which can never change.
pub(crate) async fn payload(
    app: &App,
    head: &Parts,
    chain: ChainId,
    hash: &str,
) -> Result<Response<Body>, Error> {
    answer(app, head, chain, hash, false).await
}

/// `GET chain/{chain}/payload/{hash}/outputs`: the same with what became of it.
pub(crate) async fn outputs(
    app: &App,
    head: &Parts,
    chain: ChainId,
    hash: &str,
) -> Result<Response<Body>, Error> {
    answer(app, head, chain, hash, true).await
}

async fn answer(
    app: &App,
    head: &Parts,
    chain: ChainId,
    hash: &str,
    outputs: bool,
) -> Result<Response<Body>, Error> {
    let media = negotiate(&head.headers, Media::PAYLOADS)?;
    let form = Form { outputs, octets: media == Media::Octets };
    let height = Params::height(head.uri.query())?;
    let hash: PayloadHash =
        hash.parse().map_err(|source| Error::PathPayload { got: excerpt(hash), source })?;
    let payload = app.bridge.read(move |view| view.payload(chain, &hash, height)).await?;
    let payload = payload.filter(|payload| form.covers(payload.view()));
    let payload = payload.ok_or(Error::UnknownPayload(hash))?;
    let tag = format!("\"{hash}.{}\"", if form.octets { "octets" } else { "json" });
    if is_known(&head.headers, &tag) {
        return Ok(response::not_modified(&tag));
    }
    let body = if form.len(payload.view()) <= SMALL_BYTES {
        response::payload(form, payload.view())
    } else {
        let len = form.len(payload.view());
        // Read it again later, so that nothing is held while waiting for a thread.
        drop(payload);
        // The response is charged when it is made: here, only check that there is room.
        drop(app.take_room(len)?);
        let job = move |view: &View| {
            let payload = view.payload(chain, &hash, height)?;
            let payload = payload.filter(|payload| form.covers(payload.view()));
            Ok(payload.map(|payload| response::payload(form, payload.view())))
        };
        app.bridge.read_blocking(job).await?.ok_or(Error::UnknownPayload(hash))?
    };
    Ok(response::immutable(response::json(media.content_type(), body), &tag))
}
