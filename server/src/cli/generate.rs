use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args as ClapArgs, ValueEnum};
use plait_engine::cause::{Classified, Fault};
use plait_engine::generate::{Branch, History, Plan, PlanError};
use plait_engine::header::text;
use plait_engine::output::{self, InsideDatabase};
use plait_engine::payload::{VerifiedPayload, text as payload_text};
use plait_engine::{BlockHeight, ChainId, ChainwebVersion, Header};
use serde_json::json;
use thiserror::Error;

use super::advice::{Advice, Subject, grouped};
use super::bar::Bar;
use super::export::{OUTSIDE, print_json};
use super::numbers::{expected_whole, share, whole};
use super::{fail, fail_output, parse_network};

const EXAMPLES: &str = "\
Examples:
  plait generate --network mainnet01 --heights 10000 --out history.bin
  plait generate --network development --heights 5000 --forks 0.01 --fork-depth 1000 --seed 7 \\
    --branch 3:100:4000 --branch 0:250:1:500 --out forked.bin
  plait generate --network testnet04 --heights 100 --format jsonl --out - |
    plait replay --db ./db --network testnet04 -
  plait generate --network development --heights 1000 --payloads --format jsonl --out blocks.jsonl

Equal arguments give equal bytes, on every machine. A history has no genesis blocks: every database \
begins with them. Blocks of all networks except development are really mined. This limits mainnet01 \
to 852054 heights and testnet04 to 332604: above, new chains start at the target of the real \
network. recap-development takes some 12 million hashes at the start, and 200 million when its new \
chains start at height 61.

Exit status: 0 all written or the reader has seen enough, 2 wrong usage or output that failed.";

/// The greatest height: a history of more would end in the future.
const HEIGHTS_MAX: u64 = 6_000_000;

/// The most branches at one place.
const BRANCHES_MAX: u64 = 1_000_000;

/// Bytes that are collected before they are written.
const BUFFER_LEN: usize = 1 << 20;

/// How often progress is shown, in blocks.
const SHOW_EVERY: u64 = 4096;

/// Bytes that are written between two looks at the free space.
const ROOM_BYTES: usize = 1 << 20;

/// Make a valid history: headers that follow every rule of their network.
///
/// All chains grow from the true genesis blocks, braided, with the difficulty going up and down;
/// on request with orphans, deep branches and many siblings. The canonical blocks depend on the
/// network, the seed and the votes only.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Network of the headers.
    #[arg(long, value_name = "NAME", value_parser = parse_network)]
    network: ChainwebVersion,

    /// Height of the last block of each chain.
    #[arg(long, value_name = "N", value_parser = whole(1..=HEIGHTS_MAX))]
    heights: u64,

    /// Chooses one of many such histories.
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = whole(0..=u64::MAX))]
    seed: u64,

    /// Orphans for each canonical block, on average: from 0 to 1.
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = share)]
    forks: f64,

    /// Blocks of a random branch at most; short ones are common.
    #[arg(long, value_name = "D", default_value_t = 1, value_parser = whole(1..=HEIGHTS_MAX))]
    fork_depth: u64,

    /// Branches at one place, of DEPTH blocks from HEIGHT on; with a count, as many siblings. May be
    /// given several times.
    #[arg(long, value_name = "CHAIN:HEIGHT:DEPTH[:COUNT]", value_parser = parse_branch)]
    branch: Vec<Branch>,

    /// Share of the blocks that vote for the next fork, where blocks may: from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    votes: f64,

    /// Generate payloads too: each block has up to three random transactions with outputs that
    /// indexers can decode. Each line is then a block, and the format must be jsonl. The headers
    /// differ from those without payloads, because they commit to the payload hash.
    #[arg(long)]
    payloads: bool,

    /// Format of the output.
    #[arg(long, value_name = "FORMAT", default_value = "binary")]
    format: Format,

    /// Order of the output; parents come first in both.
    #[arg(long, value_name = "ORDER", default_value = "height")]
    order: Order,

    /// File to write, or - for standard output. A file that exists is replaced at the end; until then the
    /// data is in FILE.part.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Concatenated 318-byte headers.
    Binary,
    /// One header a line, as JSON object; or one block, with --payloads.
    Jsonl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// Ascending height, so that adjacent parents come first too.
    Height,
    /// One chain after another; takes as much temporary space as the output.
    Chain,
}

