//! A node as people see it that sign up and log in: accounts, sessions, and the callers who may
//! have them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod people;

use conclave_core::limits::{THROTTLE_FIRST_MS, THROTTLE_FREE_ACCOUNT, THROTTLE_FREE_ADDRESS};
use conclave_server::Registration;
use conclave_wire::{
    Problem, Reason,
    v1::{self, AccountRole, create_account_request::Grant},
};
use tokio::time::timeout;

use people::{PASSWORD, PATIENCE, Person, World, reason};

#[tokio::test]
async fn the_setup_token_creates_one_administrator() {
    let mut world = World::start(Registration::Closed).await;
    let closed = Err("REGISTRATION_CLOSED".to_owned());
    assert_eq!(world.create("eve", None, None).await, closed);

    let token = world.setup_token().await.to_lowercase().replace('-', " ");
    let guess = format!("{}0", "1".repeat(25));
    let guessed = world
        .create("eve", Some(Grant::SetupToken(guess)), None)
        .await;
    assert_eq!(guessed, Err("SETUP_TOKEN_INVALID".to_owned()));
    let setup = || Some(Grant::SetupToken(token.clone()));
    world.create("root", setup(), None).await.unwrap();
    let again = world.create("eve", setup(), None).await;
    assert_eq!(again, Err("SETUP_TOKEN_INVALID".to_owned()));
    let mut tokens = world.node.setup_tokens();
    let none = timeout(PATIENCE, tokens.wait_for(Option::is_none)).await;
    assert!(none.unwrap().is_ok(), "the offer has ended");

    let root = world.login("root").await;
    world.create("anna", None, Some(&root)).await.unwrap();
    let anna = world.login("anna").await;
    assert_eq!(world.create("eve", None, Some(&anna)).await, closed);

    let role = v1::SetAccountRoleRequest {
        request: world.number(),
        name: "anna".to_owned(),
        role: AccountRole::Admin.into(),
    };
    let refused = world.admin().set_account_role(anna.ask(role.clone())).await;
    assert_eq!(reason(refused.unwrap_err()), "NOT_ALLOWED");
    world
        .admin()
        .set_account_role(root.ask(role))
        .await
        .unwrap();
    world.create("bob", None, Some(&anna)).await.unwrap();

    let remove = v1::RemoveAccountRequest {
        request: world.number(),
        name: "bob".to_owned(),
    };
    world
        .admin()
        .remove_account(anna.ask(remove))
        .await
        .unwrap();
    let id = world.request_id();
    let gone = world.try_login(&id, "bob", PASSWORD).await.err().unwrap();
    assert_eq!(gone.reason(), Reason::WrongCredentials);
}

#[tokio::test]
async fn an_invite_is_valid_for_its_number_of_uses() {
    let mut world = World::start(Registration::Invite).await;
    let root = world.administrator("root").await;
    let invite = v1::CreateInviteRequest {
        request: world.number(),
        ..Default::default()
    };
    let retry = invite.clone();
    let made = world.admin().create_invite(root.ask(invite)).await;
    let made = made.unwrap().into_inner();
    // The node has chosen another code this time, so the stored answer would not fit.
    let retried = world.admin().create_invite(root.ask(retry)).await;
    assert_eq!(reason(retried.unwrap_err()), "REQUEST_REUSED");

    let list = v1::ListInvitesRequest::default();
    let listed = world.admin().list_invites(root.ask(list)).await.unwrap();
    let listed = listed.into_inner().invites;
    let [only] = &listed[..] else {
        panic!("{listed:?}");
    };
    let seen = (only.invite_id, only.uses_left, only.by_name.as_str());
    assert_eq!(seen, (made.invite_id, 1, "root"));

    let invited = || Some(Grant::InviteCode(made.code.clone()));
    world.create("anna", invited(), None).await.unwrap();
    let invalid = Err("INVITE_INVALID".to_owned());
    assert_eq!(world.create("bob", invited(), None).await, invalid);
    let anna = world.login("anna").await;
    let refused = world.admin().list_invites(anna.ask(list)).await;
    assert_eq!(reason(refused.unwrap_err()), "NOT_ALLOWED");

    let second = v1::CreateInviteRequest {
        request: world.number(),
        uses: 5,
        ..Default::default()
    };
    let second = world.admin().create_invite(root.ask(second)).await.unwrap();
    let second = second.into_inner();
    let revoke = v1::RevokeInviteRequest {
        request: world.number(),
        invite_id: second.invite_id,
    };
    world.admin().revoke_invite(root.ask(revoke)).await.unwrap();
    let revoked = Some(Grant::InviteCode(second.code));
    assert_eq!(world.create("bob", revoked, None).await, invalid);
}

