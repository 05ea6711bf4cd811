use std::path::{Path, PathBuf};
use std::{env, fs};

use fixtures::{Row, data, results};
use serde::Deserialize;

/// A bench of criterion's.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    pub(crate) name: String,
    /// The median.
    pub(crate) seconds: f64,
    pub(crate) elements: Option<f64>,
    pub(crate) bytes: Option<f64>,
}

/// All that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) benches: Vec<Bench>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Described {
    full_id: String,
    throughput: Option<Throughput>,
}

#[derive(Deserialize)]
enum Throughput {
    Elements(u64),
    Bytes(u64),
    ElementsAndBytes { elements: u64, bytes: u64 },
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

impl Found {
    /// What lies in the folders of the last run.
    pub(crate) fn read() -> Self {
        let criterion = env::var_os("CRITERION_HOME").map(PathBuf::from);
        let criterion = criterion.unwrap_or_else(|| data::target().join("criterion"));
        let mut benches = Vec::new();
        collect(&criterion, &mut benches);
        benches.sort_by(|a, b| a.name.cmp(&b.name));
        let rows = ["pairs", "load", "open", "bulk", "follow"].map(|program| {
            let text = fs::read_to_string(results().join(format!("{program}.json")));
            text.map_or(Vec::new(), |text| serde_json::from_str(&text).expect("rows are JSON"))
        });
        Self { benches, rows: rows.concat() }
    }

    /// The row of this name, if it was measured.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The rows whose names begin so.
    pub(crate) fn rows_of(&self, start: &str) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.name.starts_with(start))
    }
}

fn collect(folder: &Path, found: &mut Vec<Bench>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()) {
        let new = path.join("new");
        match (read::<Described>(&new, "benchmark"), read::<Estimates>(&new, "estimates")) {
            (Some(bench), Some(estimates)) => found.push(Bench::new(bench, &estimates)),
            _ => collect(&path, found),
        }
    }
}

fn read<T: for<'a> Deserialize<'a>>(folder: &Path, name: &str) -> Option<T> {
    let text = fs::read_to_string(folder.join(format!("{name}.json"))).ok()?;
    serde_json::from_str(&text).ok()
}

impl Bench {
    #[expect(clippy::cast_precision_loss, reason = "results are rounded anyway")]
    fn new(bench: Described, estimates: &Estimates) -> Self {
        let (elements, bytes) = match bench.throughput {
            Some(Throughput::Elements(elements)) => (Some(elements), None),
            Some(Throughput::Bytes(bytes)) => (None, Some(bytes)),
            Some(Throughput::ElementsAndBytes { elements, bytes }) => (Some(elements), Some(bytes)),
            None => (None, None),
        };
        Self {
            name: bench.full_id,
            seconds: estimates.median.point_estimate / 1e9,
            elements: elements.map(|n| n as f64),
            bytes: bytes.map(|n| n as f64),
        }
    }
}
