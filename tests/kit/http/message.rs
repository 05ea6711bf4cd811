use std::fmt;

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
            head.extend([name, ": ", value, "\r\n"]);
        }
        let Some(body) = &self.body else { return (head + "\r\n").into_bytes() };
        head.extend(["Content-Length: ", &body.len().to_string(), "\r\n\r\n"]);
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

/// Reads a head strictly: lines end with both characters, names are tokens, no line is folded.
pub(super) fn parse_head(head: &[u8]) -> Option<Response> {
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

pub(super) fn parse_field(line: &[u8]) -> Option<(String, String)> {
    let line = std::str::from_utf8(line).ok()?;
    let (name, value) = line.strip_suffix("\r\n").unwrap_or(line).split_once(": ")?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    let valid = !name.is_empty() && name.bytes().all(token) && value.bytes().all(visible);
    valid.then(|| (name.to_owned(), value.to_owned()))
}
