use std::ffi::{OsStr, OsString};

use super::{Settings, field::Field};

/// One setting.
pub(super) struct Row {
    /// The key in the file, with the keys of the sections that it is in.
    pub(super) key: Option<&'static str>,
    /// The flag, from which the variable of the environment follows.
    pub(super) flag: Option<&'static str>,
    /// What it means.
    pub(super) about: &'static str,
    /// Where it is kept, and what it may be.
    pub(super) field: fn(&mut Settings) -> Field<'_>,
}

impl Row {
    /// Takes `text` as the value of this setting, or says what is expected instead.
    pub(super) fn set(&self, settings: &mut Settings, text: &OsStr) -> Result<(), String> {
        (self.field)(settings).set(text)
    }

    /// Checks `text` as the value of this setting. Returns the value to keep: an address in place of a
    /// host name, so that it is resolved once.
    pub(super) fn checked(&self, text: OsString) -> Result<OsString, String> {
        let mut settings = Settings::default();
        self.set(&mut settings, &text)?;
        let field = (self.field)(&mut settings);
        let is_address = field.is_address();
        Ok(field.show().filter(|_| is_address).map_or(text, Into::into))
    }

    /// What a number may be, as in `1 to 64`; `None` for what is no number.
    pub(super) fn range(&self) -> Option<String> {
        let (least, most) = (self.field)(&mut Settings::default()).bounds()?;
        Some(format!("{least} to {most}"))
    }

    /// The variable of the environment that stands for the flag.
    pub(super) fn variable(&self) -> Option<String> {
        let name = |flag: &str| format!("PLAIT_{}", flag.to_uppercase().replace('-', "_"));
        self.flag.map(name)
    }

    /// The default as a file and a flag take it, if there is one.
    pub(super) fn default(&self) -> Option<String> {
        (self.field)(&mut Settings::default()).show()
    }
}