/// Why nothing more is written.
#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("--payloads needs --format jsonl: a binary dump has headers only")]
    Binary,
    #[error("--json needs --out FILE, because the headers go to standard output")]
    Json,
    #[error(transparent)]
    Inside(#[from] InsideDatabase),
    #[error("{out}")]
    Write { out: String, source: io::Error },
}

impl Classified for Error {
    fn fault(&self) -> Fault {
        match self {
            Self::Write { out, source } => Fault::io(Path::new(out), source),
            Self::Plan(_) | Self::Binary | Self::Json | Self::Inside(_) => Fault::OTHER,
        }
    }
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        let start = Instant::now();
        match self.generate() {
            Ok(headers) => self.conclude(headers, start.elapsed().as_secs_f64()),
            // Whoever reads has seen enough.
            Err(Error::Write { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
                ExitCode::SUCCESS
            }
            Err(error @ (Error::Plan(_) | Error::Binary | Error::Json)) => {
                fail(&error, "See plait generate --help.")
            }
            Err(error @ Error::Inside(_)) => fail(&error, OUTSIDE),
            Err(Error::Write { source, .. }) if self.file().is_none() => fail_output(source),
            Err(error) => {
                let advice = Advice::of(&error, Subject::Output, "Name another file: --out FILE");
                fail(&error, advice)
            }
        }
    }

