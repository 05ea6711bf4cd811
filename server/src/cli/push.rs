use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use clap::Args as ClapArgs;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use plait::{Blocks, Listen, Meter, Metered};
use plait_engine::cause::{Classified, Fault};
use plait_engine::replay::ReplayError;
use plait_engine::replay::source::{Format, detect_stream};
use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use super::advice::{Advice, Subject};
use super::fail;
use super::progress::{Display, Shown};

/// Bytes of a file that are read at once, and how many such pieces ahead.
const PIECE_BYTES: usize = 64 << 10;
const AHEAD: usize = 4;

/// The longest line of the answer, in bytes, and the longest reason for a refusal.
const LINE_BYTES_MAX: usize = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  plait push 127.0.0.1:1850 new-headers.bin
  plait push /run/plait/push blocks.jsonl
  make-blocks | plait push /run/plait/push -

Exit status: 0 all stored, 1 some not, 2 wrong usage, an empty file, or input or output that failed.";

/// Push headers into a running server.
///
/// The server is one that was started with --ingest. It verifies each block, and what it does not
/// store is told.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Where the server takes blocks: its --ingest.
    #[arg(value_name = "ADDR|PATH", value_parser = to)]
    to: Listen,

    /// Files of 318-byte headers, or of JSON, also compressed with gzip or zstd; - for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

fn to(text: &str) -> Result<Listen, String> {
    // As the server says it, and as curl takes it.
    let address = text.strip_prefix("http://").map(|rest| rest.trim_end_matches("/push"));
    address.unwrap_or(text).parse()
}

#[derive(Debug, Error)]
enum Failed {
    #[error("{0}")]
    File(String, #[source] io::Error),
    #[error(transparent)]
    Format(#[from] ReplayError),
    #[error("{0}")]
    Connect(Listen, #[source] io::Error),
    #[error("the server: {0}")]
    Http(#[from] hyper::Error),
    #[error("the server: {0}: {1}")]
    Refused(StatusCode, String),
    #[error("the server: {0}")]
    Stopped(String),
    #[error("the server: the answer has no end")]
    Cut,
}

impl Failed {
    fn advice(&self) -> Advice {
        let text = match self {
            Self::File(..) | Self::Format(_) => {
                let otherwise = "Name files of 318-byte headers or of JSON.";
                return Advice::of(self, Subject::Input, otherwise);
            }
            Self::Refused(StatusCode::NOT_FOUND, _) => {
                "Nothing was pushed: this may be the address of the API. Use the address of --ingest, \
                 which the server prints after \"taking blocks on\"."
            }
            Self::Connect(..) => "Start the server with --ingest, and name what it says there.",
            Self::Http(_) | Self::Refused(..) | Self::Stopped(_) | Self::Cut => {
                "What was stored before is kept; the same command may be run again."
            }
        };
        text.into()
    }
}

impl Classified for Failed {
    fn fault(&self) -> Fault {
        match self {
            Self::File(name, error) => Fault::io(Path::new(name), error),
            Self::Format(error) => error.fault(),
            Self::Connect(..)
            | Self::Http(_)
            | Self::Refused(..)
            | Self::Stopped(_)
            | Self::Cut => Fault::OTHER,
        }
    }
}

/// What came of the blocks of a file.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    stored: u64,
    known: u64,
    others: u64,
}

impl Args {
    /// Runs the command.
    pub(super) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return fail(&error, "The system refuses files to this process."),
        };
        let mut others = 0_u64;
        for file in &self.files {
            match runtime.block_on(push(&self.to, file)) {
                Ok(Counts { stored, known, others: not }) => {
                    let name = file.display();
                    tell!("{name}: stored {stored}, {known} already there, {not} not stored");
                    others = not.saturating_add(others);
                }
                Err(error) => return fail(&error, error.advice()),
            }
        }
        runtime.shutdown_background();
        ExitCode::from(u8::from(others > 0))
    }
}

async fn push(to: &Listen, path: &Path) -> Result<Counts, Failed> {
    let name = path.display().to_string();
    let Reading { content_type, pieces, failed } = open(path).map_err(|error| match error {
        Opening::Io(error) => Failed::File(name.clone(), error),
        Opening::Format(error) => error.into(),
    })?;
    let pushed = send(to, content_type, pieces).await;
    match failed.get() {
        Some(text) => Err(Failed::File(name, io::Error::other(text.clone()))),
        None => pushed,
    }
}

async fn send(
    to: &Listen,
    content_type: &'static str,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
) -> Result<Counts, Failed> {
    let connect = |error| Failed::Connect(to.clone(), error);
    let (response, meter) = match to {
        Listen::Tcp(address) => {
            let stream = TcpStream::connect(address).await.map_err(connect)?;
            ask(stream, &address.to_string(), content_type, pieces).await?
        }
        Listen::Unix(socket) => {
            let stream = UnixStream::connect(socket).await.map_err(connect)?;
            ask(stream, "localhost", content_type, pieces).await?
        }
    };
    let status = response.status();
    if status != StatusCode::OK {
        let reason = reason(response.into_body()).await?;
        return Err(Failed::Refused(status, String::from_utf8_lossy(&reason).trim().to_owned()));
    }
    read(response.into_body(), &meter).await
}

enum Opening {
    Io(io::Error),
    Format(ReplayError),
}

/// A file that is read.
struct Reading {
    content_type: &'static str,
    /// Its bytes, decompressed.
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// Why it cannot be read to its end. The server sees no more of that than a request that breaks off.
    failed: Arc<OnceLock<String>>,
}

/// What a file is, and its bytes as they are read.
fn open(path: &Path) -> Result<Reading, Opening> {
    let file: Box<dyn Read + Send> = if path.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(Opening::Io)?)
    };
    let is_pipe = path.as_os_str() == "-";
    let name = if is_pipe { "standard input".to_owned() } else { path.display().to_string() };
    let (format, mut file) = detect_stream(&name, file).map_err(Opening::Format)?;
    let content_type = match format {
        Format::Jsonl => "application/x-ndjson",
        Format::Binary | Format::Node | Format::Archive => "application/octet-stream",
    };
    let (sender, pieces) = mpsc::channel(AHEAD);
    let failed = Arc::new(OnceLock::new());
    let failing = Arc::clone(&failed);
    // It ends with the file, or when nobody takes the pieces; one that waits for its input ends with
    // the process.
    std::thread::spawn(move || {
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            let piece = match file.read(&mut piece) {
                Ok(0) => return,
                Ok(read) => {
                    piece.truncate(read);
                    Ok(piece.into())
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let _ = failing.set(error.to_string());
                    Err(error)
                }
            };
            let is_last = piece.is_err();
            if sender.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    });
    Ok(Reading { content_type, pieces, failed })
}