#[tokio::test]
async fn a_bot_has_a_token_and_no_password() {
    let mut world = World::start(Registration::Closed).await;
    let root = world.administrator("root").await;
    let bot = v1::CreateBotRequest {
        request: world.number(),
        name: "robot".to_owned(),
        token: vec![7; 32].into(),
    };
    let made = world
        .admin()
        .create_bot(root.ask(bot.clone()))
        .await
        .unwrap();
    let made = made.into_inner();
    let again = world.admin().create_bot(root.ask(bot)).await.unwrap();
    assert_eq!(again.into_inner().token, made.token, "a retry");

    let robot = Person {
        token: made.token,
        session: 0,
    };
    let own = v1::GetSessionRequest::default();
    let own = world.sessions().get_session(robot.ask(own)).await.unwrap();
    let account = own.into_inner().account.unwrap();
    assert_eq!((account.id, account.role()), (made.id, AccountRole::Bot));
    for password in ["no account's password", "12345678"] {
        let id = world.request_id();
        let refused = world.try_login(&id, "robot", password).await.err().unwrap();
        assert_eq!(refused.reason(), Reason::WrongCredentials, "{password}");
    }
}

#[tokio::test]
async fn password_guesses_are_throttled_and_a_retry_is_not_counted() {
    let mut world = World::start(Registration::Open).await;
    world.create("anna", None, None).await.unwrap();
    // A client that guesses does not vary its request ids for the test's sake.
    let id = world.request_id();
    for guess in 0..THROTTLE_FREE_ACCOUNT {
        for attempt in ["first", "retry"] {
            let password = format!("guess number {guess}");
            let refused = world.try_login(&id, "anna", &password).await.err();
            let refused = refused.unwrap();
            assert_eq!(
                refused.reason(),
                Reason::WrongCredentials,
                "{attempt} {guess}"
            );
        }
    }
    // The second wait is long enough to be noticed also on a slow machine.
    let second_wait = async {
        for guess in 1000.. {
            let password = format!("guess number {guess}");
            match world.try_login(&id, "anna", &password).await.err().unwrap() {
                Problem::LoginThrottled { wait_ms } if wait_ms > THROTTLE_FIRST_MS => return,
                problem => assert_ne!(problem.reason(), Reason::Busy),
            }
        }
    };
    timeout(PATIENCE, second_wait).await.unwrap();
    let refused = world.try_login(&id, "anna", PASSWORD).await.err().unwrap();
    assert!(
        matches!(refused, Problem::LoginThrottled { .. }),
        "{refused}"
    );
    let other = world.try_login(&id, "bert", PASSWORD).await.err().unwrap();
    assert_eq!(
        other.reason(),
        Reason::WrongCredentials,
        "another name is free"
    );

    let served = async {
        loop {
            match world.try_login(&id, "anna", PASSWORD).await {
                Ok(_) => return,
                Err(Problem::LoginThrottled { .. }) => tokio::task::yield_now().await,
                Err(problem) => panic!("{problem}"),
            }
        }
    };
    timeout(PATIENCE, served).await.unwrap();
    let id = world.request_id();
    let refused = world.try_login(&id, "anna", "one more guess").await;
    assert_eq!(refused.err().unwrap().reason(), Reason::WrongCredentials);
    let id = world.request_id();
    assert!(
        world.try_login(&id, "anna", PASSWORD).await.is_ok(),
        "forgiven"
    );
}

