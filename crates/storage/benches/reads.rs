//! Measures what people wait for: opening a conversation, scrolling back, the list with its
//! unread counts, unread messages, a stream that catches up.
//!
//! The writer itself makes the state: two people with 200 000 messages, a room of 10 000 members,
//! one person that has got a message from as many others, and a room in which one member has sent
//! 200 000 messages and read none.
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]
#![allow(clippy::unwrap_used, reason = "a failure ends the measurement")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_core::{
    AccessOperation, AccountId, AccountName, Batch, Command, ConversationId, Digest, Grant,
    LoginKeys, MessageOperation, MessageRef, MessageText, NamePattern, OnceId, Operation, Origin,
    Position, Progress, Reaction, Recipient, RoomName, RoomOperation, Sequence, SessionId,
    SessionLabel, Timestamp, TokenHash, Topic, limits::BATCH_COMMANDS_MAX,
};
use conclave_storage::log::LogId;
use conclave_storage::state::{Entry, HistoryFrom, Options, Payload, Reader, State};

const MESSAGES: u64 = 200_000;
const MEMBERS: u64 = 10_000;
const ROUNDS: usize = 300;
/// What everything has to stay under on a machine that does nothing else.
const P99_MAX: Duration = Duration::from_millis(20);

const ANN: AccountId = AccountId(1);
const BEA: AccountId = AccountId(2);
/// A member of the large room and of nothing else.
const CYD: AccountId = AccountId(3);
/// The account to which every other account has written.
const DAN: AccountId = AccountId(4);
/// The conversations, in the order in which they are opened.
const DIRECT: ConversationId = ConversationId(1);
const HALL: ConversationId = ConversationId(2);
const ALONE: ConversationId = ConversationId(3);

/// A log that grows by whole entries.
struct Writer {
    state: State,
    index: u64,
    waiting: Vec<Command>,
    numbers: BTreeMap<u64, u64>,
}

impl Writer {
    fn once(&mut self, operation: Operation) {
        let id = u128::from(self.index) << 32 | self.waiting.len() as u128;
        self.push(Origin::Once(OnceId(id.to_be_bytes())), operation);
    }

    /// Adds a request of the session with the same number as its account.
    fn ask(&mut self, session: u64, operation: Operation) {
        let number = self.numbers.entry(session).or_default();
        *number += 1;
        let origin = Origin::Session {
            session: SessionId(session),
            number: *number,
        };
        self.push(origin, operation);
    }

    fn push(&mut self, origin: Origin, operation: Operation) {
        self.waiting.push(Command {
            origin,
            digest: Digest(0),
            operation,
        });
        if self.waiting.len() == BATCH_COMMANDS_MAX {
            self.apply();
        }
    }

    fn apply(&mut self) {
        self.index += 1;
        let id = LogId {
            term: 1,
            node: 1,
            index: self.index,
        };
        let batch = Batch {
            // A minute each, so that no account is refused by its rate limit.
            proposed_at: Timestamp(1_000_000 + 60_000 * self.index),
            date: Timestamp(1_000_000 + 60_000 * self.index),
            commands: std::mem::take(&mut self.waiting),
        };
        let payload = Payload::Commands(Arc::new(batch));
        let results = self.state.apply(&[Entry { id, payload }]).unwrap();
        assert!(results[0].answers.iter().all(Result::is_ok));
    }
}

fn text(number: u64) -> MessageText {
    MessageText::new(format!(
        "message {number}: what a person says in a line of its own"
    ))
    .unwrap()
}

