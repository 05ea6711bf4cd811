use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use super::layout::HEADER_LEN;
use super::{ArchiveError, Checksum, FORMAT_VERSION, FileHeader, FileHeights, Flaw, Kind, outline};
use crate::header::LEN;
use crate::regular;
use crate::store::History;
use crate::types::{BlockHash, BlockHeight, ChainId, ChainwebVersion, Rank};

/// The name of the manifest.
pub const MANIFEST: &str = "manifest.json";

/// Bytes that are read of a manifest: enough for a hundred times the files of mainnet01.
const BYTES_MAX: u64 = 256 << 20;

/// How the last member begins, and what stands behind its value.
const SEAL: (&str, &str) = ("  \"checksum\": \"", "\"\n}\n");

/// What a manifest says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The chain of its blocks.
    pub chain: ChainId,
    /// What its blocks are.
    pub kind: Kind,
    /// Where the range of heights begins that it is of.
    pub from: BlockHeight,
    /// The number of blocks.
    pub records: u64,
    /// The first block.
    pub first: Rank,
    /// The last block.
    pub last: Rank,
    /// What the first block of a canonical file names as its parent: the last block of the file
    /// below, if there is one.
    pub parent: Option<BlockHash>,
    /// That of the whole file.
    pub checksum: Checksum,
}

impl Entry {
    /// The name of the file: chain, where its range begins, kind, beginning of the checksum.
    #[must_use]
    pub fn name(&self) -> String {
        let sum = self.checksum.to_string();
        let sum = sum.get(..32).unwrap_or_default();
        format!("{:02}-{:010}-{}-{sum}.plait", self.chain.get(), self.from.get(), self.kind.name())
    }

    /// Bytes of the file.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        (HEADER_LEN as u64).saturating_add(self.records.saturating_mul(LEN as u64))
    }

    /// What sorts the files of an archive.
    pub(super) const fn place(&self) -> (ChainId, BlockHeight, Kind) {
        (self.chain, self.from, self.kind)
    }
}

/// The member of a chain in the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The chain.
    pub chain: ChainId,
    /// The block.
    pub rank: Rank,
}

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The network of every block.
    pub version: ChainwebVersion,
    /// Where the history begins.
    pub history: History,
    /// Heights of a file.
    pub heights: FileHeights,
    /// The cut, by ascending chain.
    pub cut: Vec<Member>,
    /// The files, by chain, then by range; canonical ones before orphans.
    pub files: Vec<Entry>,
}

impl Manifest {
    /// The manifest in the folder `dir`, and its bytes.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Missing`] if there is none, [`ArchiveError::Manifest`] if it is damaged.
    pub fn read(dir: &Path) -> Result<(Self, Vec<u8>), ArchiveError> {
        let path = dir.join(MANIFEST);
        let mut bytes = Vec::new();
        let read = regular::open(&path)
            .and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map(|_| ()));
        match read {
            Err(error) if is_absent(&error) => {
                return Err(ArchiveError::Missing { dir: dir.to_owned() });
            }
            read => read.map_err(|error| ArchiveError::io(&path, error))?,
        }
        let long = bytes.len() as u64 > BYTES_MAX;
        let manifest = if long { Err(Flaw::Long { max: BYTES_MAX }) } else { Self::parse(&bytes) };
        match manifest {
            Ok(manifest) => Ok((manifest, bytes)),
            Err(flaw) => Err(ArchiveError::Manifest { path, flaw }),
        }
    }

    /// The manifest that these bytes are.
    ///
    /// # Errors
    ///
    /// [`Flaw`] if they are none, or not as they were written, or do not fit together.
    pub fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        check_seal(bytes)?;
        let form: Form = serde_json::from_slice(bytes).map_err(Flaw::Json)?;
        if form.format != FORMAT_VERSION {
            return Err(Flaw::Format { got: form.format });
        }
        let members: Members = serde_json::from_slice(bytes).map_err(Flaw::Json)?;
        members.into_manifest()
    }

    /// The number of blocks.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.files.iter().fold(0, |sum, entry| sum.saturating_add(entry.records))
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, entry| sum.saturating_add(entry.bytes()))
    }

    /// The first bytes of a file.
    pub(super) fn header(&self, entry: &Entry) -> FileHeader {
        FileHeader::new(self.version, self.heights, entry.place(), entry.records)
    }

    /// The bytes of the manifest: equal ones for equal manifests.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!(
            "{{\n  \"format\": {FORMAT_VERSION},\n  \"network\": \"{}\",\n  \"history\": \"{}\",\n  \
             \"heights\": {},\n  \"records\": {},\n  \"bytes\": {},\n  \"cut\": {{\n    \
             \"height\": {},\n    \"id\": \"{}\",\n    \"blocks\": [",
            self.version.name(),
            self.history.name(),
            self.heights.get(),
            self.records(),
            self.bytes(),
            outline::cut_height(&self.cut),
            outline::cut_id(&self.cut),
        );
        for (number, Member { chain, rank }) in self.cut.iter().enumerate() {
            let (comma, Rank { height, hash }) = (comma(number), rank);
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "{comma}\n      {{\"chain\":{chain},\"height\":{height},\"hash\":\"{hash}\"}}"
            );
        }
        text += "\n    ]\n  },\n  \"files\": [";
        for (number, entry) in self.files.iter().enumerate() {
            text += comma(number);
            push_entry(&mut text, entry);
        }
        text += "\n  ],\n";
        let checksum = Checksum::of(text.as_bytes());
        text + SEAL.0 + &checksum.to_string() + SEAL.1
    }
}