#[tokio::test]
async fn guesses_at_many_names_throttle_only_their_address() {
    let mut world = World::start(Registration::Open).await;
    let id = world.request_id();
    let throttled = async {
        for guess in 0.. {
            let name = format!("name-{guess}");
            match world.try_login(&id, &name, PASSWORD).await.err().unwrap() {
                Problem::LoginThrottled { wait_ms } if wait_ms > THROTTLE_FIRST_MS => return guess,
                problem => assert_ne!(problem.reason(), Reason::Busy),
            }
        }
        unreachable!("the loop has no end")
    };
    let guesses = timeout(PATIENCE, throttled).await.unwrap();
    assert!(guesses > THROTTLE_FREE_ADDRESS, "{guesses}");

    world.channel = world.from(2).await;
    let refused = world.try_login(&id, "anna", PASSWORD).await.err().unwrap();
    assert_eq!(refused.reason(), Reason::WrongCredentials);
}

#[tokio::test]
async fn a_new_password_ends_other_sessions_and_can_be_retried() {
    let mut world = World::start(Registration::Open).await;
    world.create("anna", None, None).await.unwrap();
    let (here, there) = (world.login("anna").await, world.login("anna").await);
    let change = |request, old: &str| v1::ChangePasswordRequest {
        request,
        old_password: old.to_owned(),
        new_password: "battery staple".to_owned(),
    };
    let wrong = change(world.number(), "no idea at all");
    let refused = world.accounts().change_password(here.ask(wrong)).await;
    assert_eq!(reason(refused.unwrap_err()), "WRONG_CREDENTIALS");

    let right = change(world.number(), PASSWORD);
    let changed = world
        .accounts()
        .change_password(here.ask(right.clone()))
        .await;
    changed.unwrap();
    let retried = world.accounts().change_password(here.ask(right)).await;
    assert!(retried.is_ok(), "{retried:?}");
    let list = v1::ListSessionsRequest::default();
    let listed = world
        .sessions()
        .list_sessions(here.ask(list))
        .await
        .unwrap();
    let listed = listed.into_inner().sessions;
    let left: Vec<u64> = listed.iter().map(|session| session.session_id).collect();
    assert_eq!(left, [here.session]);
    let ended = world.sessions().list_sessions(there.ask(list)).await;
    assert_eq!(reason(ended.unwrap_err()), "SESSION_EXPIRED");

    let again = change(world.number(), PASSWORD);
    let refused = world.accounts().change_password(here.ask(again)).await;
    assert_eq!(reason(refused.unwrap_err()), "WRONG_CREDENTIALS");
    let id = world.request_id();
    assert!(world.try_login(&id, "anna", PASSWORD).await.is_err());
    let id = world.request_id();
    assert!(world.try_login(&id, "anna", "battery staple").await.is_ok());
}

#[tokio::test]
async fn sessions_have_labels_and_are_ended_by_their_owner_alone() {
    let mut world = World::start(Registration::Open).await;
    world.create("anna", None, None).await.unwrap();
    world.create("bob", None, None).await.unwrap();
    let (here, there) = (world.login("anna").await, world.login("anna").await);
    let bob = world.login("bob").await;
    let list = v1::ListSessionsRequest::default();
    let listed = world
        .sessions()
        .list_sessions(there.ask(list))
        .await
        .unwrap();
    let seen: Vec<_> = listed
        .into_inner()
        .sessions
        .into_iter()
        .map(|session| (session.session_id, session.label, session.current))
        .collect();
    let label = || "anna's".to_owned();
    assert_eq!(
        seen,
        [
            (here.session, label(), false),
            (there.session, label(), true)
        ]
    );

    let end = v1::EndSessionRequest {
        request: world.number(),
        session_id: here.session,
    };
    let refused = world.sessions().end_session(bob.ask(end)).await;
    assert_eq!(reason(refused.unwrap_err()), "NO_SUCH_SESSION");
    world.sessions().end_session(there.ask(end)).await.unwrap();
    let ended = world.sessions().list_sessions(here.ask(list)).await;
    assert_eq!(reason(ended.unwrap_err()), "SESSION_EXPIRED");
}

