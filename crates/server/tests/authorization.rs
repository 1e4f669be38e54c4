//! Authorization: every call of the protocol, made by every kind of caller that is not allowed it.
//!
//! Always true: a call of the descriptors without a row here fails, and so does a row without a
//! call; at least one caller is allowed each call. A refused call has changed nothing that any
//! account reads. A caller outside a conversation gets the same answer as for a conversation that
//! does not exist, to the last byte.

#![allow(clippy::too_many_lines, reason = "a test tells its story in one piece")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "authorization/audited.rs"]
mod audited;
#[path = "authorization/live.rs"]
mod live;
#[path = "authorization/peer_port.rs"]
mod peer_port;
#[path = "authorization/populate.rs"]
mod populate;
#[path = "authorization/raw.rs"]
mod raw;
#[path = "authorization/rows/mod.rs"]
mod rows;
#[path = "authorization/view.rs"]
mod view;
#[path = "authorization/world.rs"]
mod world;

use std::collections::BTreeSet;

use conclave_wire::{DESCRIPTORS, Problem, v1};
use futures::StreamExt as _;
use prost::Message as _;
use rows::{HIDING, OK, Row, rows};
use world::{Caller, SECRET, Target, World};

/// Number of nodes that are tried at the same time.
const WORLDS_AT_ONCE: usize = 4;

/// Returns the reason of a refused call, or [`OK`] if it was not refused.
fn reason<T>(outcome: &Result<T, tonic::Status>) -> String {
    match outcome {
        Ok(_) => OK.to_owned(),
        Err(status) => match Problem::from_status(status) {
            Some(problem) => problem.reason().to_string(),
            None => format!("a foreign status: {status:?}"),
        },
    }
}

/// Returns the paths of all calls of a package's services, according to the descriptors.
fn calls_of(package: &str) -> BTreeSet<String> {
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let files = files.file.iter().filter(|file| file.package() == package);
    let services = files.flat_map(|file| &file.service);
    let calls = services.flat_map(|service| {
        let of_service = service.method.iter();
        of_service.map(move |method| format!("{}/{}", service.name(), method.name()))
    });
    calls.collect()
}

