//! Maps internal errors to the problems that clients get.

use conclave_replica::{ChangeError, ProposeError, ReadError, Refusal};
use conclave_storage::state as rows;
use conclave_wire::{Problem, Reason};

pub(crate) fn of_propose(error: &ProposeError) -> Problem {
    match error {
        ProposeError::Busy => Problem::Busy,
        ProposeError::NotLeader { .. } | ProposeError::NoLeader { .. } => Problem::NoLeader {
            nodes_reachable: None,
        },
        ProposeError::OutcomeUnknown { waited } => Problem::OutcomeUnknown {
            waited_ms: millis(*waited),
        },
        ProposeError::VersionTooLow { .. } => {
            Problem::refused(Reason::VersionTooLow, error.to_string())
        }
        // The command may have been proposed, and only its outcome is lost.
        ProposeError::Stopping => Problem::OutcomeUnknown { waited_ms: 0 },
    }
}

pub(crate) fn of_read(error: &ReadError) -> Problem {
    match error {
        ReadError::NoLeader { .. } | ReadError::NotLeader { .. } => Problem::NoLeader {
            nodes_reachable: None,
        },
        // The call only reads, so another node can be tried.
        ReadError::Behind { .. } => Problem::Behind,
        ReadError::Stopping => Problem::GoingAway,
    }
}

pub(crate) fn of_rows(error: &rows::ReadError) -> Problem {
    match error {
        rows::ReadError::Busy => Problem::Busy,
        // The node is stopping.
        rows::ReadError::Closed => Problem::GoingAway,
        error => {
            tracing::error!(%error, "the state cannot be read");
            Problem::Broken {
                sentence: "the state cannot be read".to_owned(),
            }
        }
    }
}

/// Returns the problem of a membership that is not possible.
pub(crate) fn of_refusal(refusal: Refusal) -> Problem {
    let reason = match refusal {
        Refusal::NoSuchNode(_) => Reason::NoSuchNode,
        Refusal::NumberTaken(_) | Refusal::NumberRetired(_) => Reason::NodeNumberTaken,
        Refusal::NumberTooFar { .. } => Reason::NodeNumberTooFar,
        Refusal::AddressTaken(_) => Reason::AddressTaken,
        Refusal::LastVoter(_) => Reason::LastVoter,
        Refusal::TooManyVoters => Reason::TooManyVoters,
        Refusal::TooManyMembers => Reason::TooManyMembers,
        Refusal::NoNumber => Reason::NodeNumberInvalid,
        Refusal::Witness(_) => Reason::NodeIsWitness,
        Refusal::TooFewFull { .. } => Reason::TooFewFullNodes,
    };
    Problem::refused(reason, refusal.to_string())
}

/// Returns the problem of a change of the membership that failed or whose outcome is unknown.
pub(crate) fn of_change(error: &ChangeError) -> Problem {
    match error {
        ChangeError::Refused(refusal) => of_refusal(*refusal),
        ChangeError::LearnerBehind { .. } => {
            Problem::refused(Reason::LearnerBehind, error.to_string())
        }
        ChangeError::NoAnswer { .. } => {
            Problem::refused(Reason::NodeUnreachable, error.to_string())
        }
        ChangeError::NotTakenOver { .. } => {
            Problem::refused(Reason::NotTakenOver, error.to_string())
        }
        ChangeError::Broken(sentence) => Problem::Broken {
            sentence: sentence.clone(),
        },
        ChangeError::NotLeader { .. } => Problem::NoLeader {
            nodes_reachable: None,
        },
        ChangeError::UnderWay => Problem::Busy,
        ChangeError::OutcomeUnknown { waited } => Problem::OutcomeUnknown {
            waited_ms: millis(*waited),
        },
        ChangeError::Stopping => Problem::GoingAway,
    }
}

/// Returns the duration in milliseconds.
pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_on_a_stopping_node_is_sent_to_another_node() {
        let of = |error| of_rows(&error);
        assert!(matches!(of(rows::ReadError::Closed), Problem::GoingAway));
        assert!(matches!(of(rows::ReadError::Busy), Problem::Busy));
    }

    #[test]
    fn a_lagging_node_does_not_report_that_it_stops() {
        let waited = std::time::Duration::from_secs(1);
        let behind = of_read(&ReadError::Behind { waited });
        assert_eq!(behind.reason(), Reason::Behind);
        assert_eq!(of_read(&ReadError::Stopping).reason(), Reason::GoingAway);
        assert_eq!(
            of_read(&ReadError::NoLeader { waited }).reason(),
            Reason::NoLeader
        );
    }
}
