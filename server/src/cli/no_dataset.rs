use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use plait_engine::Reader;
use plait_engine::archive::FileHeights;
use thiserror::Error;

use super::fail;

#[derive(Debug, Error)]
#[error("this plait is built without Parquet")]
struct NoParquet;

/// Says how to build what can write a dataset.
pub(super) fn export(
    _: &Reader,
    _: &Path,
    _: Option<FileHeights>,
    _: bool,
    _: &AtomicBool,
) -> ExitCode {
    fail(
        &NoParquet,
        "Build one that has it: cargo build --release --package plait --features parquet",
    )
}
