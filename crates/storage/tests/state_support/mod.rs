//! Short logs for the tests of the state: commands of accounts, as entries.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test binary uses a part")]

use std::sync::Arc;

use conclave_core::{
    AccessOperation, AccountId, AccountName, Answer, Batch, Command, ConversationId, Digest, Grant,
    LoginKeys, MessageOperation, MessageText, OnceId, Operation, Origin, Recipient, SessionId,
    SessionLabel, Timestamp, TokenHash,
};
use conclave_storage::{
    log::LogId,
    state::{self, Entry, EntryResult, Options, Payload, State},
};

/// Time at which sessions begin.
pub(crate) const START: u64 = 1_000_000;

/// Returns options with caches so small that they forget all the time.
pub(crate) fn tiny() -> Options {
    Options {
        cached_rows_max: 1,
        ..Options::default()
    }
}

pub(crate) fn entry(index: u64, payload: Payload) -> Entry {
    let id = LogId {
        term: 1 + index / 10,
        node: u64::MAX,
        index,
    };
    Entry { id, payload }
}

pub(crate) fn batch(at: u64, commands: Vec<Command>) -> Payload {
    Payload::Commands(Arc::new(Batch {
        proposed_at: Timestamp(at),
        date: Timestamp(at),
        commands,
    }))
}

pub(crate) fn once(id: u128, operation: Operation) -> Command {
    Command {
        origin: Origin::Once(OnceId(id.to_be_bytes())),
        digest: Digest(u64::MAX),
        operation,
    }
}

pub(crate) fn ask(session: u64, number: u64, operation: Operation) -> Command {
    Command {
        origin: Origin::Session {
            session: SessionId(session),
            number,
        },
        digest: Digest(number),
        operation,
    }
}

pub(crate) fn create(name: &str) -> Operation {
    Operation::Access(AccessOperation::CreateAccount {
        name: AccountName::new(name).unwrap(),
        password_hash: format!("$argon2id${name}"),
        grant: Grant::Open,
    })
}

pub(crate) fn login(account: u64) -> Operation {
    let mut token = [7; 32];
    token[..8].copy_from_slice(&account.to_be_bytes());
    Operation::Access(AccessOperation::OpenSession {
        account: AccountId(account),
        password_version: 1,
        token: TokenHash(token),
        label: SessionLabel::default(),
        keys: LoginKeys::default(),
        renewed_hash: None,
    })
}

pub(crate) fn say(to: &str, text: &str) -> Operation {
    Operation::Message(MessageOperation::SendMessage {
        to: Recipient::Account(AccountName::new(to).unwrap()),
        text: MessageText::new(text).unwrap(),
        reply_to: None,
        action: false,
    })
}

pub(crate) fn say_in(conversation: u64, text: &str) -> Operation {
    Operation::Message(MessageOperation::SendMessage {
        to: Recipient::Conversation(ConversationId(conversation)),
        text: MessageText::new(text).unwrap(),
        reply_to: None,
        action: false,
    })
}

/// Applies one entry after the last one.
pub(crate) fn apply(state: &mut State, commands: Vec<Command>) -> EntryResult {
    apply_at(state, START, commands)
}

pub(crate) fn apply_at(state: &mut State, at: u64, commands: Vec<Command>) -> EntryResult {
    let index = state.applied().last.map_or(1, |last| last.index + 1);
    let mut results = state.apply(&[entry(index, batch(at, commands))]).unwrap();
    results.pop().unwrap()
}

/// Applies commands that must all be accepted.
pub(crate) fn accept(state: &mut State, commands: Vec<Command>) -> Vec<Answer> {
    let answers = apply(state, commands).answers;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    answers
}

/// Creates accounts 1, 2, 3 … with these names, and a session of the same number for each.
pub(crate) fn people(state: &mut State, names: &[&str]) {
    for (account, name) in (1..).zip(names) {
        let id = u128::from(account) << 64;
        accept(
            state,
            vec![once(id, create(name)), once(id + 1, login(account))],
        );
    }
}

/// Returns the digest of all rows, whose number must be what the state counts.
pub(crate) fn digest(state: &State) -> state::Digest {
    let (digest, counts) = (state.reader().digest(), state.reader().counts());
    let (digest, counts) = (digest.unwrap(), counts.unwrap());
    let counted = (digest.messages, digest.accounts, digest.chain);
    assert_eq!(counted, (counts.messages, counts.accounts, counts.chain));
    digest
}
