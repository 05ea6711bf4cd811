//! What Plait promises, and whether this run shows it.

use crate::found::Found;

/// A line of the table.
pub(crate) struct Promise {
    pub(crate) what: &'static str,
    pub(crate) target: &'static str,
    pub(crate) measured: Option<f64>,
    pub(crate) unit: &'static str,
    /// Whether it holds; `None` where nothing is promised or nothing was measured.
    pub(crate) holds: Option<bool>,
}

#[derive(Clone, Copy)]
enum Limit {
    Least(f64),
    Most(f64),
    None,
}

impl Limit {
    fn holds(self, value: f64) -> Option<bool> {
        match self {
            Self::Least(least) => Some(value >= least),
            Self::Most(most) => Some(value <= most),
            Self::None => None,
        }
    }
}

/// Ratios: what it is of, what is promised, the name of the row.
const RATIOS: [(&str, &str, Limit, &str); 18] = [
    (
        "branch page of 360 in the engine: chainweb-node's algorithm takes so many times as long",
        "at least 80",
        Limit::Least(80.0),
        "pairs/branch_360/node:tip",
    ),
    (
        "branch page of 360 in the engine: so many times as long as a flat copy",
        "at most 3",
        Limit::Most(3.0),
        "pairs/branch_360/tip:copy",
    ),
    (
        "page at a cursor far below the upper bound: so many times as long as at the tip",
        "at most 1.3",
        Limit::Most(1.3),
        "pairs/branch_360/cursor_deep:tip",
    ),
    (
        "page at a `maxheight` far below the upper bound: as at the tip",
        "at most 1.3",
        Limit::Most(1.3),
        "pairs/branch_360/maxheight_low:tip",
    ),
    (
        "first page inside a deep fork: as on the trunk",
        "at most 2",
        Limit::Most(2.0),
        "pairs/branch_360/in_fork:tip",
    ),
    (
        "last page inside a deep fork: as on the trunk",
        "at most 2",
        Limit::Most(2.0),
        "pairs/branch_360/in_fork_low:tip",
    ),
    (
        "page with 10,080 siblings around: as on the trunk",
        "at most 2",
        Limit::Most(2.0),
        "pairs/branch_360/among_siblings:tip",
    ),
    (
        "JSON page over HTTP: requests a second, of nginx's",
        "at least 0.5",
        Limit::Least(0.5),
        "http/branch_360/json",
    ),
    (
        "octet-stream page over HTTP: requests a second, of nginx's",
        "at least 0.8",
        Limit::Least(0.8),
        "http/branch_360/octets",
    ),
    (
        "whole chain as octet-stream, ascending: bytes a second, of nginx's",
        "at least 0.7",
        Limit::Least(0.7),
        "http/stream/range",
    ),
    (
        "whole chain as octet-stream, descending: bytes a second, of nginx's",
        "at least 0.7",
        Limit::Least(0.7),
        "http/stream/branch",
    ),
    (
        "p99 of small pages while a stream and a replay run: so many times that of an idle server",
        "at most 5",
        Limit::Most(5.0),
        "http/latency_10/p99",
    ),
    (
        "replay of 8 M headers with every rule checked: headers a second, of what scalar verification \
         does on all cores",
        "at least 2, goal 3",
        Limit::Least(2.0),
        "bulk/replay/full",
    ),
    (
        "catching up with a Plait over the loopback: headers a second, of a replay of the same from a \
         file",
        "at least 0.3",
        Limit::Least(0.3),
        "follow/catch_up",
    ),
    (
        "p99 of small pages of 16 clients while backups are made and a replay writes: so many times \
         that of an idle server",
        "at most 3",
        Limit::Most(3.0),
        "backup/p99",
    ),
    (
        "backup of a database that nobody uses: so many times RocksDB's checkpoint",
        "-",
        Limit::None,
        "backup/idle",
    ),
    (
        "p99 of small pages beside 10,000 idle and slow connections: so many times that without them",
        "at most 3",
        Limit::Most(3.0),
        "crowd/p99",
    ),
    ("the same of nginx, beside the same replay", "-", Limit::None, "http/latency_10/p99/nginx"),
];

pub(crate) fn table(found: &Found) -> Vec<Promise> {
    let mut table: Vec<Promise> = Vec::new();
    for (what, target, limit, name) in RATIOS {
        let measured = found.row(name).and_then(|row| row.ratio);
        let holds = measured.and_then(|ratio| limit.holds(ratio));
        table.push(Promise { what, target, measured, unit: "", holds });
    }
    let memory = |when: &str| found.row(&format!("http/memory/{when}")).and_then(|row| row.value);
    let back = memory("after").zip(memory("before")).map(|(after, before)| after / before);
    table.push(Promise {
        what: "resident memory while 64 clients stream, 32 of them stalled",
        target: "-",
        measured: memory("64_streams_32_stalled"),
        unit: "MiB",
        holds: None,
    });
    table.push(Promise {
        what: "resident memory after they have left, of what it was before them",
        target: "returns: at most 1.1",
        measured: back,
        unit: "",
        holds: back.map(|back| back <= 1.1),
    });
    let bulk = |name: &str| found.row(&format!("bulk/{name}")).and_then(|row| row.value);
    table.push(Promise {
        what: "database after that replay, of the raw bytes",
        target: "at most 1.2",
        measured: bulk("size"),
        unit: "",
        holds: bulk("size").map(|size| size <= 1.2),
    });
    table.push(Promise {
        what: "resident memory of that replay at most",
        target: "under 2 GB",
        measured: bulk("memory"),
        unit: "MiB",
        holds: bulk("memory").map(|memory| memory < 2048.0),
    });
    for (what, target, name, unit, most) in [
        ("longest of those backups", "under 2 s", "backup/loaded", "s", 2.0),
        ("most that one of them adds, of the database", "under 0.01", "backup/added", "", 0.01),
        ("memory of an idle or slow connection", "at most 64", "crowd/memory", "KiB", 64.0),
    ] {
        let measured = found.row(name).and_then(|row| row.value);
        let holds = measured.map(|value| value < most);
        table.push(Promise { what, target, measured, unit, holds });
    }
    let open: Vec<f64> = found.rows_of("open/cold/").filter_map(|row| row.value).collect();
    let largest = open.last().copied();
    table.push(Promise {
        what: "cold open of the largest database",
        target: "under 1 s",
        measured: largest,
        unit: "s",
        holds: largest.map(|seconds| seconds < 1.0),
    });
    let sealed: Vec<f64> = found.rows_of("open/sealed/").filter_map(|row| row.value).collect();
    let growth = sealed.last().zip(sealed.first()).map(|(last, first)| last / first);
    table.push(Promise {
        what: "cold open with fifty times as many sealed headers: so many times as long",
        target: "does not grow: at most 1.5",
        measured: growth,
        unit: "",
        holds: growth.map(|growth| growth <= 1.5),
    });
    table
}
