//! Random logs of all commands: however they are applied they make one state, and in it every
//! number that is kept is what counting gives.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;
mod story;

use std::path::Path;

use conclave_core::{
    AccountRole, Command, DisplayName, Grant, InviteId, MemberRole, Operation, Recipient,
    SessionId, ThrottleKey, WebhookId, limits::INVITE_MS_MAX,
};
use conclave_storage::state::{Digest, Entry, EntryResult, Options, State};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use read_support::*;
use state_support::*;
use story::rows;

const PEOPLE: [&str; 6] = ["ann", "bea", "cyd", "dan", "eve", "hook"];
const ROOMS: [&str; 2] = ["lobby", "attic"];
const TEXTS: [&str; 4] = ["hi", "@ann and @bea", "look @cyd, @dan @hook", "bye"];
const REACTIONS: [&str; 3] = ["+1", "heart", "?"];

/// One thing that somebody asks for, as numbers that shrink well.
#[derive(Clone, Copy, Debug)]
struct Wish {
    what: u8,
    session: u64,
    who: usize,
    place: u64,
    sequence: u64,
    yes: bool,
    /// Milliseconds that pass before; then the next entry begins.
    pause: u64,
}

fn wish() -> impl Strategy<Value = Wish> {
    let pause = prop_oneof![
        12 => Just(0u64),
        10 => Just(1),
        2 => Just(11 * 60_000),
        1 => Just(25 * 60 * 60_000),
    ];
    // What ends sessions and accounts is rare, or little else could happen.
    let what = prop_oneof![
        1 => prop::sample::select(vec![6u8, 10, 11, 13, 24]),
        20 => 0u8..6,
        20 => prop::sample::select(vec![7u8, 8, 9, 12, 14, 15]),
        30 => 16u8..21,
        30 => prop::sample::select(vec![21u8, 22, 23, 25, 26, 27, 28, 29, 30]),
        30 => 31u8..35,
    ];
    let session = prop_oneof![4 => Just(1u64), 8 => 2u64..5, 1 => 5u64..9];
    let message = (
        prop_oneof![8 => 1u64..4, 1 => 4u64..6],
        prop_oneof![8 => 1u64..4, 1 => 4u64..8],
    );
    (
        what,
        session,
        0usize..PEOPLE.len(),
        message,
        any::<bool>(),
        pause,
    )
        .prop_map(|(what, session, who, (place, sequence), yes, pause)| Wish {
            what,
            session,
            who,
            place,
            sequence,
            yes,
            pause,
        })
}

impl Wish {
    fn is_outside(self) -> bool {
        self.what <= 5
    }

    fn operation(self, request: u64) -> Operation {
        let name = || account(PEOPLE[self.who]);
        let room_name = ROOMS[self.place as usize % ROOMS.len()];
        let text = TEXTS[self.sequence as usize % TEXTS.len()];
        let few = (request % 2) as u8;
        let message = message(self.place, self.sequence);
        match self.what {
            0 => create(PEOPLE[self.who]),
            1 => Operation::CreateAccount {
                name: name(),
                password_hash: "$argon2id$".to_owned(),
                grant: match self.yes {
                    true => Grant::Invite(token(100 + few)),
                    false => Grant::Setup(token(100)),
                },
            },
            2 => log_in(self.sequence, request),
            3 => Operation::CountLoginFailure {
                account: ThrottleKey([self.who as u8; 16]),
                address: ThrottleKey([200 + few; 16]),
            },
            4 => Operation::OfferSetup { token: token(100) },
            5 => post(150 + few, text),
            6..=20 => self.about_people(request),
            21 => create_room(room_name, self.yes),
            22 | 23 => join(room_name),
            24 => leave(room_name),
            25 => invite(room_name, PEOPLE[self.who]),
            26 => kick(room_name, PEOPLE[self.who]),
            27 => set_topic(room_name, text),
            28 => webhook(room_name, PEOPLE[self.who], 150 + few),
            29 => Operation::DeleteWebhook {
                webhook: WebhookId(self.place),
            },
            30 => set_role(room_name, PEOPLE[self.who], role(self.sequence)),
            31 => edit(self.place, self.sequence, text),
            32 => {
                let reaction = REACTIONS[self.who % REACTIONS.len()];
                react(self.place, self.sequence, reaction, self.yes)
            }
            _ => Operation::DeleteMessages {
                messages: vec![message],
                for_everyone: self.yes,
            },
        }
    }

