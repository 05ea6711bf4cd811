//! A small HTTP/1.1 client on a raw socket. It sends any bytes, right or wrong, and keeps an answer as
//! it stood on the wire: the case of header names, chunks, trailers, how the connection ended.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a client waits for a server that has something to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request as it will be written.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    version: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// A request with this method and nothing else but a `Host`.
    #[must_use]
    pub fn new(method: &str, target: impl Into<String>) -> Self {
        let headers = vec![("Host".to_owned(), "plait.test".to_owned())];
        let (method, version) = (method.to_owned(), "HTTP/1.1".to_owned());
        Self { method, target: target.into(), version, headers, body: None }
    }

    /// `GET target`.
    #[must_use]
    pub fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target)
    }

    /// `POST target` with a body of JSON.
    #[must_use]
    pub fn post(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).header("Content-Type", "application/json").body(body)
    }

    /// With another header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With an `Accept` header.
    #[must_use]
    pub fn accept(self, value: &str) -> Self {
        self.header("Accept", value)
    }

    /// Without the headers of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// With this body, whose length is declared.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// As of another version of the protocol, `HTTP/1.0`.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} {}\r\n", self.method, self.target, self.version);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let Some(body) = &self.body else { return (head + "\r\n").into_bytes() };
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)?;
        if let Some(body) = &self.body {
            write!(f, " {}", String::from_utf8_lossy(body.get(..200).unwrap_or(body)))?;
        }
        Ok(())
    }
}

/// An answer as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// The status.
    pub status: u16,
    /// Names, in the case they were written in, and values.
    pub headers: Vec<(String, String)>,
    /// The body, without the frames of chunks.
    pub body: Vec<u8>,
    /// Whether the body came in chunks.
    pub chunked: bool,
    /// What stood behind the last chunk.
    pub trailers: Vec<(String, String)>,
}

impl Response {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The value of a trailer.
    #[must_use]
    pub fn trailer(&self, name: &str) -> Option<&str> {
        find(&self.trailers, name)
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text is UTF-8")
    }

    /// Whether the server said that this is the last answer on the connection.
    #[must_use]
    pub fn closes(&self) -> bool {
        let connection = self.header("Connection").unwrap_or_default().to_ascii_lowercase();
        connection.contains("close")
            || self.version == "HTTP/1.0" && !connection.contains("keep-alive")
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.as_str())
}

