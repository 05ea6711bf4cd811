//! The table.

use std::time::Duration;

use super::bounds::{
    BODIES_BYTES_MIN, BYTES_MAX, CACHE_BYTES_MAX, COUNT_MAX, INTERVAL_MAX, LOG_BYTES_MIN,
    SOME_TIME, TIME_MAX,
};
use super::data_rows::DATA_ROWS;
use super::field::Field;
use super::row::Row;

/// All settings, in the order of the file.
pub(super) fn all_rows() -> impl Iterator<Item = &'static Row> {
    DATA_ROWS.iter().chain(ROWS)
}

/// All rows except [`DATA_ROWS`].
static ROWS: &[Row] = &[
    Row {
        key: Some("follow.upstreams"),
        flag: Some("follow"),
        about: "Nodes to follow, as in https://node.example.org, separated by commas; if one fails, the next is asked.",
        field: |s| Field::Upstreams(&mut s.follow.upstreams),
    },
    Row {
        key: Some("follow.ca"),
        flag: Some("ca"),
        about: "File of certificates (PEM) to trust in addition to those of the system.",
        field: |s| Field::File(&mut s.follow.ca),
    },
    Row {
        key: Some("follow.payloads"),
        flag: Some("follow-payloads"),
        about: "Which payloads to take from a node: auto for new blocks and near the tips, yes for all, or no.",
        field: |s| Field::Payloads(&mut s.follow.payloads),
    },
    Row {
        key: Some("follow.allowPartial"),
        flag: Some("follow-allow-partial"),
        about: "Whether a new database may begin where the node's history begins, because nodes drop old blocks.",
        field: |s| Field::Switch(&mut s.follow.allow_partial),
    },
    Row {
        key: Some("follow.connectTime"),
        flag: Some("follow-connect-time"),
        about: "Time limit for connecting to a node.",
        field: |s| Field::Seconds(&mut s.follow.connect_time, SOME_TIME..=TIME_MAX),
    },
    Row {
        key: Some("follow.answerTime"),
        flag: Some("follow-answer-time"),
        about: "Time limit for the head of a node's answer, and for a page; a sixth of it for the head while another node can be asked.",
        field: |s| Field::Seconds(&mut s.follow.answer_time, SOME_TIME..=TIME_MAX),
    },
    Row {
        key: Some("follow.stallTime"),
        flag: Some("follow-stall-time"),
        about: "How long a streamed answer may pause; a sixth of it while another node can be asked.",
        field: |s| Field::Seconds(&mut s.follow.stall_time, SOME_TIME..=TIME_MAX),
    },
    Row {
        key: Some("follow.pollTime"),
        flag: Some("follow-poll-time"),
        about: "Time between two requests for the cut of a node, in addition to its events.",
        field: |s| Field::Seconds(&mut s.follow.poll_time, SOME_TIME..=TIME_MAX),
    },
    Row {
        key: Some("follow.siblingsTime"),
        flag: Some("follow-siblings-time"),
        about: "Time between two checks for blocks of a node that were never on a heaviest branch; 0 for none.",
        field: |s| Field::Seconds(&mut s.follow.siblings_time, Duration::ZERO..=TIME_MAX),
    },
    Row {
        key: Some("follow.retryTimeMin"),
        flag: Some("follow-retry-time-min"),
        about: "Pause after a first failure.",
        field: |s| Field::Seconds(&mut s.follow.retry_time_min, SOME_TIME..=TIME_MAX),
    },
    Row {
        key: Some("follow.retryTimeMax"),
        flag: Some("follow-retry-time-max"),
        about: "Longest pause after failures, each of which doubles it.",
        field: |s| Field::Seconds(&mut s.follow.retry_time_max, SOME_TIME..=TIME_MAX),
    },
    Row {
        key: Some("follow.rangeHeights"),
        flag: Some("follow-range-heights"),
        about: "Heights of a chain per request while far behind.",
        field: |s| Field::Number(&mut s.follow.range_heights, 1..=1 << 24),
    },
    Row {
        key: Some("follow.readyLag"),
        flag: Some("follow-ready-lag"),
        about: "How far the cut height may be below that of the node for /ready to answer 200.",
        field: |s| Field::Number(&mut s.follow.ready_lag, 0..=1_000_000_000_000),
    },
    Row {
        key: Some("logging.level"),
        flag: Some("log"),
        about: "Log level: off, error, warn, info, debug, trace, or target=level pairs.",
        field: |s| Field::Log(&mut s.log),
    },
    Row {
        key: Some("logging.format"),
        flag: Some("log-format"),
        about: "Form of the log: text, or json for one object a line.",
        field: |s| Field::Format(&mut s.log_format),
    },
    Row {
        key: Some("logging.requests"),
        flag: Some("log-requests"),
        about: "Requests that get a line in the log: none, errors (status 500 and above, or cut), or all.",
        field: |s| Field::Requests(&mut s.config.requests),
    },
    Row {
        key: Some("metrics.listen"),
        flag: Some("metrics"),
        about: "Address and port of /metrics, /ready and /health-check. [default: off]",
        field: |s| Field::MaybeAddress(&mut s.metrics),
    },
    Row {
        key: Some("limits.connections"),
        flag: Some("max-connections"),
        about: "Connections at once; further ones get 503.",
        field: |s| Field::Number(&mut s.config.connections_max, 1..=COUNT_MAX),
    },
    Row {
        key: Some("limits.headTime"),
        flag: Some("head-time"),
        about: "Time for the head of a request.",
        field: |s| Field::Seconds(&mut s.config.head_time, SOME_TIME..=TIME_MAX),
    },
    Row {
        key: Some("limits.headBytes"),
        flag: Some("max-head-bytes"),
        about: "Bytes of the head of a request.",
        field: |s| Field::Number(&mut s.config.head_bytes_max, 8192..=(1 << 24) - 1),
    },
    Row {
        key: Some("limits.uriBytes"),
        flag: Some("max-uri-bytes"),
        about: "Bytes of path and query.",
        field: |s| Field::Number(&mut s.config.uri_bytes_max, 64..=(1 << 24) - 1),
    },
    Row {
        key: Some("limits.bodyTime"),
        flag: Some("body-time"),
        about: "Time for the body of a request.",
        field: |s| Field::Seconds(&mut s.config.body_time, SOME_TIME..=TIME_MAX),
    },
    Row {
        key: Some("limits.bodyBytes"),
        flag: Some("max-body-bytes"),
        about: "Maximum length of a request body, in bytes, for endpoints without a limit of their own.",
        field: |s| Field::Number(&mut s.config.body_bytes_max, 0..=BYTES_MAX),
    },
    Row {
        key: Some("limits.branchBodyBytes"),
        flag: Some("max-branch-body-bytes"),
        about: "Maximum length of the body of a branch query, in bytes. Not set: bodyBytes.",
        field: |s| Field::MaybeNumber(&mut s.config.branch_body_bytes_max, 0..=BYTES_MAX),
    },
    Row {
        key: Some("limits.batchBodyBytes"),
        flag: Some("max-batch-body-bytes"),
        about: "Maximum length of the body of a payload batch, in bytes.",
        field: |s| Field::Number(&mut s.config.batch_body_bytes_max, 0..=BYTES_MAX),
    },
    Row {
        key: Some("limits.bodiesBytes"),
        flag: Some("max-bodies-bytes"),
        about: "Maximum total length of the request bodies being received, in bytes; further ones get 503.",
        field: |s| {
            Field::Number(&mut s.config.bodies_bytes_max, BODIES_BYTES_MIN..=CACHE_BYTES_MAX)
        },
    },
    Row {
        key: Some("limits.idleTime"),
        flag: Some("idle-time"),
        about: "How long a connection is kept without a request.",
        field: |s| Field::Seconds(&mut s.config.idle_time, SOME_TIME..=TIME_MAX),
    },
    Row {
        key: Some("limits.stallTime"),
        flag: Some("stall-time"),
        about: "How long a client may take nothing of its answer.",
        field: |s| Field::Seconds(&mut s.config.stall_time, SOME_TIME..=TIME_MAX),
    },
    Row {
        key: Some("limits.reads"),
        flag: Some("max-reads"),
        about: "Concurrent reads of the disk. Not set: 4 a core, at least 8.",
        field: |s| Field::Number(&mut s.config.reads_max, 1..=4096),
    },
    Row {
        key: Some("limits.readWaitTime"),
        flag: Some("read-wait-time"),
        about: "How long a request waits for its turn to read, before it gets 503.",
        field: |s| Field::Seconds(&mut s.config.read_wait_time, Duration::ZERO..=TIME_MAX),
    },
    Row {
        key: Some("limits.bounds"),
        flag: Some("max-bounds"),
        about: "Bounds on each side of a branch query.",
        field: |s| Field::Number(&mut s.config.bounds_max, 0..=COUNT_MAX),
    },
    Row {
        key: Some("limits.pageHashes"),
        flag: Some("max-page-hashes"),
        about: "Hashes on a page.",
        field: |s| Field::Number(&mut s.config.page_hashes_max, 1..=COUNT_MAX),
    },
    Row {
        key: Some("limits.pageHeaders"),
        flag: Some("max-page-headers"),
        about: "Headers on a page.",
        field: |s| Field::Number(&mut s.config.page_headers_max, 1..=COUNT_MAX),
    },
    Row {
        key: Some("limits.pageBlocks"),
        flag: Some("max-page-blocks"),
        about: "Blocks on a page.",
        field: |s| Field::Number(&mut s.config.page_blocks_max, 1..=COUNT_MAX),
    },
    Row {
        key: Some("limits.pageBytes"),
        flag: Some("max-page-bytes"),
        about: "Bytes of a page of blocks or a batch of payloads; longer ones are sent in pieces.",
        field: |s| Field::Number(&mut s.config.page_bytes_max, 0..=BYTES_MAX),
    },
    Row {
        key: Some("limits.responseBytes"),
        flag: Some("max-response-bytes"),
        about: "Bytes of memory that all responses in progress may use; further ones get 503.",
        field: |s| Field::Number(&mut s.config.response_bytes_max, 1 << 20..=CACHE_BYTES_MAX),
    },
    Row {
        key: Some("limits.batchPayloads"),
        flag: Some("max-batch-payloads"),
        about: "Payloads that a batch may ask for; further ones are ignored.",
        field: |s| Field::Number(&mut s.config.batch_payloads_max, 0..=COUNT_MAX),
    },
    Row {
        key: Some("limits.statsSteps"),
        flag: Some("max-stats-steps"),
        about: "Steps of heights that one request for statistics may have, times the chains.",
        field: |s| Field::Number(&mut s.config.stats_steps_max, 1..=COUNT_MAX),
    },
    Row {
        key: Some("limits.streamHeaders"),
        flag: Some("stream-headers"),
        about: "Headers that a stream reads at once.",
        field: |s| Field::Number(&mut s.config.stream_headers, 1..=COUNT_MAX),
    },
    Row {
        key: Some("limits.subscribers"),
        flag: Some("max-subscribers"),
        about: "Event streams at once; further ones get 503.",
        field: |s| Field::Number(&mut s.config.subscribers_max, 0..=COUNT_MAX),
    },
    Row {
        key: Some("limits.drainDelay"),
        flag: Some("drain-delay"),
        about: "When stopping: how long to go on while /health-check is 503 already.",
        field: |s| Field::Seconds(&mut s.config.drain_delay, Duration::ZERO..=TIME_MAX),
    },
    Row {
        key: Some("limits.drainTime"),
        flag: Some("drain-time"),
        about: "After that: how long requests in flight may take before streams are cut.",
        field: |s| Field::Seconds(&mut s.config.drain_time, Duration::ZERO..=TIME_MAX),
    },
    Row {
        key: Some("limits.cutTime"),
        flag: Some("cut-time"),
        about: "After that: how long clients may take to read the rest.",
        field: |s| Field::Seconds(&mut s.config.cut_time, Duration::ZERO..=TIME_MAX),
    },
    Row {
        key: Some("updates.interval"),
        flag: Some("updates-interval"),
        about: "Minimum time between two checks for blocks that have joined the cut.",
        field: |s| Field::Seconds(&mut s.config.updates_interval, Duration::ZERO..=INTERVAL_MAX),
    },
    Row {
        key: Some("updates.keepAlive"),
        flag: Some("updates-keep-alive"),
        about: "How long an event stream is silent before the server sends an empty line; 0: never send one.",
        field: |s| Field::Seconds(&mut s.config.updates_keep_alive, Duration::ZERO..=TIME_MAX),
    },
    Row {
        key: Some("updates.resumeWait"),
        flag: Some("updates-resume-wait"),
        about: "How long an event stream waits for the block of its Last-Event-ID before it ends.",
        field: |s| Field::Seconds(&mut s.config.updates_resume_wait, Duration::ZERO..=TIME_MAX),
    },
    Row {
        key: Some("updates.logBytes"),
        flag: Some("updates-log-bytes"),
        about: "Bytes of events that are kept for slow subscribers; others are dropped or resume.",
        field: |s| Field::Number(&mut s.config.updates_log_bytes, LOG_BYTES_MIN..=CACHE_BYTES_MAX),
    },
    Row {
        key: Some("unknownLowerBound"),
        flag: Some("unknown-lower-bound"),
        about: "How to treat a lower bound that is not stored: refuse with 404, or ignore, as chainweb-node does.",
        field: |s| Field::Unknown(&mut s.config.unknown_lower),
    },
    Row {
        key: Some("chainwebNodeVersion"),
        flag: Some("chainweb-node-version"),
        about: "Release of chainweb-node in X-Chainweb-Node-Version and in nodePackageVersion of \
                /info.",
        field: |s| Field::NodeVersion(&mut s.config.node_version),
    },
    Row {
        key: Some("peers"),
        flag: Some("peer"),
        about: "Nodes that GET cut/peer lists, separated by commas, for example \
                node.example.org:1848; ID@ in front is the fingerprint of the certificate.",
        field: |s| Field::Peers(&mut s.config.peers),
    },
    Row {
        key: Some("caches.blockBytes"),
        flag: Some("block-cache-bytes"),
        about: "Bytes of tables that are kept in memory: hashes, and headers outside of runs.",
        field: |s| Field::Number(&mut s.caches.block_bytes, 0..=CACHE_BYTES_MAX),
    },
    Row {
        key: Some("caches.runBytes"),
        flag: Some("run-cache-bytes"),
        about: "Bytes of runs of headers that are kept in memory.",
        field: |s| Field::Number(&mut s.caches.run_bytes, 0..=CACHE_BYTES_MAX),
    },
];

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::cli::settings::Settings;

    /// A value that is no default.
    fn other(field: &Field<'_>) -> &'static str {
        match field {
            Field::Folder(_) | Field::File(_) => "x",
            Field::MaybeListen(_) => "/x",
            Field::Upstreams(_) => "http://a:1,https://b/c",
            Field::Peers(_) => "a:1,b:2",
            Field::Interface(_) => "::1",
            Field::Port(_) | Field::NodeVersion(_) => "7",
            Field::Address(_) | Field::MaybeAddress(_) => "[::1]:7",
            Field::Switch(field) if **field => "false",
            Field::Switch(_) => "true",
            Field::Number(_, range) if range.contains(&4095) => "4095",
            Field::Number(_, range) if !range.contains(&70_000) => "2097152",
            Field::Number(..) | Field::MaybeNumber(..) => "70000",
            Field::Seconds(..) => "7.25",
            Field::Log(_) => "debug",
            Field::Format(_) => "json",
            Field::Payloads(_) => "no",
            Field::Requests(_) => "all",
            Field::Unknown(_) => "ignore",
        }
    }

    #[test]
    fn every_setting_can_be_set() {
        let mut settings = Settings::default();
        for row in all_rows() {
            let value = other(&(row.field)(&mut settings));
            row.set(&mut settings, OsStr::new(value)).unwrap();
            assert_ne!((row.field)(&mut settings).show(), row.default(), "{}", row.about);
        }
        // All fields, those of structs in them too, one a line.
        let (changed, default) = (format!("{settings:#?}"), format!("{:#?}", Settings::default()));
        let changed: Vec<&str> = changed.lines().collect();
        let is_field = |line: &&str| line.contains(": ") && !line.ends_with('{');
        let left: Vec<&str> = default.lines().filter(is_field).collect();
        let left: Vec<&str> = left.into_iter().filter(|line| changed.contains(line)).collect();
        // The first follows from whether there is a database, the second from all settings.
        assert_eq!(
            left.iter().map(|line| line.trim()).collect::<Vec<_>>(),
            ["archive_only: false,", "shown: {},"]
        );
    }

    #[test]
    fn every_number_is_bounded_and_has_its_default_within() {
        let mut settings = Settings::default();
        for row in all_rows() {
            let Some((least, most)) = (row.field)(&mut settings).bounds() else { continue };
            for value in [&least, &most] {
                row.set(&mut settings, OsStr::new(value)).unwrap();
                let shown = (row.field)(&mut settings).show();
                assert_eq!(shown.as_ref(), Some(value), "{}", row.about);
            }
            if let Some(default) = row.default() {
                row.set(&mut settings, OsStr::new(&default)).unwrap();
            }
            let too_much = (most.parse::<u64>().unwrap() + 1).to_string();
            let none = (least != "0").then_some("0");
            let wrong = [
                too_much.as_str(),
                "2305843009213693952",
                "9223372036854775808",
                "18446744073709551615",
                "18446744073709551616",
                "-1",
                "1e300",
                "-1e300",
                "NaN",
                "inf",
                "",
                "many",
                "0x10",
                "99999999999 years",
            ];
            for value in wrong.into_iter().chain(none) {
                let error = row.set(&mut settings, OsStr::new(value)).unwrap_err();
                assert!(error.contains(&format!("from {least} to {most}")), "{error}");
            }
        }
    }

    #[test]
    fn keys_and_flags_are_there_once() {
        for (at, row) in all_rows().enumerate() {
            assert!(row.key.is_some() || row.flag.is_some(), "{}", row.about);
            for other in all_rows().skip(at + 1) {
                assert!(row.key.is_none() || row.key != other.key, "{:?}", row.key);
                assert!(row.flag.is_none() || row.flag != other.flag, "{:?}", row.flag);
            }
        }
    }
}
