//! The settings of the command, as it has them.

#[path = "../../../server/src/cli/numbers.rs"]
#[expect(dead_code, reason = "settings use one function of it")]
mod numbers;
#[path = "../../../server/src/cli/settings/mod.rs"]
mod settings;

use std::fs;

/// What a file says is what is written of it, and that is read as the same.
pub(crate) fn check(text: &[u8]) {
    let Some((settings, text)) = read(text) else { return };
    let Some((again, same)) = read(text.as_bytes()) else {
        panic!("what is written is not read: {text}");
    };
    assert_eq!(again, settings, "{text}");
    assert_eq!(same, text);
}

fn read(text: &[u8]) -> Option<(settings::Settings, String)> {
    let file = tempfile::NamedTempFile::new().ok()?;
    fs::write(file.path(), text).ok()?;
    let settings = settings::Settings::load(Some(file.path())).ok()?;
    let text = settings::print(&settings);
    Some((settings, text))
}
