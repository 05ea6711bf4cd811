use http::Response;
use http::request::Parts;
use plait_engine::BlockHeight;

use super::App;
use crate::error::Error;
use crate::request::{Media, Params, negotiate};
use crate::response::{self, Body};

/// `GET cut`: the heaviest consistent cut; `maxheight` is a cut height, a sum over chains.
pub(crate) async fn cut(app: &App, head: &Parts) -> Result<Response<Body>, Error> {
    let media = negotiate(&head.headers, Media::JSON)?;
    let height_max = Params::height_max(head.uri.query())?.map(BlockHeight::get);
    let version = app.version;
    let body = app.bridge.read_blocking(move |view| {
        let cut = view.cut_below(height_max)?;
        Ok(cut.map(|cut| response::cut(&cut, version)))
    });
    let body = body.await?.map_err(Error::NoCut)?;
    Ok(response::json(media.content_type(), body))
}
