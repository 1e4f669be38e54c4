//! The judgement: one list of findings per property.

use serde::Serialize;

use crate::{
    Findings, History, checks,
    index::{Index, Outcome},
};

/// What the record of a run proves. It [holds](Verdict::holds), or one of the lists says why not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Sends that were invoked.
    pub sent: u64,
    /// Sends that were acknowledged.
    pub acked: u64,
    /// Sends that were refused.
    pub refused: u64,
    /// Sends whose outcome no client knows.
    pub unknown: u64,
    /// Of those unknown, the ones that a client read later.
    pub unknown_seen: u64,
    /// Acknowledged, and missing where it was read completely.
    pub lost: Findings,
    /// Seen in more than one place.
    pub duplicated: Findings,
    /// In a place that contradicts an answer, another message, or the order of events.
    pub reordered: Findings,
    /// Seen although no client asked for it, or although it was refused.
    pub invented: Findings,
    /// Reported differently by two nodes.
    pub disagreements: Findings,
    /// Acknowledged in a conversation that no client read completely afterwards: nothing is proven.
    pub unread: Findings,
    /// The record contradicts itself: its writer is at fault, not the cluster.
    pub malformed: Findings,
}

/// Judges a run by its record, in time O(n log n) per node that was read.
pub fn judge(history: &History) -> Verdict {
    let mut malformed = Findings::default();
    let index = Index::of(history, &mut malformed);
    let mut verdict = Verdict {
        malformed,
        sent: index.sends.len() as u64,
        ..Verdict::default()
    };
    for send in &index.sends {
        match send.outcome {
            Outcome::Ok { .. } => verdict.acked += 1,
            Outcome::Fail => verdict.refused += 1,
            Outcome::Unknown => {
                verdict.unknown += 1;
                verdict.unknown_seen += u64::from(!index.sightings_of(send.message).is_empty());
            }
        }
    }
    checks::lost(&index, &mut verdict.lost, &mut verdict.unread);
    checks::duplicated(&index, &mut verdict.duplicated);
    checks::reordered(&index, &mut verdict.reordered);
    checks::invented(&index, &mut verdict.invented);
    checks::agreement(&index, &mut verdict.disagreements);
    verdict
}

impl Verdict {
    /// Returns whether every property holds, and the record suffices to say so.
    pub fn holds(&self) -> bool {
        self.properties()
            .iter()
            .all(|(_, findings)| findings.count == 0)
    }

    /// Returns the properties by name, in the order in which people ask for them.
    pub fn properties(&self) -> [(&'static str, &Findings); 7] {
        [
            ("lost", &self.lost),
            ("duplicated", &self.duplicated),
            ("reordered", &self.reordered),
            ("invented", &self.invented),
            ("disagreements", &self.disagreements),
            ("unread", &self.unread),
            ("malformed", &self.malformed),
        ]
    }
}