    fn about_people(self, request: u64) -> Operation {
        let name = account(PEOPLE[self.who]);
        let text = TEXTS[self.sequence as usize % TEXTS.len()];
        match self.what {
            6 => Operation::DeleteAccount,
            7 => Operation::ChangePassword {
                password_version: 1,
                password_hash: format!("$argon2id${request}"),
            },
            8 => Operation::SetDisplayName {
                display_name: DisplayName::new(text).unwrap(),
            },
            9 => block(PEOPLE[self.who], self.yes),
            10 => Operation::CloseSession,
            11 => Operation::EndSession {
                session: SessionId(self.place),
            },
            12 => Operation::SetAccountRole {
                name,
                role: match self.yes {
                    true => AccountRole::Admin,
                    false => AccountRole::User,
                },
            },
            13 => Operation::RemoveAccount { name },
            14 => Operation::CreateInvite {
                code: token(100 + (request % 2) as u8),
                ttl_ms: self.sequence * INVITE_MS_MAX / 7,
                uses: self.place as u32,
            },
            15 => Operation::RevokeInvite {
                invite: InviteId(self.place),
            },
            16 => advance(self.place, self.sequence, self.sequence - 1),
            17 | 18 => {
                let room = room(ROOMS[self.place as usize % ROOMS.len()]);
                let reply_to = self.yes.then_some(self.sequence / 2);
                send(Recipient::Room(room), text, reply_to, self.yes)
            }
            19 => say_in(self.place, text),
            _ => say(PEOPLE[self.who], text),
        }
    }
}

fn role(number: u64) -> MemberRole {
    match number % 3 {
        0 => MemberRole::Member,
        1 => MemberRole::Moderator,
        _ => MemberRole::Owner,
    }
}

fn log_in(account: u64, request: u64) -> Operation {
    let mut operation = login(account);
    if let Operation::OpenSession {
        token, throttle, ..
    } = &mut operation
    {
        token.0[8..16].copy_from_slice(&request.to_be_bytes());
        *throttle = ThrottleKey([account as u8; 16]);
    }
    operation
}

/// A log in which four people come, open rooms, and then do as they wish.
fn log(wishes: &[Wish]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut add = |at: u64, commands: Vec<Command>| {
        entries.push(entry(entries.len() as u64 + 1, batch(at, commands)));
    };
    let setup = Operation::CreateAccount {
        name: account("ann"),
        password_hash: "$argon2id$".to_owned(),
        grant: Grant::Setup(token(100)),
    };
    let offer = Operation::OfferSetup { token: token(100) };
    let mut first = vec![once(1 << 100, offer), once(1 << 101, setup)];
    for (number, name) in (2..).zip(&PEOPLE[1..4]) {
        first.push(once(1 << (100 + number), create(name)));
    }
    for number in 1..=4_u64 {
        first.push(once(1 << (110 + number), log_in(number, 0)));
    }
    add(START, first);
    let open = vec![
        ask(1, 1, create_room("lobby", true)),
        ask(1, 2, create_room("attic", false)),
        ask(2, 1, join("lobby")),
        ask(3, 1, join("lobby")),
        ask(1, 4, invite("attic", "bea")),
        ask(1, 5, invite("attic", "dan")),
        ask(2, 2, join("attic")),
        ask(1, 3, say("bea", "hello @bea")),
    ];
    add(START, open);

    let (mut at, mut commands) = (START, Vec::new());
    for (request, wish) in (10_u64..).zip(wishes) {
        if wish.pause > 0 {
            add(at, std::mem::take(&mut commands));
            at += wish.pause;
        }
        let operation = wish.operation(request);
        commands.push(match wish.is_outside() {
            true => once(u128::from(request), operation),
            false => ask(wish.session, request, operation),
        });
    }
    add(at, commands);
    entries
}

/// How a log is brought into a state.
#[derive(Clone)]
struct Way {
    options: Options,
    entries_per_transaction: usize,
    entries_per_opening: usize,
    snapshot_after: usize,
}

fn run(way: &Way, entries: &[Entry]) -> (Vec<EntryResult>, Digest, tempfile::TempDir) {
    let mut directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), way.options.clone()).unwrap();
    let mut results = Vec::new();
    let mut since_opening = 0;
    for chunk in entries.chunks(way.entries_per_transaction) {
        results.extend(state.apply(chunk).unwrap());
        since_opening += chunk.len();
        if since_opening >= way.entries_per_opening {
            drop(state);
            state = State::open(directory.path(), way.options.clone()).unwrap();
            since_opening = 0;
        }
        if results.len() == way.snapshot_after {
            let other = tempfile::tempdir().unwrap();
            let file = other.path().join("snapshot");
            state.reader().snapshot_to(&file).unwrap();
            state = State::open(other.path(), way.options.clone()).unwrap();
            state.install(&file).unwrap();
            directory = other;
        }
    }
    (results, digest(&state), directory)
}

fn check(wishes: &[Wish]) {
    let entries = log(wishes);
    let plain = Way {
        options: Options::default(),
        entries_per_transaction: 1,
        entries_per_opening: usize::MAX,
        snapshot_after: usize::MAX,
    };
    let (results, digest, directory) = run(&plain, &entries);
    let others = [
        Way {
            entries_per_transaction: 50,
            ..plain.clone()
        },
        Way {
            options: tiny(),
            ..plain.clone()
        },
        Way {
            entries_per_opening: 3,
            ..plain.clone()
        },
        Way {
            options: tiny(),
            snapshot_after: entries.len() / 2,
            ..plain.clone()
        },
    ];
    for (number, way) in others.iter().enumerate() {
        let (again, same, _directory) = run(way, &entries);
        assert_eq!(again, results, "way {number}");
        assert_eq!(same, digest, "way {number}");
    }
    check_counters(directory.path());
}

