use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use plait_engine::replay::source::{Format, Reading, Source};
use plait_engine::replay::{Admission, Event, Replay, ReplayError, Summary, Wrong};
use plait_engine::store::History;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{BlockHash, ChainwebVersion, Engine, OpenError, Reader, Writer};

use super::lacks;
use super::level::VerifyLevel;
use super::numbers::whole;
use super::origin::{Origin, Refusal, open_input};
use super::owner::warn_root;
use super::progress::{Display, Shown, now};
use super::report::{Failure, Report, failure_advice};
use super::{fail, interrupt, parse_network};

/// Free bytes that a database needs at least for a replay to continue: its write buffers.
const ROOM_MIN: u64 = 128 << 20;

const EXAMPLES: &str = "\
Examples:
  plait replay --db ./db mainnet-headers.bin
  plait replay --db ./db --format node --allow-partial /data/chainweb-db/0/rocksDb
  plait replay --db ./db headers.json.gz blocks.jsonl.zst
  header-dump --chain-id 0 | plait replay --db ./db --allow-partial --lenient -
  curl -fsS --retry 5 'http://node:1848/chainweb/0.0/mainnet01/chain/0/header?limit=3' |
    plait replay --db ./db --allow-partial -

Exit status: 0 all stored, 1 some rejected or waiting for a parent, 2 wrong usage or failed input or \
output, 129, 130 or 143 stopped by a signal. To continue, run the same command again.";

/// Verify the headers and payloads of a dump, and store them.
///
/// An invalid record ends the replay; the blocks before it are kept. If there is no database, one is
/// created; it holds a full history from the network's genesis blocks on, unless --root or
/// --allow-partial is given. Input compressed with gzip or zstd is decompressed.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Folder of the database.
    #[arg(long, value_name = "DIR", env = "PLAIT_DB")]
    db: PathBuf,

    #[command(flatten)]
    how: How,

    /// Blocks that are committed at once while they come in order.
    #[arg(long, value_name = "BLOCKS", hide = true, value_parser = whole(1..=1_usize << 24))]
    commit: Option<usize>,

    /// Records from which on blocks are taken in order.
    #[arg(long, value_name = "RECORDS", hide = true)]
    in_order_from: Option<u64>,

    /// Print progress and summary on standard output, one JSON object a line.
    #[arg(long)]
    json: bool,

    /// Files, the folder of a chainweb-node's database or of an archive, or - for standard input.
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
}

/// How inputs are read, and what is stored.
#[derive(Clone, Debug, ClapArgs)]
pub(super) struct How {
    /// Network of the headers [default: that of the first record].
    #[arg(long, value_name = "NAME", value_parser = parse_network)]
    network: Option<ChainwebVersion>,

    /// Format of the inputs [default: detected from their content].
    #[arg(long, value_name = "FORMAT")]
    format: Option<InputFormat>,

    /// How much is checked in addition to the link to the parent.
    #[arg(long, value_name = "LEVEL", default_value = "full")]
    verify: VerifyLevel,

    /// Store this block even if its parent is not stored; may be given several times.
    #[arg(long, value_name = "HASH", conflicts_with = "allow_partial")]
    root: Vec<BlockHash>,

    /// Store any block whose parent is missing, as the first block of a separate part.
    #[arg(long)]
    allow_partial: bool,

    /// Skip invalid records, and count them.
    #[arg(long)]
    keep_going: bool,

    /// Skip log lines between JSON values, and count them. A log line that contains a header is rejected.
    #[arg(long)]
    lenient: bool,

