use std::fmt::Write;

use super::Settings;
use super::row::Row;
use super::rows::all_rows;

/// Columns of a comment, with its indentation.
const COLUMNS: usize = 98;

/// `settings` as a file, every key with what it means.
pub(in super::super) fn print(settings: &Settings) -> String {
    let mut settings = settings.clone();
    let mut text = String::from(
        "# Configuration of plait serve. Flags and variables of the environment win over it.\n\
         # Times are in seconds, folders are relative to where the server is started.\n",
    );
    let mut open: Vec<&str> = Vec::new();
    for (row, key) in all_rows().filter_map(|row| Some((row, row.key?))) {
        let mut sections: Vec<&str> = key.split('.').collect();
        let name = sections.pop().unwrap_or_default();
        let same = open.iter().zip(&sections).take_while(|(a, b)| a == b).count();
        if same == 0 {
            text.push('\n');
        }
        for (depth, section) in sections.iter().enumerate().skip(same) {
            line(&mut text, depth, &format!("{section}:"));
        }
        for comment in wrapped(&about(row), COLUMNS.saturating_sub(indent(sections.len()))) {
            line(&mut text, sections.len(), &format!("# {comment}"));
        }
        let value = (row.field)(&mut settings).show();
        let value = value.map_or_else(|| "null".to_owned(), |value| scalar(&value));
        line(&mut text, sections.len(), &format!("{name}: {value}"));
        open = sections;
    }
    text
}

fn line(text: &mut String, depth: usize, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:indent$}{line}", "", indent = indent(depth));
}

fn indent(depth: usize) -> usize {
    depth.saturating_mul(2)
}

fn about(row: &Row) -> String {
    let flag = row.flag.map(|flag| format!("--{flag}"));
    let default = row.default().map(|default| format!("default {default}"));
    let more: Vec<String> = [flag, row.range(), default].into_iter().flatten().collect();
    if more.is_empty() {
        row.about.to_owned()
    } else {
        format!("{} ({})", row.about, more.join(", "))
    }
}

fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len().saturating_add(word.len()) < columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A value as YAML has it: in quotes unless it cannot be taken for something else.
fn scalar(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '=');
    let begins = value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '.');
    if begins && value.chars().all(is_plain) && !matches!(value, "null" | "Null" | "NULL") {
        return value.to_owned();
    }
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{Ipv6Addr, SocketAddr};
    use std::time::Duration;

    use plait::{Config, Requests};
    use plait_engine::UnknownLower;

    use super::*;

    /// What is read from what is printed.
    fn again(settings: &Settings) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plait.yaml");
        fs::write(&file, print(settings)).unwrap();
        Settings::load(Some(&file)).unwrap()
    }

    #[test]
    fn what_is_printed_is_read_as_the_same() {
        assert_eq!(again(&Settings::default()), Settings::default());
        let mut config = Config {
            archive: Some("# \"no\"\ncomment: \\ é".into()),
            requests: Requests::Errors,
            head_time: Duration::from_millis(123),
            cut_time: Duration::from_nanos(1),
            drain_time: Duration::from_hours(365 * 24),
            bounds_max: 0,
            unknown_lower: UnknownLower::Ignore,
            ..Config::default()
        };
        config.backup.keep = Some(1_000_000);
        let settings = Settings {
            db: Some("null".into()),
            listen: SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
            metrics: Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 9))),
            log: "warn,plait::x=debug".to_owned(),
            config,
            ..Settings::default()
        };
        assert_eq!(again(&settings), settings);
    }

    #[test]
    fn only_what_could_be_taken_for_something_else_is_quoted() {
        for plain in ["/var/lib/plait", "./db", "info", "0.5", "1848", "127.0.0.1"] {
            assert_eq!(scalar(plain), plain);
        }
        assert_eq!(scalar("::1"), "\"::1\"");
        assert_eq!(scalar("a b: #c"), "\"a b: #c\"");
        assert_eq!(scalar("null"), "\"null\"");
    }
}
