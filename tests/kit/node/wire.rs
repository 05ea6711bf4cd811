use std::io::BufRead;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;

/// How a connection is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// With this status and JSON.
    Json(u16, String),
    /// With this status, type and body.
    Body(u16, &'static str, Vec<u8>),
    /// The same, in chunks of one byte.
    Crumbs(u16, &'static str, Vec<u8>),
    /// With the beginning of a longer body, and then the connection is closed.
    Cut(&'static str, Vec<u8>),
    /// With these bytes, again and again, for ever.
    Endless(&'static str, Vec<u8>),
    /// Sends the first bytes once, which need not be a head, and then the others without end.
    Flood(Vec<u8>, Vec<u8>),
    /// With one byte now and then.
    Trickle(&'static str),
    /// Not at all, while the connection stays.
    Silence,
    /// By closing the connection.
    Close,
    /// With the events of new blocks, as they come.
    Updates,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The body.
    pub body: Vec<u8>,
}

pub(super) fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, target, body })
}

/// An answer with its length.
pub(super) fn in_whole(status: u16, media: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} x\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// An answer in chunks of one byte.
pub(super) fn in_crumbs(status: u16, media: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: {media}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let crumbs = body.iter().flat_map(|byte| [b'1', b'\r', b'\n', *byte, b'\r', b'\n']);
    head.bytes().chain(crumbs).chain(*b"0\r\n\r\n").collect()
}

/// What the node shows of itself, and the certificate in PEM of the authority that signed it: both
/// drawn anew, so that neither runs out and no key lies anywhere.
pub(super) fn tls() -> (ServerConfig, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let issuer = CertifiedIssuer::self_signed(authority, key()).expect("an authority");
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let node = CertificateParams::new(names).expect("names of this machine");
    let node_key = key();
    let certificate = node.signed_by(&node_key, &issuer).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions of TLS");
    let builder = builder.with_no_client_auth();
    let config = builder.with_single_cert(vec![certificate.der().clone()], node_key.into());
    (config.expect("a certificate and its key"), issuer.pem())
}

fn key() -> KeyPair {
    KeyPair::generate().expect("random numbers")
}
