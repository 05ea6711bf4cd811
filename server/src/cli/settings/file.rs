use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use plait::nearest;
use plait_engine::cause::{Classified, Fault};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use thiserror::Error;

use super::Settings;
use super::row::Row;
use super::rows::all_rows;

/// Bytes of a file at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A configuration file is not taken.
#[derive(Debug, Error)]
pub(in super::super) enum FileError {
    /// It cannot be read.
    #[error("{}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says something that is not known, or is not YAML.
    #[error("{}:{place}{reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Line and column, with a colon behind each, as far as they are known.
        place: String,
        /// What is wrong there.
        reason: String,
    },
}

impl Classified for FileError {
    fn fault(&self) -> Fault {
        match self {
            Self::Read { path, source } => Fault::io(path, source),
            Self::Content { .. } => Fault::OTHER,
        }
    }
}

/// Reads the file at `path` into `settings`.
pub(super) fn read(path: &Path, settings: &mut Settings) -> Result<(), FileError> {
    let text = text(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    parse(&text, settings).map_err(|(place, reason)| {
        let place = place.map_or_else(String::new, |at| format!("{}:{}:", at.line(), at.column()));
        FileError::Content { path: path.to_owned(), place: place + " ", reason }
    })
}

fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "is longer than 1 MiB"));
    }
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is not text in UTF-8"))
}

/// Reads YAML into `settings`; returns where what is wrong.
fn parse(text: &str, settings: &mut Settings) -> Result<(), (Option<Location>, String)> {
    let mut reading = Reading { settings, key: String::new(), wrong: None };
    let section = Section { path: String::new(), reading: &mut reading };
    let result = serde_saphyr::with_deserializer_from_str(text, |yaml| section.deserialize(yaml));
    let Err(error) = result else { return Ok(()) };
    if let Some((place, wrong)) = reading.wrong {
        return Err((Some(place), wrong));
    }
    let key = if reading.key.is_empty() { String::new() } else { format!("{}: ", reading.key) };
    Err((error.location(), key + &reason(error.without_snippet())))
}

/// What the parser finds wrong, in words of a file and not of a program.
fn reason(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error as E;
    let expected = match error {
        E::Unexpected { expected: "string scalar", .. } => "expected one value",
        E::Unexpected { expected: "mapping start", .. } => "expected keys with values",
        E::NullIntoString { .. } => "expected a key",
        E::DuplicateMappingKey { .. } => "the key is there twice",
        E::MultipleDocuments { .. } => "expected one document",
        other => {
            let text = other.to_string();
            // The place is named already.
            return text.split(" at line ").next().unwrap_or_default().to_owned();
        }
    };
    expected.to_owned()
}

/// What is known while a file is read.
struct Reading<'a> {
    settings: &'a mut Settings,
    /// The key that was read last, with the sections it is in.
    key: String,
    /// The first thing that we find wrong, and where; the parser finds other things.
    wrong: Option<(Location, String)>,
}

impl Reading<'_> {
    /// Ends the reading; what the error says is not used.
    fn wrong<E: serde::de::Error>(&mut self, place: Location, reason: String) -> E {
        self.wrong = Some((place, reason));
        E::custom("wrong")
    }
}

/// The part of a file below one key, or the whole.
struct Section<'a, 'b> {
    /// The keys of the sections it is in, each with a dot behind it.
    path: String,
    reading: &'a mut Reading<'b>,
}

impl<'de> DeserializeSeed<'de> for Section<'_, '_> {
    type Value = ();

    /// A section with nothing in it but comments is null.
    fn deserialize<D: Deserializer<'de>>(self, yaml: D) -> Result<(), D::Error> {
        yaml.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Section<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys and values")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, yaml: D) -> Result<(), D::Error> {
        yaml.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { path, reading } = self;
        while let Some(name) = map.next_key::<Spanned<String>>()? {
            let key = format!("{path}{}", name.value);
            reading.key.clone_from(&key);
            if let Some(row) = all_rows().find(|row| row.key == Some(&key)) {
                value(row, &mut map, reading)?;
            } else if is_section(&key) {
                map.next_value_seed(Section { path: key + ".", reading })?;
            } else {
                return Err(reading.wrong(name.referenced, unknown(&key)));
            }
        }
        Ok(())
    }
}

fn value<'de, A>(row: &Row, map: &mut A, reading: &mut Reading<'_>) -> Result<(), A::Error>
where
    A: MapAccess<'de>,
{
    let Some(text) = map.next_value::<Option<Spanned<String>>>()? else { return Ok(()) };
    row.set(reading.settings, OsStr::new(&text.value)).map_err(|expected| {
        let reason = format!("{}: {expected}, got {:?}", reading.key, text.value);
        reading.wrong(text.referenced, reason)
    })
}

fn is_section(key: &str) -> bool {
    let below = |row: &Row| row.key.and_then(|other| other.strip_prefix(key)?.strip_prefix('.'));
    all_rows().any(|row| below(row).is_some())
}

