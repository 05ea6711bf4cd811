use std::fs;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::answer::Answer;
use super::error::{FollowError, unanswered};
use crate::address::Upstream;
use crate::config::Follow;
use crate::meter::Metered;

/// How long an idle connection is kept.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// By what the limits are divided while another node can be asked.
const BRIEF_PART: f64 = 6.0;

/// Connecting over a long distance takes some tenths of a second.
const BRIEF_MIN: Duration = Duration::from_secs(1);

type Connections = Pool<HttpsConnector<Connector>, Full<Bytes>>;

/// Sends requests to nodes.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pool: Connections,
    /// Opens a new connection for each request.
    anew: Connections,
    limits: Limits,
}

/// Time limits of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For its head.
    head: Duration,
    /// For a whole body that is kept in memory.
    pub(super) whole: Duration,
    /// For the next bytes that count as progress.
    pub(super) stall: Duration,
    /// Whether they are shorter than configured, because another node can be asked.
    pub(super) are_brief: bool,
}

impl Client {
    /// A client that trusts the certificates of the system, and those in the file that `config`
    /// names.
    ///
    /// # Errors
    ///
    /// If that file cannot be read, or has no certificates.
    pub(super) fn new(config: &Follow) -> io::Result<Self> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(config.connect_time));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(config.ca.as_deref())?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector(http));
        let mut builder = Pool::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIME);
        let pool = builder.build(connector.clone());
        let anew = builder.pool_max_idle_per_host(0).build(connector);
        let Follow { answer_time, stall_time, .. } = *config;
        let limits =
            Limits { head: answer_time, whole: answer_time, stall: stall_time, are_brief: false };
        Ok(Self { pool, anew, limits })
    }

    /// A client that opens a new connection for each request: a load balancer may give it to another
    /// node.
    pub(super) fn opening(&self) -> Self {
        Self { pool: self.anew.clone(), ..self.clone() }
    }

    /// A client that soon gives up a node that is silent, or hardly sends anything.
    pub(super) fn brief(&self) -> Self {
        let Limits { head, whole, stall, .. } = self.limits;
        let brief = |time: Duration| time.div_f64(BRIEF_PART).max(BRIEF_MIN.min(time));
        let (head, stall) = (brief(head), brief(stall));
        Self { limits: Limits { head, whole, stall, are_brief: true }, ..self.clone() }
    }

    /// Whether it gives up a node that soon.
    pub(super) const fn is_brief(&self) -> bool {
        self.limits.are_brief
    }

    /// Sends a request and waits for the head of the answer. `body` is JSON.
    ///
    /// # Errors
    ///
    /// [`FollowError::Connect`], [`FollowError::Broken`] and [`FollowError::Timeout`].
    pub(super) async fn ask(
        &self,
        upstream: &Upstream,
        path: &str,
        accept: &'static str,
        body: Option<String>,
    ) -> Result<Answer, FollowError> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let agent = concat!("plait/", env!("CARGO_PKG_VERSION"));
        let uri = upstream.uri(path);
        let uri = uri.map_err(|error| FollowError::content(path, error.to_string()))?;
        let mut request = Request::new(Full::new(Bytes::from(body.unwrap_or_default())));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        if method == Method::POST {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        match timeout(self.limits.head, self.pool.request(request)).await {
            Ok(Ok(response)) => Ok(Answer::new(path, response, self.limits)),
            Ok(Err(error)) => Err(unanswered(path, &error)),
            Err(_) => Err(FollowError::Timeout { path: path.to_owned(), time: self.limits.head }),
        }
    }
}

/// Opens connections that fail if too many bytes come without an answer.
#[derive(Clone, Debug)]
struct Connector(HttpConnector);

type Opening = dyn Future<Output = Result<TokioIo<Metered<TcpStream>>, BoxError>> + Send;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = TokioIo<Metered<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<Opening>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let opening = self.0.call(uri);
        Box::pin(async { Ok(TokioIo::new(Metered::new(opening.await?.into_inner()))) })
    }
}

fn tls(ca: Option<&Path>) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!("a certificate of the system cannot be read: {error}");
    }
    roots.add_parsable_certificates(system.certs);
    if let Some(ca) = ca {
        let name = |error: String| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", ca.display()))
        };
        let pem = fs::read(ca).map_err(|error| name(error.to_string()))?;
        let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|error| name(error.to_string()))?;
        if certificates.is_empty() {
            return Err(name("there is no certificate in it".to_owned()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| name(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