async fn ask<S>(
    stream: S,
    host: &str,
    content_type: &'static str,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
) -> Result<(Response<Incoming>, Meter), Failed>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stream = Metered::new(stream);
    let meter = stream.meter();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::new(Blocks::new(pieces));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static("/push");
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.extend(HeaderValue::try_from(host).ok().map(|host| (HOST, host)));
    let response = sender.send_request(request).await?;
    meter.reset();
    Ok((response, meter))
}

/// Reads the beginning of the body of a refusal.
async fn reason(mut body: Incoming) -> Result<Vec<u8>, Failed> {
    let mut reason = Vec::new();
    while let Some(frame) = body.frame().await {
        reason.extend_from_slice(&frame?.into_data().unwrap_or_default());
        if reason.len() > LINE_BYTES_MAX {
            break;
        }
    }
    Ok(reason)
}

/// Reads the answer, and tells of every block that is not stored.
async fn read(mut body: Incoming, meter: &Meter) -> Result<Counts, Failed> {
    let (mut rest, mut shown, display) = (Vec::new(), Shown::default(), Display::new());
    let (mut end, mut searched) = (None, 0_usize);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        meter.reset();
        rest.extend_from_slice(&data);
        let ends = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n');
        while let Some(at) = ends(rest.get(searched..).unwrap_or_default()) {
            let line: Vec<u8> = rest.drain(..=searched.saturating_add(at)).collect();
            searched = 0;
            let Ok(line) = serde_json::from_slice::<Value>(&line) else { return Err(Failed::Cut) };
            match (line.get("outcome").and_then(Value::as_str), line.get("done")) {
                (Some(outcome), _) => {
                    let outcome = line.get("payload").map_or(outcome, |_| "payload refused");
                    shown.line(&display, outcome, &told(&line));
                }
                (None, Some(_)) => end = Some(line),
                (None, None) => {}
            }
        }
        searched = rest.len();
        if searched > LINE_BYTES_MAX {
            return Err(Failed::Cut);
        }
    }
    let end = end.ok_or(Failed::Cut)?;
    if let Some(error) = end.get("error").and_then(Value::as_str) {
        return Err(Failed::Stopped(error.to_owned()));
    }
    let count = |name: &str| end.get(name).and_then(Value::as_u64).unwrap_or(0);
    let others = ["waiting", "refused", "payloadsRefused"];
    let others = others.into_iter().map(count).fold(0, u64::saturating_add);
    Ok(Counts { stored: count("stored"), known: count("known"), others })
}

/// A block that is not stored, and why.
fn told(line: &Value) -> String {
    let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| line.get(name).and_then(Value::as_u64);
    let (place, reason) = (text("place"), text("reason"));
    match (number("chain"), number("height")) {
        (Some(chain), Some(height)) => {
            format!("{place}: chain {chain}, height {height}, block {}: {reason}", text("hash"))
        }
        _ => format!("{place}: {reason}"),
    }
}