fn unknown(key: &str) -> String {
    if key == "chainweb" {
        return "chainweb: this is the file of a chainweb-node: put the keys below it at the top \
                level, and leave out those that are not known"
            .to_owned();
    }
    let nearest = nearest(key, all_rows().filter_map(|row| row.key));
    let instead = nearest.map_or_else(String::new, |key| format!(", use {key}"));
    format!("unknown key {key}{instead}; plait config print lists all of them")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What a file with this text sets, or where it is wrong and why.
    fn parsed(text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        let place = |at: Location| format!("{}:{} ", at.line(), at.column());
        let wrong =
            |(at, why): (Option<Location>, String)| at.map_or_else(String::new, place) + &why;
        parse(text, &mut settings).map(|()| settings).map_err(wrong)
    }

    #[test]
    fn file_without_settings_leaves_the_defaults() {
        for text in [
            "",
            "# nothing\n",
            "---\n",
            "limits:\n  # nothing\n",
            "null",
            "{}",
            "limits: ~",
            "databaseDirectory:\n",
        ] {
            assert_eq!(parsed(text), Ok(Settings::default()), "{text}");
        }
    }

    #[test]
    fn values_are_taken_as_they_are_written() {
        let text = "databaseDirectory: 1.10\nserviceApi: {interface: '*', port: 80}\n\
                    backup:\n  api: {enabled: true}\n  keep: 3\nlimits:\n  headTime: 0.5\n";
        let settings = parsed(text).unwrap();
        assert_eq!(settings.db.unwrap().to_str(), Some("1.10"));
        assert_eq!(settings.listen.to_string(), "0.0.0.0:80");
        assert_eq!(settings.config.backup.keep, Some(3));
        assert!(settings.config.backup.api);
        assert_eq!(settings.config.head_time.as_millis(), 500);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, expected) in [
            ("nope: 1", "1:1 unknown key nope"),
            (
                "limits:\n  conections: 5",
                "2:3 unknown key limits.conections, use limits.connections;",
            ),
            ("backup:\n  api:\n    enable: true", "3:5 unknown key backup.api.enable"),
            ("limits:\n  reads: many", "2:10 limits.reads: expected a whole number from 1 to 4096"),
            ("limits:\n  reads: 0", "2:10 limits.reads: expected"),
            ("limits:\n  reads: 1.5", "2:10 limits.reads: expected"),
            ("limits:\n  reads: [1]", "2:10 limits.reads: expected one value"),
            ("limits:\n  reads: {a: 1}", "2:10 limits.reads: expected one value"),
            ("limits: 5", "1:9 limits: expected keys with values"),
            ("backup: {api: {enabled: yes}}", "backup.api.enabled: expected one of true, false"),
            ("serviceApi: {port: 65536}", "1:20 serviceApi.port: expected a port"),
            ("unknownLowerBound: maybe", "expected one of refuse, ignore, got \"maybe\""),
            ("databaseDirectory: ''", "databaseDirectory: expected a folder or a file"),
            ("limits:\n  reads: 1\n  reads: 2", "3:3 limits.reads: the key is there twice"),
            ("limits:\n\treads: 1", "2:2 limits: tabs"),
            ("chainweb:\n  cuts: 1", "1:1 chainweb: this is the file of a chainweb-node"),
            ("[]", "1:1 expected keys with values"),
            ("limits", "1:1 expected keys with values"),
            ("limits: {reads: 1", ""),
            ("? [a]\n: 1", "expected one value"),
            ("null: 1", "1:1 expected a key"),
            ("limits: {}\n---\nlimits: {}", "expected one document"),
            ("limits: *none", ""),
        ] {
            let error = parsed(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn bomb_of_aliases_does_not_go_off() {
        let mut text = String::from("limits: &a0 {reads: 1}\nx0: &b0 [1, 1]\n");
        text.extend((1..60).map(|level| {
            let below = level - 1;
            format!("x{level}: &b{level} [*b{below}, *b{below}, *b{below}, *b{below}]\n")
        }));
        assert!(parsed(&text).unwrap_err().contains("unknown key x0"));
        let deep = format!("limits: {}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parsed(&deep).is_err());
        let merged = text.replacen("x0: &b0 [1, 1]", "archive: &b0 {directory: x}", 1);
        let merged = merged.replace("x1:", "<<:");
        assert!(parsed(&merged).is_err());
    }

    #[test]
    fn file_that_cannot_be_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| Settings::load(Some(path)).unwrap_err();
        assert!(matches!(refused(folder.path()), FileError::Read { .. }));
        assert!(matches!(refused(&folder.path().join("missing")), FileError::Read { .. }));
        let file = folder.path().join("file");
        let long = vec![b'#'; (1 << 20) + 1];
        for bytes in [&b"limits: \xff"[..], b"\xff\xfel\0i\0", &long] {
            fs::write(&file, bytes).unwrap();
            assert!(matches!(refused(&file), FileError::Read { .. }));
        }
        for bytes in [&b"limits: \0"[..], &[0; 100]] {
            fs::write(&file, bytes).unwrap();
            assert!(Settings::load(Some(&file)).is_err());
        }
    }
}
