use http::header::RETRY_AFTER;
use http::{HeaderValue, Response, StatusCode};

use super::App;
use crate::bridge::Phase;
use crate::response::{self, Body};

/// `GET health-check`: whether the server is up. Text whatever the client accepts.
pub(crate) fn health(app: &App) -> Response<Body> {
    match *app.phase.borrow() {
        Phase::Serving => response::text(StatusCode::OK, "Health check OK.\n"),
        Phase::Leaving | Phase::Draining | Phase::Cutting => {
            response::text(StatusCode::SERVICE_UNAVAILABLE, "Shutting down.\n")
        }
    }
}

/// `GET ready`: whether to send requests here. 503 while the server stops, and for a while after it
/// had to refuse a connection or a read.
pub(crate) fn ready(app: &App) -> Response<Body> {
    let Some(reason) = app.metrics.unready() else {
        return response::text(StatusCode::OK, "Ready.\n");
    };
    let mut response = response::text(StatusCode::SERVICE_UNAVAILABLE, reason.text());
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}
