//! Log-ins under attack: what guesses and floods cost the people who know their password.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod people;

use conclave_core::{Position, limits::THROTTLE_FREE_ACCOUNT};
use conclave_server::Registration;
use conclave_wire::v1::{
    self, create_account_request::Grant, session_service_client::SessionServiceClient,
};
use futures::future::join_all;
use tokio::time::timeout;
use tonic::transport::Channel;

use people::{PASSWORD, PATIENCE, World, reason};

/// Number of bad requests under way at once.
const FLOOD: usize = 400;

#[tokio::test]
async fn a_flood_of_wrong_codes_costs_no_hash_and_blocks_no_login() {
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
    // All requests of the flood may have been looked up before the first one was counted.
    let throttled = async {
        let guess = || Some(Grant::InviteCode("A".repeat(22)));
        while world.create("eve", guess(), None).await != Err("LOGIN_THROTTLED".to_owned()) {}
    };
    let throttled = timeout(PATIENCE, throttled).await;
    throttled.expect("an address that goes on has to wait");

    // The log's index shows how much the flood has cost.
    let before = index_of_login(&mut world).await;
    let usual = index_of_login(&mut world).await - before;
    let again = (0..FLOOD).map(|number| {
        let grant = Some(Grant::InviteCode("A".repeat(22)));
        let name = format!("eve-{number}");
        let world = &world;
        async move { world.create(&name, grant, None).await.unwrap_err() }
    });
    join_all(again).await;
    let after = index_of_login(&mut world).await;
    assert_eq!(after - before, 2 * usual, "the flood is not in the log");
}

/// Logs in; returns the log's index then.
async fn index_of_login(world: &mut World) -> u64 {
    let id = world.request_id();
    login_with(world, id).await
}

async fn login_with(world: &World, id: Vec<u8>) -> u64 {
    let request = v1::OpenSessionRequest {
        request_id: id.into(),
        name: "root".to_owned(),
        password: PASSWORD.to_owned(),
        ..Default::default()
    };
    let opened = world.sessions().open_session(request).await.unwrap();
    Position(opened.into_inner().position).index()
}

#[tokio::test]
async fn wrong_codes_with_a_used_request_id_cost_no_hash() {
    let mut world = World::start(Registration::Invite).await;
    world.administrator("root").await;
    let used = world.request_id();
    login_with(&world, used.clone()).await;
    let before = index_of_login(&mut world).await;
    let usual = index_of_login(&mut world).await - before;
    let flood = (0..FLOOD).map(|number| {
        let request = v1::CreateAccountRequest {
            request_id: used.clone().into(),
            name: format!("eve-{number}"),
            password: PASSWORD.to_owned(),
            grant: Some(Grant::SetupToken("0".repeat(26))),
        };
        let mut accounts = world.accounts();
        async move { reason(accounts.create_account(request).await.unwrap_err()) }
    });
    let refused = timeout(PATIENCE, join_all(flood)).await.unwrap();
    let wrong = ["REQUEST_REUSED", "LOGIN_THROTTLED", "BUSY"];
    let is_wrong = |reason: &String| wrong.contains(&reason.as_str());
    assert!(refused.iter().all(is_wrong), "{refused:?}");
    let after = index_of_login(&mut world).await;
    assert_eq!(after - before, 2 * usual, "the flood is not in the log");
}

#[tokio::test]
async fn a_retry_with_its_used_up_invite_gets_its_first_answer() {
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
    let created = world.accounts().create_account(request.clone()).await;
    let again = world.accounts().create_account(request.clone()).await;
    assert_eq!(
        created.unwrap().into_inner().id,
        again.unwrap().into_inner().id
    );
    let first = request.clone();
    let other = v1::CreateAccountRequest {
        request_id: world.request_id().into(),
        ..request
    };
    let refused = world.accounts().create_account(other).await;
    assert_eq!(reason(refused.unwrap_err()), "INVITE_INVALID");

    // A retry costs a hash: an address that sends nothing else has to wait.
    let wrong = || Some(Grant::InviteCode("A".repeat(22)));
    let throttled = async {
        loop {
            while world.create("eve", wrong(), None).await != Err("LOGIN_THROTTLED".to_owned()) {}
            let again = world.accounts().create_account(first.clone()).await;
            match again.map_err(reason) {
                Err(problem) if problem == "LOGIN_THROTTLED" => break,
                again => drop(again.unwrap()),
            }
        }
    };
    timeout(PATIENCE, throttled).await.expect("it has to wait");
}

