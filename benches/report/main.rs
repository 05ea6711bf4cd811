//! What criterion and the other programs found → one page.
//!
//! ```text
//! report FOLDER NAME [COMMAND]   FOLDER/NAME.md and its plots; COMMAND is what made the results
//! ```
#![expect(clippy::expect_used, reason = "a report that cannot be written ends the run")]

mod found;
mod machine;
mod must;
mod page;
mod plot;

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

use found::Found;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [folder, name, command @ ..] = args.as_slice() else {
        eprintln!("usage: report FOLDER NAME [COMMAND]");
        return ExitCode::from(2);
    };
    let (folder, found) = (PathBuf::from(folder), Found::read());
    fs::create_dir_all(&folder).expect("a folder for the report");
    let plots = plot::plots(&found);
    for (plot, svg) in &plots {
        fs::write(folder.join(format!("{name}-{plot}.svg")), svg).expect("a plot is written");
    }
    let plots: Vec<String> =
        plots.into_iter().map(|(plot, _)| format!("{name}-{plot}.svg")).collect();
    let page = page::page(&found, name, command.first().map_or("", String::as_str), &plots);
    let file = folder.join(format!("{name}.md"));
    fs::write(&file, page).expect("the report is written");
    eprintln!("report: {}", file.display());
    ExitCode::SUCCESS
}
