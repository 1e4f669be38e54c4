//! What is kept, and forgetting all that is due.

#![allow(dead_code, reason = "each test binary uses a part")]

use conclave_core::{
    ClusterOperation, ClusterVersion, NodeId, Operation, OperatorRequest, RetentionChange,
};
use conclave_storage::state::State;

use crate::{
    read_support::{forget, token},
    state_support::{accept, apply_at, once},
};

/// Raises the cluster version, and creates an operator.
pub(crate) fn prepare(state: &mut State) {
    let raise = Operation::Cluster(ClusterOperation::RaiseVersion {
        to: ClusterVersion::RETENTION,
        asked: vec![NodeId(1)],
    });
    let first = Operation::Cluster(ClusterOperation::MakeFirstOperator { token: token(9) });
    accept(
        state,
        vec![once(1 << 100, raise), once((1 << 100) + 1, first)],
    );
}

pub(crate) fn set_retention(change: RetentionChange) -> Operation {
    Operation::Cluster(ClusterOperation::ByOperator {
        credential: token(9),
        request: OperatorRequest::SetRetention { change },
    })
}

pub(crate) fn keep_newest(messages: u64) -> Operation {
    set_retention(RetentionChange {
        messages: Some(messages),
        ..RetentionChange::default()
    })
}

/// Has everything forgotten that is due, a command after the other; returns how many commands that
/// took.
pub(crate) fn forget_all(state: &mut State, at: u64, conversations: &[u64]) -> u128 {
    for number in 0.. {
        let id = (u128::from(at) << 64) + number;
        let result = apply_at(state, at, vec![once(id, forget(conversations))]);
        assert_eq!(result.answers.len(), 1);
        if result.events.is_empty() {
            return number;
        }
    }
    unreachable!("it ends")
}
