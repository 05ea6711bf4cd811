use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;

/// Characters of the longest identifier: more than 64 bits take in decimal.
const LEN_MAX: usize = 64;

/// The name of a backup: the microseconds since 1970 when its job began, or one more than the greatest
/// name before if the clock stood still or was set back.
///
/// Others than that are names, too, if they have 1 to 64 characters of `a-zA-Z0-9_-`: no name leads
/// out of the folder of backups.
///
/// # Source
///
/// [`GET /check-backup/{backupId}`](https://github.com/kadena-io/chainweb-openapi)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(String);

/// Text that is no [`BackupId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected 1 to {LEN_MAX} characters of a-z, A-Z, 0-9, _ and -")]
pub struct BackupIdError;

impl BackupId {
    /// That of a job that begins now: greater than `newest`, also where the clock was set back since,
    /// so that the newest backup is always the one that was made last.
    pub(super) fn after(newest: Option<u64>) -> Self {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let next = newest.and_then(|newest| newest.checked_add(1)).unwrap_or_default();
        Self(time.as_micros().max(next.into()).to_string())
    }

    /// As it stands in paths.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Microseconds since 1970, if it is one of ours.
    #[must_use]
    pub fn micros(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl FromStr for BackupId {
    type Err = BackupIdError;

    fn from_str(text: &str) -> Result<Self, BackupIdError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !text.is_empty() && text.len() <= LEN_MAX && text.bytes().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BackupIdError)
        }
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What became of the job of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The backup is whole, and on the disk.
    Done,
    /// It is being made.
    InProgress,
    /// It could not be made, or the process ended before it was.
    Failed,
}

impl Status {
    /// As it stands in the file `status` and in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "backup-done",
            Self::InProgress => "backup-in-progress",
            Self::Failed => "backup-failed",
        }
    }

    /// The one with this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Done, Self::InProgress, Self::Failed];
        all.into_iter().find(|status| status.name() == name.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        for good in ["1648665437000", "a-Z_9", "-", &"x".repeat(64)] {
            assert_eq!(good.parse::<BackupId>().unwrap().as_str(), good);
        }
        for bad in
            ["", ".", "..", "a/b", "../x", "a\\b", "a.b", "a\0", "é", " 1", "1\n", &"x".repeat(65)]
        {
            assert_eq!(bad.parse::<BackupId>(), Err(BackupIdError), "{bad:?}");
        }
    }

    #[test]
    fn an_identifier_is_the_time_in_microseconds() {
        let micros = BackupId::after(None).micros().unwrap();
        assert!((1_700_000_000_000_000..10_000_000_000_000_000).contains(&micros), "{micros}");
        assert!(BackupId::after(Some(micros)).micros().unwrap() > micros);
    }

    #[test]
    fn a_name_is_greater_than_those_before_it_whatever_the_clock_says() {
        let later = 10_000_000_000_000_000;
        assert_eq!(BackupId::after(Some(later)).micros(), Some(later + 1));
        assert!(BackupId::after(Some(u64::MAX)).micros().unwrap() < later);
    }

    #[test]
    fn a_status_has_a_name() {
        for status in [Status::Done, Status::InProgress, Status::Failed] {
            assert_eq!(Status::from_name(&format!("{}\n", status.name())), Some(status));
        }
        assert_eq!(Status::from_name(""), None);
    }
}
