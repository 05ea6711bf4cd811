use std::ffi::{OsStr, OsString};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use super::row::Row;
use super::rows::all_rows;
use super::{Settings, field::Field};

/// The flags of every command.
const OF_LOG: [&str; 2] = ["log", "log-format"];

/// What was given of the flags of a server, or of variables in their place.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Flags(Given);

/// What was given of the flags that say how to follow nodes.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct FollowFlags(Given);

/// What was given of the flags that say how to log.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct LogFlags(Given);

/// Flags by name with their values, which are checked.
type Given = Vec<(&'static str, OsString)>;

impl Flags {
    /// Puts what was given into `settings`.
    pub(super) fn apply(&self, settings: &mut Settings) {
        apply(&self.0, settings);
    }
}

impl FollowFlags {
    /// Puts what was given into `settings`.
    pub(in super::super) fn apply(&self, settings: &mut Settings) {
        apply(&self.0, settings);
    }
}

impl LogFlags {
    /// Puts what was given into `settings`.
    pub(in super::super) fn apply(&self, settings: &mut Settings) {
        apply(&self.0, settings);
    }
}

/// Whose flags they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// A server's.
    Server,
    /// What of those says how to follow nodes, and into which database.
    Follow,
    /// All commands'.
    Log,
}

impl Of {
    fn has(self, flag: &str, row: &Row) -> bool {
        let is_of_log = OF_LOG.contains(&flag);
        match self {
            Self::Server => !is_of_log,
            Self::Follow => {
                let is_of_follow = row.key.is_some_and(|key| key.starts_with("follow."));
                flag == "db" || is_of_follow && !matches!(flag, "follow" | "follow-ready-lag")
            }
            Self::Log => is_of_log,
        }
    }
}

/// The rows with flags.
fn rows(of: Of) -> impl Iterator<Item = (&'static str, &'static Row)> {
    let with_flag = all_rows().filter_map(|row| Some((row.flag?, row)));
    with_flag.filter(move |(flag, row)| of.has(flag, row))
}

fn apply(given: &Given, settings: &mut Settings) {
    for (flag, value) in given {
        for row in all_rows().filter(|row| row.flag == Some(flag)) {
            // It was checked where it was parsed, and has no host name any more.
            let _ = row.set(settings, value);
        }
    }
}

fn augment(command: Command, of: Of) -> Command {
    let command = rows(of).fold(command, |command, (flag, row)| command.arg(arg(flag, row)));
    match of {
        // For a server, unlike here, the database is optional.
        Of::Follow => command
            .mut_arg("db", |arg| arg.help("Folder of the database; created if there is none")),
        Of::Server | Of::Log => command,
    }
}

fn arg(flag: &'static str, row: &'static Row) -> Arg {
    let default = row.default().map(|default| format!(" [default: {default}]"));
    let range = row.range().map(|range| format!(" [{range}]"));
    let about = row.about.trim_end_matches('.');
    let mut settings = Settings::default();
    let field = (row.field)(&mut settings);
    let arg = Arg::new(flag)
        .long(flag)
        .value_name(field.unit())
        .value_parser(OsStringValueParser::new().try_map(|value| row.checked(value)))
        .help(format!("{about}{}{}", range.unwrap_or_default(), default.unwrap_or_default()))
        .global(OF_LOG.contains(&flag));
    let arg = match row.variable() {
        Some(variable) => arg.env(variable),
        None => arg,
    };
    let is_limit = row.key.is_some_and(|key| key.starts_with("limits."));
    let is_of_follow = row.key.is_some_and(|key| key.starts_with("follow."));
    let is_of_ingest = row.key.is_some_and(|key| key.starts_with("ingest."));
    let arg = match (is_limit, is_of_follow, is_of_ingest) {
        (true, ..) => arg.help_heading("Limits"),
        (_, true, _) => arg.help_heading("Following other nodes"),
        (_, _, true) => arg.help_heading("Pushing blocks"),
        _ => arg,
    };
    match field {
        // May be given several times.
        Field::Upstreams(_) | Field::Peers(_) => arg.action(ArgAction::Append),
        Field::Switch(_) => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => arg,
    }
}

