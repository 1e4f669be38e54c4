//! The rooms of an account are in memory as they are in the tables, and are read there once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{path::Path, sync::Arc};

use conclave_core::{
    AccessOperation, AccountName, AccountOperation, Batch, Command, Grant, LoginKeys, Lookup as _,
    OnceId, Operation, Origin, RoomName, RoomOperation, SessionLabel, TokenHash, Topic,
};
use proptest::prelude::*;
use rusqlite::StatementStatus;
use tempfile::TempDir;

use super::*;
use crate::{
    log::LogId,
    state::{Entry, Options, Payload, State},
};

/// A minute: enough that no rate is exceeded.
const MINUTE_MS: u64 = 60_000;

/// A state with accounts 1, 2 … that have a session of the same number each.
struct Story {
    directory: TempDir,
    state: State,
    number: u64,
}

impl Story {
    fn new(accounts: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path(), Options::default()).unwrap();
        let mut story = Self {
            directory,
            state,
            number: 0,
        };
        for account in 1..=accounts {
            let create = AccessOperation::CreateAccount {
                name: name_of(account),
                password_hash: "$argon2id$".to_owned(),
                grant: Grant::Open,
            };
            let mut token = [0; 32];
            token[..8].copy_from_slice(&account.to_be_bytes());
            let login = AccessOperation::OpenSession {
                account: AccountId(account),
                password_version: 1,
                token: TokenHash(token),
                label: SessionLabel::default(),
                keys: LoginKeys::default(),
                renewed_hash: None,
            };
            for operation in [create, login] {
                assert!(story.ask(None, Operation::Access(operation)));
            }
        }
        story
    }

    /// Applies an entry with one command; returns whether it was accepted.
    fn ask(&mut self, session: Option<u64>, operation: Operation) -> bool {
        self.number += 1;
        let number = self.number;
        let origin = match session {
            Some(session) => Origin::Session {
                session: SessionId(session),
                number,
            },
            None => Origin::Once(OnceId(u128::from(number).to_be_bytes())),
        };
        let command = Command {
            origin,
            digest: Digest(number),
            operation,
        };
        let at = Timestamp(1_000_000 + number * MINUTE_MS);
        let payload = Payload::Commands(Arc::new(Batch {
            proposed_at: at,
            date: at,
            commands: vec![command],
        }));
        let index = self.state.applied().last.map_or(1, |last| last.index + 1);
        let id = LogId {
            term: 1,
            node: 1,
            index,
        };
        let results = self.state.apply(&[Entry { id, payload }]).unwrap();
        results[0].answers[0].is_ok()
    }

    /// Gives account 2 so many direct conversations while the state is closed.
    fn reopen_with_directs(&mut self, count: u64) {
        // Another state in its place, so that this one is closed.
        let elsewhere = tempfile::tempdir().unwrap();
        let options = Options::default;
        self.state = State::open(elsewhere.path(), options()).unwrap();
        add_directs(self.directory.path(), count);
        self.state = State::open(self.directory.path(), options()).unwrap();
    }

    fn writer(&self) -> &Writer {
        self.state.writer.as_ref().unwrap()
    }
}

fn name_of(account: u64) -> AccountName {
    AccountName::new(format!("person{account}")).unwrap()
}

fn room(number: u64) -> RoomName {
    RoomName::new(format!("room{number}")).unwrap()
}

fn create(number: u64) -> Operation {
    Operation::Room(RoomOperation::CreateRoom {
        name: room(number),
        topic: Topic::new("").unwrap(),
        public: true,
    })
}

fn join(number: u64) -> Operation {
    Operation::Room(RoomOperation::JoinRoom { name: room(number) })
}

fn leave(number: u64) -> Operation {
    Operation::Room(RoomOperation::LeaveRoom { name: room(number) })
}

fn add_directs(directory: &Path, count: u64) {
    let sql = format!(
        "WITH RECURSIVE n(n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM n LIMIT {count})
        INSERT INTO conversations (id, direct_low, direct_high, opened_at, message_last)
            SELECT n, 2, 1000 + n, 1, 1 FROM n;
        INSERT INTO members (conversation, account, delivered, read, sent_read, advanced_at, role,
            joined_at) SELECT id, direct_low, 0, 0, 0, 0, 0, 1 FROM conversations WHERE id >= 1000;
        UPDATE meta SET conversation_last = 1000 + {count}"
    );
    let connection = rusqlite::Connection::open(directory.join("state.db")).unwrap();
    connection.execute_batch(&sql).unwrap();
}

/// Returns how many steps of the query for its rooms an account with so many direct conversations
/// costs that joins and leaves rooms, the first time apart.
fn steps(directs: u64) -> i32 {
    let mut story = Story::new(2);
    for number in 0..20 {
        assert!(story.ask(Some(1), create(number)));
    }
    story.reopen_with_directs(directs);
    assert!(story.ask(Some(2), join(0)));
    let taken = |story: &Story| {
        let statement = story.writer().connection.prepare_cached(ROOMS_OF).unwrap();
        statement.reset_status(StatementStatus::VmStep)
    };
    assert!(taken(&story) > 0, "the first time it is asked");
    for number in 1..20 {
        assert!(story.ask(Some(2), join(number)));
        assert!(story.ask(Some(2), leave(number - 1)));
    }
    taken(&story)
}

#[test]
fn a_join_reads_no_direct_conversation() {
    assert_eq!(steps(10), steps(10_000));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Create(u64, u64),
    Join(u64, u64),
    Leave(u64, u64),
    Kick(u64, u64, u64),
    Delete(u64),
    /// A transaction is lost.
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    let (account, number) = (1..5_u64, 0..6_u64);
    prop_oneof![
        3 => (account.clone(), number.clone()).prop_map(|(by, of)| Step::Create(by, of)),
        6 => (account.clone(), number.clone()).prop_map(|(by, of)| Step::Join(by, of)),
        3 => (account.clone(), number.clone()).prop_map(|(by, of)| Step::Leave(by, of)),
        2 => (account.clone(), number, account.clone())
            .prop_map(|(by, of, other)| Step::Kick(by, of, other)),
        1 => account.prop_map(Step::Delete),
        1 => Just(Step::Lose),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn rooms_in_memory_are_those_in_the_tables(steps in prop::collection::vec(step(), 1..60)) {
        let mut story = Story::new(4);
        for step in steps {
            match step {
                Step::Create(by, of) => _ = story.ask(Some(by), create(of)),
                Step::Join(by, of) => _ = story.ask(Some(by), join(of)),
                Step::Leave(by, of) => _ = story.ask(Some(by), leave(of)),
                Step::Kick(by, of, other) => {
                    let (name, account) = (room(of), name_of(other));
                    let kick = RoomOperation::KickFromRoom { name, account };
                    _ = story.ask(Some(by), Operation::Room(kick));
                }
                Step::Delete(by) => {
                    let delete = AccountOperation::DeleteAccount { password_version: 1 };
                    _ = story.ask(Some(by), Operation::Account(delete));
                }
                Step::Lose => story.state.writer.as_mut().unwrap().roll_back(),
            }
            let writer = story.writer();
            for account in (1..5).map(AccountId) {
                let read = writer.load_rooms_of(account).unwrap();
                prop_assert_eq!(writer.rooms_of(account).unwrap(), read);
            }
        }
    }
}
