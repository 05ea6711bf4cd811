//! Addresses of a configuration: where blocks are taken, and whom to follow.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, Scheme};
use plait_engine::ChainwebVersion;

/// The part of the path before the network name in a node's API.
const BASE: &str = "/chainweb/0.0";

const EXPECTED: &str = "expected an address and a port, as in 127.0.0.1:1848 or localhost:1848";

/// An address with a port. A host name is resolved here, once, to the first address that it has;
/// `localhost` is 127.0.0.1, whatever order a resolver has.
///
/// # Errors
///
/// What is expected instead, or why the name cannot be resolved.
pub fn resolve(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
    let port: u16 = port.parse().map_err(|_| EXPECTED)?;
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    // What has a colon is no name, but an IPv6 address without its brackets.
    if host.is_empty() || host.contains([':', '[', ']', '/', ' ']) {
        return Err(EXPECTED.to_owned());
    }
    let mut addresses = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("cannot resolve the host name {host}: {error}"))?;
    addresses.next().ok_or_else(|| format!("the host name {host} has no address"))
}

/// Where blocks are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A socket in the file system, by its absolute path.
    Unix(PathBuf),
}

impl Listen {
    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    /// The path of a socket, or what [`resolve`] takes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let is_none = || format!("{EXPECTED}, or the absolute path of a socket");
        resolve(text).map(Self::Tcp).map_err(|why| if why == EXPECTED { is_none() } else { why })
    }
}

/// A chainweb-node, or another Plait, by the address of its API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    scheme: Scheme,
    authority: Authority,
    /// What stands in front of every path, without a slash at its end.
    prefix: String,
    /// The network in the path, if there is one.
    network: Option<ChainwebVersion>,
}

impl Upstream {
    /// Scheme, host and port, without the path, which may contain a key.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// The network that the path names, as in `http://127.0.0.1:1848/chainweb/0.0/mainnet01`.
    #[must_use]
    pub const fn network(&self) -> Option<ChainwebVersion> {
        self.network
    }

    /// The address of `path`, which begins with a slash.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.prefix))
            .build()
    }
}

/// The address of a node's API, for clients that discover peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The fingerprint of the node's certificate, as base64url, if it is known.
    pub(crate) id: Option<String>,
    /// A host name or an IP address; IPv6 is in brackets.
    pub(crate) hostname: String,
    /// The port of the API.
    pub(crate) port: u16,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = &self.id {
            write!(f, "{id}@")?;
        }
        write!(f, "{}:{}", self.hostname, self.port)
    }
}

impl FromStr for Peer {
    type Err = &'static str;

    /// Parses the format of chainweb-node's `--known-peer-info`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a host and a port, as in node.example.org:1848, with \
                                the node's id and @ in front if it is known";
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let is_id = |id: &str| id.len() == 43 && id.chars().all(is_base64);
        let (id, address) = match text.split_once('@') {
            Some((id, address)) => (Some(id), address),
            None => (None, text),
        };
        let address: Authority = address.parse().map_err(|_| EXPECTED)?;
        let is_plain = !address.as_str().contains('@') && !address.host().is_empty();
        match address.port_u16().filter(|_| is_plain && id.is_none_or(is_id)) {
            Some(port) => {
                let hostname = address.host().to_owned();
                Ok(Self { id: id.map(ToOwned::to_owned), hostname, port })
            }
            None => Err(EXPECTED),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.prefix)?;
        self.network.map_or(Ok(()), |network| write!(f, "{BASE}/{network}"))
    }
}

