//! The table `backup` of the settings: backups that the node makes by itself.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

/// Longest interval: a year.
const EVERY_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Maximum number of backups that are kept.
const KEEP_MAX: u32 = 10_000;

/// The table `backup` of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupConfig {
    /// Directory of the backups; made if it does not exist. If not given, the node makes none by
    /// itself.
    pub directory: Option<PathBuf>,
    /// Time between two backups: a number and a unit, `s`, `m`, `h` or `d`.
    pub every: String,
    /// Number of backups of this node that are kept; older ones are removed.
    pub keep: u32,
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            directory: None,
            every: "24h".to_owned(),
            keep: 7,
        }
    }
}

/// When and where a node makes backups by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackupSchedule {
    pub(crate) directory: PathBuf,
    pub(crate) every: Duration,
    /// Number of backups that are kept, at least 1.
    pub(crate) keep: usize,
}

impl BackupConfig {
    /// Returns the schedule; `None` if the node makes no backups by itself.
    ///
    /// # Errors
    /// Why the settings are none of a schedule.
    pub(crate) fn schedule(&self) -> Result<Option<BackupSchedule>, String> {
        let every = parse(&self.every).filter(|every| *every <= EVERY_MAX);
        let every = every.ok_or_else(|| {
            let given = &self.every;
            format!("`every` must read like 24h or 30m, from 1s to 366d, not `{given}`")
        })?;
        if !(1..=KEEP_MAX).contains(&self.keep) {
            return Err(format!("`keep` is 1 to {KEEP_MAX}"));
        }
        let keep = usize::try_from(self.keep).expect("it is small");
        let given = self.directory.clone();
        Ok(given.map(|directory| BackupSchedule {
            directory,
            every,
            keep,
        }))
    }
}

/// Parses a number and a unit; `None` for anything else, and for no time at all.
fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| is_plain)?;
    let every = Duration::from_secs(number.checked_mul(seconds)?);
    Some(every).filter(|every| !every.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_number_and_a_unit_within_bounds() {
        let every = |text: &str| {
            let config = BackupConfig {
                directory: Some("/b".into()),
                every: text.to_owned(),
                ..BackupConfig::default()
            };
            config
                .schedule()
                .map(|schedule| schedule.unwrap().every.as_secs())
        };
        for (text, seconds) in [("1s", 1), ("30m", 1800), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(every(text), Ok(seconds));
        }
        for text in [
            "",
            "h",
            "0s",
            "-1h",
            "+1h",
            "1.5h",
            "1w",
            "1 h",
            "367d",
            "99999999999999999d",
        ] {
            assert!(every(text).unwrap_err().contains("24h"), "{text}");
        }
    }

    #[test]
    fn without_a_directory_there_is_no_schedule() {
        assert_eq!(BackupConfig::default().schedule(), Ok(None));
        let none = BackupConfig {
            keep: 0,
            ..BackupConfig::default()
        };
        assert!(none.schedule().is_err());
    }
}
