use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use plait_engine::cause::Cause;
use plait_engine::store::{ColumnStats, StoreStats};
use plait_engine::{ChainId, Reader};

use super::text::{Kind, Text};
use super::{Counters, process};

/// The page that is scraped.
pub(super) fn page(counters: &Counters) -> String {
    let mut text = Text::default();
    text.family("plait_build_info", Kind::Gauge, "The release that runs.");
    text.sample("plait_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let ready = u8::from(counters.readiness.unready().is_none());
    text.gauge("plait_ready", "Whether /ready answers 200.", ready);
    let displaced = u8::from(counters.readiness.is_displaced());
    let help = "Whether the folder of the database was moved, removed or replaced.";
    text.gauge("plait_database_displaced", help, displaced);
    requests(&mut text, counters);
    load(&mut text, counters);
    jobs(&mut text, counters);
    writes(&mut text, counters);
    counters.follow.write(&mut text);
    counters.ingest.write(&mut text);
    counters.refresh.write(&mut text);
    let serving = counters.serving().clone();
    if let Some(serving) = serving {
        let limits = [
            ("plait_connections_max", "Connections at once at most.", serving.connections_max),
            ("plait_reads_max", "Reads of the disk at once at most.", serving.reads_max),
        ];
        for (name, help, limit) in limits {
            text.gauge(name, help, limit);
        }
        blocks(&mut text, &serving.reader);
        let stats = serving.reader.stats();
        caches(&mut text, &stats);
        columns(&mut text, &stats);
    }
    process::write(&mut text);
    text.into_string()
}

fn requests(text: &mut Text, counters: &Counters) {
    let name = "plait_requests_total";
    let help = "Requests that have ended; status 499 if the client went before the answer.";
    text.family(name, Kind::Counter, help);
    for (endpoint, statuses) in counters.requests.iter() {
        for (status, count) in statuses.iter().filter(|(_, count)| count.load(Relaxed) > 0) {
            let labels = [("endpoint", endpoint.name()), ("status", &status)];
            text.sample(name, &labels, count.load(Relaxed));
        }
    }
    let name = "plait_request_duration_seconds";
    let help = "From the head of a request to the last byte of its answer.";
    text.family(name, Kind::Histogram, help);
    for (endpoint, histogram) in counters.durations.iter() {
        let scraped = histogram.scrape();
        if scraped.count == 0 {
            continue;
        }
        let bucket = format!("{name}_bucket");
        for (end, count) in scraped.buckets {
            let labels = [("endpoint", endpoint.name()), ("le", &end.to_string())];
            text.sample(&bucket, &labels, count);
        }
        let labels = [("endpoint", endpoint.name()), ("le", "+Inf")];
        text.sample(&bucket, &labels, scraped.count);
        let labels = &labels[..1];
        text.sample(&format!("{name}_sum"), labels, scraped.sum);
        text.sample(&format!("{name}_count"), labels, scraped.count);
    }
    let name = "plait_response_bytes_total";
    text.family(name, Kind::Counter, "Bytes of bodies that were given to connections.");
    for (endpoint, bytes) in counters.bytes.iter().filter(|(_, bytes)| bytes.load(Relaxed) > 0) {
        text.sample(name, &[("endpoint", endpoint.name())], bytes.load(Relaxed));
    }
}

fn load(text: &mut Text, counters: &Counters) {
    let now = |count: &AtomicU64| count.load(Relaxed);
    let total = now(&counters.connections);
    text.counter("plait_connections_total", "Connections that had a place.", total);
    let open = now(&counters.connections_open);
    text.gauge("plait_connections_open", "Connections that have a place.", open);
    let name = "plait_connections_refused_total";
    text.family(name, Kind::Counter, "Connections over the limit, by what they were answered.");
    text.sample(name, &[("answer", "503")], now(&counters.connections_refused));
    text.sample(name, &[("answer", "none")], now(&counters.connections_dropped));
    let open = now(&counters.streams_open);
    text.gauge("plait_streams_open", "Answers under way that are streams.", open);
    let open = now(&counters.subscribers_open);
    text.gauge("plait_subscribers_open", "Event streams under way.", open);
    let waiting = now(&counters.subscribers_waiting);
    let help = "Event streams that wait for a block that Last-Event-ID names.";
    text.gauge("plait_subscribers_waiting", help, waiting);
    let help = "Event streams over the limit: 503, or ended at once with ?resume.";
    text.counter("plait_subscribers_refused_total", help, now(&counters.subscribers_refused));
    let help = "Event streams that fell behind what is kept, and ended.";
    text.counter("plait_subscribers_lost_total", help, now(&counters.subscribers_lost));
    let help = "Event streams ended because a block of Last-Event-ID did not arrive in time.";
    text.counter("plait_subscribers_given_up_total", help, now(&counters.subscribers_given_up));
    let help = "Blocks that joined the cut while somebody listened.";
    text.counter("plait_events_total", help, now(&counters.events));
    let name = "plait_reads_total";
    text.family(name, Kind::Counter, "Reads, by whether all was in memory.");
    text.sample(name, &[("from", "memory")], now(&counters.reads_in_memory));
    text.sample(name, &[("from", "disk")], now(&counters.reads_of_disk));
    let running = now(&counters.reads_running);
    text.gauge("plait_reads_running", "Reads of the disk under way.", running);
    let waiting = now(&counters.reads_waiting);
    text.gauge("plait_reads_waiting", "Reads that wait for a place among those.", waiting);
    let help = "Reads that waited too long and were answered 503.";
    text.counter("plait_reads_refused_total", help, now(&counters.reads_refused));
    let help = "Bytes of memory that responses in progress may use now.";
    text.gauge("plait_response_bytes", help, now(&counters.response_bytes));
    let help = "Responses that did not fit into their budget and got 503.";
    text.counter("plait_responses_refused_total", help, now(&counters.responses_refused));
    let help = "HTTP/2 streams that were reset because their clients did not read them.";
    text.counter("plait_streams_cut_total", help, now(&counters.streams_cut));
    let help = "HTTP/2 streams that were refused because too many were open.";
    text.counter("plait_streams_refused_total", help, now(&counters.streams_refused));
}

fn jobs(text: &mut Text, counters: &Counters) {
    let now = |count: &AtomicU64| count.load(Relaxed);
    let backup = &counters.backup;
    text.gauge("plait_backup_running", "Whether a backup is under way.", now(&backup.running));
    let name = "plait_backups_total";
    text.family(name, Kind::Counter, "Backups that have ended.");
    text.sample(name, &[("outcome", "done")], now(&backup.done));
    text.sample(name, &[("outcome", "failed")], now(&backup.failed));
    let name = "plait_backup_last_success_timestamp_seconds";
    text.gauge(
        name,
        "When the last good backup ended, Unix time; 0 for never.",
        now(&backup.last_success),
    );
    let millis = std::time::Duration::from_millis(now(&backup.last_millis));
    let name = "plait_backup_last_duration_seconds";
    text.gauge(name, "How long the last backup took, good or not.", millis.as_secs_f64());
    let replay = &counters.replay;
    text.gauge("plait_replay_running", "Whether a replay is under way.", now(&replay.running));
    let name = "plait_replay_headers_total";
    text.family(name, Kind::Counter, "Headers of the last replay.");
    text.sample(name, &[("outcome", "stored")], now(&replay.stored));
    text.sample(name, &[("outcome", "known")], now(&replay.known));
    text.sample(name, &[("outcome", "rejected")], now(&replay.rejected));
    let (name, help) = ("plait_replay_payloads_total", "Payloads that the last replay stored.");
    text.counter(name, help, now(&replay.payloads));
}

fn writes(text: &mut Text, counters: &Counters) {
    let writable = u8::from(!counters.readiness.is_write_failing());
    let help = "Whether the last write to the database succeeded.";
    text.gauge("plait_database_writable", help, writable);
    let name = "plait_write_failures_total";
    text.family(name, Kind::Counter, "Writes to the database that failed.");
    for (cause, count) in Cause::ALL.iter().zip(&counters.write_failures) {
        text.sample(name, &[("cause", cause.name())], count.load(Relaxed));
    }
}

fn blocks(text: &mut Text, reader: &Reader) {
    let view = reader.view();
    let chains: Vec<(ChainId, String)> =
        reader.version().chain_ids().map(|chain| (chain, chain.to_string())).collect();
    text.family("plait_blocks", Kind::Gauge, "Blocks of a chain, orphans too.");
    for (chain, label) in &chains {
        text.sample("plait_blocks", &[("chain", label)], view.block_count(*chain));
    }
    text.family("plait_tip_height", Kind::Gauge, "Height of the heaviest block of a chain.");
    for (chain, label) in &chains {
        if let Some(tip) = view.tip(*chain) {
            text.sample("plait_tip_height", &[("chain", label)], tip.height.get());
        }
    }
    // What cannot be read is reported by whoever asks for it.
    if let Ok(cut) = view.cut(None) {
        text.gauge("plait_cut_height", "Height of the cut, a sum over chains.", cut.height());
    }
}

fn caches(text: &mut Text, stats: &StoreStats) {
    let gauges = [
        ("plait_block_cache_bytes", "Tables in memory.", stats.block_cache_bytes),
        ("plait_block_cache_pinned_bytes", "Of those, in use.", stats.block_cache_pinned_bytes),
        ("plait_block_cache_max_bytes", "Tables in memory at most.", stats.block_cache_bytes_max),
        ("plait_run_cache_bytes", "Runs of headers in memory.", stats.runs.bytes),
        ("plait_run_cache_max_bytes", "Runs in memory at most.", stats.runs.bytes_max),
        ("plait_snapshots_open", "Moments of the database that are held.", stats.snapshots),
        ("plait_flushes_running", "Write buffers on their way to disk.", stats.flushes_running),
        ("plait_compactions_running", "Compactions under way.", stats.compactions_running),
        ("plait_write_stopped", "Whether writes have to wait.", u64::from(stats.write_stopped)),
    ];
    for (name, help, value) in gauges {
        text.gauge(name, help, value);
    }
    text.counter("plait_run_cache_hits_total", "Runs found in memory.", stats.runs.hits);
    text.counter("plait_run_cache_misses_total", "Runs not found there.", stats.runs.misses);
    let help = "Errors of flushes and compactions.";
    text.counter("plait_background_errors_total", help, stats.background_errors);
}

fn columns(text: &mut Text, stats: &StoreStats) {
    type Value = fn(&ColumnStats) -> u64;
    let gauges: [(&str, &str, Value); 5] = [
        ("table_bytes", "Tables on disk.", |column| column.table_bytes),
        ("blob_bytes", "Blob files on disk.", |column| column.blob_bytes),
        ("memory_bytes", "Write buffers.", |column| column.memory_bytes),
        ("files", "Tables and blob files.", |column| column.files),
        ("pending_compaction_bytes", "What compaction has yet to write.", |column| {
            column.pending_compaction_bytes
        }),
    ];
    for (name, help, value) in gauges {
        let name = &format!("plait_column_{name}");
        text.family(name, Kind::Gauge, help);
        for (column, stats) in &stats.columns {
            text.sample(name, &[("column", column.name())], value(stats));
        }
    }
}
