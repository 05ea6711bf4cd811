//! Why there is no endpoint at a path, with messages that name the mistake.

use std::fmt;

use percent_encoding::percent_decode_str;
use plait_engine::{ChainId, ChainwebVersion};

use crate::config::Config;

/// Maximum number of segments to examine; no path of the server has more.
const SEGMENTS_MAX: usize = 8;

/// What a server needs for the endpoint at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing that depends on the configuration.
    Nothing,
    /// A database.
    Database,
    /// A database, and the setting that allows backups over HTTP.
    Backups,
    /// An archive.
    Archive,
}

impl Needs {
    /// Whether a server with this configuration has it.
    pub(crate) const fn are_met(self, config: &Config) -> bool {
        match self {
            Self::Nothing => true,
            Self::Database => !config.archive_only,
            Self::Backups => config.backup.api && !config.archive_only,
            Self::Archive => config.archive.is_some(),
        }
    }
}

/// Why nothing answers at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The path names a network that is not served.
    Network {
        /// The network as in the path; long ones are truncated.
        got: String,
        /// The network that is served.
        served: &'static str,
    },
    /// The path names a chain that the network does not have.
    Chain {
        /// The segment for the chain; long ones are truncated.
        got: String,
        /// The last chain of the network.
        last: u32,
    },
    /// The path names another version of the API.
    ApiVersion {
        /// The version as in the path; long ones are truncated.
        got: String,
    },
    /// The endpoint is below the path of the network, not at the root; or the other way round.
    Elsewhere {
        /// The path; long ones are cut.
        got: String,
        /// The network.
        network: &'static str,
        /// Whether the endpoint is below the path of the network.
        is_below: bool,
    },
    /// The path has percent escapes where the server does not decode them.
    Escaped {
        /// The path; long ones are cut.
        got: String,
    },
    /// A segment whose percent escapes are decoded is not UTF-8 then.
    Encoding {
        /// The path; long ones are cut.
        got: String,
    },
    /// Metrics have their own address.
    Metrics,
    /// Push has its own address.
    Push,
    /// The endpoint is for backups, which cannot be requested over HTTP here.
    Backups,
    /// The endpoint is for files of an archive, and none is served.
    Archive,
    /// The endpoint needs a database, and there is only an archive.
    Database,
    /// There is no such endpoint on any server.
    Endpoint {
        /// The path; long ones are cut.
        got: String,
    },
}

impl Missing {
    /// The reason why a server with this network and configuration has no endpoint at `path`.
    /// `find` returns what the endpoint at a path needs, if there is one.
    pub(crate) fn of(
        version: ChainwebVersion,
        config: &Config,
        path: &str,
        find: impl Fn(&str) -> Option<Needs>,
    ) -> Self {
        if let Some(needs) = find(path) {
            return match needs {
                Needs::Archive => Self::Archive,
                Needs::Database | Needs::Backups if config.archive_only => Self::Database,
                Needs::Backups => Self::Backups,
                // A file that the explorer does not have.
                Needs::Nothing | Needs::Database => Self::endpoint(path),
            };
        }
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        if decoded != path && find(&decoded).is_some() {
            let got = excerpt(path);
            let is_text = percent_decode_str(path).decode_utf8().is_ok();
            return if is_text { Self::Escaped { got } } else { Self::Encoding { got } };
        }
        let segments: Vec<&str> = path.split('/').skip(1).take(SEGMENTS_MAX).collect();
        match *segments.as_slice() {
            ["metrics"] => Self::Metrics,
            ["push"] => Self::Push,
            ["chainweb", _, _, ..] if config.archive_only => Self::Database,
            ["chainweb", api, _, ..] if api != "0.0" => Self::ApiVersion { got: excerpt(api) },
            ["chainweb", _, network, ..] if !network.is_empty() && network != version.name() => {
                Self::Network { got: excerpt(network), served: version.name() }
            }
            ["chainweb", _, _, "chain", chain, ..] if !is_chain(version, chain) => {
                let last = version.chain_ids().map(ChainId::get).max().unwrap_or_default();
                Self::Chain { got: excerpt(chain), last }
            }
            _ => Self::elsewhere(version, path, find),
        }
    }

    /// Looks for the endpoint at the root and below the path of the network.
    fn elsewhere(
        version: ChainwebVersion,
        path: &str,
        find: impl Fn(&str) -> Option<Needs>,
    ) -> Self {
        let base = format!("/chainweb/0.0/{version}");
        let (at, is_below) = match path.strip_prefix(&base) {
            Some(rest) => (rest.to_owned(), false),
            None => (base + path, true),
        };
        // The page of the explorer is at the root, not the endpoint that is missing.
        match find(&at).filter(|_| !matches!(&*at, "" | "/")) {
            Some(_) => Self::Elsewhere { got: excerpt(path), network: version.name(), is_below },
            None => Self::endpoint(path),
        }
    }

    /// There is no such endpoint on any server.
    pub(crate) fn endpoint(path: &str) -> Self {
        Self::Endpoint { got: excerpt(path) }
    }
}

/// At most the first 64 characters of what a client sent, for an error message.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => text.get(..end).map_or_else(String::new, |head| format!("{head}…")),
        None => text.to_owned(),
    }
}

fn is_chain(version: ChainwebVersion, text: &str) -> bool {
    version.chain_ids().any(|chain| chain.to_string() == text)
}

/// A word unchanged; anything else in quotes.
fn shown(got: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if !got.is_empty() && got.chars().all(is_word) { got.to_owned() } else { format!("{got:?}") }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { got, served } => {
                write!(f, "network {} is not served here; {served} is", shown(got))
            }
            Self::Chain { got, last } => {
                write!(f, "no chain {}: this network has 0 to {last}", shown(got))
            }
            Self::ApiVersion { got } => {
                write!(f, "API version {} is not served here; 0.0 is", shown(got))
            }
            Self::Elsewhere { got, network, is_below: true } => {
                write!(f, "no endpoint {}: put /chainweb/0.0/{network} before it", shown(got))
            }
            Self::Elsewhere { got, network, is_below: false } => {
                write!(f, "no endpoint {}: omit /chainweb/0.0/{network}", shown(got))
            }
            Self::Escaped { got } => {
                write!(f, "no endpoint {}: write it without percent escapes", shown(got))
            }
            Self::Encoding { got } => {
                write!(f, "no endpoint {}: its percent escapes are not UTF-8", shown(got))
            }
            Self::Metrics => f.write_str(
                "this address serves the API; metrics are on the address that --metrics sets",
            ),
            Self::Push => f.write_str(
                "this address serves the API; push blocks to the address that --ingest sets",
            ),
            Self::Backups => f.write_str(
                "backups cannot be requested over HTTP here: the server runs without --backup-api",
            ),
            Self::Archive => {
                f.write_str("no archive is served here: the server runs without --archive")
            }
            Self::Database => f.write_str(
                "this server has an archive and no database: /archive/manifest.json lists its files",
            ),
            Self::Endpoint { got } => {
                write!(f, "no endpoint {}: /openapi.json lists all of them", shown(got))
            }
        }
    }
}