/// Makes the call as every caller whose expected answer is `wanted`; notes the callers that got
/// another one.
async fn call_all(
    world: &mut World,
    row: &Row,
    wanted: impl Fn(&str) -> bool,
    wrong: &mut Vec<String>,
) {
    for caller in Caller::ALL {
        let expected = row.told.to(caller);
        if !wanted(expected) {
            continue;
        }
        let outcome = world.call(row, caller, Target::Meant).await;
        let got = reason(&outcome);
        if got != expected {
            wrong.push(format!("{row} by {caller:?}: {got}, not {expected}"));
        }
        if let Ok(answer) = outcome
            && !caller.may_read_the_secret()
            && contains(&answer, SECRET)
        {
            wrong.push(format!("{row} tells {caller:?} the secret"));
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    let mut places = bytes.windows(text.len());
    places.any(|window| window == text.as_bytes())
}

#[test]
fn every_call_has_a_row_and_every_row_a_call() {
    let calls = calls_of("conclave.v1");
    let rows = rows();
    let with_row: BTreeSet<String> = rows.iter().map(|row| row.call.to_owned()).collect();
    let missing: Vec<_> = calls.difference(&with_row).collect();
    assert!(missing.is_empty(), "calls without a row: {missing:?}");
    let foreign: Vec<_> = with_row.difference(&calls).collect();
    assert!(foreign.is_empty(), "rows without a call: {foreign:?}");
    for call in &calls {
        let mut of_call = rows.iter().filter(|row| row.call == call);
        let is_allowed = |row: &Row| Caller::ALL.iter().any(|one| row.told.to(*one) == OK);
        assert!(of_call.any(is_allowed), "{call} is allowed to no caller");
    }
}

#[test]
fn every_service_in_the_descriptors_is_tried() {
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    for file in files.file.iter().filter(|file| !file.service.is_empty()) {
        let tried = ["conclave.v1", "conclave.peer.v1"];
        assert!(tried.contains(&file.package()), "{}", file.package());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_calls_name_the_reason_and_change_nothing() {
    let mut world = World::start().await;
    let mut wrong = Vec::new();
    let mut before = world.view().await;
    for row in rows() {
        call_all(&mut world, &row, |told| told != OK, &mut wrong).await;
        let after = world.view().await;
        if let Some(what) = before.differs_from(&after) {
            wrong.push(format!("{row}, refused, has changed {what}"));
        }
        before = after;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_is_invalid_before_it_is_swept() {
    // A log-in would sweep the session away, so no account logs in.
    let mut world = World::after_a_month().await;
    let () = world
        .ask(
            Caller::Program,
            "AccountService/SetDisplayName",
            |request| v1::SetDisplayNameRequest {
                request,
                ..Default::default()
            },
        )
        .await;
    for row in rows() {
        let expected = row.told.to(Caller::Expired);
        if expected != OK {
            let refused = world.call(&row, Caller::Expired, Target::Meant).await;
            assert_eq!(reason(&refused), expected, "{row}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn allowed_calls_succeed_and_outsiders_read_no_secret() {
    let mut world = World::start().await;
    world.secret_is_found().await;
    let mut wrong = Vec::new();
    let (alone, together): (Vec<Row>, Vec<Row>) = rows().into_iter().partition(|row| row.alone);
    for row in together {
        call_all(&mut world, &row, |told| told == OK, &mut wrong).await;
    }
    let tried = alone.into_iter().map(|row| async move {
        let mut world = World::start().await;
        let mut wrong = Vec::new();
        call_all(&mut world, &row, |told| told == OK, &mut wrong).await;
        wrong
    });
    let tried = futures::stream::iter(tried).buffer_unordered(WORLDS_AT_ONCE);
    wrong.extend(tried.concat().await);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_objects_look_the_same_as_missing_objects() {
    let mut world = World::start().await;
    let mut compared = BTreeSet::new();
    for row in rows() {
        for caller in Caller::ALL {
            let told = row.told.to(caller);
            let is_hidden = HIDING.contains(&told);
            // Whether the request names an object that can be hidden follows from the request
            // itself.
            if Caller::OUTSIDERS.contains(&caller) && world.is_naming(&row, caller) {
                assert!(is_hidden, "{row} tells {caller:?} {told}");
            }
            if !is_hidden {
                continue;
            }
            let real = world.call(&row, caller, Target::Meant).await.unwrap_err();
            let none = world.call(&row, caller, Target::Nothing).await.unwrap_err();
            assert_eq!(
                raw::content(&real),
                raw::content(&none),
                "{row} tells {caller:?} whether it exists"
            );
            compared.insert(row.to_string());
        }
    }
    let named = rows().into_iter().filter(|row| {
        let outsiders = Caller::OUTSIDERS.iter();
        outsiders
            .clone()
            .any(|caller| world.is_naming(row, *caller))
    });
    let named: BTreeSet<String> = named.map(|row| row.to_string()).collect();
    assert_eq!(compared, named, "calls that name something");
    assert!(named.len() > 20, "the rows name nothing: {named:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_and_peers_have_ports_of_their_own() {
    let mut world = World::start().await;
    for row in rows() {
        for caller in [Caller::Anonymous, Caller::Admin, Caller::Operator] {
            let refused = world.call_at_peers(&row, caller).await;
            assert_eq!(reason(&refused), "WRONG_PORT", "{row} by {caller:?}");
        }
    }
    let calls = calls_of("conclave.peer.v1");
    assert!(!calls.is_empty(), "the descriptors know no peers");
    for call in calls {
        for caller in [Caller::Anonymous, Caller::Admin, Caller::Operator] {
            let path = format!("/conclave.peer.v1.{call}");
            let refused = world.call_bytes(&path, Vec::new(), caller).await;
            assert_eq!(reason(&refused), "WRONG_PORT", "{path} by {caller:?}");
        }
    }
}
