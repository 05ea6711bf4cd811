use http::{Response, StatusCode};

use super::App;
use crate::bridge::Phase;
use crate::response::{self, Body};

/// `GET health-check`: whether to send requests here. Text whatever the client accepts.
pub(crate) fn health(app: &App) -> Response<Body> {
    match *app.phase.borrow() {
        Phase::Serving => response::text(StatusCode::OK, "Health check OK.\n"),
        Phase::Leaving | Phase::Draining | Phase::Cutting => {
            response::text(StatusCode::SERVICE_UNAVAILABLE, "Shutting down.\n")
        }
    }
}