    fn conclude(&self, headers: u64, seconds: f64) -> ExitCode {
        if !self.json {
            tell!("wrote {} headers in {seconds:.1} s", grouped(headers));
            return ExitCode::SUCCESS;
        }
        let bytes = self.file().and_then(|file| file.metadata().ok()).map(|data| data.len());
        let network = self.network.name();
        let done =
            json!({ "network": network, "headers": headers, "bytes": bytes, "seconds": seconds });
        match print_json(&done) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail_output(error),
        }
    }

    fn generate(&self) -> Result<u64, Error> {
        if self.json && self.file().is_none() {
            return Err(Error::Json);
        }
        if self.payloads && self.format == Format::Binary {
            return Err(Error::Binary);
        }
        if let Some(path) = self.file() {
            output::file_outside_tables(path)?;
        }
        let history = History::new(&self.plan())?;
        self.write(history).map_err(|source| {
            let out = self.out.display().to_string();
            Error::Write { out, source }
        })
    }

    fn plan(&self) -> Plan {
        Plan {
            version: self.network,
            heights: self.heights,
            seed: self.seed,
            forks: self.forks,
            fork_depth: self.fork_depth,
            branches: self.branch.clone(),
            votes: self.votes,
            payloads: self.payloads,
        }
    }

    /// Writes everything; a file gets its name at the end.
    fn write(&self, history: History) -> io::Result<u64> {
        let Some(path) = self.file() else {
            return self.write_to(history, &mut io::stdout().lock(), Room::unlimited());
        };
        if path.metadata().is_ok_and(|data| !data.is_file()) {
            // A pipe or a device.
            let mut out = File::options().write(true).open(path)?;
            return self.write_to(history, &mut out, Room::unlimited());
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let written = File::create(&part).and_then(|mut out| {
            let written = self.write_to(history, &mut out, Room::of(path))?;
            fs::rename(&part, path)?;
            Ok(written)
        });
        if written.is_err() {
            // The first error is the one to report.
            let _ = fs::remove_file(&part);
        }
        written
    }

    fn write_to(&self, history: History, out: &mut dyn Write, room: Room) -> io::Result<u64> {
        let mut bar = io::stderr().is_terminal().then(Bar::new);
        let mut written = 0_u64;
        let blocks = history.blocks().inspect(|(header, _)| {
            written = written.saturating_add(1);
            if let Some(bar) = bar.as_mut().filter(|_| written.is_multiple_of(SHOW_EVERY)) {
                let (height, headers) = (header.view().height(), grouped(written));
                let details = [format!("{headers} headers"), format!("height {height}")];
                bar.show("generating", height.get(), Some(self.heights), &details);
            }
        });
        let result = match self.order {
            Order::Height => self.write_by_height(blocks, out, room),
            Order::Chain => self.write_by_chain(blocks, out, room),
        };
        drop(bar);
        result.map(|()| written)
    }

    fn file(&self) -> Option<&Path> {
        (self.out.as_os_str() != "-").then_some(&self.out)
    }

    fn write_by_height(
        &self,
        blocks: impl Iterator<Item = Block>,
        out: &mut dyn Write,
        mut room: Room,
    ) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(BUFFER_LEN, out);
        let mut line = Vec::with_capacity(text::OBJECT_LEN_MAX);
        for block in blocks {
            let bytes = self.render(&block, &mut line);
            room.take(bytes.len())?;
            out.write_all(bytes)?;
        }
        out.flush()
    }

    /// Writes each chain to a file of its own first, which ends with this process.
    fn write_by_chain(
        &self,
        blocks: impl Iterator<Item = Block>,
        out: &mut dyn Write,
        mut room: Room,
    ) -> io::Result<()> {
        let folder = self.file().and_then(Path::parent).filter(|path| path.is_dir());
        let folder = folder.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let files = self.network.chain_ids().map(|_| tempfile::tempfile_in(&folder));
        let mut chains: Vec<BufWriter<File>> =
            files.map(|file| file.map(BufWriter::new)).collect::<io::Result<_>>()?;
        let mut line = Vec::with_capacity(text::OBJECT_LEN_MAX);
        for block in blocks {
            if let Some(chain) = chains.get_mut(block.0.view().chain().index()) {
                let bytes = self.render(&block, &mut line);
                room.take(bytes.len())?;
                chain.write_all(bytes)?;
            }
        }
        for chain in chains {
            let mut chain = chain.into_inner()?;
            room.take(usize::try_from(chain.stream_position()?).unwrap_or(usize::MAX))?;
            chain.rewind()?;
            io::copy(&mut chain, out)?;
        }
        out.flush()
    }

    /// The bytes of a block in the format.
    fn render<'a>(&self, (header, payload): &'a Block, line: &'a mut Vec<u8>) -> &'a [u8] {
        if self.format == Format::Binary {
            return header.view().as_bytes();
        }
        line.clear();
        match payload {
            None => text::push_object(line, header.view(), self.network),
            Some(payload) => {
                line.extend_from_slice(b"{\"header\":");
                text::push_object(line, header.view(), self.network);
                line.extend_from_slice(b",\"payloadWithOutputs\":");
                if !payload_text::push_object_with_outputs(line, payload.view()) {
                    line.extend_from_slice(b"null");
                }
                line.push(b'}');
            }
        }
        line.push(b'\n');
        line
    }
}

/// Keeps some space free on the file system of an output file: a database on it may be written at the same
/// time.
struct Room {
    dir: Option<PathBuf>,
    /// Bytes that may be written before it is looked at again.
    left: usize,
}

impl Room {
    const fn unlimited() -> Self {
        Self { dir: None, left: 0 }
    }

    /// That of the file at `path`.
    fn of(path: &Path) -> Self {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        Self { dir: Some(dir.unwrap_or(Path::new(".")).to_owned()), left: 0 }
    }

    /// Ends with an error if so many bytes would not leave enough.
    fn take(&mut self, bytes: usize) -> io::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        if self.left < bytes {
            let next = ROOM_BYTES.max(bytes);
            output::require_spare(dir, next as u64)?
                .map_err(|lack| io::Error::new(io::ErrorKind::StorageFull, lack))?;
            self.left = next;
        }
        self.left = self.left.saturating_sub(bytes);
        Ok(())
    }
}

/// A block, and what it carries.
type Block = (Header, Option<VerifiedPayload>);

