//! Numbers of nodes: a number that a member has or had is given to no other node.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod state_support;

use std::collections::BTreeSet;

use bytes::Bytes;
use conclave_core::{
    Accepted, AuthorityId, ClusterOperation, Digest, JoinCredential, NodeId, OnceId, Operation,
    OperatorRequest, TokenHash, lookup::PeerAuthority,
};
use conclave_storage::state::{NodesRow, Options, Payload, State};
use state_support::*;

fn members(state: &mut State, nodes: &[u64]) {
    let index = state.applied().last.map_or(1, |last| last.index + 1);
    let payload = Payload::Membership {
        bytes: Bytes::copy_from_slice(format!("{nodes:?}").as_bytes()),
        nodes: nodes.iter().copied().collect(),
    };
    state.apply(&[entry(index, payload)]).unwrap();
}

fn known(state: &State) -> (u64, BTreeSet<u64>) {
    let NodesRow { last, retired, .. } = state.reader().nodes().unwrap();
    (last.0, retired.into_iter().map(|node| node.0).collect())
}

#[test]
fn a_removal_uses_up_the_node_number_in_its_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    members(&mut state, &[1, 2, 3]);
    assert_eq!(known(&state), (3, BTreeSet::new()));
    members(&mut state, &[1, 3, 7]);
    assert_eq!(known(&state), (7, BTreeSet::from([2])));
    drop(state);
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    members(&mut state, &[1, 3]);
    assert_eq!(known(&state), (7, BTreeSet::from([2, 7])));
    // The next machine gets a number above all of them, whatever the leader knew.
    let admit = Operation::Cluster(ClusterOperation::AdmitNode {
        credential: JoinCredential::Secret { voter: true },
        known_last: NodeId(0),
        newest: None,
    });
    let admitted = apply(&mut state, vec![once(1, admit)]);
    let node = NodeId(8);
    let given = Accepted::NodeAdmitted { node, voter: true };
    assert_eq!(admitted.answers, [Ok(given)]);
    // A number may be used up twice.
    let retire = Operation::Cluster(ClusterOperation::RetireNode { node: NodeId(7) });
    let retired = apply(&mut state, vec![once(2, retire)]);
    assert_eq!(
        (retired.answers, retired.events),
        (vec![Ok(Accepted::Done)], vec![])
    );
}

#[test]
fn a_removal_voids_the_next_authority_of_a_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    members(&mut state, &[1, 2, 3]);
    let authority = AuthorityId([7; 32]);
    let step = |generation, authority, is_final| {
        Operation::Cluster(ClusterOperation::RotateAuthority {
            generation,
            authority,
            is_final,
        })
    };
    let next = |state: &State| state.reader().nodes().unwrap().authority;
    apply(&mut state, vec![once(1, step(1, authority, false))]);
    members(&mut state, &[1, 2, 3, 4]);
    assert_eq!(
        next(&state).next,
        Some(authority),
        "one that comes has nothing"
    );
    members(&mut state, &[1, 2, 4]);
    assert_eq!(next(&state).next, Some(AuthorityId::WANTED));
    // So the rotation cannot end with the authority that was announced.
    apply(&mut state, vec![once(2, step(1, authority, true))]);
    assert_eq!(next(&state).generation, 0);
    let other = AuthorityId([8; 32]);
    apply(&mut state, vec![once(3, step(1, other, false))]);
    apply(&mut state, vec![once(4, step(1, other, true))]);
    let ended = PeerAuthority {
        generation: 1,
        next: None,
    };
    assert_eq!(next(&state), ended);
    members(&mut state, &[1, 2]);
    drop(state);
    let state = State::open(directory.path(), Options::default()).unwrap();
    assert_eq!(next(&state), ended);
}

#[test]
fn a_join_token_is_usable_until_it_is_used_or_has_run_out() {
    const MINUTE: u64 = 60_000;
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    let [credential, used, late] = [9, 1, 2].map(|byte| TokenHash([byte; 32]));
    let first = ClusterOperation::MakeFirstOperator { token: credential };
    let create = |token: TokenHash| ClusterOperation::ByOperator {
        credential,
        request: OperatorRequest::CreateJoinToken {
            token,
            ttl_ms: MINUTE,
            voter: false,
        },
    };
    let made = [first, create(used), create(late)].map(Operation::Cluster);
    let made = (1..).zip(made).map(|(id, made)| once(id, made)).collect();
    accept(&mut state, made);
    let usable = |state: &State| {
        [used, late, credential].map(|token| state.reader().is_join_token_usable(&token).unwrap())
    };
    assert_eq!(usable(&state), [true, true, false]);
    let admit = Operation::Cluster(ClusterOperation::AdmitNode {
        credential: JoinCredential::Token(used),
        known_last: NodeId(0),
        newest: None,
    });
    let admit = once(7, admit);
    let answered = |state: &State, id: u128, digest: Digest| {
        let id = OnceId(id.to_be_bytes());
        state.reader().answered_once(&id).unwrap() == Some(digest)
    };
    assert!(!answered(&state, 7, admit.digest));
    let digest = admit.digest;
    accept(&mut state, vec![admit]);
    assert_eq!(usable(&state), [false, true, false]);
    // Only the same request is a retry.
    assert!(answered(&state, 7, digest));
    assert!(!answered(&state, 7, Digest(1)) && !answered(&state, 8, digest));
    apply_at(&mut state, START + MINUTE, vec![]);
    assert_eq!(usable(&state), [false; 3]);
}