/// Tries a password from a channel, on a device if it has a secret.
async fn try_from(
    channel: &Channel,
    name: &str,
    password: &str,
    device: Option<[u8; 32]>,
) -> Result<(), String> {
    let request = v1::OpenSessionRequest {
        name: name.to_owned(),
        password: password.to_owned(),
        device_secret: device.map_or_else(Vec::new, Vec::from).into(),
        ..Default::default()
    };
    let mut sessions = SessionServiceClient::new(channel.clone());
    sessions
        .open_session(request)
        .await
        .map(drop)
        .map_err(reason)
}

#[tokio::test]
async fn guesses_from_many_addresses_do_not_lock_out_a_known_address() {
    let mut world = World::start(Registration::Open).await;
    world.create("anna", None, None).await.unwrap();
    world.login("anna").await;
    let elsewhere = join_all((2..22).map(|host| world.from(host))).await;
    let mut wrong = 0;
    for round in 0..5 {
        let guesses = elsewhere.iter().enumerate().map(|(host, channel)| {
            let guess = format!("guess {round} of host {host}");
            async move { try_from(channel, "anna", &guess, None).await.unwrap_err() }
        });
        let owner = try_from(&world.channel, "anna", PASSWORD, None);
        let (refused, opened) = tokio::join!(join_all(guesses), owner);
        assert_eq!(opened, Ok(()), "round {round}");
        wrong += refused
            .iter()
            .filter(|reason| *reason == "WRONG_CREDENTIALS")
            .count();
    }
    // Number of verified guesses, of a hundred that were made at twenty places at once.
    let most = THROTTLE_FREE_ACCOUNT as usize + 5;
    assert!((1..=most).contains(&wrong), "{wrong} guesses were verified");
    let waits = try_from(&elsewhere[0], "anna", PASSWORD, None).await;
    assert_eq!(
        waits,
        Err("LOGIN_THROTTLED".to_owned()),
        "a new place waits"
    );
}

#[tokio::test]
async fn guesses_from_the_owners_address_do_not_lock_out_its_device() {
    let world = World::start(Registration::Open).await;
    world.create("anna", None, None).await.unwrap();
    let device = Some([7; 32]);
    let own = try_from(&world.channel, "anna", PASSWORD, device).await;
    own.unwrap();
    let throttled = async {
        for guess in 0.. {
            let guess = format!("guess number {guess}");
            if try_from(&world.channel, "anna", &guess, None)
                .await
                .unwrap_err()
                == "LOGIN_THROTTLED"
            {
                return;
            }
        }
    };
    timeout(PATIENCE, throttled).await.unwrap();
    for _ in 0..3 {
        let own = try_from(&world.channel, "anna", PASSWORD, device).await;
        assert_eq!(own, Ok(()));
    }
    let other = try_from(&world.channel, "anna", PASSWORD, Some([8; 32])).await;
    assert_eq!(other, Err("LOGIN_THROTTLED".to_owned()), "another device");
}

#[tokio::test]
async fn concurrent_guesses_are_throttled_like_sequential_guesses() {
    let world = World::start(Registration::Open).await;
    world.create("anna", None, None).await.unwrap();
    let guesses = (0..120).map(|guess| {
        let (channel, guess) = (world.channel.clone(), format!("guess number {guess}"));
        async move { try_from(&channel, "anna", &guess, None).await.unwrap_err() }
    });
    let refused = timeout(PATIENCE, join_all(guesses)).await.unwrap();
    let wrong = refused
        .iter()
        .filter(|reason| *reason == "WRONG_CREDENTIALS");
    let most = THROTTLE_FREE_ACCOUNT as usize + 1;
    assert!((1..=most).contains(&wrong.count()), "{refused:?}");
}

