use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::message::{Request, Response, parse_field, parse_head};

/// How long a client waits for a server that has something to do.
const PATIENCE: Duration = Duration::from_secs(30);

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

    /// Sends a request while its answer is read: neither may fit into what the system holds.
    ///
    /// # Panics
    ///
    /// If no whole answer came.
    #[must_use]
    pub fn ask_both_ways(&mut self, request: &Request) -> Response {
        let (bytes, mut sender) =
            (request.to_bytes(), self.stream.try_clone().expect("a second handle"));
        let sending = std::thread::spawn(move || {
            // A server may answer and close before it has read all.
            let _ = sender.write_all(&bytes);
        });
        let answer = self.read(request.method());
        sending.join().expect("sending does not panic");
        answer.unwrap_or_else(|ended| panic!("{request}: {ended:?}"))
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

    /// Reads the next chunk of a body that comes in chunks, without trailers; `None` at its end.
    ///
    /// # Errors
    ///
    /// [`Ended`] if no whole chunk came. If nothing came at all, it may be asked for again.
    pub fn read_chunk(&mut self) -> Result<Option<Vec<u8>>, Ended> {
        let chunk = self.take_chunk().and_then(|chunk| match chunk {
            Some(chunk) => Ok(Some(chunk)),
            None => self.take(2).map(|_| None).map_err(Trouble::Stop),
        });
        chunk.map_err(|trouble| match trouble {
            Trouble::Stop(Stop::Silent) => Ended::Silent(Vec::new()),
            Trouble::Stop(Stop::End | Stop::Broken) => Ended::Cut(Vec::new()),
            Trouble::Malformed(line) => malformed(&line),
        })
    }

    /// The next chunk; `None` at the last one, which is empty.
    fn take_chunk(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        let line = self.take_through(b"\r\n").map_err(Trouble::Stop)?;
        let text = String::from_utf8_lossy(&line);
        let size = text.trim_end_matches("\r\n").split(';').next().unwrap_or_default();
        let Ok(size) = usize::from_str_radix(size, 16) else {
            return Err(Trouble::Malformed(line));
        };
        if size == 0 {
            return Ok(None);
        }
        let chunk = self.take(size).map_err(Trouble::Stop)?;
        let end = self.take(2).map_err(Trouble::Stop)?;
        if end == b"\r\n" { Ok(Some(chunk)) } else { Err(Trouble::Malformed(end)) }
    }

    fn read_chunks(
        &mut self,
        body: &mut Vec<u8>,
        trailers: &mut Vec<(String, String)>,
    ) -> Result<(), Trouble> {
        while let Some(chunk) = self.take_chunk()? {
            body.extend(chunk);
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
