use serde_json::{Map, Value};

use super::Settings;
use super::rows::all_rows;

/// The settings that `GET config` shows to everybody: sections and keys as in a file, without those
/// that `Field::public` withholds.
pub(in super::super) fn shown(settings: &Settings) -> Map<String, Value> {
    let mut settings = settings.clone();
    let mut all = Map::new();
    for (row, key) in all_rows().filter_map(|row| Some((row, row.key?))) {
        let Some(value) = (row.field)(&mut settings).public() else { continue };
        let mut sections: Vec<&str> = key.split('.').collect();
        let Some(name) = sections.pop() else { continue };
        let section = sections.into_iter().try_fold(&mut all, |section, name| {
            section.entry(name).or_insert_with(|| Map::new().into()).as_object_mut()
        });
        if let Some(section) = section {
            section.insert(name.to_owned(), value);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_shown_as_in_a_file_and_secrets_are_not() {
        let mut settings = Settings::default();
        // Every setting whose value is any text, an address or a path.
        let marked = [
            ("databaseDirectory", "/secret/db"),
            ("archive.directory", "/secret/archive"),
            ("backup.directory", "/secret/backups"),
            ("follow.ca", "/secret/ca.pem"),
            ("follow.upstreams", "https://node.example:8443/secret-key,http://10.0.0.1:1"),
            ("serviceApi.interface", "203.0.113.7"),
            ("serviceApi.port", "45678"),
            ("ingest.listen", "/secret/socket"),
            ("metrics.listen", "203.0.113.8:45678"),
            ("logging.level", "warn,secret=debug"),
            ("peers", "a:1"),
        ];
        for (key, value) in marked {
            let row = all_rows().find(|row| row.key == Some(key)).unwrap();
            row.set(&mut settings, OsStr::new(value)).unwrap();
        }
        let shown = Value::Object(shown(&settings));
        let text = shown.to_string();
        for secret in ["secret", "45678", "203.0.113"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        let nodes = json!(["https://node.example:8443", "http://10.0.0.1:1"]);
        assert_eq!(shown["follow"]["upstreams"], nodes);
        assert_eq!(shown["peers"], json!(["a:1"]));
        assert_eq!(shown["limits"]["headTime"], json!(10));
        assert_eq!(shown["updates"]["interval"], json!(0.05));
        assert_eq!(shown["backup"], json!({ "api": { "enabled": false }, "keep": null }));
        assert_eq!(shown["unknownLowerBound"], json!("refuse"));
    }
}