#[tokio::test]
async fn blocked_accounts_are_listed() {
    let mut world = World::start(Registration::Open).await;
    world.create("anna", None, None).await.unwrap();
    world.create("bob", None, None).await.unwrap();
    let anna = world.login("anna").await;
    let name = v1::SetDisplayNameRequest {
        request: world.number(),
        display_name: "Anna A.".to_owned(),
    };
    world
        .accounts()
        .set_display_name(anna.ask(name))
        .await
        .unwrap();
    for (blocked, expected) in [(true, vec!["bob".to_owned()]), (false, Vec::new())] {
        let block = v1::SetBlockRequest {
            request: world.number(),
            name: "BOB".to_owned(),
            blocked,
        };
        world.accounts().set_block(anna.ask(block)).await.unwrap();
        let list = v1::ListBlocksRequest::default();
        let listed = world.accounts().list_blocks(anna.ask(list)).await.unwrap();
        let listed = listed.into_inner().accounts;
        let names: Vec<String> = listed.into_iter().map(|account| account.name).collect();
        assert_eq!(names, expected);
    }
    let own = v1::GetSessionRequest::default();
    let own = world.sessions().get_session(anna.ask(own)).await.unwrap();
    assert_eq!(own.into_inner().account.unwrap().display_name, "Anna A.");
}

#[tokio::test]
async fn a_display_name_confusable_with_another_name_is_refused() {
    let mut world = World::start(Registration::Open).await;
    world.create("anna", None, None).await.unwrap();
    world.create("bob", None, None).await.unwrap();
    let bob = world.login("bob").await;
    let later = world.number();
    let ahead = later.map(|id| v1::RequestId {
        number: id.number + 7,
        ..id
    });
    let ask = async |request, display_name: &str| {
        let name = v1::SetDisplayNameRequest {
            request,
            display_name: display_name.to_owned(),
        };
        world.accounts().set_display_name(bob.ask(name)).await
    };
    ask(ahead, "Bob B.").await.unwrap();
    // A number that was skipped is as unused as any.
    for display_name in ["anna", "ANNA", "\u{430}nn\u{430}", "a n n a", "\u{ff41}nna"] {
        let refused = ask(later, display_name).await.unwrap_err();
        assert_eq!(reason(refused), "NAME_ALIKE", "{display_name}");
    }
    let hidden = ask(later, "Bo\u{202e}b").await.unwrap_err();
    assert_eq!(reason(hidden), "LINE_INVALID");
    ask(later, "bob").await.unwrap();
    ask(ahead, "Bob B.").await.unwrap();
}

#[tokio::test]
async fn a_request_too_long_for_its_caller_is_refused_with_a_reason() {
    let world = World::start(Registration::Open).await;
    // The longest name that is read is refused as too long, and so is a request that is longer.
    for (bytes, word) in [
        (15 * 1024, "NAME_TOO_LONG"),
        (17 * 1024, "REQUEST_TOO_LONG"),
        (512 * 1024, "REQUEST_TOO_LONG"),
    ] {
        let refused = world.create(&"x".repeat(bytes), None, None).await;
        assert_eq!(refused, Err(word.to_owned()), "{bytes} bytes");
    }
    world.create("eve", None, None).await.unwrap();
}
