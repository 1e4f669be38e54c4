//! The result of a demonstration: as JSON for programs, as a sentence and a page for people.

use std::fmt;

use conclave_history::Verdict;
use serde::Serialize;

use super::{
    proof::Proof,
    pulse::{Beat, Pause},
    story::Entry,
};

/// Result of a demonstration.
#[derive(Debug, Serialize)]
pub struct Report {
    pub(super) sent: u64,
    pub(super) acked: u64,
    pub(super) unknown: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    pub(super) invented: u64,
    pub(super) failovers: Vec<Failover>,
    pub(super) nodes: u64,
    pub(super) digests_equal: bool,
    pub(super) seconds: u64,
    #[serde(skip)]
    pub(super) verdict: Verdict,
    #[serde(skip)]
    pub(super) course: Course,
}

/// What happened over the time, for the page.
#[derive(Debug, Default)]
pub(super) struct Course {
    pub(super) lasted_ms: u64,
    /// Number of the first beat.
    pub(super) first: u64,
    pub(super) beats: Vec<Beat>,
    pub(super) pauses: Vec<Pause>,
    pub(super) story: Vec<Entry>,
}

/// One killed node.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failover {
    pub(super) killed: u64,
    pub(super) leader_before: u64,
    pub(super) stall_ms: u64,
}

/// Maximum number of findings of one kind that are shown.
const FINDINGS_SHOWN: usize = 5;

impl Report {
    pub(super) fn of(
        proof: Proof,
        failovers: Vec<Failover>,
        nodes: u64,
        seconds: u64,
        course: Course,
    ) -> Self {
        let verdict = proof.verdict;
        Self {
            sent: verdict.sent,
            acked: verdict.acked,
            unknown: verdict.unknown,
            lost: verdict.lost.count,
            duplicated: verdict.duplicated.count,
            reordered: verdict.reordered.count,
            invented: verdict.invented.count,
            failovers,
            nodes,
            digests_equal: proof.digests_equal,
            seconds,
            verdict,
            course,
        }
    }

    /// Returns whether the promises held, and at least one message was acknowledged.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdict.holds() && self.digests_equal && self.acked > 0
    }

    /// Returns what contradicts the promises: a sentence for each of the first findings.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        let properties = self.verdict.properties().into_iter();
        let shown = properties.flat_map(|(property, findings)| {
            let first = findings.first.iter().take(FINDINGS_SHOWN);
            first.map(move |finding| format!("{property}: {finding}"))
        });
        shown.collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "sent {}, acknowledged {}, lost {}, duplicated {}, out of order {}",
            self.sent, self.acked, self.lost, self.duplicated, self.reordered
        )?;
        let stalls = self.failovers.iter().map(|failover| failover.stall_ms);
        match stalls.max() {
            Some(ms) => write!(formatter, "\nlongest pause after a killed leader: {ms} ms"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::demo) fn report() -> Report {
        Report {
            sent: 7,
            acked: 6,
            unknown: 1,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            invented: 0,
            failovers: vec![Failover {
                killed: 3,
                leader_before: 3,
                stall_ms: 742,
            }],
            nodes: 5,
            digests_equal: true,
            seconds: 20,
            verdict: Verdict::default(),
            course: Course::default(),
        }
    }

    #[test]
    fn the_closing_sentence_has_the_figures() {
        assert_eq!(
            report().to_string(),
            "sent 7, acknowledged 6, lost 0, duplicated 0, out of order 0\n\
             longest pause after a killed leader: 742 ms"
        );
    }

    #[test]
    fn the_json_has_the_keys_that_scripts_read() {
        let value = serde_json::to_value(report()).unwrap();
        for key in [
            "sent",
            "acked",
            "unknown",
            "lost",
            "duplicated",
            "reordered",
            "nodes",
            "seconds",
        ] {
            assert!(value[key].is_u64(), "{key}");
        }
        assert_eq!(value["failovers"][0]["stall_ms"], 742);
        assert_eq!(value["digests_equal"], true);
    }
}
