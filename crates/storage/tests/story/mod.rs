//! One small log in which everything that can happen happens, for tests of stored data.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::Path;

use bytes::Bytes;
use conclave_core::{
    AccessOperation, AccountId, AccountLimit, AccountOperation, AccountRole, AckPolicy,
    AdminOperation, AuthorityId, ClusterOperation, ClusterVersion, Command, DisplayName, Event,
    Grant, JoinCredential, LoginKeys, MemberRole, NodeId, OnceId, Operation, OperatorName,
    OperatorRequest, Origin, Recipient, RetentionChange, RoomOperation, SessionId, SessionLabel,
    ThrottleKey, WebhookId,
    limits::{INVITE_MS_MAX, JOIN_TOKEN_MS_MAX, RETENTION_AGE_MS_MAX},
};
use conclave_storage::state::{Payload, State};
use rusqlite::{Connection, types::Value};

use crate::{read_support::*, state_support::*};

/// Two days after the beginning: sessions are renewed and forgotten.
pub(crate) const LATER: u64 = START + 2 * 24 * 60 * 60 * 1000;

/// Number of messages in the room whose last member leaves at the end.
pub(crate) const CELLAR_MESSAGES: u64 = 100;

/// Numbers requests, applies them, and keeps their events.
pub(crate) struct Teller<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) events: Vec<Event>,
    requests: u64,
    at: u64,
}

impl Teller<'_> {
    /// Makes a request outside a session.
    fn once(&mut self, operation: Operation) {
        self.requests += 1;
        let id = OnceId(u128::from(self.requests).to_be_bytes());
        self.tell(Origin::Once(id), operation);
    }

    /// Makes a request in a session.
    fn ask(&mut self, session: u64, operation: Operation) {
        self.requests += 1;
        let origin = Origin::Session {
            session: SessionId(session),
            number: self.requests,
        };
        self.tell(origin, operation);
    }

    /// Makes a request of the first operator.
    fn operate(&mut self, request: OperatorRequest) {
        let credential = token(80);
        self.once(Operation::Cluster(ClusterOperation::ByOperator {
            credential,
            request,
        }));
    }

    fn tell(&mut self, origin: Origin, operation: Operation) {
        let command = Command {
            origin,
            digest: conclave_core::Digest(self.requests),
            operation,
        };
        let result = apply_at(self.state, self.at, vec![command.clone()]);
        assert!(result.answers[0].is_ok(), "{command:?}: {result:?}");
        self.events
            .extend(result.events.into_iter().map(|(_, event)| event));
    }
}

/// Applies the whole story to an empty state; returns its events.
pub(crate) fn story(state: &mut State) -> Vec<Event> {
    let members = Payload::Membership {
        bytes: Bytes::from_static(b"three nodes"),
        nodes: (1..=3).collect(),
    };
    state.apply(&[entry(1, members)]).unwrap();
    let mut teller = Teller {
        state,
        events: Vec::new(),
        requests: 0,
        at: START,
    };
    people_come(&mut teller);
    // The clocks of all nodes are set back for a while.
    apply_at(teller.state, START / 2, Vec::new());
    accounts_change(&mut teller);
    nodes_change(&mut teller);
    rooms_fill(&mut teller);
    messages_change(&mut teller);
    time_passes(&mut teller);
    teller.events
}

fn log_in(account: u64, secret: u8, throttle: u8) -> Operation {
    Operation::Access(AccessOperation::OpenSession {
        account: AccountId(account),
        password_version: 1,
        token: token(secret),
        label: SessionLabel::new("laptop").unwrap(),
        keys: keys(account, throttle, 201),
        renewed_hash: (throttle > 0).then(|| "$argon2id$renewed".to_owned()),
    })
}

/// Returns the keys of an attempt on an account: known if nothing is held against it.
fn keys(account: u64, throttle: u8, address: u8) -> LoginKeys {
    let pair = match throttle {
        0 => 100 + account as u8,
        held => 150 + held,
    };
    LoginKeys {
        account: ThrottleKey([throttle; 16]),
        address: ThrottleKey([address; 16]),
        pair: ThrottleKey([pair; 16]),
        ..LoginKeys::default()
    }
}

fn come(name: &str, grant: Grant) -> Operation {
    Operation::Access(AccessOperation::CreateAccount {
        name: account(name),
        password_hash: format!("$argon2id${name}"),
        grant,
    })
}

