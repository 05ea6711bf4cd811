//! Bars as SVG.

use std::fmt::Write;

use crate::found::Found;
use crate::page::{short, time};

const WIDTH: f64 = 860.0;
const LABEL: f64 = 300.0;
const VALUE: f64 = 90.0;
const ROW: f64 = 22.0;
const TOP: f64 = 44.0;

/// A bar: what it is, how long, what stands behind it, and whether it is a peer's.
struct Bar {
    label: String,
    value: f64,
    text: String,
    is_peer: bool,
}

/// The plots, by name.
pub(crate) fn plots(found: &Found) -> Vec<(&'static str, String)> {
    let mut pages = Vec::new();
    for bench in &found.benches {
        let Some(label) = bench.name.strip_prefix("branch/page_360/") else { continue };
        let (label, is_peer) = (label.to_owned(), label.contains('/'));
        pages.push(Bar { label, value: bench.seconds * 1e6, text: time(bench.seconds), is_peer });
    }
    let mut http = Vec::new();
    for row in found.rows_of("http/") {
        let Some(ratio) = row.ratio.filter(|_| !row.name.contains("latency")) else { continue };
        let text = format!("{} of nginx", short(ratio));
        http.push(Bar { label: row.name.clone(), value: ratio, text, is_peer: false });
    }
    let mut open = Vec::new();
    for row in found.rows_of("open/") {
        let Some(value) = row.value else { continue };
        let label = row.name.trim_start_matches("open/").to_owned();
        open.push(Bar { label, value, text: time(value), is_peer: false });
    }
    let all = [
        ("branch", "A branch page of 360 headers, logarithmic; peers are grey", pages, true),
        ("http", "Over HTTP, next to nginx with a file of the same bytes", http, false),
        ("open", "Opening a database that is not in memory", open, false),
    ];
    let all = all.into_iter().filter(|(_, _, bars, _)| !bars.is_empty());
    all.map(|(name, title, bars, is_log)| (name, svg(title, &bars, is_log))).collect()
}

fn svg(title: &str, bars: &[Bar], is_log: bool) -> String {
    #[expect(clippy::cast_precision_loss, reason = "there are few bars")]
    let height = TOP + ROW * bars.len() as f64 + 12.0;
    let scale = |value: f64| if is_log { value.max(1.0).log10() + 0.1 } else { value };
    let most = bars.iter().map(|bar| scale(bar.value)).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"12\" y=\"26\" font-size=\"15\" font-weight=\"bold\">{title}</text>\n"
    );
    let mut y = TOP;
    for bar in bars {
        let length = (WIDTH - LABEL - VALUE - 24.0) * scale(bar.value) / most;
        let fill = if bar.is_peer { "#b8bcc4" } else { "#2f6db5" };
        let (text_y, label_x, value_x) = (y + 14.0, LABEL - 8.0, LABEL + length + 6.0);
        let _ = writeln!(
            svg,
            "<text x=\"{label_x}\" y=\"{text_y}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABEL}\" y=\"{y}\" width=\"{length:.1}\" height=\"16\" fill=\"{fill}\"/>\
             <text x=\"{value_x:.1}\" y=\"{text_y}\">{}</text>",
            bar.label, bar.text
        );
        y += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}
