use super::bounds::{BYTES_MAX, COUNT_MAX, SOME_TIME, TIME_MAX};
use super::field::Field;
use super::row::Row;

/// The settings of the database, the API, the archive, backups and push: the first rows of the
/// table.
pub(super) static DATA_ROWS: &[Row] = &[
    Row {
        key: Some("databaseDirectory"),
        flag: Some("db"),
        about: "Folder of the database. Without it, only the archive is served.",
        field: |s| Field::Folder(&mut s.db),
    },
    Row {
        key: Some("readOnly"),
        flag: Some("read-only"),
        about: "Serve a database that another process writes to, or one on a read-only medium.",
        field: |s| Field::Switch(&mut s.read_only),
    },
    Row {
        key: Some("refreshTime"),
        flag: Some("refresh"),
        about: "With readOnly: time between two refreshes, which read what the other process wrote.",
        field: |s| Field::Seconds(&mut s.refresh_time, SOME_TIME..=TIME_MAX),
    },
    Row {
        key: Some("serviceApi.interface"),
        flag: None,
        about: "Address of the interface that the API listens on; '*' for all of them.",
        field: |s| Field::Interface(&mut s.listen),
    },
    Row {
        key: Some("serviceApi.port"),
        flag: None,
        about: "Port of the API; 0 takes a free one.",
        field: |s| Field::Port(&mut s.listen),
    },
    Row {
        key: None,
        flag: Some("listen"),
        about: "Address and port to listen on; port 0 takes a free one.",
        field: |s| Field::Address(&mut s.listen),
    },
    Row {
        key: Some("archive.directory"),
        flag: Some("archive"),
        about: "Folder of an archive to serve under /archive; plait export may write to it at the same time.",
        field: |s| Field::Folder(&mut s.config.archive),
    },
    Row {
        key: Some("archive.reads"),
        flag: Some("archive-reads"),
        about: "Concurrent reads of the archive; reads of the database have their own limit.",
        field: |s| Field::Number(&mut s.config.archive_reads_max, 1..=4096),
    },
    Row {
        key: Some("archive.readTime"),
        flag: Some("archive-read-time"),
        about: "How long a read of the archive may take before its client gets 503 and its slot is freed.",
        field: |s| Field::Seconds(&mut s.config.archive_read_time, SOME_TIME..=TIME_MAX),
    },
    Row {
        key: Some("backup.api.enabled"),
        flag: Some("backup-api"),
        about: "Whether anybody who reaches the server can request backups over HTTP.",
        field: |s| Field::Switch(&mut s.config.backup.api),
    },
    Row {
        key: Some("backup.directory"),
        flag: Some("backups"),
        about: "Folder of all backups, preferably on the file system of the database.",
        field: |s| Field::Folder(&mut s.config.backup.directory),
    },
    Row {
        key: Some("backup.keep"),
        flag: Some("keep-backups"),
        about: "Number of finished backups to keep; older ones are deleted after each backup. Not set: all.",
        field: |s| Field::MaybeNumber(&mut s.config.backup.keep, 1..=COUNT_MAX),
    },
    Row {
        key: Some("ingest.listen"),
        flag: Some("ingest"),
        about: "Where to accept blocks by POST /push: an address and port, or the absolute path of a \
                Unix socket. Not set: off.",
        field: |s| Field::MaybeListen(&mut s.ingest.listen),
    },
    Row {
        key: Some("ingest.remote"),
        flag: Some("ingest-remote"),
        about: "Whether ingest.listen may be an address that other machines can reach; they can then write.",
        field: |s| Field::Switch(&mut s.ingest.remote),
    },
    Row {
        key: Some("ingest.sync"),
        flag: Some("ingest-sync"),
        about: "Sync to disk before acknowledging a pushed block.",
        field: |s| Field::Switch(&mut s.ingest.sync),
    },
    Row {
        key: Some("ingest.batch"),
        flag: Some("ingest-batch"),
        about: "Maximum number of pushed blocks per commit.",
        field: |s| Field::Number(&mut s.ingest.batch, 1..=1 << 16),
    },
    Row {
        key: Some("ingest.connections"),
        flag: Some("ingest-connections"),
        about: "Maximum number of concurrent push clients; further ones wait.",
        field: |s| Field::Number(&mut s.ingest.connections_max, 1..=4096),
    },
    Row {
        key: Some("ingest.idleTime"),
        flag: Some("ingest-idle-time"),
        about: "How long a push client may neither send blocks nor read the response.",
        field: |s| Field::Seconds(&mut s.ingest.idle_time, SOME_TIME..=TIME_MAX),
    },
    Row {
        key: Some("ingest.lineBytes"),
        flag: Some("ingest-line-bytes"),
        about: "Maximum length of a JSON value (a header, or a block with its payload), in bytes.",
        field: |s| Field::Number(&mut s.ingest.line_bytes_max, 1024..=BYTES_MAX),
    },
];