fn parse_branch(text: &str) -> Result<Branch, String> {
    let counts = 1..=BRANCHES_MAX;
    let numbers: Option<Vec<u64>> = text.split(':').map(|number| number.parse().ok()).collect();
    let (chain, height, depth, count) = match numbers.as_deref() {
        Some([chain, height, depth]) => (*chain, *height, *depth, 1),
        Some([chain, height, depth, count]) => (*chain, *height, *depth, *count),
        _ => return Err("expected numbers, as in 3:100:4000 or 3:100:1:500".to_owned()),
    };
    let chain = u32::try_from(chain).map_err(|_| "there is no such chain".to_owned())?;
    if !counts.contains(&count) {
        return Err(format!("COUNT: {}", expected_whole(&counts)));
    }
    Ok(Branch { chain: ChainId::new(chain), height: BlockHeight::new(height), depth, count })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    /// What the command writes with these flags.
    fn written(flags: &[&str]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let fixed = ["generate", "--network", "development", "--heights", "30", "--out"];
        let words = fixed.into_iter().chain([out.to_str().unwrap()]).chain(flags.iter().copied());
        Command::parse_from(words).args.generate().unwrap();
        let left: Vec<_> = folder.path().read_dir().unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        std::fs::read(out).unwrap()
    }

    fn headers(binary: &[u8]) -> Vec<Header> {
        let records = binary.chunks(318);
        records.map(|bytes| plait_engine::HeaderRef::parse(bytes).unwrap().to_owned()).collect()
    }

    #[test]
    fn chain_order_has_the_same_headers_sorted_by_chain() {
        for format in ["binary", "jsonl"] {
            let flags = ["--forks", "0.1", "--branch", "3:2:1:40", "--format", format];
            let by_height = written(&flags);
            let by_chain = written(&[flags.as_slice(), &["--order", "chain"]].concat());
            if format == "jsonl" {
                let sorted = |bytes: Vec<u8>| {
                    let mut lines: Vec<String> =
                        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect();
                    lines.sort_unstable();
                    lines
                };
                assert_eq!(sorted(by_height), sorted(by_chain));
            } else {
                let mut headers = headers(&by_height);
                assert!(headers.len() > 30 * 20 + 40);
                headers.sort_by_key(|header| header.view().chain());
                assert_eq!(headers, self::headers(&by_chain));
            }
        }
    }

    #[test]
    fn lines_are_the_objects_of_the_same_headers() {
        let lines = String::from_utf8(written(&["--format", "jsonl"])).unwrap();
        let read: Vec<Header> =
            lines.lines().map(|line| text::from_object(line).unwrap()).collect();
        assert_eq!(read, headers(&written(&[])));
    }

    #[test]
    fn lines_are_blocks_whose_headers_name_what_they_carry() {
        let flags = ["--format", "jsonl", "--payloads", "--forks", "0.1"];
        let lines = String::from_utf8(written(&flags)).unwrap();
        for line in lines.lines() {
            let block: serde_json::Value = serde_json::from_str(line).unwrap();
            let header = text::from_object(&block["header"].to_string()).unwrap();
            let payload = block["payloadWithOutputs"].to_string();
            let payload = payload_text::from_object(payload.as_bytes()).unwrap();
            let payload = VerifiedPayload::new(payload).unwrap();
            payload.belongs_to(header.view()).unwrap();
        }
        assert!(lines.lines().count() > 30 * 20);
        let chain = written(&[flags.as_slice(), &["--order", "chain"]].concat());
        assert_eq!(chain.len(), lines.len());
    }

    #[test]
    fn binary_has_no_payloads() {
        let words = "generate --network development --heights 3 --payloads --out -".split(' ');
        assert!(matches!(Command::parse_from(words).args.generate(), Err(Error::Binary)));
    }

    #[test]
    fn branches_are_read_as_numbers() {
        let branch = |count| Branch {
            chain: ChainId::new(3),
            height: BlockHeight::new(100),
            depth: 4000,
            count,
        };
        assert_eq!(parse_branch("3:100:4000"), Ok(branch(1)));
        assert_eq!(parse_branch("3:100:4000:2"), Ok(branch(2)));
        for text in ["", "3", "3:100", "3:100:1:1:1", "a:1:1", "-1:1:1", "4294967296:1:1"] {
            assert!(parse_branch(text).is_err(), "{text}");
        }
    }
}
