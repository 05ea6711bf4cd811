use std::fs;
use std::path::PathBuf;

const ABOUT: &str = "\
# Instructions of one call of each hot function, under callgrind. `make bench-instructions` compares,
# `make bench-instructions-accept` writes this file.
";

/// Mark of the line that names compiler and counter.
const TOOLS: &str = "# counted with ";

/// What `instructions.txt` holds.
#[derive(Debug, Default)]
pub(crate) struct Baseline {
    /// Compiler and counter.
    pub(crate) tools: Option<String>,
    /// Instructions by operation.
    pub(crate) counts: Vec<(String, u64)>,
}

impl Baseline {
    pub(crate) fn read() -> Self {
        let text = fs::read_to_string(file()).unwrap_or_default();
        let tools = text.lines().find_map(|line| line.strip_prefix(TOOLS)).map(str::to_owned);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let counts = lines.filter_map(|line| {
            let (name, count) = line.split_once(' ')?;
            Some((name.to_owned(), count.trim().parse().ok()?))
        });
        Self { counts: counts.collect(), tools }
    }

    pub(crate) fn write(&self) {
        let mut text = ABOUT.to_owned();
        text.extend([TOOLS, self.tools.as_deref().unwrap_or("?"), "\n"]);
        text.extend(self.counts.iter().map(|(name, count)| format!("{name:<28} {count:>12}\n")));
        fs::write(file(), text).expect("the baseline is written");
    }

    /// How much `count` is above what is stored, as a part of it.
    #[expect(clippy::cast_precision_loss, reason = "a part is rounded anyway")]
    pub(crate) fn change(&self, name: &str, count: u64) -> Option<f64> {
        let (_, stored) = self.counts.iter().find(|(other, _)| other == name)?;
        Some(count as f64 / *stored as f64 - 1.0)
    }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("instructions.txt")
}