impl FromStr for Upstream {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected the address of an API, as in http://127.0.0.1:1848";
        let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.filter(|s| *s == Scheme::HTTP || *s == Scheme::HTTPS);
        let (scheme, authority) = scheme.zip(parts.authority).ok_or(EXPECTED)?;
        if authority.as_str().contains('@') {
            return Err("names and passwords in addresses are not supported");
        }
        let path = parts.path_and_query;
        if path.as_ref().is_some_and(|path| path.query().is_some()) {
            return Err(EXPECTED);
        }
        let path = path.as_ref().map_or("", |path| path.path());
        // Behind the base path, only the network matters.
        let (prefix, rest) = path.split_once(BASE).unwrap_or((path, ""));
        let name = rest.trim_start_matches('/').split('/').next().unwrap_or_default();
        let network = ChainwebVersion::from_name(name);
        if network.is_none() && !name.is_empty() {
            return Err("the path of the address names an unknown network");
        }
        let prefix = prefix.trim_end_matches('/').to_owned();
        Ok(Self { scheme, authority, prefix, network })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_addresses_of_an_api() {
        for (text, expected) in [
            ("http://127.0.0.1:1848", "http://127.0.0.1:1848/info"),
            ("http://127.0.0.1:1848/", "http://127.0.0.1:1848/info"),
            ("https://api.example.org/a/b/", "https://api.example.org/a/b/info"),
            ("http://[::1]:9/chainweb/0.0/mainnet01", "http://[::1]:9/info"),
        ] {
            let upstream: Upstream = text.parse().unwrap();
            assert_eq!(upstream.uri("/info").unwrap().to_string(), expected);
            assert_eq!(upstream.to_string().parse(), Ok(upstream));
        }
        let named: Upstream = "http://a/x/chainweb/0.0/mainnet01/cut".parse().unwrap();
        assert_eq!(named.network(), Some(ChainwebVersion::Mainnet01));
        assert_eq!(named.uri("/info").unwrap().to_string(), "http://a/x/info");
        assert_eq!("http://a/chainweb/0.0/".parse::<Upstream>().unwrap().network(), None);
        assert!("http://a/chainweb/0.0/nowhere".parse::<Upstream>().is_err());
        for text in
            ["", "127.0.0.1:1848", "ftp://a", "http://", "http://u:p@a", "http://a/?b", "/x"]
        {
            assert!(text.parse::<Upstream>().is_err(), "{text}");
        }
    }

    #[test]
    fn peers_are_hosts_with_ports_and_maybe_ids() {
        let id = "A".repeat(43);
        for text in ["a:1", "node.example.org:443", "[::1]:9", &format!("{id}@127.0.0.1:1848")] {
            let peer: Peer = text.parse().unwrap();
            assert_eq!(peer.to_string(), text);
        }
        let peer: Peer = format!("{id}@b:7").parse().unwrap();
        assert_eq!((peer.id, &*peer.hostname, peer.port), (Some(id.clone()), "b", 7));
        let twice = format!("{id}@{id}@a:1");
        for text in
            ["", "a", ":1", "a:", "a:x", "a:65536", "@a:1", "x@a:1", "http://a:1", "a:1/b", &twice]
        {
            assert!(text.parse::<Peer>().is_err(), "{text}");
        }
    }

    #[test]
    fn origin_of_an_upstream_has_no_path() {
        let upstream: Upstream = "https://a.example:8443/secret-key".parse().unwrap();
        assert_eq!(upstream.origin(), "https://a.example:8443");
    }

    #[test]
    fn host_names_are_resolved_and_what_is_no_address_is_refused() {
        assert_eq!(resolve("localhost:7").unwrap().to_string(), "127.0.0.1:7");
        assert_eq!(resolve("[::1]:7").unwrap().to_string(), "[::1]:7");
        for text in
            ["", "1849", "x", ":1", "::1:1", "localhost:", "localhost:65536", "a b:1", "x/y:1"]
        {
            assert_eq!(resolve(text), Err(EXPECTED.to_owned()), "{text}");
        }
        // RFC 6761: no resolver answers for this domain.
        let error = resolve("plait.invalid:1848").unwrap_err();
        assert!(error.contains("plait.invalid"), "{error}");
        assert_eq!("localhost:7".parse::<Listen>().unwrap().to_string(), "127.0.0.1:7");
    }

    #[test]
    fn only_this_machine_reaches_the_loopback_and_a_socket_of_its_own() {
        for (text, is_local) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:1", false),
            ("10.0.0.1:1", false),
            ("/run/plait/push", true),
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().is_local(), is_local, "{text}");
        }
        assert!("run/plait".parse::<Listen>().is_err());
    }
}