fn send(to: Recipient, number: u64) -> Operation {
    Operation::Message(MessageOperation::SendMessage {
        to,
        text: text(number),
        reply_to: None,
        action: false,
    })
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

fn read_to(positions: &[(ConversationId, u64)]) -> Operation {
    let read = |(conversation, sequence): &(ConversationId, u64)| {
        let progress = Progress {
            delivered: Sequence(*sequence),
            read: Sequence(*sequence),
        };
        (*conversation, progress)
    };
    Operation::Message(MessageOperation::AdvancePositions {
        positions: positions.iter().map(read).collect(),
    })
}

fn people(writer: &mut Writer) {
    for account in 1..=MEMBERS {
        writer.once(Operation::Access(AccessOperation::CreateAccount {
            name: AccountName::new(format!("person-{account}")).unwrap(),
            password_hash: "$argon2id$".to_owned(),
            grant: Grant::Open,
        }));
    }
    writer.apply();
    for account in 1..=MEMBERS {
        let mut token = [0; 32];
        token[..8].copy_from_slice(&account.to_be_bytes());
        writer.once(Operation::Access(AccessOperation::OpenSession {
            account: AccountId(account),
            password_version: 1,
            token: TokenHash(token),
            label: SessionLabel::default(),
            keys: LoginKeys::default(),
            renewed_hash: None,
        }));
    }
    writer.apply();
}

fn rooms(writer: &mut Writer) {
    for name in ["hall", "alone"] {
        writer.ask(
            1,
            Operation::Room(RoomOperation::CreateRoom {
                name: room(name),
                topic: Topic::default(),
                public: true,
            }),
        );
    }
    writer.ask(
        2,
        Operation::Room(RoomOperation::JoinRoom {
            name: room("alone"),
        }),
    );
    for account in 2..=MEMBERS {
        writer.ask(
            account,
            Operation::Room(RoomOperation::JoinRoom { name: room("hall") }),
        );
    }
    for number in 1..=MEMBERS {
        writer.ask(number, send(Recipient::Conversation(HALL), number));
    }
    // Every member reacts to the newest messages.
    for account in 1..=MEMBERS {
        for sequence in MEMBERS - 1..=MEMBERS {
            let message = MessageRef {
                conversation: HALL,
                sequence: Sequence(sequence),
            };
            writer.ask(
                account,
                Operation::Message(MessageOperation::SetReaction {
                    message,
                    reaction: Reaction::new("+1").unwrap(),
                    present: true,
                }),
            );
        }
    }
    for number in 1..=MESSAGES {
        writer.ask(1, send(Recipient::Conversation(ALONE), number));
    }
    writer.ask(2, send(Recipient::Conversation(ALONE), MESSAGES + 1));
}

fn fill(writer: &mut Writer) {
    people(writer);
    let to_bea = Recipient::Account(AccountName::new("person-2").unwrap());
    writer.ask(1, send(to_bea, 1));
    for number in 2..=MESSAGES {
        let session = 1 + (number + 1) % 2;
        writer.ask(session, send(Recipient::Conversation(DIRECT), number));
    }
    rooms(writer);
    for account in 5..=MEMBERS {
        let to_dan = Recipient::Account(AccountName::new("person-4").unwrap());
        writer.ask(account, send(to_dan, account));
    }
    writer.apply();
}

/// What was measured under one name.
struct Table {
    slow: Vec<String>,
}

impl Table {
    fn row(&mut self, name: &str, mut latencies: Vec<Duration>) {
        latencies.sort_unstable();
        let at = |part: usize| latencies[(latencies.len() - 1) * part / 100];
        let ms = |part| at(part).as_secs_f64() * 1000.0;
        println!(
            "{name:<44} {:>8.3} {:>8.3} {:>7}",
            ms(50),
            ms(99),
            latencies.len()
        );
        if at(99) > P99_MAX {
            self.slow.push(name.to_owned());
        }
    }

    fn measure(&mut self, name: &str, ask: impl Fn()) {
        let latencies = (0..ROUNDS).map(|_| time(&ask));
        let latencies = latencies.collect();
        self.row(name, latencies);
    }
}

fn time(ask: impl FnOnce()) -> Duration {
    let started = Instant::now();
    ask();
    started.elapsed()
}

/// Goes from the newest page to the oldest.
fn scroll_back(reader: &Reader, limit: usize) -> Vec<Duration> {
    let (mut from, mut latencies) = (HistoryFrom::End, Vec::new());
    loop {
        let mut older = None;
        latencies.push(time(|| {
            let page = reader.history(BEA, DIRECT, from, limit).unwrap().unwrap();
            assert_eq!(page.rows.len(), limit);
            older = page.older;
        }));
        match older {
            Some(before) => from = HistoryFrom::Before(before),
            None => return latencies,
        }
    }
}

/// Follows the stream of an account from the beginning to the end.
fn catch_up(reader: &Reader, account: AccountId) -> Vec<Duration> {
    let (mut position, mut latencies, mut complete) = (Position(0), Vec::new(), false);
    while !complete {
        latencies.push(time(|| {
            let page = reader.stream(account, position, 1000).unwrap();
            (position, complete) = (page.scanned_to, page.complete);
        }));
    }
    latencies
}

fn direct(table: &mut Table, reader: &Reader) {
    let open = |limit| {
        let page = reader.history(BEA, DIRECT, HistoryFrom::End, limit);
        assert_eq!(page.unwrap().unwrap().rows.len(), limit);
    };
    table.measure("direct, 200 000: newest page of 50", || open(50));
    table.measure("direct, 200 000: newest page of 1000", || open(1000));
    table.row(
        "direct, 200 000: back by pages of 50",
        scroll_back(reader, 50),
    );
    table.row(
        "direct, 200 000: back by pages of 1000",
        scroll_back(reader, 1000),
    );
}

fn unread(table: &mut Table, reader: &Reader, when: &str, expected: u64) {
    table.measure(&format!("conversations(), {when}"), || {
        let rows = reader.conversations(BEA, None, 100).unwrap();
        assert_eq!(rows[0].unread, expected);
    });
    for limit in [50, 1000] {
        table.measure(&format!("unread({limit}), {when}"), || {
            assert_eq!(reader.unread(BEA, limit).unwrap().len(), limit);
        });
    }
}

fn hall(table: &mut Table, reader: &Reader) {
    let pattern = NamePattern::new("").unwrap();
    table.measure("room, 10 000: opened (room, page of 50, role)", || {
        let found = reader.room_by_key(CYD, "hall").unwrap().unwrap();
        assert_eq!(found.members, MEMBERS);
        let page = reader
            .history(CYD, HALL, HistoryFrom::End, 50)
            .unwrap()
            .unwrap();
        assert_eq!(page.rows[49].reactions[0].count, MEMBERS);
        assert!(reader.member_role(HALL, CYD).unwrap().is_some());
    });
    table.measure("room, 10 000: newest page of 1000", || {
        let page = reader.history(CYD, HALL, HistoryFrom::End, 1000);
        assert_eq!(page.unwrap().unwrap().rows.len(), 1000);
    });
    table.measure("room, 10 000: members, page of 1000", || {
        let rows = reader.members(HALL, Some(AccountId(5000)), 1000).unwrap();
        assert_eq!(rows.len(), 1000);
    });
    table.measure("room, 10 000: conversations() of a member", || {
        assert_eq!(reader.conversations(CYD, None, 100).unwrap().len(), 1);
    });
    table.measure("rooms(), all", || {
        assert_eq!(
            reader
                .rooms(CYD, &pattern, false, None, 100)
                .unwrap()
                .rows
                .len(),
            2
        );
    });
}

fn known_to_all(table: &mut Table, reader: &Reader) {
    let pattern = NamePattern::new("").unwrap();
    table.measure("10 000 conversations: a page of 1000", || {
        assert_eq!(reader.conversations(DAN, None, 1000).unwrap().len(), 1000);
    });
    table.measure("10 000 conversations: unread(50)", || {
        assert_eq!(reader.unread(DAN, 50).unwrap().len(), 50);
    });
    table.measure("10 000 conversations: end of the stream", || {
        let position = reader.applied_position().unwrap();
        assert!(reader.stream(DAN, position, 1000).unwrap().complete);
    });
    table.measure("10 000 conversations: own rooms", || {
        let page = reader.rooms(DAN, &pattern, true, None, 100).unwrap();
        assert_eq!(page.rows.len(), 1);
    });
}

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(directory.path(), Options::default()).unwrap();
    let mut writer = Writer {
        state,
        index: 0,
        waiting: Vec::new(),
        numbers: BTreeMap::new(),
    };
    let took = time(|| fill(&mut writer));
    println!("made in {:.1} s", took.as_secs_f64());
    println!("{:<44} {:>8} {:>8} {:>7}", "", "p50 ms", "p99 ms", "asked");
    let reader = writer.state.reader();
    let mut table = Table { slow: Vec::new() };
    direct(&mut table, &reader);
    unread(&mut table, &reader, "nothing read", MESSAGES / 2);
    writer.ask(2, read_to(&[(DIRECT, MESSAGES / 2)]));
    writer.apply();
    unread(&mut table, &reader, "half of it read", MESSAGES / 4);
    writer.ask(1, read_to(&[(DIRECT, MESSAGES), (HALL, MEMBERS)]));
    writer.apply();
    table.measure("unread(50), behind 200 000 own messages", || {
        assert_eq!(reader.unread(ANN, 50).unwrap().len(), 1);
    });
    hall(&mut table, &reader);
    known_to_all(&mut table, &reader);
    table.row(
        "stream, pages of 1000: sees all rooms",
        catch_up(&reader, BEA),
    );
    table.row(
        "stream, pages of 1000: sees few rooms",
        catch_up(&reader, CYD),
    );
    table.measure("for_index(1000)", || {
        let page = reader.for_index(Position::new(100, 0), 1000).unwrap();
        assert_eq!(page.rows.len(), 1000);
    });
    // Printed, not asserted: on a busy machine everything is slow at times.
    println!("over {P99_MAX:?}: {:?}", table.slow);
}