/// Creates ann (1, an administrator), bea (2), cyd (3) and dan (4), with sessions of the same
/// numbers.
fn people_come(teller: &mut Teller<'_>) {
    teller.once(Operation::Access(AccessOperation::OfferSetup {
        token: token(90),
    }));
    teller.once(come("ann", Grant::Setup(token(90))));
    for name in ["bea", "cyd", "dan"] {
        teller.once(come(name, Grant::Open));
    }
    for number in 1..=4 {
        teller.once(log_in(number, number as u8, 0));
    }
    teller.once(Operation::Access(AccessOperation::TryPassword {
        keys: keys(2, 2, 200),
    }));
    teller.once(log_in(2, 5, 2));
    let session = SessionId(5);
    teller.ask(
        2,
        Operation::Account(AccountOperation::EndSession { session }),
    );
}

/// Creates eve (5) and fay (6) with invites, and a bot (7) with its session (6); deletes fay.
fn accounts_change(teller: &mut Teller<'_>) {
    teller.ask(
        2,
        Operation::Account(AccountOperation::ChangePassword {
            password_version: 1,
            password_hash: "$argon2id$new".to_owned(),
        }),
    );
    let display_name = DisplayName::new("Bea the Bee").unwrap();
    teller.ask(
        2,
        Operation::Account(AccountOperation::SetDisplayName { display_name }),
    );
    for role in [AccountRole::Admin, AccountRole::User] {
        let name = account("cyd");
        teller.ask(
            1,
            Operation::Admin(AdminOperation::SetAccountRole { name, role }),
        );
    }
    teller.ask(4, block("bea", true));
    teller.ask(4, block("cyd", true));
    teller.ask(4, block("cyd", false));
    for (code, uses) in [(91, 2), (92, 1), (93, 1)] {
        teller.ask(
            1,
            Operation::Admin(AdminOperation::CreateInvite {
                code: token(code),
                ttl_ms: INVITE_MS_MAX,
                uses,
            }),
        );
    }
    let invite = conclave_core::InviteId(3);
    teller.ask(1, Operation::Admin(AdminOperation::RevokeInvite { invite }));
    teller.once(come("eve", Grant::Invite(token(91))));
    teller.once(come("fay", Grant::Invite(token(92))));
    teller.ask(
        1,
        Operation::Admin(AdminOperation::CreateBot {
            name: account("robot"),
            token: token(94),
        }),
    );
    for suspended in [true, false] {
        let name = account("fay");
        teller.ask(
            1,
            Operation::Admin(AdminOperation::SetSuspended { name, suspended }),
        );
    }
    let name = account("fay");
    teller.ask(1, Operation::Admin(AdminOperation::RemoveAccount { name }));
}

/// Admits node 4 with one of two tokens and retires it; node 9 never joined; node 2 is preferred as
/// leader.
fn nodes_change(teller: &mut Teller<'_>) {
    teller.once(Operation::Cluster(ClusterOperation::MakeFirstOperator {
        token: token(80),
    }));
    for (name, credential) in [("eva", 81), ("max", 82)] {
        let name = OperatorName::new(name).unwrap();
        let token = token(credential);
        teller.operate(OperatorRequest::CreateOperator { name, token });
    }
    let name = OperatorName::new("max").unwrap();
    teller.operate(OperatorRequest::RevokeOperator { name });
    for (generation, is_final) in [(1, false), (1, true), (2, false)] {
        teller.once(Operation::Cluster(ClusterOperation::RotateAuthority {
            generation,
            authority: AuthorityId([generation as u8; 32]),
            is_final,
        }));
    }
    for (first, voter) in [(96, true), (97, false)] {
        teller.operate(OperatorRequest::CreateJoinToken {
            token: token(first),
            ttl_ms: JOIN_TOKEN_MS_MAX,
            voter,
        });
    }
    teller.once(Operation::Cluster(ClusterOperation::AdmitNode {
        credential: JoinCredential::Token(token(96)),
        known_last: NodeId(3),
        newest: None,
    }));
    for to in 1..=3 {
        teller.once(Operation::Cluster(ClusterOperation::RaiseVersion {
            to: ClusterVersion(to),
            asked: (1..=9).map(NodeId).collect(),
        }));
    }
    for node in [4, 9] {
        teller.once(Operation::Cluster(ClusterOperation::RetireNode {
            node: NodeId(node),
        }));
    }
    let node = Some(NodeId(2));
    teller.operate(OperatorRequest::PreferLeader { node });
    let policy = AckPolicy::All;
    teller.operate(OperatorRequest::SetAckPolicy { policy });
    let change = RetentionChange {
        age_ms: Some(RETENTION_AGE_MS_MAX),
        ..RetentionChange::default()
    };
    teller.operate(OperatorRequest::SetRetention { change });
    let limit = AccountLimit::CONVERSATIONS;
    let values = vec![(limit, 77)];
    teller.ask(
        1,
        Operation::Admin(AdminOperation::SetAccountLimits { values }),
    );
}

