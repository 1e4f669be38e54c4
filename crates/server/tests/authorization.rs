//! Who may call what: every call of the protocol, by everybody who should not be let in.
//!
//! Always true: a call of the descriptors without a row here fails, and so does a row without a
//! call. Who is not in a conversation is told what somebody is told for one that does not exist,
//! to the last byte.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "authorization/rows.rs"]
mod rows;
#[path = "authorization/world.rs"]
mod world;

use std::collections::BTreeSet;

use conclave_wire::{DESCRIPTORS, Problem};
use prost::Message as _;
use rows::{OK, ROWS};
use world::{Caller, Target, World};

/// What a call that was refused says of why; [`OK`] if it was not.
fn reason(outcome: &Result<(), tonic::Status>) -> String {
    match outcome {
        Ok(()) => OK.to_owned(),
        Err(status) => match Problem::from_status(status) {
            Some(problem) => problem.reason().to_owned(),
            None => format!("a foreign status: {status:?}"),
        },
    }
}

#[test]
fn every_call_has_a_row_and_every_row_a_call() {
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut calls = BTreeSet::new();
    for file in files
        .file
        .iter()
        .filter(|file| file.package() == "conclave.v1")
    {
        for service in &file.service {
            for method in &service.method {
                calls.insert(format!("{}/{}", service.name(), method.name()));
            }
        }
    }
    let rows: Vec<String> = ROWS.iter().map(|row| row.call.to_owned()).collect();
    let distinct: BTreeSet<String> = rows.iter().cloned().collect();
    assert_eq!(distinct, calls);
    assert_eq!(rows.len(), calls.len(), "a call has two rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_further_than_it_may() {
    let mut world = World::start().await;
    let mut wrong = Vec::new();
    for row in ROWS {
        let without_session = if row.needs_session {
            "SESSION_EXPIRED"
        } else {
            OK
        };
        let expected = [
            (Caller::Nobody, without_session),
            (Caller::Garbage, without_session),
            (Caller::Ended, without_session),
            (Caller::Stranger, row.stranger),
            (Caller::Kicked, row.kicked),
            (Caller::Blocked, row.blocked),
            (Caller::Owner, row.owner),
        ];
        for (caller, expected) in expected
            .into_iter()
            .filter(|(_, expected)| *expected != "-")
        {
            let got = reason(&world.call(row, caller, Target::Real).await);
            if got != expected {
                wrong.push(format!("{} by {caller:?}: {got}, not {expected}", row.call));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    world.is_as_it_was().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_is_not_in_is_what_does_not_exist() {
    let mut world = World::start().await;
    let hidden = ["NO_SUCH_CONVERSATION", "NO_SUCH_WEBHOOK"];
    let mut compared = 0;
    for row in ROWS.iter().filter(|row| hidden.contains(&row.stranger)) {
        for caller in [Caller::Stranger, Caller::Kicked] {
            let real = world.call(row, caller, Target::Real).await.unwrap_err();
            let none = world.call(row, caller, Target::Nothing).await.unwrap_err();
            assert_eq!(
                (real.code(), real.message(), real.details()),
                (none.code(), none.message(), none.details()),
                "{} tells {caller:?} whether it exists",
                row.call
            );
            compared += 1;
        }
    }
    assert!(compared >= 20, "only {compared} calls were compared");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_and_peers_have_ports_of_their_own() {
    let mut world = World::start().await;
    for row in ROWS {
        let refused = world.call_at_peers(row).await;
        assert_eq!(reason(&refused), "WRONG_PORT", "{}", row.call);
    }
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let is_peers = |file: &&prost_types::FileDescriptorProto| file.package() == "conclave.peer.v1";
    for file in files.file.iter().filter(is_peers) {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/conclave.peer.v1.{}/{}", service.name(), method.name());
                let refused = world.raw(&path, Vec::new(), None).await;
                assert_eq!(reason(&refused), "WRONG_PORT", "{path}");
            }
        }
    }
}
