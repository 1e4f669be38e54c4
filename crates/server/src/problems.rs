//! What went wrong inside, as the problem that a client is told.

use conclave_replica::{ProposeError, ReadError, rows};
use conclave_wire::Problem;

pub(crate) fn of_propose(error: &ProposeError) -> Problem {
    match error {
        ProposeError::Busy => Problem::Busy,
        ProposeError::NotLeader { .. } | ProposeError::NoLeader { .. } => Problem::NoLeader {
            nodes_reachable: None,
        },
        ProposeError::OutcomeUnknown { waited } => Problem::OutcomeUnknown {
            waited_ms: millis(*waited),
        },
        // The command may have been proposed, and only its answer is lost.
        ProposeError::Stopping => Problem::OutcomeUnknown { waited_ms: 0 },
    }
}

pub(crate) fn of_read(error: &ReadError) -> Problem {
    match error {
        ReadError::NoLeader { .. } | ReadError::NotLeader { .. } => Problem::NoLeader {
            nodes_reachable: None,
        },
        // Nothing was asked for but to read: trying elsewhere is the way.
        ReadError::Behind { .. } | ReadError::Stopping => Problem::GoingAway,
    }
}

pub(crate) fn of_rows(error: &rows::ReadError) -> Problem {
    match error {
        rows::ReadError::Busy => Problem::Busy,
        error => {
            tracing::error!(%error, "the state cannot be read");
            Problem::Broken {
                sentence: "the state cannot be read".to_owned(),
            }
        }
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
