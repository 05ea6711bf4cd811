//! Progress on a terminal: a pseudo-terminal with a few columns, and a screen with what a user
//! sees.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tempfile::TempDir;
use testkit::process::{plait, run};
use testkit::server::utf8;

/// What a command has shown on a terminal.
struct Shown {
    status: Option<i32>,
    /// The screen at the end, without empty lines.
    screen: Vec<String>,
    /// Every line as it was when the cursor left it or it was overwritten.
    lines: Vec<String>,
}

/// A terminal: letters, `\r`, `\n`, and the sequences that move up and erase the line. Lines wrap.
struct Screen {
    columns: usize,
    rows: Vec<Vec<char>>,
    at: (usize, usize),
    lines: Vec<String>,
}

impl Screen {
    fn new(columns: usize) -> Self {
        Self { columns, rows: vec![Vec::new()], at: (0, 0), lines: Vec::new() }
    }

    fn take(&mut self, text: &str) {
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\r' => {
                    self.note();
                    self.at.1 = 0;
                }
                '\n' => {
                    self.note();
                    self.down();
                }
                '\u{1b}' => {
                    assert_eq!(letters.next(), Some('['), "an unknown sequence");
                    let mut number = String::new();
                    while let Some(part) = letters.next_if(|part| !part.is_ascii_alphabetic()) {
                        number.push(part);
                    }
                    let count = number.parse().unwrap_or(1);
                    match letters.next() {
                        Some('A') => self.at.0 = self.at.0.saturating_sub(count),
                        Some('B') => self.at.0 += count,
                        Some('K') => {
                            self.note();
                            self.rows[self.at.0].clear();
                        }
                        Some('J') => self.rows.truncate(self.at.0 + 1),
                        Some('m' | 'h' | 'l') => {}
                        other => panic!("unknown sequence {number}{other:?}"),
                    }
                }
                letter => self.put(letter),
            }
        }
    }

    fn put(&mut self, letter: char) {
        if self.at.1 == self.columns {
            self.at.1 = 0;
            self.down();
        }
        let row = &mut self.rows[self.at.0];
        row.resize(row.len().max(self.at.1 + 1), ' ');
        row[self.at.1] = letter;
        self.at.1 += 1;
    }

    fn down(&mut self) {
        self.at.0 += 1;
        if self.at.0 == self.rows.len() {
            self.rows.push(Vec::new());
        }
    }

    fn note(&mut self) {
        let line: String = self.rows[self.at.0].iter().collect();
        if !line.trim().is_empty() {
            self.lines.push(line.trim_end().to_owned());
        }
    }

    fn text(&self) -> Vec<String> {
        let lines = self.rows.iter().map(|row| row.iter().collect::<String>());
        lines.map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
    }
}

/// Runs the command with its standard error on a terminal of `columns`.
fn shown(args: &[&str], columns: u16) -> Shown {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).unwrap();
    let end: OwnedFd = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let mut command = plait(args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(end);
    let mut child = command.spawn().unwrap();
    // The command also holds the other end of the terminal.
    drop(command);
    let reader = thread::spawn(move || {
        let (mut file, mut bytes, mut piece) = (File::from(terminal), Vec::new(), [0; 4096]);
        // An error once the other end is closed.
        while let Ok(count @ 1..) = file.read(&mut piece) {
            bytes.extend_from_slice(&piece[..count]);
        }
        bytes
    });
    let status = child.wait().unwrap().code();
    let text = String::from_utf8(reader.join().unwrap()).unwrap();
    let mut screen = Screen::new(columns.into());
    screen.take(&text);
    Shown { status, screen: screen.text(), lines: screen.lines }
}

/// A dump of development, written in this order.
fn dump(dir: &Path, order: &str, heights: &str) -> String {
    let file = dir.join(order);
    let fixed = ["generate", "--network", "development", "--order", order];
    let made = run([&fixed[..], &["--heights", heights, "--out", utf8(&file)]].concat());
    assert_eq!(made.status, Some(0), "{}", made.err);
    utf8(&file).to_owned()
}