/// Creates room 1, the lobby, and room 2, the attic. Webhook 1 posts as account 8.
fn rooms_fill(teller: &mut Teller<'_>) {
    teller.ask(1, create_room("lobby", true));
    teller.ask(2, join("lobby"));
    teller.ask(2, leave("lobby"));
    teller.ask(2, join("lobby"));
    teller.ask(1, create_room("attic", false));
    for name in ["cyd", "dan", "eve"] {
        teller.ask(1, invite("attic", name));
    }
    teller.ask(3, join("attic"));
    teller.ask(1, kick("attic", "dan"));
    teller.ask(1, set_topic("lobby", "what is new"));
    teller.ask(1, set_role("lobby", "bea", MemberRole::Moderator));
    teller.ask(1, webhook("lobby", "hook", 95));
    teller.ask(1, webhook("lobby", "claw", 96));
    let webhook = WebhookId(2);
    teller.ask(1, Operation::Room(RoomOperation::DeleteWebhook { webhook }));
}

/// Sends five messages in the lobby, and one between ann and cyd in conversation 3.
fn messages_change(teller: &mut Teller<'_>) {
    teller.once(post(95, "the build is green"));
    teller.ask(1, say_room("lobby", "hello @bea and @hook"));
    let lobby = || Recipient::Room(room("lobby"));
    teller.ask(2, send(lobby(), "waves", Some(2), true));
    teller.ask(1, say_room("lobby", "a mistake"));
    teller.ask(2, say_room("lobby", "@ann a secret"));
    teller.ask(1, edit(1, 4, "a joke for @bea"));
    for session in [1, 2] {
        teller.ask(session, react(1, 2, "+1", true));
        teller.ask(session, react(1, 5, "?", true));
    }
    teller.ask(2, react(1, 2, "heart", true));
    teller.ask(2, react(1, 2, "heart", false));
    teller.ask(1, react(1, 2, "+1", false));
    teller.ask(1, delete(1, &[5], true));
    teller.ask(2, delete(1, &[1, 4], false));
    teller.ask(2, advance(1, 5, 3));
    teller.ask(1, say("cyd", "psst"));
}

/// Renews a session, and forgets another one; the loft (5) keeps one of its messages; the last
/// member leaves the cellar (4).
fn time_passes(teller: &mut Teller<'_>) {
    teller.ask(1, create_room("cellar", true));
    for _ in 0..CELLAR_MESSAGES {
        teller.ask(1, say_room("cellar", "are you there, @ann?"));
    }
    teller.ask(1, create_room("loft", true));
    for text in ["one", "two", "three"] {
        teller.ask(1, say_room("loft", text));
    }
    teller.ask(1, keep_in("loft", None, Some(1)));
    teller.once(forget(&[5]));
    teller.at = LATER;
    teller.once(log_in(5, 97, 0));
    teller.ask(1, leave("cellar"));
}

/// Returns the rows of a query, as text.
pub(crate) fn rows(directory: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(directory.join("state.db")).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let values = (0..columns).map(|at| row.get::<_, Value>(at).map(shown));
        Ok(values.collect::<rusqlite::Result<Vec<_>>>()?.join("|"))
    };
    let found = statement.query_map([], row).unwrap();
    found.map(Result::unwrap).collect()
}

fn shown(value: Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text,
        Value::Blob(bytes) => format!("{}x{:02x}", bytes.len(), bytes[0]),
    }
}

/// Returns the tables of the state, without those that belong to the file alone.
pub(crate) fn tables(directory: &Path) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema
        WHERE type = 'table' AND name NOT LIKE 'sqlite%'
            AND name NOT IN ('format', 'seal') ORDER BY name";
    rows(directory, sql)
}

/// Empties each table but `meta`, without which there is no state, and fills it again; calls `look`
/// with `true` while it is empty and with `false` afterwards.
pub(crate) fn while_each_table_is_empty(directory: &Path, mut look: impl FnMut(&str, bool)) {
    let connection = Connection::open(directory.join("state.db")).unwrap();
    for table in tables(directory).iter().filter(|table| *table != "meta") {
        let kept = format!("CREATE TEMP TABLE kept AS SELECT * FROM main.{table}");
        connection.execute_batch(&kept).unwrap();
        let delete = format!("DELETE FROM main.{table}");
        assert!(connection.execute(&delete, []).unwrap() > 0, "{table}");
        look(table, true);
        let back = format!("INSERT INTO main.{table} SELECT * FROM kept; DROP TABLE temp.kept");
        connection.execute_batch(&back).unwrap();
        look(table, false);
    }
}
