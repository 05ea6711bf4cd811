use super::{Steps, View};
use crate::types::{BlockHeight, ChainId};

/// An estimate of what statistics will read, made without reading anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsCost {
    /// Runs of headers: one for each step that begins inside a run; all of them if there are no stored
    /// sums.
    pub runs: u64,
    /// Smaller rows: stored sums, and headers that are not in runs yet.
    pub rows: u64,
}

impl StatsCost {
    /// The work, in rows. Reading a run and adding up half of its headers takes as long as reading
    /// some fifteen rows.
    #[must_use]
    pub const fn in_rows(self) -> u64 {
        self.rows.saturating_add(self.runs.saturating_mul(15))
    }
}

impl View {
    /// Estimates what [`View::stats`] would read for these steps.
    #[must_use]
    pub fn stats_cost(&self, chains: &[ChainId], steps: Steps) -> StatsCost {
        let mut cost = StatsCost::default();
        let has_sums = self.snapshot().has_sums();
        let (first, last) = (BlockHeight::new(steps.first), BlockHeight::new(steps.last));
        for forest in chains.iter().filter_map(|chain| self.tree().forest(*chain)) {
            let nodes = forest.node_count(first, last);
            cost.rows = cost.rows.saturating_add(nodes);
            let Some(trunk) = forest.trunk().filter(|trunk| !trunk.is_empty()) else { continue };
            let (low, end) = (trunk.first().max(first), trunk.end().min(last.up(1)));
            let sealed = end.since(low).unwrap_or(0);
            if !has_sums {
                cost.runs =
                    cost.runs.saturating_add(sealed.div_ceil(forest.run_length().heights()));
                continue;
            }
            let length = forest.run_length();
            // Many steps may end below the first block of a chain that began later than others.
            let starts = steps.iter().map(|(start, _)| start).chain([low, end]);
            let starts = starts.filter(|start| (low..=end).contains(start));
            for start in starts {
                cost.rows = cost.rows.saturating_add(2);
                // The lowest run has no run below it whose sums are stored.
                let is_within = length.start(start) != start && start != trunk.end();
                if is_within || start == trunk.first() {
                    cost.runs = cost.runs.saturating_add(1);
                }
            }
        }
        cost
    }

    /// The number of heights in a run: a step of a multiple of it reads no run, except at the ends
    /// of the range.
    #[must_use]
    pub fn run_heights(&self) -> u64 {
        self.snapshot().meta().run_length.heights()
    }
}
