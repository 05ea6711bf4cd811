use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use plait::{Listen, Payloads, Peer, Requests, Upstream, resolve};
use plait_engine::UnknownLower;
use serde_json::{Value, json};
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::LogFormat;
use crate::cli::numbers::expected_whole;

const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

const REQUESTS: [(&str, Requests); 3] =
    [("none", Requests::None), ("errors", Requests::Errors), ("all", Requests::All)];

const UNKNOWN: [(&str, UnknownLower); 2] =
    [("refuse", UnknownLower::Refuse), ("ignore", UnknownLower::Ignore)];

const PAYLOADS: [(&str, Payloads); 3] =
    [("auto", Payloads::Auto), ("yes", Payloads::Yes), ("no", Payloads::No)];

const SWITCH: [(&str, bool); 2] = [("true", true), ("false", false)];

/// The place of a setting, by what may stand there.
pub(super) enum Field<'a> {
    /// A folder, which need not exist.
    Folder(&'a mut Option<PathBuf>),
    /// A file.
    File(&'a mut Option<PathBuf>),
    /// Where blocks are taken, or nowhere.
    MaybeListen(&'a mut Option<Listen>),
    /// Nodes, with commas between them.
    Upstreams(&'a mut Vec<Upstream>),
    /// Nodes for `GET cut/peer`, with commas between them.
    Peers(&'a mut Vec<Peer>),
    /// A release of chainweb-node.
    NodeVersion(&'a mut HeaderValue),
    /// The interface of an address.
    Interface(&'a mut SocketAddr),
    /// The port of an address.
    Port(&'a mut SocketAddr),
    /// Both.
    Address(&'a mut SocketAddr),
    /// An address, or none.
    MaybeAddress(&'a mut Option<SocketAddr>),
    /// Yes or no.
    Switch(&'a mut bool),
    /// A whole number of this range.
    Number(&'a mut usize, RangeInclusive<usize>),
    /// A whole number of this range, or none.
    MaybeNumber(&'a mut Option<usize>, RangeInclusive<usize>),
    /// Seconds, with fractions, of this range.
    Seconds(&'a mut Duration, RangeInclusive<Duration>),
    /// What is logged.
    Log(&'a mut String),
    /// The form of the log.
    Format(&'a mut LogFormat),
    /// Which payloads are taken.
    Payloads(&'a mut Payloads),
    /// Which requests are logged.
    Requests(&'a mut Requests),
    /// What an unknown lower bound means.
    Unknown(&'a mut UnknownLower),
}

impl Field<'_> {
    /// Takes `text` as the value, or says what is expected instead.
    pub(super) fn set(self, text: &OsStr) -> Result<(), String> {
        if let Self::Folder(field) | Self::File(field) = self {
            if text.is_empty() {
                return Err("expected a folder or a file".to_owned());
            }
            *field = Some(text.into());
            return Ok(());
        }
        let text = text.to_str().ok_or("expected text in UTF-8")?;
        match self {
            Self::Folder(_) | Self::File(_) => {}
            Self::MaybeListen(field) => *field = Some(text.parse()?),
            Self::Upstreams(field) => {
                *field = text.split(',').map(|url| url.trim().parse()).collect::<Result<_, _>>()?;
            }
            Self::Peers(field) => {
                *field =
                    text.split(',').map(|peer| peer.trim().parse()).collect::<Result<_, _>>()?;
            }
            Self::NodeVersion(field) => *field = release(text)?,
            Self::Interface(field) => field.set_ip(interface(text)?),
            Self::Port(field) => {
                field.set_port(text.parse().map_err(|_| "expected a port, 0 to 65535")?);
            }
            Self::Address(field) => *field = resolve(text)?,
            Self::MaybeAddress(field) => *field = Some(resolve(text)?),
            Self::Switch(field) => *field = chosen(&SWITCH, text)?,
            Self::Number(field, range) => *field = number(text, &range)?,
            Self::MaybeNumber(field, range) => *field = Some(number(text, &range)?),
            Self::Seconds(field, range) => *field = seconds(text, &range)?,
            Self::Log(field) => *field = targets(text)?,
            Self::Format(field) => *field = chosen(&FORMATS, text)?,
            Self::Payloads(field) => *field = chosen(&PAYLOADS, text)?,
            Self::Requests(field) => *field = chosen(&REQUESTS, text)?,
            Self::Unknown(field) => *field = chosen(&UNKNOWN, text)?,
        }
        Ok(())
    }

    /// The value as [`Field::set`] takes it; `None` where there is none.
    pub(super) fn show(self) -> Option<String> {
        Some(match self {
            Self::Folder(field) | Self::File(field) => {
                return field.as_ref().map(|path| path.display().to_string());
            }
            Self::MaybeListen(field) => return field.as_ref().map(Listen::to_string),
            Self::Upstreams(field) => {
                let urls: Vec<String> = field.iter().map(Upstream::to_string).collect();
                return (!urls.is_empty()).then(|| urls.join(","));
            }
            Self::Peers(field) => {
                let peers: Vec<String> = field.iter().map(Peer::to_string).collect();
                return (!peers.is_empty()).then(|| peers.join(","));
            }
            Self::NodeVersion(field) => field.to_str().unwrap_or_default().to_owned(),
            Self::MaybeAddress(field) => return field.map(|address| address.to_string()),
            Self::MaybeNumber(field, _) => return field.map(|number| number.to_string()),
            Self::Interface(field) => field.ip().to_string(),
            Self::Port(field) => field.port().to_string(),
            Self::Address(field) => field.to_string(),
            Self::Number(field, _) => field.to_string(),
            Self::Seconds(field, _) => field.as_secs_f64().to_string(),
            Self::Log(field) => field.clone(),
            Self::Switch(field) => word(&SWITCH, field),
            Self::Format(field) => word(&FORMATS, field),
            Self::Payloads(field) => word(&PAYLOADS, field),
            Self::Requests(field) => word(&REQUESTS, field),
            Self::Unknown(field) => word(&UNKNOWN, field),
        })
    }

    /// The value that `GET config` shows to everybody. `None` for private settings: folders and
    /// files, listen addresses, and log levels. Upstreams are shown without their paths, which may
    /// contain a key.
    pub(super) fn public(self) -> Option<Value> {
        Some(match self {
            Self::Folder(_)
            | Self::File(_)
            | Self::MaybeListen(_)
            | Self::Interface(_)
            | Self::Port(_)
            | Self::Address(_)
            | Self::MaybeAddress(_)
            | Self::Log(_) => return None,
            Self::Upstreams(field) => field.iter().map(|node| json!(node.origin())).collect(),
            Self::Peers(field) => field.iter().map(|peer| json!(peer.to_string())).collect(),
            Self::Switch(field) => json!(field),
            Self::Number(field, _) => json!(field),
            Self::MaybeNumber(field, _) => json!(field),
            Self::Seconds(field, _) if field.subsec_nanos() == 0 => json!(field.as_secs()),
            Self::Seconds(field, _) => json!(field.as_secs_f64()),
            chosen @ (Self::NodeVersion(_)
            | Self::Format(_)
            | Self::Payloads(_)
            | Self::Requests(_)
            | Self::Unknown(_)) => json!(chosen.show()),
        })
    }

    /// The lowest and the highest value, as [`Field::set`] takes them; `None` for what is no number.
    pub(super) fn bounds(&self) -> Option<(String, String)> {
        match self {
            Self::Number(_, range) | Self::MaybeNumber(_, range) => {
                Some((range.start().to_string(), range.end().to_string()))
            }
            Self::Seconds(_, range) => {
                let text = |time: &Duration| time.as_secs_f64().to_string();
                Some((text(range.start()), text(range.end())))
            }
            _ => None,
        }
    }

    /// Whether the value has a host name in it, perhaps, that [`Field::set`] resolves.
    pub(super) const fn is_address(&self) -> bool {
        matches!(self, Self::Address(_) | Self::MaybeAddress(_) | Self::MaybeListen(_))
    }

    /// What stands for the value in the help.
    pub(super) const fn unit(&self) -> &'static str {
        match self {
            Self::Folder(_) => "DIR",
            Self::File(_) => "FILE",
            Self::Upstreams(_) => "URL",
            Self::Peers(_) => "HOST:PORT",
            Self::NodeVersion(_) => "RELEASE",
            Self::MaybeListen(_) => "ADDR|PATH",
            Self::Address(_) | Self::MaybeAddress(_) | Self::Interface(_) => "ADDR",
            Self::Port(_) => "PORT",
            Self::Switch(_) => "BOOL",
            Self::Number(..) | Self::MaybeNumber(..) => "N",
            Self::Seconds(..) => "SECONDS",
            Self::Log(_) => "LEVEL",
            Self::Format(_) | Self::Payloads(_) | Self::Requests(_) | Self::Unknown(_) => "WHAT",
        }
    }
}

fn chosen<T: Copy>(words: &[(&str, T)], text: &str) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    let all = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    found.map(|(_, value)| *value).ok_or_else(|| format!("expected one of {}", all()))
}

fn word<T: PartialEq>(words: &[(&str, T)], value: &T) -> String {
    let found = words.iter().find(|(_, other)| other == value);
    found.map_or_else(String::new, |(word, _)| (*word).to_owned())
}

fn number(text: &str, range: &RangeInclusive<usize>) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| expected_whole(range))
}

fn seconds(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|seconds| range.contains(seconds)).ok_or_else(|| {
        let (least, most) = (range.start().as_secs_f64(), range.end().as_secs_f64());
        format!("expected seconds from {least} to {most}, as in 10 or 0.5")
    })
}

/// A release of chainweb-node, in the form that its header has.
fn release(text: &str) -> Result<HeaderValue, String> {
    let is_right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    let begins = text.starts_with(|c: char| c.is_ascii_digit());
    let value = HeaderValue::from_str(text).ok();
    let value = value.filter(|_| begins && text.len() <= 64 && text.chars().all(is_right));
    value.ok_or_else(|| "expected a release of chainweb-node, as in 3.2".to_owned())
}

/// An interface by its address, or by the words of chainweb-node: `*` and `*4` for all of IPv4, `*6`
/// for all there are.
fn interface(text: &str) -> Result<IpAddr, String> {
    match text {
        "*" | "*4" => Ok(Ipv4Addr::UNSPECIFIED.into()),
        "*6" => Ok(Ipv6Addr::UNSPECIFIED.into()),
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => text.parse().map_err(|_| "expected the address of an interface, or '*'".to_owned()),
    }
}

/// A bare word that is no level would be taken for a target.
fn targets(text: &str) -> Result<String, String> {
    let is_right = |directive: &str| {
        let (target, level) = directive.split_once('=').unwrap_or(("all", directive));
        let is_level = !level.trim().is_empty() && level.trim().parse::<LevelFilter>().is_ok();
        is_level && !target.trim().is_empty()
    };
    if text.split(',').all(is_right) && text.parse::<Targets>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("expected off, error, warn, info, debug, trace, or target=level,...".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_with_fractions() {
        let range = Duration::from_millis(1)..=Duration::from_hours(1);
        assert_eq!(seconds("0.25", &range), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("3600", &range), Ok(Duration::from_hours(1)));
        for text in ["", "-1", "1s", "NaN", "inf", "1e300", "0", "0.0009", "3600.1", "1e19"] {
            let error = seconds(text, &range).unwrap_err();
            assert!(error.contains("seconds from 0.001 to 3600"), "{text}: {error}");
        }
    }

    #[test]
    fn interfaces_are_addresses_or_words_of_chainweb_node() {
        for (text, expected) in
            [("*", "0.0.0.0"), ("*6", "::"), ("localhost", "127.0.0.1"), ("::1", "::1")]
        {
            assert_eq!(interface(text).unwrap().to_string(), expected);
        }
        for text in ["", "example.com", "127.0.0.1:80", "!4"] {
            assert!(interface(text).is_err(), "{text}");
        }
    }

    #[test]
    fn releases_are_what_a_header_takes() {
        for text in ["3.2", "2.32.0", "3.3-rc1+7"] {
            assert_eq!(release(text).unwrap(), text);
        }
        for text in ["", "x", ".1", "3.2 ", "3.2\r\nX: y", "3.é", &"3".repeat(65)] {
            assert!(release(text).is_err(), "{text}");
        }
    }

    #[test]
    fn levels_are_told_from_words() {
        for text in ["info", "OFF", "warn,rocksdb=debug", "plait=trace"] {
            assert!(targets(text).is_ok(), "{text}");
        }
        for text in ["", "nonsense", "info,", "plait=loud", "=info"] {
            assert!(targets(text).is_err(), "{text}");
        }
    }
}
