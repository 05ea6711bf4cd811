use bytes::Bytes;
use http::Response;
use http::request::Parts;
use plait_engine::ChainwebVersion;
use serde::Serialize;
use serde_json::{Map, Value};

use super::App;
use crate::config::Config;
use crate::error::Error;
use crate::request::{Media, negotiate};
use crate::response::{self, Body};

/// `GET config`: the network, then the settings of the server, without secrets. Clients read the
/// network from it.
pub(crate) fn config(app: &App, head: &Parts) -> Result<Response<Body>, Error> {
    let media = negotiate(&head.headers, Media::JSON)?;
    let shown = Shown::new(app.version, &app.config);
    let body = serde_json::to_vec(&shown).map_err(|_| Error::Bug)?;
    Ok(response::json(media.content_type(), Bytes::from(body)))
}

/// The response. The network has the member name of chainweb-node, the settings have their keys in
/// Plait's configuration file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown<'a> {
    chainweb_version: &'static str,
    #[serde(flatten)]
    settings: &'a Map<String, Value>,
}

impl<'a> Shown<'a> {
    /// The response of a server for this network.
    pub(crate) const fn new(version: ChainwebVersion, config: &'a Config) -> Self {
        Self { chainweb_version: version.name(), settings: &config.shown }
    }
}