#[tokio::test]
async fn a_suspended_account_is_locked_out_and_keeps_its_data() {
    let mut world = World::start(Registration::Open).await;
    let root = world.administrator("root").await;
    world.create("anna", None, None).await.unwrap();
    let anna = world.login("anna").await;
    let suspend = |request, suspended| v1::SetSuspendedRequest {
        request,
        name: "ANNA".to_owned(),
        suspended,
    };
    let asked = suspend(world.number(), true);
    let refused = world.admin().set_suspended(anna.ask(asked.clone())).await;
    assert_eq!(reason(refused.unwrap_err()), "NOT_ALLOWED");
    world.admin().set_suspended(root.ask(asked)).await.unwrap();
    let own = v1::GetSessionRequest::default();
    let ended = world.sessions().get_session(anna.ask(own)).await;
    assert_eq!(reason(ended.unwrap_err()), "SESSION_EXPIRED");
    let login = |password| try_from(&world.channel, "anna", password, None);
    assert_eq!(login(PASSWORD).await, Err("ACCOUNT_SUSPENDED".to_owned()));
    // Only the owner learns of the suspension.
    assert_eq!(login("no idea").await, Err("WRONG_CREDENTIALS".to_owned()));
    let list = v1::ListAccountsRequest::default();
    let listed = world.accounts().list_accounts(root.ask(list)).await;
    let listed = listed.unwrap().into_inner().accounts;
    let suspended: Vec<_> = listed.iter().filter(|account| account.suspended).collect();
    assert_eq!((suspended.len(), suspended[0].name.as_str()), (1, "anna"));
    let asked = suspend(world.number(), false);
    world.admin().set_suspended(root.ask(asked)).await.unwrap();
    assert_eq!(
        try_from(&world.channel, "anna", PASSWORD, None).await,
        Ok(())
    );
}

#[tokio::test]
async fn an_administrator_can_reset_a_password() {
    let mut world = World::start(Registration::Open).await;
    let root = world.administrator("root").await;
    world.create("anna", None, None).await.unwrap();
    let anna = world.login("anna").await;
    let reset = v1::ResetPasswordRequest {
        request: world.number(),
        name: "anna".to_owned(),
        new_password: "battery staple".to_owned(),
    };
    let refused = world.admin().reset_password(anna.ask(reset.clone())).await;
    assert_eq!(reason(refused.unwrap_err()), "NOT_ALLOWED");
    for attempt in ["first", "retry"] {
        let done = world.admin().reset_password(root.ask(reset.clone())).await;
        assert!(done.is_ok(), "{attempt}: {done:?}");
    }
    let own = v1::GetSessionRequest::default();
    let ended = world.sessions().get_session(anna.ask(own)).await;
    assert_eq!(reason(ended.unwrap_err()), "SESSION_EXPIRED");
    let login = |password| try_from(&world.channel, "anna", password, None);
    assert_eq!(login(PASSWORD).await, Err("WRONG_CREDENTIALS".to_owned()));
    assert_eq!(login("battery staple").await, Ok(()));
}

#[tokio::test]
async fn deleting_an_account_needs_its_password() {
    let mut world = World::start(Registration::Open).await;
    world.create("anna", None, None).await.unwrap();
    let anna = world.login("anna").await;
    let delete = |request, password: &str| v1::DeleteAccountRequest {
        request,
        password: password.to_owned(),
    };
    for wrong in ["", "no idea at all"] {
        let asked = delete(world.number(), wrong);
        let refused = world.accounts().delete_account(anna.ask(asked)).await;
        assert_eq!(reason(refused.unwrap_err()), "WRONG_CREDENTIALS", "{wrong}");
    }
    let right = delete(world.number(), PASSWORD);
    for attempt in ["first", "retry"] {
        let done = world
            .accounts()
            .delete_account(anna.ask(right.clone()))
            .await;
        assert!(done.is_ok(), "{attempt}: {done:?}");
    }
    let gone = try_from(&world.channel, "anna", PASSWORD, None).await;
    assert_eq!(gone, Err("WRONG_CREDENTIALS".to_owned()));
}

#[tokio::test]
async fn guesses_in_a_stolen_session_are_throttled() {
    let mut world = World::start(Registration::Open).await;
    world.create("anna", None, None).await.unwrap();
    let (stolen, own) = (world.login("anna").await, world.login("anna").await);
    let throttled = async {
        loop {
            let asked = v1::DeleteAccountRequest {
                request: world.number(),
                password: "a guess that is wrong".to_owned(),
            };
            let refused = world.accounts().delete_account(stolen.ask(asked)).await;
            if reason(refused.unwrap_err()) == "LOGIN_THROTTLED" {
                return;
            }
        }
    };
    timeout(PATIENCE, throttled).await.unwrap();
    let asked = v1::DeleteAccountRequest {
        request: world.number(),
        password: PASSWORD.to_owned(),
    };
    let deleted = world.accounts().delete_account(own.ask(asked)).await;
    assert!(deleted.is_ok(), "another session waits for nothing");
}
