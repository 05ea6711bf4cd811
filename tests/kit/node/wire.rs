use std::io::BufRead;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::vectors::workspace;

/// How a connection is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// With this status and JSON.
    Json(u16, String),
    /// With this status, type and body.
    Body(u16, &'static str, Vec<u8>),
    /// With the beginning of a longer body, and then the connection is closed.
    Cut(&'static str, Vec<u8>),
    /// With these bytes, again and again, for ever.
    Endless(&'static str, Vec<u8>),
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

/// What the node shows of itself.
pub(super) fn tls() -> ServerConfig {
    let folder = workspace().join("tests/vectors/tls");
    let certificates = CertificateDer::pem_file_iter(folder.join("node.pem"));
    let certificates = certificates.and_then(Iterator::collect).expect("certificates");
    let key = PrivateKeyDer::from_pem_file(folder.join("node.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions of TLS");
    builder.with_no_client_auth().with_single_cert(certificates, key).expect("a certificate")
}
