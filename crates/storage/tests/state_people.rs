//! Reading the data of accounts: sessions, blocks, invites, and failed attempts to log in.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;

use conclave_core::{
    AccessOperation, AccountId, AccountOperation, AccountRole, AdminOperation, Command,
    DisplayName, Grant, LoginKeys, Operation, SessionId, SessionLabel, ThrottleKey, TokenHash,
    limits::{LOGIN_PLACES_MAX, SESSION_MS, THROTTLE_FIRST_MS, THROTTLE_FREE_ACCOUNT},
};
use conclave_storage::state::State;
use read_support::*;
use state_support::{START, accept, apply_at, ask, once, people};

fn open_session(id: u128, account: u64, secret: u8, label: &str) -> Command {
    once(
        id,
        Operation::Access(AccessOperation::OpenSession {
            account: AccountId(account),
            password_version: 1,
            token: token(secret),
            label: SessionLabel::new(label).unwrap(),
            keys: LoginKeys::default(),
            renewed_hash: None,
        }),
    )
}

/// Creates account 1, an administrator, with session 1, whose token is 1.
fn admin(state: &mut State) {
    let create = Operation::Access(AccessOperation::CreateAccount {
        name: account("root"),
        password_hash: "$argon2id$".to_owned(),
        grant: Grant::Setup(token(200)),
    });
    accept(
        state,
        vec![
            once(
                900,
                Operation::Access(AccessOperation::OfferSetup { token: token(200) }),
            ),
            once(901, create),
            open_session(902, 1, 1, "desk"),
        ],
    );
}

#[test]
fn usable_sessions_are_listed_oldest_first() {
    let (_directory, mut state) = opened();
    admin(&mut state);
    let late = START + SESSION_MS / 2;
    apply_at(&mut state, late, vec![open_session(2, 1, 2, "phone")]);
    apply_at(&mut state, late, vec![open_session(3, 1, 3, "")]);
    let end = Operation::Account(AccountOperation::EndSession {
        session: SessionId(3),
    });
    apply_at(&mut state, late, vec![ask(2, 1, end)]);
    let reader = state.reader();
    let labels = || -> Vec<String> {
        let rows = reader.sessions(AccountId(1)).unwrap();
        rows.into_iter().map(|row| row.label).collect()
    };
    assert_eq!(labels(), ["desk", "phone"]);
    let phone = reader.session_by_token(&token(2)).unwrap().unwrap();
    assert_eq!((phone.id.0, phone.label.as_str()), (2, "phone"));
    assert_eq!(phone.role, AccountRole::Admin);
    assert_eq!(reader.request_last(phone.id).unwrap(), 1);
    let ended = reader.session_by_token(&token(3)).unwrap().unwrap();
    assert!(ended.closed);
    // The first session expires at that millisecond, not after it.
    apply_at(&mut state, START + SESSION_MS, vec![]);
    assert_eq!(labels(), ["phone"]);
    assert_eq!(reader.sessions(AccountId(9)).unwrap(), []);
}

#[test]
fn an_account_has_its_role_and_display_name() {
    let (_directory, mut state) = opened();
    admin(&mut state);
    let reader = state.reader();
    assert_eq!(reader.admins().unwrap(), 1);
    let display_name = DisplayName::new("Root of all").unwrap();
    let bot = Operation::Admin(AdminOperation::CreateBot {
        name: account("Robby"),
        token: token(9),
    });
    accept(
        &mut state,
        vec![
            ask(
                1,
                1,
                Operation::Account(AccountOperation::SetDisplayName { display_name }),
            ),
            ask(1, 2, bot),
        ],
    );
    let root = reader.account(AccountId(1)).unwrap().unwrap();
    assert_eq!(
        (root.role, root.display_name.as_str()),
        (AccountRole::Admin, "Root of all")
    );
    let robby = reader.account_by_key("robby").unwrap().unwrap();
    assert_eq!(
        (robby.role, robby.password_hash.as_str()),
        (AccountRole::Bot, "")
    );
    let session = reader.session_by_token(&token(9)).unwrap().unwrap();
    assert_eq!(
        (session.role, session.label.as_str()),
        (AccountRole::Bot, "bot token")
    );
}

