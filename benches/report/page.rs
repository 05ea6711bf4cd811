//! The report as Markdown.

use std::fmt::Write;

use fixtures::Row;

use crate::found::{Bench, Found};
use crate::{machine, must};

pub(crate) fn page(found: &Found, name: &str, command: &str, plots: &[String]) -> String {
    let mut page = format!("# Benches, {name}\n\n| | |\n| --- | --- |\n");
    for (what, text) in machine::facts(command) {
        line(&mut page, &[what, &text]);
    }
    page.push_str("\n## What must hold\n\n| what | promised | measured | holds |\n");
    page.push_str("| --- | --- | --- | --- |\n");
    for promise in must::table(found) {
        let measured = promise.measured.map_or("not measured".to_owned(), |value| {
            format!("{} {}", short(value), promise.unit).trim_end().to_owned()
        });
        let holds = match promise.holds {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "-",
        };
        line(&mut page, &[promise.what, promise.target, &measured, holds]);
    }
    page.push('\n');
    for plot in plots {
        let _ = writeln!(page, "![{plot}]({plot})\n");
    }
    page.push_str(
        "## In turns\n\nA and B are measured in turns; the ratio is the median of all pairs.\n\n",
    );
    page.push_str("| name | A | B | | A : B | |\n| --- | ---: | ---: | --- | ---: | --- |\n");
    for row in &found.rows {
        push_row(&mut page, row);
    }
    page.push_str("\n## By criterion\n\nMedians.\n\n| name | time | headers/s | bytes/s |\n");
    page.push_str("| --- | ---: | ---: | ---: |\n");
    for bench in &found.benches {
        push_bench(&mut page, bench);
    }
    page
}

fn push_row(page: &mut String, row: &Row) {
    let number = |number: Option<f64>| number.map_or(String::new(), short);
    let [value, peer, ratio] = [row.value, row.peer, row.ratio].map(number);
    line(page, &[&format!("`{}`", row.name), &value, &peer, &row.unit, &ratio, &row.note]);
}

fn push_bench(page: &mut String, bench: &Bench) {
    let rate = |count: Option<f64>| count.map_or(String::new(), |n| rate(n / bench.seconds));
    let name = format!("`{}`", bench.name);
    line(page, &[&name, &time(bench.seconds), &rate(bench.elements), &rate(bench.bytes)]);
}

fn line(page: &mut String, cells: &[&str]) {
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

/// Three digits that count, as far as they go.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => rate(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn rate(value: f64) -> String {
    for (size, unit) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value >= size {
            return format!("{:.2} {unit}", value / size);
        }
    }
    format!("{value:.1}")
}

pub(crate) fn time(seconds: f64) -> String {
    for (size, unit) in [(1.0, "s"), (1e-3, "ms"), (1e-6, "us")] {
        if seconds >= size {
            return format!("{:.2} {unit}", seconds / size);
        }
    }
    format!("{:.1} ns", seconds * 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_unit_that_suits_them() {
        assert_eq!(
            [time(1.5), time(0.002), time(3.5e-6), time(4e-9)],
            ["1.50 s", "2.00 ms", "3.50 us", "4.0 ns"]
        );
        assert_eq!(
            [short(0.01), short(1.234), short(56.78), short(789.1), short(2.5e6)],
            ["0.010", "1.23", "56.8", "789", "2.50 M"]
        );
    }
}
