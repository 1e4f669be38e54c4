//! What an examination found, in the forms in which it is shown.
//!
//! Always true: every check that was made has at least one finding, so that silence is never taken
//! for health; each finding that is not well says what to do.

use serde_json::{Value, json};

use crate::output;

/// How bad a finding is. The order is that of Nagios without its codes: worse is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// All is well.
    Well,
    /// The check could not be made.
    Unknown,
    /// Something needs attention soon.
    Warning,
    /// The cluster does not serve, or the next failure stops it.
    Critical,
}

impl Level {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// Returns the exit code of this level: those of Nagios plugins.
    pub(super) fn exit(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }
}

/// The result of one check for one node, the cluster or this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Name of the check, the same in every version.
    pub(super) check: &'static str,
    pub(super) level: Level,
    /// What it is about: `cluster`, `node 3` or `this machine`.
    pub(super) subject: String,
    pub(super) sentence: String,
    /// What to do; empty if all is well.
    pub(super) hint: String,
}

/// Findings in the order of their checks.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn well(&mut self, check: &'static str, subject: &str, sentence: impl Into<String>) {
        self.add(check, Level::Well, subject, sentence, "");
    }

    pub(super) fn add(
        &mut self,
        check: &'static str,
        level: Level,
        subject: &str,
        sentence: impl Into<String>,
        hint: &str,
    ) {
        self.0.push(Finding {
            check,
            level,
            subject: subject.to_owned(),
            sentence: sentence.into(),
            hint: hint.to_owned(),
        });
    }

    /// Returns the worst level.
    pub(super) fn worst(&self) -> Level {
        let levels = self.0.iter().map(|finding| finding.level);
        levels.max().unwrap_or(Level::Unknown)
    }

    fn count(&self, level: Level) -> usize {
        let findings = self.0.iter();
        findings.filter(|finding| finding.level == level).count()
    }

    /// Returns the lines for people: one for each finding, and below each one that is not well what
    /// to do.
    pub(super) fn lines(&self) -> Vec<String> {
        let row = |finding: &Finding| {
            vec![
                finding.level.word().to_owned(),
                finding.check.to_owned(),
                finding.subject.clone(),
                finding.sentence.clone(),
                finding.hint.clone(),
            ]
        };
        let header = ["result", "check", "subject", "finding", "hint"];
        output::table_lines(&header, &self.0.iter().map(row).collect::<Vec<_>>())
    }

    /// Returns one sentence over all findings.
    pub(super) fn summary(&self) -> String {
        let count = |level, one: &str, many: &str| match self.count(level) {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let parts = [
            count(Level::Critical, "critical finding", "critical findings"),
            count(Level::Warning, "warning", "warnings"),
            count(Level::Unknown, "unknown", "unknown"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        match parts.is_empty() {
            true => format!("all {} checks are well", self.0.len()),
            false => parts.join(", "),
        }
    }

    pub(super) fn json(&self) -> Value {
        let one = |finding: &Finding| {
            json!({
                "check": finding.check,
                "level": finding.level.word(),
                "subject": finding.subject,
                "finding": finding.sentence,
                "hint": finding.hint,
            })
        };
        json!({
            "level": self.worst().word(),
            "summary": self.summary(),
            "findings": self.0.iter().map(one).collect::<Vec<_>>(),
        })
    }

    /// Returns the lines of a Nagios plugin: the first has the level and the worst finding, the
    /// others the rest of what is not well.
    pub(super) fn nagios(&self) -> Vec<String> {
        let worst = self.worst();
        let mut bad: Vec<&Finding> = self.0.iter().collect();
        bad.retain(|finding| finding.level != Level::Well);
        bad.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        // What follows a bar would be read as figures.
        let told = |finding: &&Finding| {
            let text = format!("{}: {}", finding.subject, finding.sentence);
            output::clean(&text).replace('|', "/")
        };
        let word = worst.word().to_uppercase();
        let first = match bad.first() {
            None => format!("CONCLAVE {word} - {}", self.summary()),
            Some(finding) => format!("CONCLAVE {word} - {}; {}", self.summary(), told(finding)),
        };
        let rest = bad.iter().skip(1).map(told);
        std::iter::once(first).chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides_and_nothing_at_all_is_unknown() {
        let mut findings = Findings::default();
        assert_eq!(findings.worst(), Level::Unknown);
        findings.well("quorum", "cluster", "5/5 up");
        assert_eq!(
            (findings.worst(), findings.worst().exit()),
            (Level::Well, 0)
        );
        findings.add("disk", Level::Unknown, "node 1", "not told", "log in");
        assert_eq!(findings.worst().exit(), 3);
        findings.add("clock", Level::Warning, "node 2", "3 s ahead", "set it");
        assert_eq!(findings.worst().exit(), 1);
        findings.add("disk", Level::Critical, "node 3", "full", "make room");
        assert_eq!(findings.worst().exit(), 2);
        assert_eq!(
            findings.summary(),
            "1 critical finding, 1 warning, 1 unknown"
        );
    }

    #[test]
    fn a_monitor_reads_the_worst_finding_in_the_first_line() {
        let mut findings = Findings::default();
        findings.well("quorum", "cluster", "5/5 up");
        let well = "CONCLAVE OK - all 1 checks are well";
        assert_eq!(findings.nagios(), [well]);
        findings.add("clock", Level::Warning, "node 2", "3 s ahead", "set it");
        findings.add("disk", Level::Critical, "node 3", "9 MiB | left", "");
        let lines = findings.nagios();
        assert_eq!(
            lines[0],
            "CONCLAVE CRITICAL - 1 critical finding, 1 warning; node 3: 9 MiB / left"
        );
        assert_eq!(lines[1..], ["node 2: 3 s ahead"]);
    }
}
