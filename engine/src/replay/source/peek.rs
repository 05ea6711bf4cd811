use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::{Chunk, Format, Node, Notice, Opened, Reading, Source, open_folder, open_stream};
use crate::archive::Manifest;
use crate::header::{HeaderRef, RawHeader};
use crate::replay::genesis::is_above_genesis;
use crate::replay::{OtherGenesis, ReplayError};
use crate::store::MarkedAt;
use crate::types::ChainwebVersion;

/// Records that are read in search of one whose network is known.
const LOOKED_AT: usize = 64;

/// The same of a node's database.
const ROWS_LOOKED_AT: usize = 256;

/// An input that is open, and what its first records say. They are not lost: it is read from its
/// beginning, also where it is a pipe.
pub struct Peeked {
    input: PathBuf,
    reading: Reading,
    opened: Opened,
    network: Option<ChainwebVersion>,
    /// Why the first record is none.
    wrong: Option<String>,
    genesis: Option<OtherGenesis>,
}

/// Opens an input and reads as much as tells its network.
///
/// # Errors
///
/// As for [`open`](super::open).
pub fn peek(input: &Path, reading: Reading) -> Result<Peeked, ReplayError> {
    let (mut headers, mut wrong) = (Vec::new(), None);
    let (mut network, mut opened) = (None, open_stream(input, reading)?);
    match opened {
        Opened::Stream(source) => {
            let mut ahead = Ahead { chunks: VecDeque::new(), failed: None, source };
            // More than that is needed only where another genesis block shows.
            while (network.is_none() || other_genesis(&headers, network).is_some())
                && ahead.chunks.len() < LOOKED_AT
                && let Some(chunk) = ahead.read()
            {
                network = network.or_else(|| chunk.records().iter().find_map(network_of));
                headers.extend_from_slice(chunk.records());
                wrong = wrong.or_else(|| chunk.first_wrong());
            }
            opened = Opened::Stream(Box::new(ahead));
        }
        Opened::Folder(Format::Archive) => network = Some(Manifest::read(input)?.0.version),
        Opened::Folder(_) => {
            let open = |version| Node::open(input, version, reading.keep_going, false);
            // Every network has the chains that are looked for; rows of others are skipped.
            let opened = open(ChainwebVersion::Mainnet01);
            let other = match &opened {
                Err(ReplayError::OtherNetwork { got, .. }) => Some(*got),
                Ok(node) => node.network().filter(|got| *got != ChainwebVersion::Mainnet01),
                Err(_) => None,
            };
            let mut node = other.map_or(opened, open)?;
            network = node.network();
            if let Some(chunk) = node.next(ROWS_LOOKED_AT)? {
                headers.extend_from_slice(chunk.records());
            }
        }
    }
    if let (None, Some(raw)) = (network, headers.first()) {
        let code = HeaderRef::new(raw).map(HeaderRef::version_code);
        wrong =
            code.map_or(wrong, |code| Some(format!("the network code of the first one is {code}")));
    }
    let genesis = other_genesis(&headers, network);
    let input = input.to_owned();
    Ok(Peeked { input, reading, opened, network, wrong, genesis })
}

/// Another genesis block that one of these headers refers to, unless another of them is a child of one of the
/// network's own: then the first one is an invalid record.
fn other_genesis(headers: &[RawHeader], network: Option<ChainwebVersion>) -> Option<OtherGenesis> {
    let network = network?;
    let of_network = headers.iter().filter(|raw| network_of(raw) == Some(network));
    let mut found = None;
    for header in of_network.flat_map(HeaderRef::new) {
        if is_above_genesis(header, network) {
            return None;
        }
        found = found.or_else(|| OtherGenesis::of(header, network));
    }
    found
}

fn network_of(raw: &RawHeader) -> Option<ChainwebVersion> {
    ChainwebVersion::from_code(HeaderRef::new(raw).ok()?.version_code())
}

impl Peeked {
    /// The network of the first record whose network is known.
    #[must_use]
    pub const fn network(&self) -> Option<ChainwebVersion> {
        self.network
    }

    /// Why the first record is none, if it is none.
    #[must_use]
    pub fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }

    /// Whether the first records show another genesis block than their network has.
    #[must_use]
    pub const fn genesis(&self) -> Option<OtherGenesis> {
        self.genesis
    }

    /// Whether it can be read from its beginning only once.
    #[must_use]
    pub fn is_pipe(&self) -> bool {
        matches!(&self.opened, Opened::Stream(source) if source.name().is_none())
    }

    /// Reads it from its beginning, as one of `version`.
    ///
    /// # Errors
    ///
    /// As for [`open`](super::open).
    pub fn into_source(self, version: ChainwebVersion) -> Result<Box<dyn Source>, ReplayError> {
        match self.opened {
            Opened::Stream(source) => Ok(source),
            Opened::Folder(format) => open_folder(&self.input, format, version, self.reading),
        }
    }
}

/// An input of which the first chunks were read ahead.
struct Ahead {
    chunks: VecDeque<Chunk>,
    /// Why there are no more.
    failed: Option<ReplayError>,
    source: Box<dyn Source>,
}

impl Ahead {
    /// One chunk more; `None` if there is none.
    fn read(&mut self) -> Option<&Chunk> {
        match self.source.next(1) {
            Ok(chunk) => self.chunks.push_back(chunk?),
            Err(error) => {
                self.failed = Some(error);
                return None;
            }
        }
        self.chunks.back()
    }
}

impl Source for Ahead {
    fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, ReplayError> {
        if let Some(chunk) = self.chunks.pop_front() {
            return Ok(Some(chunk));
        }
        self.failed.take().map_or_else(|| self.source.next(records_max), Err)
    }

    fn size(&self) -> Option<u64> {
        self.source.size()
    }

    fn name(&self) -> Option<[u8; 32]> {
        self.source.name()
    }

    fn notices(&self) -> Vec<Notice> {
        self.source.notices()
    }

    fn begins_late(&self) -> bool {
        self.source.begins_late()
    }

    fn resume(&mut self, at: MarkedAt) -> Result<bool, ReplayError> {
        let is_resumed = self.source.resume(at)?;
        if is_resumed {
            self.chunks.clear();
            self.failed = None;
        }
        Ok(is_resumed)
    }
}