/// Why there is no answer, or not the whole of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The connection was closed where an answer would have begun.
    Closed,
    /// The connection broke, or was closed in the middle of an answer; what came of the body.
    Cut(Vec<u8>),
    /// Nothing came for a long time; what came before of the body.
    Silent(Vec<u8>),
    /// What came is not HTTP.
    Malformed(String),
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    /// A connection to `address`.
    ///
    /// # Panics
    ///
    /// If there is none to be had.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts");
        stream.set_nodelay(true).expect("a socket takes options");
        let mut client = Self { stream, unread: Vec::new() };
        client.set_patience(PATIENCE);
        client
    }

    /// Sets how long to wait for bytes.
    ///
    /// # Panics
    ///
    /// If `patience` is zero.
    pub fn set_patience(&mut self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a socket takes options");
        self.stream.set_write_timeout(Some(patience)).expect("a socket takes options");
    }

    /// The client's end of the connection.
    ///
    /// # Panics
    ///
    /// If the system does not know.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket has an address")
    }

    /// Sends bytes, whatever they are.
    ///
    /// # Errors
    ///
    /// If the connection is closed.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        // It fails if the server was quicker.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    ///
    /// [`Ended`] if no whole answer came.
    pub fn try_ask(&mut self, request: &Request) -> Result<Response, Ended> {
        // A server may answer and close before it has read all.
        let _ = self.send(request.to_bytes());
        self.read(request.method())
    }

    /// Sends a request and reads its answer.
    ///
    /// # Panics
    ///
    /// If no whole answer came.
    #[must_use]
    pub fn ask(&mut self, request: &Request) -> Response {
        match self.try_ask(request) {
            Ok(response) => response,
            Err(ended) => panic!("{request}: {ended:?}"),
        }
    }

    /// Reads the answer to a request with this method.
    ///
    /// # Errors
    ///
    /// [`Ended`] if no whole answer came.
    pub fn read(&mut self, method: &str) -> Result<Response, Ended> {
        let response = self.read_head()?;
        let bodiless = matches!(response.status, 100..200 | 204 | 304);
        if method == "HEAD" || bodiless { Ok(response) } else { self.read_rest(response) }
    }

    /// Reads the body that belongs to a head.
    ///
    /// # Errors
    ///
    /// [`Ended`] if no whole body came.
    pub fn read_rest(&mut self, mut head: Response) -> Result<Response, Ended> {
        self.read_body(&mut head)?;
        Ok(head)
    }

    /// Reads an answer up to its body.
    ///
    /// # Errors
    ///
    /// [`Ended`] if no whole head came.
    pub fn read_head(&mut self) -> Result<Response, Ended> {
        let head = match self.take_through(b"\r\n\r\n") {
            Ok(head) => head,
            Err(Stop::End) if self.unread.is_empty() => return Err(Ended::Closed),
            Err(Stop::End | Stop::Broken) => return Err(Ended::Cut(Vec::new())),
            Err(Stop::Silent) => return Err(Ended::Silent(Vec::new())),
        };
        parse_head(&head).ok_or_else(|| malformed(&head))
    }

    fn read_body(&mut self, response: &mut Response) -> Result<(), Ended> {
        response.chunked = response.header("Transfer-Encoding") == Some("chunked");
        let length = response.header("Content-Length").map(str::to_owned);
        let mut body = Vec::new();
        let read = match length {
            _ if response.chunked => self.read_chunks(&mut body, &mut response.trailers),
            Some(length) => {
                let length = length.parse().map_err(|_| Ended::Malformed(length))?;
                self.take(length).map(|bytes| body = bytes).map_err(Trouble::Stop)
            }
            None => match self.take_through_end() {
                Ok(bytes) => {
                    body = bytes;
                    Ok(())
                }
                Err(stop) => Err(Trouble::Stop(stop)),
            },
        };
        match read {
            Ok(()) => {
                response.body = body;
                Ok(())
            }
            Err(Trouble::Stop(stop)) => {
                if !response.chunked {
                    body = std::mem::take(&mut self.unread);
                }
                Err(if matches!(stop, Stop::Silent) {
                    Ended::Silent(body)
                } else {
                    Ended::Cut(body)
                })
            }
            Err(Trouble::Malformed(line)) => Err(malformed(&line)),
        }
    }

    fn read_chunks(
        &mut self,
        body: &mut Vec<u8>,
        trailers: &mut Vec<(String, String)>,
    ) -> Result<(), Trouble> {
        loop {
            let line = self.take_through(b"\r\n").map_err(Trouble::Stop)?;
            let text = String::from_utf8_lossy(&line);
            let size = text.trim_end_matches("\r\n").split(';').next().unwrap_or_default();
            let Ok(size) = usize::from_str_radix(size, 16) else {
                return Err(Trouble::Malformed(line));
            };
            if size == 0 {
                break;
            }
            body.extend(self.take(size).map_err(Trouble::Stop)?);
            let end = self.take(2).map_err(Trouble::Stop)?;
            if end != b"\r\n" {
                return Err(Trouble::Malformed(end));
            }
        }
        loop {
            let line = self.take_through(b"\r\n").map_err(Trouble::Stop)?;
            if line == b"\r\n" {
                return Ok(());
            }
            trailers.push(parse_field(&line).ok_or(Trouble::Malformed(line))?);
        }
    }

    /// Reads all that still comes. True if the server closed the connection, false if nothing
    /// came for as long as the client waits.
    pub fn drain(&mut self) -> bool {
        !matches!(self.take_through_end(), Err(Stop::Silent))
    }

    /// Reads at most `max` bytes as they come; none at the end of the connection.
    ///
    /// # Errors
    ///
    /// If the connection breaks, or nothing comes in time.
    pub fn read_some(&mut self, max: usize) -> io::Result<Vec<u8>> {
        if self.unread.is_empty() {
            let mut bytes = vec![0; max];
            let read = self.stream.read(&mut bytes)?;
            bytes.truncate(read);
            return Ok(bytes);
        }
        Ok(self.unread.drain(..max.min(self.unread.len())).collect())
    }

    fn fill(&mut self) -> Result<(), Stop> {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            return match self.stream.read(&mut bytes) {
                Ok(0) => Err(Stop::End),
                Ok(read) => {
                    self.unread.extend_from_slice(bytes.get(..read).unwrap_or_default());
                    Ok(())
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => continue,
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Stop::Silent),
                    _ => Err(Stop::Broken),
                },
            };
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Stop> {
        while self.unread.len() < count {
            self.fill()?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    fn take_through(&mut self, mark: &[u8]) -> Result<Vec<u8>, Stop> {
        loop {
            let found = self.unread.windows(mark.len()).position(|window| window == mark);
            if let Some(at) = found {
                return Ok(self.unread.drain(..at + mark.len()).collect());
            }
            self.fill()?;
        }
    }

    fn take_through_end(&mut self) -> Result<Vec<u8>, Stop> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(Stop::End) => return Ok(std::mem::take(&mut self.unread)),
                Err(stop) => return Err(stop),
            }
        }
    }
}

/// Why no more bytes come.
#[derive(Clone, Copy, Debug)]
enum Stop {
    End,
    Broken,
    Silent,
}

enum Trouble {
    Stop(Stop),
    Malformed(Vec<u8>),
}

fn malformed(bytes: &[u8]) -> Ended {
    Ended::Malformed(String::from_utf8_lossy(bytes).into_owned())
}

/// Reads a head strictly: lines end with both characters, names are tokens, no line is folded.
fn parse_head(head: &[u8]) -> Option<Response> {
    let head = std::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let (version, rest) = lines.next()?.split_once(' ')?;
    let (status, _reason) = rest.split_once(' ')?;
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") || status.len() != 3 {
        return None;
    }
    let headers = lines.map(|line| parse_field(line.as_bytes())).collect::<Option<_>>()?;
    let (version, status) = (version.to_owned(), status.parse().ok()?);
    Some(Response { version, status, headers, ..Response::default() })
}

fn parse_field(line: &[u8]) -> Option<(String, String)> {
    let line = std::str::from_utf8(line).ok()?;
    let (name, value) = line.strip_suffix("\r\n").unwrap_or(line).split_once(": ")?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    let valid = !name.is_empty() && name.bytes().all(token) && value.bytes().all(visible);
    valid.then(|| (name.to_owned(), value.to_owned()))
}