fn given(matches: &ArgMatches, of: Of) -> Given {
    let value = |flag| {
        let values = matches.try_get_many::<OsString>(flag).ok().flatten()?;
        Some(values.map(OsString::as_os_str).collect::<Vec<_>>().join(OsStr::new(",")))
    };
    rows(of).filter_map(|(flag, _)| Some((flag, value(flag)?))).collect()
}

/// As `derive(Args)` makes it, from the table.
macro_rules! args {
    ($name:ident, $of:expr) => {
        impl FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
                Ok(Self(given(matches, $of)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
                self.0.extend(given(matches, $of));
                Ok(())
            }
        }

        impl Args for $name {
            fn augment_args(command: Command) -> Command {
                augment(command, $of)
            }

            fn augment_args_for_update(command: Command) -> Command {
                augment(command, $of)
            }
        }
    };
}

args!(Flags, Of::Server);
args!(FollowFlags, Of::Follow);
args!(LogFlags, Of::Log);

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Both {
        #[command(flatten)]
        flags: Flags,
        #[command(flatten)]
        log: LogFlags,
    }

    fn settings(args: &[&str]) -> Result<Settings, String> {
        let args = ["serve"].iter().chain(args);
        let both = Both::try_parse_from(args).map_err(|error| error.to_string())?;
        Settings::resolve(None, &both.flags, &both.log).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_left_out_leave_the_defaults() {
        assert_eq!(settings(&[]).unwrap(), Settings::default());
    }

    #[test]
    fn flags_are_read_into_the_place_of_their_row() {
        let settings = settings(&["--listen", "[::1]:7", "--stall-time", "0.5", "--log", "debug"]);
        let settings = settings.unwrap();
        assert_eq!(settings.listen.to_string(), "[::1]:7");
        assert_eq!(settings.config.stall_time.as_millis(), 500);
        assert_eq!(settings.log, "debug");
    }

    #[test]
    fn nodes_may_be_given_one_by_one_or_together() {
        for args in [
            &["--follow", "http://a", "--follow", "https://b:1/c/"][..],
            &["--follow", "http://a,https://b:1/c"],
        ] {
            let upstreams = settings(args).unwrap().follow.upstreams;
            let names: Vec<String> = upstreams.iter().map(ToString::to_string).collect();
            assert_eq!(names, ["http://a", "https://b:1/c"], "{args:?}");
        }
    }

    #[test]
    fn switch_may_stand_alone_or_have_a_value() {
        for (arg, expected) in
            [("--backup-api", true), ("--backup-api=true", true), ("--backup-api=false", false)]
        {
            assert_eq!(settings(&[arg]).unwrap().config.backup.api, expected, "{arg}");
        }
        assert!(settings(&["--backup-api=perhaps"]).unwrap_err().contains("true, false"));
    }

    #[test]
    fn wrong_value_is_answered_with_what_is_expected() {
        for (args, expected) in [
            (["--max-connections", "0"], "expected a whole number from 1 to 1000000"),
            (["--max-connections", "2305843009213693952"], "from 1 to 1000000"),
            (["--max-head-bytes", "1"], "from 8192 to 16777215"),
            (["--head-time", "0"], "expected seconds from 0.001 to 31536000"),
            (["--metrics", "1849"], "as in 127.0.0.1:1848"),
            (["--db", ""], "expected a folder"),
            (["--ingest", "push"], "absolute path of a socket"),
            (["--follow", "node:1848"], "as in http://127.0.0.1:1848"),
            (["--log-requests", "some"], "none, errors, all"),
        ] {
            let error = settings(&args).unwrap_err();
            assert!(error.contains(expected) && error.contains(args[0]), "{error}");
        }
    }
}