    /// Whether to store the payloads that the input has, including those of blocks that are already
    /// stored.
    #[arg(long, value_name = "yes|no", default_value = "yes")]
    payloads: Payloads,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Payloads {
    /// Store payloads; if one is wrong, reject it and store the header.
    Yes,
    /// Headers only.
    No,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum InputFormat {
    /// Concatenated 318-byte headers.
    Binary,
    /// JSON values in any layout: headers as objects or base64url strings, blocks, arrays and pages of
    /// them, events of a saved stream.
    #[value(alias = "json")]
    Jsonl,
    /// The RocksDB directory of a chainweb-node.
    Node,
    /// A folder that plait export wrote.
    Archive,
}

impl From<InputFormat> for Format {
    fn from(format: InputFormat) -> Self {
        match format {
            InputFormat::Binary => Self::Binary,
            InputFormat::Jsonl => Self::Jsonl,
            InputFormat::Node => Self::Node,
            InputFormat::Archive => Self::Archive,
        }
    }
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        warn_root(&self.db);
        let stop = interrupt::flag();
        match self.replay(stop) {
            Ok(summary) if summary.stopped => {
                tell!("stopped by a signal; run the same command again to continue");
                interrupt::exit_code()
            }
            Ok(summary) => ExitCode::from(u8::from([summary.rejected, summary.waiting] != [0; 2])),
            Err(Failed::Refused(refusal)) => refusal.report(),
            Err(Failed::Replay { error, stored, room }) => {
                fail(&*error, failure_advice(&error, &self.db, &stored, room))
            }
        }
    }

    fn replay(&self, stop: &AtomicBool) -> Result<Summary, Failed> {
        let origin = Origin::new(&self.how, &self.db, &self.inputs).map_err(Failed::Refused)?;
        let Origin { first, mut writer, reader } = origin;
        let view = reader.view();
        let before = view.total_block_count();
        let mut display = if self.json { Display::objects() } else { Display::new() };
        if reader.meta().history == History::Full && self.how.admission() != Admission::Genesis {
            let flag = if self.how.allow_partial { "--allow-partial" } else { "--root" };
            let text = format!(
                "{} has a full history. {flag} has no effect unless a block without its parent is \
                 stored; from then on the history is partial",
                self.db.display()
            );
            display.line("note", &text);
        }
        let work = Work {
            how: &self.how,
            inputs: &self.inputs,
            commit: self.commit,
            in_order_from: self.in_order_from,
            show_every: None,
        };
        let result = work.run(&mut writer, Some(first), stop, &mut display);
        // What is in memory only is written when the database is closed, if that can be.
        drop((writer, reader, view));
        result.map_err(|failure| {
            let (error, stored) = failure.conclude(&self.db, before, &display);
            Failed::Replay { error: Box::new(error), stored, room: self.room() }
        })
    }

    /// Bytes that a database of all inputs takes, where that can be told from their lengths.
    fn room(&self) -> Option<u64> {
        let lengths = self.inputs.iter().map(|input| {
            let data = input.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some(data.len())
        });
        let bytes: u64 = lengths.sum::<Option<u64>>()?;
        Some(bytes.saturating_add((bytes / 10).saturating_mul(3)).max(ROOM_MIN))
    }
}

impl How {
    /// The network that is named, if one is.
    pub(super) const fn network(&self) -> Option<ChainwebVersion> {
        self.network
    }

    /// How inputs are read.
    pub(super) fn reading(&self) -> Reading {
        let (format, keep_going) = (self.format.map(Format::from), self.keep_going);
        let (payloads, lenient) = (self.payloads == Payloads::Yes, self.lenient);
        Reading { format, keep_going, payloads, lenient }
    }

    /// Opens the database in `db`, or makes it, of `network` if that is known.
    pub(super) fn open_database(
        &self,
        db: &Path,
        network: Option<ChainwebVersion>,
    ) -> Result<(Writer, Reader), OpenError> {
        let history = match self.admission() {
            Admission::Genesis => History::Full,
            Admission::Roots(_) | Admission::Any => History::Partial,
        };
        Engine::open_or_create(db, network, history)
    }

