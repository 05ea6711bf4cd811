use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Client, Ended, Request, Response};

/// How long an event may take that is sure to come.
const EVENT_PATIENCE: Duration = Duration::from_mins(1);

/// A stream of server-sent events, read chunk by chunk as it comes.
#[derive(Debug)]
pub struct Events {
    client: Client,
    head: Response,
    last: Option<String>,
}

/// What a chunk of such a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// An event.
    Event(Event),
    /// An event with only an id, after which a stream can resume.
    Mark(String),
    /// An empty line, which keeps the stream open.
    Empty,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where to begin behind it, if that is said.
    pub id: Option<String>,
    /// Its name.
    pub name: String,
    /// What it says.
    pub data: String,
}

impl Event {
    /// A member of its data that is a hash or a number, the first of that name.
    ///
    /// # Panics
    ///
    /// If it has none.
    #[must_use]
    pub fn member(&self, name: &str) -> &str {
        let key = format!("\"{name}\":");
        let (_, value) = self.data.split_once(&key).expect("the member is there");
        let value = value.strip_prefix('"').unwrap_or(value);
        value.split(['"', ',', '}']).next().expect("a value")
    }
}

impl Events {
    /// The answer to `request`, which must be such a stream.
    ///
    /// # Panics
    ///
    /// If it is not.
    #[must_use]
    pub fn open(address: SocketAddr, request: &Request) -> Self {
        let mut client = Client::connect(address);
        client.send(request.to_bytes()).expect("the server reads a request");
        let head = client.read_head().expect("an answer");
        assert_eq!(head.status, 200, "{request}");
        assert_eq!(head.header("Content-Type"), Some("text/event-stream"));
        Self { client, head, last: None }
    }

    /// The head of the answer.
    #[must_use]
    pub const fn head(&self) -> &Response {
        &self.head
    }

    /// The connection.
    pub const fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The last id that was said: where to begin behind all that was read.
    #[must_use]
    pub fn last_id(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// The bytes of the next chunk; `None` if the stream has ended as it should.
    ///
    /// # Errors
    ///
    /// [`Ended`] if it broke, or nothing came in time.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, Ended> {
        self.client.read_chunk()
    }

    /// What comes next; `None` if the stream has ended as it should.
    ///
    /// # Panics
    ///
    /// If it broke, nothing came in time, or a chunk is not one whole of something.
    pub fn next_sent(&mut self) -> Option<Sent> {
        let chunk = self.chunk().expect("the stream goes on, or ends");
        let text = String::from_utf8(chunk?).expect("events are text");
        let sent = sent(&text).unwrap_or_else(|| panic!("no event: {text:?}"));
        match &sent {
            Sent::Event(Event { id: Some(id), .. }) | Sent::Mark(id) => {
                self.last = Some(id.clone());
            }
            Sent::Event(_) | Sent::Empty => {}
        }
        Some(sent)
    }

    /// The next event; `None` if the stream has ended.
    ///
    /// # Panics
    ///
    /// As for [`Events::next_sent`], and if only empty lines and ids arrive for a long time.
    pub fn event(&mut self) -> Option<Event> {
        let begin = Instant::now();
        loop {
            match self.next_sent()? {
                Sent::Event(event) => return Some(event),
                Sent::Mark(_) | Sent::Empty => {
                    assert!(begin.elapsed() < EVENT_PATIENCE, "no event comes");
                }
            }
        }
    }

    /// Height and chain of the next events, so many, as in `["3/0", "4/0"]`.
    ///
    /// # Panics
    ///
    /// As for [`Events::next_sent`].
    pub fn places(&mut self, count: usize) -> Vec<String> {
        let place =
            |event: Event| format!("{}/{}", event.member("height"), event.member("chainId"));
        (0..count).map_while(|_| self.event()).map(place).collect()
    }

    /// The hashes of the next events, so many.
    ///
    /// # Panics
    ///
    /// As for [`Events::next_sent`].
    pub fn hashes(&mut self, count: usize) -> Vec<String> {
        (0..count)
            .map_while(|_| self.event())
            .map(|event| event.member("hash").to_owned())
            .collect()
    }

    /// Checks that no event comes for a while.
    ///
    /// # Panics
    ///
    /// If one does, or the stream ends.
    pub fn assert_silent(&mut self, time: Duration) {
        self.client.set_patience(time);
        match self.chunk() {
            Err(Ended::Silent(_)) => self.client.set_patience(Duration::from_secs(30)),
            other => panic!("{other:?}"),
        }
    }
}

/// Reads one whole of something, strictly.
fn sent(text: &str) -> Option<Sent> {
    if text == "\n" {
        return Some(Sent::Empty);
    }
    let mut rest = text.strip_suffix("\n\n")?;
    let mut id = None;
    if let Some(mark) = rest.strip_prefix("event:Position\nid:") {
        return mark.strip_suffix("\ndata:{}").map(|id| Sent::Mark(id.to_owned()));
    }
    if let Some(line) = rest.strip_prefix("id:") {
        let (value, behind) = line.split_once('\n')?;
        (id, rest) = (Some(value.to_owned()), behind);
    }
    let (name, data) = rest.strip_prefix("event:")?.split_once("\ndata:")?;
    let (name, data) = (name.to_owned(), data.to_owned());
    (!data.contains('\n') && data.starts_with('{')).then_some(Sent::Event(Event { id, name, data }))
}
