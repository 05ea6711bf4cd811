//! The log, on standard error.

use std::io::IsTerminal;

use plait::Requests;
use serde_json::json;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::bar::AboveBar;
use super::settings::{LogFlags, LogFormat, Settings};

/// The target of the lines of requests.
const REQUESTS: &str = "plait::requests";

/// Begins to log as `settings` say.
pub(super) fn init(settings: &Settings) {
    // What is set was checked when it was read.
    let targets: Targets = settings.log.parse().unwrap_or_default();
    let others = targets.default_level().unwrap_or(LevelFilter::WARN);
    let form = tracing_subscriber::fmt::layer().with_writer(|| AboveBar);
    // It would say on standard error that it cannot write there, and panic.
    let form = form.log_internal_errors(false);
    let form = match settings.log_format {
        LogFormat::Text => form.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => form.json().flatten_event(true).boxed(),
    };
    let targets = targets.with_default(others);
    let targets = match settings.config.requests {
        Requests::None => targets,
        // Whoever asks for them gets them, however little else is logged.
        Requests::Errors | Requests::All => targets.with_target(REQUESTS, LevelFilter::INFO),
    };
    tracing_subscriber::registry().with(form).with(targets).init();
}

/// Begins to log as the flags of every command say.
pub(super) fn init_from_flags(flags: &LogFlags) {
    let mut settings = Settings::default();
    flags.apply(&mut settings);
    init(&settings);
}

/// Says on standard error what whoever started the server waits for, whatever else is logged.
pub(super) fn say(format: LogFormat, text: &str) {
    match format {
        LogFormat::Text => tell!("{text}"),
        LogFormat::Json => tell!("{}", json!({ "level": "INFO", "message": text })),
    }
}