    /// Which blocks may be stored without the blocks below them.
    pub(super) fn admission(&self) -> Admission {
        match (self.allow_partial, self.root.as_slice()) {
            (true, _) => Admission::Any,
            (false, []) => Admission::Genesis,
            (false, roots) => Admission::Roots(roots.iter().copied().collect::<HashSet<_>>()),
        }
    }
}

/// Inputs to replay, one after the other.
pub(super) struct Work<'a> {
    pub(super) how: &'a How,
    pub(super) inputs: &'a [PathBuf],
    /// Blocks of a commit.
    pub(super) commit: Option<usize>,
    /// Records from which on blocks are taken in order.
    pub(super) in_order_from: Option<u64>,
    /// How often those who read are to see what is stored.
    pub(super) show_every: Option<Duration>,
}

impl Work<'_> {
    /// Replays all inputs with `writer`, starting with `first` if that is already open, and reports the
    /// result.
    pub(super) fn run(
        &self,
        writer: &mut Writer,
        mut first: Option<Box<dyn Source>>,
        stop: &AtomicBool,
        display: &mut Display,
    ) -> Result<Summary, Box<Failure>> {
        let Self { how, inputs, commit, in_order_from, show_every } = self;
        let (level, version) = (Level::from(how.verify), writer.version());
        let verifier = Verifier::new(version, level, now());
        let mut replay =
            Replay::new(writer, verifier, how.admission(), how.keep_going, stop).by_clock(now);
        if let Some(blocks) = commit {
            replay = replay.committing(*blocks);
        }
        if let Some(records) = in_order_from {
            replay = replay.ordered_from(*records);
        }
        if let Some(every) = show_every {
            replay = replay.showing(*every);
        }
        let mut result = Ok(());
        for input in *inputs {
            let source = first.take().map_or_else(|| open_input(input, version, how.reading()), Ok);
            result = source.and_then(|source| {
                lacks::announce(input, &*source, &how.admission(), display);
                run(input, source, &mut replay, display)
            });
            let summary = replay.summary();
            if result.is_err() || summary.stopped || summary.rejected > 0 && !how.keep_going {
                break;
            }
        }
        if result.is_ok() && !replay.summary().stopped {
            result = finish(&mut replay, display);
        }
        let (summary, rejected_by) = (replay.summary(), replay.rejected_by().clone());
        let orphans = writer.orphan_count();
        let report = Report { summary, lost: 0, rejected_by, orphans, level: level.name() };
        display.finish();
        result.map_err(|error| Box::new(Failure { error, report: report.clone() }))?;
        report.show(display);
        Ok(summary)
    }
}

fn run(
    input: &Path,
    source: Box<dyn Source>,
    replay: &mut Replay<'_>,
    display: &mut Display,
) -> Result<(), ReplayError> {
    let mut shown = Shown::default();
    replay.run(source, &mut |event| match event {
        Event::Progress(progress) => display.show(progress),
        // They come last, and many others may follow from them.
        Event::Rejected(rejection) if matches!(rejection.wrong, Wrong::Log(_)) => {
            display.line("rejected", &format!("{}: {rejection}", input.display()));
        }
        Event::Rejected(rejection) | Event::Waiting(rejection) => {
            shown.line(display, "rejected", &format!("{}: {rejection}", input.display()));
        }
        Event::Held { .. } | Event::Indexed(_) => {}
    })?;
    Ok(())
}

/// Processes the records that waited for their parents.
fn finish(replay: &mut Replay<'_>, display: &mut Display) -> Result<(), ReplayError> {
    let (mut rejected, mut waiting) = (Shown::default(), Shown::default());
    replay.finish(&mut |event| match event {
        Event::Progress(progress) => display.show(progress),
        Event::Held { done, of, progress } => display.held(done, of, progress),
        Event::Rejected(rejection) => rejected.line(display, "rejected", &rejection.to_string()),
        Event::Waiting(rejection) => waiting.line(display, "waiting", &rejection.to_string()),
        Event::Indexed(blocks) => display.indexed(blocks),
    })?;
    Ok(())
}

/// Why a replay ended early, other than by a wrong record.
enum Failed {
    Refused(Refusal),
    Replay {
        error: Box<ReplayError>,
        /// What is stored, as a sentence.
        stored: String,
        /// Bytes that the database needs in all.
        room: Option<u64>,
    },
}