/// What stands in front of the item with this number.
const fn comma(number: usize) -> &'static str {
    if number == 0 { "" } else { "," }
}

fn push_entry(text: &mut String, entry: &Entry) {
    let Entry { chain, kind, from, records, first, last, parent, checksum } = entry;
    let edge = |rank: &Rank| format!("{{\"height\":{},\"hash\":\"{}\"}}", rank.height, rank.hash);
    let parent = parent.map_or(String::new(), |parent| format!("\"parent\":\"{parent}\","));
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\n    {{\"name\":\"{}\",\"chain\":{chain},\"kind\":\"{}\",\"from\":{from},\
         \"records\":{records},\"bytes\":{},\"first\":{},\"last\":{},{parent}\
         \"checksum\":\"{checksum}\"}}",
        entry.name(),
        kind.name(),
        entry.bytes(),
        edge(first),
        edge(last),
    );
}

/// Whether an error says that there is nothing.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The checksum at the end of a manifest, and the bytes that it is of.
fn check_seal(bytes: &[u8]) -> Result<(), Flaw> {
    let end = bytes.strip_suffix(SEAL.1.as_bytes()).and_then(|rest| rest.split_last_chunk::<64>());
    let sealed = end.and_then(|(rest, text)| {
        let expected = Checksum::parse(std::str::from_utf8(text).ok()?)?;
        Some((rest.strip_suffix(SEAL.0.as_bytes())?, expected))
    });
    let (rest, expected) = sealed.ok_or(Flaw::Unsigned)?;
    let got = Checksum::of(rest);
    if got == expected { Ok(()) } else { Err(Flaw::Checksum { got, expected }) }
}

/// What tells the formats apart.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

/// The members as they stand in the text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    #[serde(rename = "format")]
    _format: u32,
    network: String,
    history: String,
    heights: u32,
    records: u64,
    bytes: u64,
    cut: CutMembers,
    files: Vec<EntryMembers>,
    #[serde(rename = "checksum")]
    _checksum: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CutMembers {
    height: u64,
    id: String,
    blocks: Vec<BlockMembers>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockMembers {
    chain: u32,
    height: u64,
    hash: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EdgeMembers {
    height: u64,
    hash: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryMembers {
    name: String,
    chain: u32,
    kind: String,
    from: u64,
    records: u64,
    bytes: u64,
    first: EdgeMembers,
    last: EdgeMembers,
    parent: Option<String>,
    checksum: String,
}

impl Members {
    fn into_manifest(self) -> Result<Manifest, Flaw> {
        let history = [History::Full, History::Partial];
        let history = history.into_iter().find(|history| history.name() == self.history);
        let heights = std::num::NonZeroU32::new(self.heights).map(FileHeights::new);
        let cut = self.cut.blocks.iter().map(|block| {
            let rank = rank(block.height, &block.hash, "hash")?;
            Ok(Member { chain: ChainId::new(block.chain), rank })
        });
        let files = self.files.iter().map(EntryMembers::entry);
        let manifest = Manifest {
            version: ChainwebVersion::from_name(&self.network).ok_or(Flaw::Value("network"))?,
            history: history.ok_or(Flaw::Value("history"))?,
            heights: heights.ok_or(Flaw::Value("heights"))?,
            cut: cut.collect::<Result<_, Flaw>>()?,
            files: files.collect::<Result<_, Flaw>>()?,
        };
        if manifest.records() != self.records {
            return Err(Flaw::Value("records"));
        }
        if manifest.bytes() != self.bytes {
            return Err(Flaw::Value("bytes"));
        }
        if outline::cut_height(&manifest.cut) != self.cut.height {
            return Err(Flaw::Value("height"));
        }
        if outline::cut_id(&manifest.cut).to_string() != self.cut.id {
            return Err(Flaw::Value("id"));
        }
        outline::check(&manifest)?;
        Ok(manifest)
    }
}

impl EntryMembers {
    fn entry(&self) -> Result<Entry, Flaw> {
        let parent = self.parent.as_deref().map(|parent| hash(parent, "parent"));
        let entry = Entry {
            chain: ChainId::new(self.chain),
            kind: Kind::from_name(&self.kind).ok_or(Flaw::Value("kind"))?,
            from: BlockHeight::new(self.from),
            records: self.records,
            first: rank(self.first.height, &self.first.hash, "first")?,
            last: rank(self.last.height, &self.last.hash, "last")?,
            parent: parent.transpose()?,
            checksum: Checksum::parse(&self.checksum).ok_or(Flaw::Value("checksum"))?,
        };
        let flaw = |reason| Flaw::Entry { name: self.name.clone(), reason };
        if entry.name() != self.name {
            return Err(flaw("this is not the name of such a file"));
        }
        if entry.bytes() != self.bytes {
            return Err(flaw("so many records have another number of bytes"));
        }
        Ok(entry)
    }
}

fn rank(height: u64, text: &str, member: &'static str) -> Result<Rank, Flaw> {
    Ok(Rank { height: BlockHeight::new(height), hash: hash(text, member)? })
}

fn hash(text: &str, member: &'static str) -> Result<BlockHash, Flaw> {
    text.parse().map_err(|_| Flaw::Value(member))
}
