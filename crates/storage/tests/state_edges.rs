//! Numbers and texts at the edges of their types, in every operation, through the real state.
//!
//! Always true: an entry is decided, and is never a reason to stop. The answers are those of the
//! simplest state, and the state is the same after a restart and after a snapshot.

#![allow(clippy::too_many_lines, reason = "a test tells its story in one piece")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "state_edges/edges.rs"]
mod edges;
#[path = "../../core/tests/generated_commands/mod.rs"]
mod generated_commands;
mod state_support;
#[path = "../../core/tests/support/mod.rs"]
#[allow(dead_code, reason = "a part of the core's own tests")]
mod support;

use std::{collections::BTreeSet, path::Path, sync::Arc};

use conclave_core::{
    AccessOperation, AccountName, Answer, Batch, ClusterOperation, Command, Digest as Said, Grant,
    NodeId, OnceId, Operation, OperatorRequest, Origin, Timestamp, TokenHash,
};
use conclave_storage::state::{Options, Payload, State};
use generated_commands::{any_operation, commands, time};
use proptest::prelude::*;
use state_support::*;
use support::Memory;

/// Returns people and an administrator, so that later commands are not refused because these are
/// missing.
fn first() -> Batch {
    let commands = [
        (
            1,
            Operation::Access(AccessOperation::OfferSetup { token: token(1) }),
        ),
        (
            2,
            Operation::Access(AccessOperation::CreateAccount {
                name: AccountName::new("a").unwrap(),
                password_hash: "$".to_owned(),
                grant: Grant::Setup(token(1)),
            }),
        ),
        (3, create("b")),
        (4, login(1)),
        (5, login(2)),
        (
            6,
            Operation::Cluster(ClusterOperation::MakeFirstOperator {
                token: edges::OPERATOR,
            }),
        ),
    ];
    let commands = commands.map(|(id, operation)| Command {
        origin: Origin::Once(OnceId([100 + id; 16])),
        digest: Said(0),
        operation,
    });
    Batch {
        proposed_at: Timestamp(1),
        date: Timestamp(1),
        commands: commands.into(),
    }
}

fn token(byte: u8) -> TokenHash {
    TokenHash([byte; 32])
}

/// Applies the batches, with eight restarts in between if `often`; returns the answers.
fn apply_all(
    state: State,
    path: &Path,
    batches: &[Batch],
    often: bool,
) -> (State, Vec<Vec<Answer>>) {
    let mut state = state;
    let mut answers = Vec::new();
    for (number, batch) in batches.iter().enumerate() {
        let index = number as u64 + 1;
        let payload = Payload::Commands(Arc::new(batch.clone()));
        let results = state.apply(&[entry(index, payload)]);
        answers.push(results.unwrap().remove(0).answers);
        if often && index.is_multiple_of(batches.len() as u64 / 8 + 1) {
            drop(state);
            state = State::open(path, Options::default()).unwrap();
        }
    }
    (state, answers)
}

