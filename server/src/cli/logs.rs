//! The log, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::settings::{LogFlags, LogFormat, Settings};

/// Begins to log as `settings` say.
pub(super) fn init(settings: &Settings) {
    // What is set was checked when it was read.
    let targets: Targets = settings.log.parse().unwrap_or_default();
    let others = targets.default_level().unwrap_or(LevelFilter::WARN);
    let form = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let form = match settings.log_format {
        LogFormat::Text => form.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => form.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(form).with(targets.with_default(others)).init();
}

/// Begins to log as the flags of every command say.
pub(super) fn init_from_flags(flags: &LogFlags) {
    let mut settings = Settings::default();
    flags.apply(&mut settings);
    init(&settings);
}