/// Queries that find what does not agree: no row of theirs may ever be there.
const CONTRADICTIONS: [&str; 15] = [
    "SELECT accounts, admins FROM meta WHERE accounts <> (SELECT count(*) FROM accounts)
        OR admins <> (SELECT count(*) FROM accounts WHERE role = 1)",
    "SELECT rooms FROM meta WHERE rooms <>
        (SELECT count(*) FROM conversations WHERE key IS NOT NULL)",
    "SELECT invites, throttles FROM meta WHERE invites <> (SELECT count(*) FROM invites)
        OR throttles <> (SELECT count(*) FROM throttles)",
    "SELECT changes FROM meta WHERE changes <> (SELECT count(*) FROM changes)
        OR orphans <> (SELECT count(*) FROM orphans)
        OR once_answers <> (SELECT count(*) FROM once_answers)",
    "SELECT 'offered beside an administrator' FROM meta
        WHERE admins > 0 AND setup_token IS NOT NULL",
    "SELECT id, members FROM conversations c WHERE key IS NOT NULL
        AND members <> (SELECT count(*) FROM members WHERE conversation = c.id)",
    "SELECT id FROM conversations c WHERE key IS NULL AND direct_low IS NULL
        AND id NOT IN (SELECT conversation FROM orphans WHERE conversation IS NOT NULL)",
    "SELECT conversation, sequence, ordinal FROM
        (SELECT *, row_number() OVER (PARTITION BY conversation, by_account ORDER BY sequence)
            AS n, row_number() OVER (PARTITION BY conversation ORDER BY position) AS place
            FROM messages WHERE conversation NOT IN
            (SELECT conversation FROM orphans WHERE conversation IS NOT NULL))
        WHERE ordinal <> n OR sequence <> place",
    "SELECT conversation, account, sent_read FROM members m WHERE sent_read <>
        (SELECT count(*) FROM messages WHERE conversation = m.conversation
            AND by_account = m.account AND sequence <= m.read)",
    "SELECT conversation, sequence, reaction, count FROM reaction_counts c WHERE count <>
        (SELECT count(*) FROM reactions r WHERE r.conversation = c.conversation
            AND r.sequence = c.sequence AND r.reaction = c.reaction)",
    "SELECT conversation, sequence, reaction FROM reactions
        WHERE (conversation, sequence, reaction) NOT IN
        (SELECT conversation, sequence, reaction FROM reaction_counts)",
    "SELECT conversation, sequence FROM messages WHERE text IS NULL AND
        ((conversation, sequence) IN (SELECT conversation, sequence FROM mentions)
        OR (conversation, sequence) IN (SELECT conversation, sequence FROM reactions))",
    "SELECT * FROM members WHERE account NOT IN (SELECT id FROM accounts)
        OR conversation NOT IN (SELECT id FROM conversations)",
    "SELECT * FROM invitations WHERE account NOT IN (SELECT id FROM accounts)
        OR (conversation, account) IN (SELECT conversation, account FROM members)
        OR conversation NOT IN (SELECT id FROM conversations WHERE key IS NOT NULL)",
    "SELECT account FROM webhooks w WHERE (conversation, account) NOT IN
        (SELECT conversation, account FROM members)",
];

fn check_counters(directory: &Path) {
    for sql in CONTRADICTIONS {
        assert_eq!(rows(directory, sql), [""; 0], "{sql}");
    }
    let sql = "SELECT account, other FROM blocks WHERE account NOT IN (SELECT id FROM accounts)
        OR other NOT IN (SELECT id FROM accounts)";
    assert_eq!(rows(directory, sql), [""; 0], "somebody who is gone");
}

/// Enough for the desk; a failing log is kept as a test, not as a seed.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn one_log_makes_one_state_in_which_the_counters_are_right(
        wishes in prop::collection::vec(wish(), 1..150)
    ) {
        check(&wishes);
    }
}

#[test]
fn the_wishes_come_true_often_enough_to_mean_something() {
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(wish(), 150);
    let mut told = std::collections::BTreeMap::<String, u64>::new();
    for _ in 0..40 {
        let wishes = strategy.new_tree(&mut runner).unwrap().current();
        let plain = Way {
            options: Options::default(),
            entries_per_transaction: 50,
            entries_per_opening: usize::MAX,
            snapshot_after: usize::MAX,
        };
        let (results, ..) = run(&plain, &log(&wishes));
        for (_, event) in results.into_iter().flat_map(|result| result.events) {
            let shown = format!("{event:?}");
            let kind = shown.split([' ', '{']).next().unwrap().to_owned();
            *told.entry(kind).or_default() += 1;
        }
    }
    assert_eq!(told.len(), 32, "{told:?}");
}
