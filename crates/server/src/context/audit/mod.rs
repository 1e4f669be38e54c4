//! Notes for the audit log of what operators, and nodes by themselves, do outside the log.
//!
//! It decides nothing and begins no task. Services and the tasks of the cluster use it after an
//! act.
//!
//! Always true: a note that the log does not take in time is a line in the node's own log, and the
//! act stands.

use std::time::Duration;

use conclave_core::{ActNote, AuditAct, AuditText, ClusterVersion, NodeId, OnceId};
use conclave_wire::{Problem, Reason, request};

use crate::{
    auth::credential::Credential,
    base::{deadline::Deadline, random},
    context::node_context::NodeContext,
};

/// How long an act waits for the log to take its note: longer than an election. A cluster without a
/// majority takes none.
const NOTE_LIMIT: Duration = Duration::from_secs(2);

/// What an operator or a node has done outside the log, or was refused.
pub(crate) struct ToNote<'a> {
    pub(crate) act: AuditAct,
    pub(crate) target: &'a str,
    pub(crate) detail: &'a str,
    /// Why it was not done, or not certainly.
    pub(crate) problem: Option<&'a Problem>,
}

impl ToNote<'_> {
    /// Returns the reason that the note gives, empty if the act was carried out; `None` if nothing
    /// is noted: the caller asks again for the same.
    fn refusal(&self) -> Option<&'static str> {
        let Some(problem) = self.problem else {
            return Some("");
        };
        let is_final = matches!(
            problem,
            Problem::Refused { .. } | Problem::OutcomeUnknown { .. }
        );
        let reason = problem.reason();
        // The caller waits for the learner.
        (is_final && reason != Reason::LearnerBehind).then(|| reason.name())
    }
}

impl NodeContext {
    /// Notes an act of an operator for the audit log, as well as that is possible: after at most
    /// [`NOTE_LIMIT`] the act goes on without.
    pub(crate) async fn note_act(&self, by: &Credential, act: ToNote<'_>) {
        self.note(by, act).await;
    }

    /// Notes in the same way what this node has done by itself; returns whether the log has it. The
    /// leader takes no such note from a node that it does not trust.
    pub(crate) async fn note_own_act(&self, act: ToNote<'_>) -> bool {
        self.only_where_trusted().is_ok() && self.note(&Credential::Nothing, act).await
    }

    async fn note(&self, by: &Credential, act: ToNote<'_>) -> bool {
        let Some(refusal) = act.refusal() else {
            return false;
        };
        if self.replica.cluster_version() < ClusterVersion::AUDIT {
            return false;
        }
        let note = ActNote {
            node: NodeId(self.identity.node),
            act: AuditText::cut(act.act.word()),
            target: AuditText::cut(act.target),
            detail: AuditText::cut(act.detail),
            refusal: AuditText::cut(refusal),
        };
        let noted = async {
            let _under_way = self.commands.try_acquire().map_err(|_| Problem::Busy)?;
            let command = request::note_act(OnceId(random::bytes()?), by.operator(), note);
            // On a node without a vote, too: the leader checks the credential itself.
            let (commands, deadline) = ([command], Deadline::after(NOTE_LIMIT));
            self.propose_all_proven(&commands, by, deadline).await
        };
        let noted = noted.await;
        if let Err(problem) = &noted {
            let (word, target) = (act.act.word(), act.target);
            tracing::warn!(act = word, target, refusal, %problem, "failed to note an act");
        }
        noted.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_that_is_tried_again_is_not_noted() {
        let refusal = |problem: Option<&Problem>| {
            let act = ToNote {
                act: AuditAct::ChangeMembers,
                target: "",
                detail: "",
                problem,
            };
            act.refusal()
        };
        assert_eq!(refusal(None), Some(""));
        let lost = Problem::refused(Reason::WouldLoseQuorum, "too few");
        assert_eq!(refusal(Some(&lost)), Some("WOULD_LOSE_QUORUM"));
        let unknown = Problem::OutcomeUnknown { waited_ms: 1 };
        assert_eq!(refusal(Some(&unknown)), Some("OUTCOME_UNKNOWN"));
        let behind = Problem::refused(Reason::LearnerBehind, "it lacks entries");
        assert_eq!(refusal(Some(&behind)), None);
        assert_eq!(refusal(Some(&Problem::Busy)), None);
    }
}
