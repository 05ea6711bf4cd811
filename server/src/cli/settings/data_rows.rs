use super::bounds::{BYTES_MAX, COUNT_MAX, SOME_TIME, TIME_MAX};
use super::field::Field;
use super::row::Row;

/// The settings of what is served and written: the first rows of the table.
pub(super) static DATA_ROWS: &[Row] = &[
    Row {
        key: Some("databaseDirectory"),
        flag: Some("db"),
        about: "Folder of the database. Without one, only the archive is offered.",
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
        about: "Folder of an archive to offer under /archive; plait export may write it meanwhile.",
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
        about: "Whether backups can be asked for over HTTP, by anybody who reaches the server.",
        field: |s| Field::Switch(&mut s.config.backup.api),
    },
    Row {
        key: Some("backup.directory"),
        flag: Some("backups"),
        about: "Folder of all backups, best on the file system of the database.",
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
        about: "Where blocks may be pushed by POST /push: an address and port, or the absolute path \
                of a Unix socket; switched off unless said.",
        field: |s| Field::MaybeListen(&mut s.ingest.listen),
    },
    Row {
        key: Some("ingest.remote"),
        flag: Some("ingest-remote"),
        about: "Whether that may be an address that other machines reach: whoever does can write.",
        field: |s| Field::Switch(&mut s.ingest.remote),
    },
    Row {
        key: Some("ingest.sync"),
        flag: Some("ingest-sync"),
        about: "Whether what is told to be stored outlives a power cut.",
        field: |s| Field::Switch(&mut s.ingest.sync),
    },
    Row {
        key: Some("ingest.batch"),
        flag: Some("ingest-batch"),
        about: "Blocks that are stored at once, where so many are there.",
        field: |s| Field::Number(&mut s.ingest.batch, 1..=1 << 16),
    },
    Row {
        key: Some("ingest.connections"),
        flag: Some("ingest-connections"),
        about: "Clients that push at once; further ones wait.",
        field: |s| Field::Number(&mut s.ingest.connections_max, 1..=4096),
    },
    Row {
        key: Some("ingest.idleTime"),
        flag: Some("ingest-idle-time"),
        about: "How long such a client may send nothing of its blocks, and read nothing of the answer.",
        field: |s| Field::Seconds(&mut s.ingest.idle_time, SOME_TIME..=TIME_MAX),
    },
    Row {
        key: Some("ingest.lineBytes"),
        flag: Some("ingest-line-bytes"),
        about: "Maximum length of a JSON value (a header, or a block with its payload), in bytes.",
        field: |s| Field::Number(&mut s.ingest.line_bytes_max, 1024..=BYTES_MAX),
    },
];