#[test]
fn blocks_are_listed_for_the_account_that_made_them() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea", "cyd"]);
    accept(
        &mut state,
        vec![
            ask(1, 1, block("cyd", true)),
            ask(1, 2, block("bea", true)),
            ask(2, 1, block("cyd", true)),
            ask(2, 2, block("cyd", false)),
        ],
    );
    let reader = state.reader();
    let blocked_by = |account| -> Vec<String> {
        let rows = reader.blocks(AccountId(account)).unwrap();
        rows.into_iter().map(|row| row.name).collect()
    };
    assert_eq!(blocked_by(1), ["bea", "cyd"]);
    assert_eq!(blocked_by(2), [""; 0]);
    let is_blocked = |by, user| reader.is_blocked(AccountId(by), AccountId(user)).unwrap();
    assert!(is_blocked(1, 2) && !is_blocked(2, 1) && !is_blocked(2, 3));
}

#[test]
fn an_invite_is_listed_until_it_expires() {
    let (_directory, mut state) = opened();
    admin(&mut state);
    let invite = |code: u8, ttl_ms, uses| {
        Operation::Admin(AdminOperation::CreateInvite {
            code: token(code),
            ttl_ms,
            uses,
        })
    };
    accept(
        &mut state,
        vec![ask(1, 1, invite(5, 10, 2)), ask(1, 2, invite(6, 20, 1))],
    );
    let reader = state.reader();
    let told = || -> Vec<(u64, u32)> {
        let rows = reader.invites().unwrap();
        assert!(
            rows.iter()
                .all(|row| row.by_name.as_deref() == Some("root"))
        );
        rows.iter().map(|row| (row.id.0, row.uses_left)).collect()
    };
    assert_eq!(told(), [(1, 2), (2, 1)]);
    let guest = Operation::Access(AccessOperation::CreateAccount {
        name: account("guest"),
        password_hash: "$argon2id$".to_owned(),
        grant: Grant::Invite(token(5)),
    });
    apply_at(&mut state, START + 9, vec![once(1, guest)]);
    assert_eq!(told(), [(1, 1), (2, 1)]);
    assert_eq!(reader.invites().unwrap()[0].expires_at.0, START + 10);
    apply_at(&mut state, START + 10, vec![]);
    assert_eq!(told(), [(2, 1)]);
}

#[test]
fn the_throttle_state_of_a_name_is_readable() {
    let (_directory, mut state) = opened();
    let (name, address) = (ThrottleKey([1; 16]), ThrottleKey([2; 16]));
    let failures = THROTTLE_FREE_ACCOUNT + 1;
    for id in 0..failures {
        let keys = LoginKeys {
            account: name,
            address,
            pair: ThrottleKey([4; 16]),
            ..LoginKeys::default()
        };
        let count = Operation::Access(AccessOperation::TryPassword { keys });
        accept(&mut state, vec![once(u128::from(id), count)]);
    }
    let reader = state.reader();
    let held = reader.throttle(&name).unwrap().unwrap();
    assert_eq!((held.failures, held.failed_at.0), (failures, START));
    assert_eq!(held.not_before.0, START + THROTTLE_FIRST_MS);
    let free = reader.throttle(&address).unwrap().unwrap();
    assert_eq!((free.failures, free.not_before.0), (failures, START));
    assert_eq!(reader.throttle(&ThrottleKey([3; 16])).unwrap(), None);
    let unknown = reader.session_by_token(&TokenHash([3; 32])).unwrap();
    assert_eq!(unknown, None);
}

#[test]
fn the_least_recently_used_login_place_is_forgotten_first() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann"]);
    let place = |number: usize| ThrottleKey([number as u8 + 1; 16]);
    for number in 0..=LOGIN_PLACES_MAX {
        let mut login = open_session(1 + number as u128, 1, number as u8, "");
        if let Operation::Access(AccessOperation::OpenSession { keys, .. }) = &mut login.operation {
            keys.pair = place(number);
        }
        apply_at(&mut state, START + number as u64, vec![login]);
    }
    let reader = state.reader();
    let known = |number| reader.known_place(&[place(number)]).unwrap();
    assert_eq!(known(0), None, "the oldest is forgotten");
    for number in 1..=LOGIN_PLACES_MAX {
        assert_eq!(known(number), Some(place(number)));
    }
    let first = reader.known_place(&[place(0), place(2), place(1)]);
    assert_eq!(first.unwrap(), Some(place(2)), "the first that is known");
}
