//! Measures what a comparison of all rows costs: the digest of all of them in one transaction, as
//! it was, and ranges of them, each in a transaction of its own.
//!
//! While each of them runs a writer applies entries. Prints for 10 000, 100 000 and 1 000 000
//! messages (`COMPARE_MESSAGES_MAX` bounds them): the time, the longest transaction, and by how
//! much the write-ahead log has grown.
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]
#![allow(clippy::unwrap_used, reason = "a failure ends the measurement")]

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use conclave_core::{
    AccessOperation, AccountId, AccountName, Batch, Command, Digest, Grant, LoginKeys,
    MessageOperation, MessageText, OnceId, Operation, Origin, Recipient, SessionId, SessionLabel,
    Timestamp, TokenHash,
};
use conclave_storage::{
    log::LogId,
    state::{Entry, Options, Payload, RANGE_TABLES, Reader, RowRange, State},
};

/// Messages of one entry while the state is filled, and pause between two entries afterwards.
const AT_ONCE: u64 = 256;
const PAUSE: Duration = Duration::from_millis(5);
/// Messages of an entry that is applied during a comparison.
const MEANWHILE: u64 = 16;

struct Log {
    state: State,
    index: u64,
    number: u64,
}

impl Log {
    fn begin(directory: &Path) -> Self {
        let state = State::open(directory, Options::default()).unwrap();
        let mut log = Self {
            state,
            index: 0,
            number: 0,
        };
        let create = Operation::Access(AccessOperation::CreateAccount {
            name: AccountName::new("alice").unwrap(),
            password_hash: "$argon2id$".to_owned(),
            grant: Grant::Open,
        });
        let login = Operation::Access(AccessOperation::OpenSession {
            account: AccountId(1),
            password_version: 1,
            token: TokenHash([1; 32]),
            label: SessionLabel::default(),
            keys: LoginKeys::default(),
            renewed_hash: None,
        });
        let once = |id: u8, operation| Command {
            origin: Origin::Once(OnceId([id; 16])),
            digest: Digest(0),
            operation,
        };
        log.apply(vec![once(1, create), once(2, login)]);
        log
    }

    fn apply(&mut self, commands: Vec<Command>) {
        self.index += 1;
        let id = LogId {
            term: 1,
            node: 1,
            index: self.index,
        };
        // So slowly that no account is refused by its rate limit.
        let at = Timestamp(1_000_000 + self.index * 100_000);
        let batch = Batch {
            proposed_at: at,
            date: at,
            commands,
        };
        let payload = Payload::Commands(Arc::new(batch));
        let results = self.state.apply(&[Entry { id, payload }]).unwrap();
        assert!(results[0].answers.iter().all(Result::is_ok));
    }

    fn say(&mut self, count: u64) {
        let commands = (0..count).map(|_| {
            self.number += 1;
            Command {
                origin: Origin::Session {
                    session: SessionId(1),
                    number: self.number,
                },
                digest: Digest(self.number),
                operation: Operation::Message(MessageOperation::SendMessage {
                    to: Recipient::Account(AccountName::new("alice").unwrap()),
                    text: MessageText::new("x".repeat(100)).unwrap(),
                    reply_to: None,
                    action: false,
                }),
            }
        });
        let commands = commands.collect();
        self.apply(commands);
    }
}

/// Returns the size of the write-ahead log.
fn wal(directory: &Path) -> u64 {
    fs::metadata(directory.join("state.db-wal")).map_or(0, |file| file.len())
}

/// Digests all rows in one transaction; returns how long that took.
fn at_once(reader: &Reader) -> Duration {
    let began = Instant::now();
    reader.digest().unwrap();
    began.elapsed()
}

/// Digests all rows by ranges; returns how long the longest took.
fn by_ranges(reader: &Reader) -> Duration {
    let mut longest = Duration::ZERO;
    for table in 0..RANGE_TABLES {
        let mut last: Option<RowRange> = None;
        while !last.as_ref().is_some_and(RowRange::is_last) {
            let began = Instant::now();
            last = Some(reader.next_range(table, last.as_ref()).unwrap().range);
            longest = longest.max(began.elapsed());
        }
    }
    longest
}

/// Runs a comparison while the writer goes on, and prints what it cost.
fn measure(log: &mut Log, directory: &Path, name: &str, compare: fn(&Reader) -> Duration) {
    let reader = log.state.reader();
    assert!(log.state.checkpoint().unwrap().complete);
    let (before, is_done) = (wal(directory), AtomicBool::new(false));
    let (mut most, mut slowest) = (before, Duration::ZERO);
    let (took, longest) = thread::scope(|scope| {
        let comparing = scope.spawn(|| {
            let began = Instant::now();
            let longest = compare(&reader);
            is_done.store(true, Ordering::Relaxed);
            (began.elapsed(), longest)
        });
        while !is_done.load(Ordering::Relaxed) {
            let began = Instant::now();
            log.say(MEANWHILE);
            slowest = slowest.max(began.elapsed());
            most = most.max(wal(directory));
            thread::sleep(PAUSE);
        }
        comparing.join().unwrap()
    });
    println!(
        "  {name:<10} {:>8.0} ms, longest transaction {:>8.1} ms, write-ahead log {:>7.1} MiB, \
         slowest entry {:>5.1} ms",
        took.as_secs_f64() * 1e3,
        longest.as_secs_f64() * 1e3,
        most as f64 / f64::from(1 << 20),
        slowest.as_secs_f64() * 1e3,
    );
}

fn main() {
    let bound = std::env::var("COMPARE_MESSAGES_MAX").ok();
    let bound = bound.map_or(1_000_000, |bound| bound.parse::<u64>().unwrap());
    for messages in [10_000, 100_000, 1_000_000] {
        if messages > bound {
            break;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::begin(directory.path());
        while log.number < messages {
            log.say(AT_ONCE);
        }
        println!("{messages} messages");
        measure(&mut log, directory.path(), "at once", at_once);
        measure(&mut log, directory.path(), "by ranges", by_ranges);
        let began = Instant::now();
        assert_eq!(log.state.reader().counts().unwrap().messages, log.number);
        let us = began.elapsed().as_secs_f64() * 1e6;
        println!("  counted    {us:>8.0} µs");
    }
}
