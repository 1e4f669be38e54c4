//! Log-ins while others guess: what guesses and floods cost the people who know their password.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod people;

use conclave_core::Position;
use conclave_server::Registration;
use conclave_wire::v1::{self, create_account_request::Grant};
use futures::future::join_all;
use tokio::time::timeout;

use people::{PASSWORD, PATIENCE, World, reason};

/// Bad requests under way at once.
const FLOOD: usize = 400;

#[tokio::test]
async fn a_flood_of_wrong_codes_costs_no_hash_and_no_entry_and_keeps_nobody_out() {
    let mut world = World::start(Registration::Invite).await;
    let root = world.administrator("root").await;
    let invite = v1::CreateInviteRequest {
        request: world.number(),
        ..Default::default()
    };
    let made = world.admin().create_invite(root.ask(invite)).await;
    let made = made.unwrap().into_inner();

    let ids: Vec<Vec<u8>> = (0..4).map(|_| world.request_id()).collect();
    let flood = (0..FLOOD).map(|number| {
        let grant = match number % 2 {
            0 => Grant::InviteCode("A".repeat(22)),
            _ => Grant::SetupToken("0".repeat(26)),
        };
        let name = format!("eve-{number}");
        let world = &world;
        async move { world.create(&name, Some(grant), None).await.unwrap_err() }
    });
    let logins = ids.iter().map(|id| world.try_login(id, "root", PASSWORD));
    let invited = async {
        let grant = Some(Grant::InviteCode(made.code.clone()));
        world.create("anna", grant, None).await
    };
    let all = async { tokio::join!(join_all(flood), join_all(logins), invited) };
    let (refused, logins, invited) = timeout(PATIENCE, all).await.unwrap();
    for login in logins {
        login.map(drop).unwrap();
    }
    invited.unwrap();
    let wrong = [
        "INVITE_INVALID",
        "SETUP_TOKEN_INVALID",
        "LOGIN_THROTTLED",
        "BUSY",
    ];
    assert!(
        refused
            .iter()
            .all(|reason| wrong.contains(&reason.as_str())),
        "{refused:?}"
    );
    // All of the flood may have been looked up before the first of it was counted.
    let throttled = async {
        let guess = || Some(Grant::InviteCode("A".repeat(22)));
        while world.create("eve", guess(), None).await != Err("LOGIN_THROTTLED".to_owned()) {}
    };
    let throttled = timeout(PATIENCE, throttled).await;
    throttled.expect("an address that goes on has to wait");

    // The index of the log tells what the flood has cost.
    let login = async |world: &mut World| {
        let id = world.request_id();
        let request = v1::OpenSessionRequest {
            request_id: id.into(),
            name: "root".to_owned(),
            password: PASSWORD.to_owned(),
            ..Default::default()
        };
        let opened = world.sessions().open_session(request).await.unwrap();
        Position(opened.into_inner().position).index()
    };
    let before = login(&mut world).await;
    let usual = login(&mut world).await - before;
    let again = (0..FLOOD).map(|number| {
        let grant = Some(Grant::InviteCode("A".repeat(22)));
        let name = format!("eve-{number}");
        let world = &world;
        async move { world.create(&name, grant, None).await.unwrap_err() }
    });
    join_all(again).await;
    let after = login(&mut world).await;
    assert_eq!(after - before, 2 * usual, "the flood is not in the log");
}

#[tokio::test]
async fn a_retry_with_an_invite_that_it_used_up_gets_its_first_answer() {
    let mut world = World::start(Registration::Invite).await;
    let root = world.administrator("root").await;
    let invite = v1::CreateInviteRequest {
        request: world.number(),
        ..Default::default()
    };
    let made = world.admin().create_invite(root.ask(invite)).await;
    let request = v1::CreateAccountRequest {
        request_id: world.request_id().into(),
        name: "anna".to_owned(),
        password: PASSWORD.to_owned(),
        grant: Some(Grant::InviteCode(made.unwrap().into_inner().code)),
    };
    let first = world.accounts().create_account(request.clone()).await;
    let again = world.accounts().create_account(request.clone()).await;
    assert_eq!(
        first.unwrap().into_inner().id,
        again.unwrap().into_inner().id
    );
    let other = v1::CreateAccountRequest {
        request_id: world.request_id().into(),
        ..request
    };
    let refused = world.accounts().create_account(other).await;
    assert_eq!(reason(refused.unwrap_err()), "INVITE_INVALID");
}