fn check(rest: &[(Timestamp, Vec<Command>)]) {
    let rest = rest.iter().map(|(proposed_at, commands)| Batch {
        proposed_at: *proposed_at,
        // Not in order, as with clocks that are set.
        date: *proposed_at,
        commands: commands.clone(),
    });
    let batches: Vec<Batch> = std::iter::once(first()).chain(rest).collect();

    let plain = tempfile::tempdir().unwrap();
    let state = State::open(plain.path(), Options::default()).unwrap();
    let (state, answers) = apply_all(state, plain.path(), &batches, false);
    let mut memory = Memory::default();
    for (batch, answers) in batches.iter().zip(&answers) {
        let decisions = memory.run(batch).into_iter();
        let expected: Vec<Answer> = decisions.map(|decision| decision.answer).collect();
        assert_eq!(answers, &expected);
    }

    let restarted = tempfile::tempdir().unwrap();
    let other = State::open(restarted.path(), tiny()).unwrap();
    let (other, again) = apply_all(other, restarted.path(), &batches, true);
    assert_eq!(again, answers, "a restart changes answers");
    assert_eq!(
        digest(&other),
        digest(&state),
        "a restart changes the state"
    );

    let copied = tempfile::tempdir().unwrap();
    let file = copied.path().join("snapshot");
    state.reader().snapshot_to(&file).unwrap();
    let mut copy = State::open(copied.path(), Options::default()).unwrap();
    copy.install(&file).unwrap();
    assert_eq!(
        digest(&copy),
        digest(&state),
        "a snapshot changes the state"
    );
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn edge_values_of_every_operation_are_decided_alike(
        rest in prop::collection::vec((time(), commands()), 1..24)
    ) {
        check(&rest);
    }

    /// Tries the same so that each operation reaches its rule: requested by an administrator and by
    /// another account, under numbers that were not used.
    #[test]
    fn edge_values_of_allowed_operations_are_decided_alike(
        rest in prop::collection::vec((any_operation(), any::<bool>()), 1..60)
    ) {
        let asked = (1..).zip(rest).map(|(number, (operation, by_admin))| {
            let command = match outside(&operation) {
                true => once(number.into(), operation),
                false => ask(if by_admin { 1 } else { 2 }, number, operation),
            };
            (Timestamp(number), vec![command])
        });
        check(&asked.collect::<Vec<_>>());
    }
}

/// Returns whether an operation belongs to no session.
fn outside(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Access(AccessOperation::CreateAccount { .. })
            | Operation::Access(AccessOperation::OpenSession { .. })
            | Operation::Access(AccessOperation::TryPassword { .. })
            | Operation::Access(AccessOperation::OfferSetup { .. })
            | Operation::Cluster(ClusterOperation::AdmitNode { .. })
            | Operation::Cluster(ClusterOperation::RetireNode { .. })
            | Operation::Cluster(ClusterOperation::RotateAuthority { .. })
            | Operation::Cluster(ClusterOperation::RaiseVersion { .. })
            | Operation::Cluster(ClusterOperation::ForgetMessages { .. })
            | Operation::Cluster(ClusterOperation::NoteAct { .. })
            | Operation::Cluster(ClusterOperation::ByOperator { .. })
            | Operation::Cluster(ClusterOperation::MakeFirstOperator { .. })
            | Operation::Cluster(ClusterOperation::ResetOperators { .. })
            | Operation::Access(AccessOperation::PostByWebhook { .. })
    )
}

#[test]
fn a_leader_is_preferred_only_by_a_number_that_a_node_can_have() {
    let far = [1_000_001, 1 << 31, (1 << 63) - 1, 1 << 63, u64::MAX];
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(directory.path(), Options::default()).unwrap();
    let (mut state, _) = apply_all(state, directory.path(), &[first()], false);
    for (number, node) in (1_u128..).zip(far) {
        let node = Some(NodeId(node));
        let prefer = edges::by_operator(OperatorRequest::PreferLeader { node });
        let answers = apply(&mut state, vec![once(number, prefer)]).answers;
        assert!(answers[0].is_err(), "{node:?}");
    }
    assert_eq!(state.reader().nodes().unwrap().preferred_leader, None);
}

/// Operations that end the administrator's session or account come last.
#[test]
fn one_log_decides_each_edge_value_of_each_operation() {
    let texts = edges::texts();
    let numbers = edges::NUMBERS.into_iter().flat_map(edges::operations);
    let all: Vec<Operation> = texts.into_iter().chain(numbers).collect();
    let tried: BTreeSet<&str> = all.iter().map(edges::name).collect();
    let untried: Vec<&&str> = edges::NAMES
        .iter()
        .filter(|n| !tried.contains(**n))
        .collect();
    assert!(untried.is_empty(), "no edges of {untried:?}");
    let asked = (1..).zip(all).map(|(number, operation)| {
        let command = match outside(&operation) {
            true => once(number.into(), operation),
            false => ask(1, number, operation),
        };
        (Timestamp(number), vec![command])
    });
    check(&asked.collect::<Vec<_>>());
}
