//! Measures what it costs to apply a message: decide it, write its rows, remember its answer.
//!
//! Two logs of direct messages: in the one every command of an entry is of another account, in the
//! other all are of one. Prints the best of several rounds, in microseconds for one message.
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]
#![allow(clippy::unwrap_used, reason = "a failure ends the measurement")]

use std::sync::Arc;
use std::time::Instant;

use conclave_core::{
    AccessOperation, AccountId, AccountName, Batch, Command, Digest, Grant, LoginKeys,
    MessageOperation, MessageText, OnceId, Operation, Origin, Recipient, SessionId, SessionLabel,
    Timestamp, TokenHash,
};
use conclave_storage::log::LogId;
use conclave_storage::state::{Entry, Options, Payload, State};

const ACCOUNTS: u64 = 64;
/// Commands of one entry.
const COMMANDS: u64 = 64;
/// Entries of one transaction.
const ENTRIES: u64 = 4;
/// Messages of one round.
const MESSAGES: u64 = 20_000;
const ROUNDS: usize = 9;

struct Log {
    state: State,
    index: u64,
    now: u64,
    numbers: Vec<u64>,
}

impl Log {
    fn begin() -> (tempfile::TempDir, Self) {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path(), Options::default()).unwrap();
        let mut log = Self {
            state,
            index: 0,
            now: 1_000_000,
            numbers: vec![0; ACCOUNTS as usize + 1],
        };
        for account in 1..=ACCOUNTS {
            let create = Operation::Access(AccessOperation::CreateAccount {
                name: AccountName::new(format!("person-{account}")).unwrap(),
                password_hash: "$argon2id$".to_owned(),
                grant: Grant::Open,
            });
            let mut token = [0; 32];
            token[..8].copy_from_slice(&account.to_be_bytes());
            let login = Operation::Access(AccessOperation::OpenSession {
                account: AccountId(account),
                password_version: 1,
                token: TokenHash(token),
                label: SessionLabel::default(),
                keys: LoginKeys::default(),
                renewed_hash: None,
            });
            let once = |step: u64, operation| Command {
                origin: Origin::Once(OnceId(u128::from(account * 2 + step).to_be_bytes())),
                digest: Digest(0),
                operation,
            };
            let entry = log.entry(vec![once(0, create), once(1, login)]);
            log.apply(&[entry]);
        }
        (directory, log)
    }

    fn entry(&mut self, commands: Vec<Command>) -> Entry {
        self.index += 1;
        // So slowly that no account is refused by its rate limit.
        self.now += 1000;
        let id = LogId {
            term: 1,
            node: 1,
            index: self.index,
        };
        let batch = Batch {
            proposed_at: Timestamp(self.now),
            date: Timestamp(self.now),
            commands,
        };
        Entry {
            id,
            payload: Payload::Commands(Arc::new(batch)),
        }
    }

    fn apply(&mut self, entries: &[Entry]) {
        let results = self.state.apply(entries).unwrap();
        let mut answers = results.iter().flat_map(|result| &result.answers);
        assert!(answers.all(Result::is_ok));
    }

    fn say(&mut self, account: u64) -> Command {
        let number = &mut self.numbers[account as usize];
        *number += 1;
        let to = AccountName::new(format!("person-{}", account % ACCOUNTS + 1)).unwrap();
        Command {
            origin: Origin::Session {
                session: SessionId(account),
                number: *number,
            },
            digest: Digest(*number),
            operation: Operation::Message(MessageOperation::SendMessage {
                to: Recipient::Account(to),
                text: MessageText::new("x".repeat(100)).unwrap(),
                reply_to: None,
                action: false,
            }),
        }
    }

    /// Applies a round; returns microseconds for one message.
    fn round(&mut self, sender: impl Fn(u64) -> u64) -> f64 {
        let mut entries = Vec::new();
        for _ in 0..MESSAGES / COMMANDS {
            let commands = (0..COMMANDS).map(|place| self.say(sender(place))).collect();
            entries.push(self.entry(commands));
        }
        let began = Instant::now();
        for transaction in entries.chunks(ENTRIES as usize) {
            self.apply(transaction);
        }
        let messages = entries.len() as u64 * COMMANDS;
        began.elapsed().as_secs_f64() * 1e6 / messages as f64
    }
}

fn best(sender: impl Fn(u64) -> u64 + Copy) -> (f64, f64) {
    let (_directory, mut log) = Log::begin();
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| log.round(sender)).collect();
    rounds.sort_by(f64::total_cmp);
    (rounds[0], rounds[ROUNDS / 2])
}

fn main() {
    let many = best(|place| 1 + place % ACCOUNTS);
    let one = best(|_| 1);
    println!(
        "every command of another account: {:.2} µs best, {:.2} µs median",
        many.0, many.1
    );
    println!(
        "all commands of one account:      {:.2} µs best, {:.2} µs median",
        one.0, one.1
    );
}