fn is_progress(line: &str) -> bool {
    ["replaying", "held-back", "sorting hash", "verifying", "checking", "exporting", "generating"]
        .iter()
        .any(|phase| line.contains(phase))
        && !line.contains("INFO")
        && !line.contains("DEBUG")
}

/// Checks that no progress is left on the screen, and that every line of it fitted. Returns the
/// lines of the progress.
fn progress(shown: &Shown, columns: usize) -> Vec<String> {
    assert_eq!(shown.status, Some(0), "{:?}", shown.screen);
    for line in &shown.screen {
        assert!(!line.contains(['█', '░']) && !is_progress(line), "left over: {:#?}", shown.screen);
    }
    let lines: Vec<String> = shown.lines.iter().filter(|line| is_progress(line)).cloned().collect();
    for line in &lines {
        assert!(line.chars().count() <= columns, "{line}");
    }
    lines
}

#[test]
fn progress_is_one_line_that_fits_and_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let (by_height, by_chain) =
        (dump(dir.path(), "height", "2000"), dump(dir.path(), "chain", "500"));
    for columns in [80, 40] {
        let folder = TempDir::new().unwrap();
        let (db, other) = (folder.path().join("db"), folder.path().join("other"));
        let (db, other) = (utf8(&db), utf8(&other));
        let run = |args: &[&str]| shown(args, columns);
        let columns = usize::from(columns);

        let replay = run(&["--log", "info", "replay", "--db", db, &by_height]);
        let lines = progress(&replay, columns);
        assert!(
            lines.iter().any(|line| line.contains('█') && line.contains("100% ETA")),
            "{lines:#?}"
        );
        assert!(replay.screen.iter().any(|line| line.starts_with("stored 40000,")));

        let replay = run(&["replay", "--db", other, &by_chain]);
        let lines = progress(&replay, columns);
        let held = lines.iter().filter(|line| line.contains("held-back blocks")).count();
        assert!(held > 0, "{lines:#?}");
        if columns == 80 {
            let told = |line: &String| line.contains(" held back for parents");
            assert!(lines.iter().any(told), "{lines:#?}");
        }

        let archive = folder.path().join("archive");
        for args in [
            &["verify", "--db", db][..],
            &["export", "--db", db, "--out", utf8(&archive)],
            &["verify", utf8(&archive)],
        ] {
            let shown = run(args);
            let lines = progress(&shown, columns);
            assert!(lines.iter().all(|line| line.contains("% ETA")), "{args:?}: {lines:#?}");
        }
        let verified = progress(&run(&["verify", "--db", db]), columns);
        assert!(verified.iter().any(|line| line.contains("█ 100% ETA")), "{verified:#?}");
        if columns == 80 {
            assert!(
                verified.iter().any(|line| line.contains("40,020 of 40,020 headers")),
                "{verified:#?}"
            );
        }
    }
}

#[test]
fn progress_of_a_restore_has_a_total_and_lines_of_the_log_stay_whole() {
    let dir = TempDir::new().unwrap();
    let (db, to) = (dir.path().join("db"), dir.path().join("to"));
    let file = dump(dir.path(), "height", "2000");
    assert_eq!(run(["replay", "--db", utf8(&db), &file]).status, Some(0));
    assert_eq!(run(["backup", "make", "--db", utf8(&db)]).status, Some(0));
    let restore = shown(&["restore", "latest", "--db", utf8(&db), "--to", utf8(&to)], 80);
    let lines = progress(&restore, 80);
    assert!(lines.iter().any(|line| line.contains("verifying") && line.contains("% ETA")));
    let other = dir.path().join("other");
    let replay = shown(&["--log", "debug", "replay", "--db", utf8(&other), &file], 80);
    progress(&replay, 80);
    let logged: Vec<_> = replay.screen.iter().filter(|line| line.contains(" DEBUG ")).collect();
    assert!(!logged.is_empty(), "{:#?}", replay.screen);
    for line in logged {
        assert!(line.starts_with("20"), "a line of the log that does not begin one: {line}");
    }
}
