//! What a check found: one bounded list per property.
//!
//! Lists are bounded, counts are not: of a run in which everything is wrong the first
//! [`FINDINGS_MAX`] findings of each kind are enough to see why.

use std::fmt;

use serde::Serialize;

/// Findings that are kept per property.
pub const FINDINGS_MAX: usize = 100;

/// One thing that ought not to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The conversation concerned; empty if it is none in particular.
    pub conversation: String,
    /// What is wrong, in a sentence.
    pub says: String,
}

/// What one check found: the first few, and how many in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Number of findings.
    pub count: u64,
    /// The first [`FINDINGS_MAX`] of them.
    pub first: Vec<Finding>,
}

impl Findings {
    /// Counts a finding; its sentence is made only if there is room for it.
    pub(crate) fn add(&mut self, conversation: &str, says: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < FINDINGS_MAX {
            self.first.push(Finding {
                conversation: conversation.to_owned(),
                says: says(),
            });
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.conversation.is_empty() {
            write!(f, "{}", self.says)
        } else {
            write!(f, "{}: {}", self.conversation, self.says)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_findings_are_kept_and_all_are_counted() {
        let mut findings = Findings::default();
        for number in 0..FINDINGS_MAX + 7 {
            findings.add("alice/bob", || number.to_string());
        }
        assert_eq!(findings.count, FINDINGS_MAX as u64 + 7);
        assert_eq!(findings.first.len(), FINDINGS_MAX);
        assert_eq!(findings.first[0].to_string(), "alice/bob: 0");
    }
}
