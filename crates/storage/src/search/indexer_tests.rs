//! The thread's steps, one by one.

use std::sync::Arc;

use conclave_core::{
    AccessOperation, AccountId, AccountName, Batch, Command, ConversationId, Digest, Grant,
    LoginKeys, MessageOperation, MessageRef, MessageText, OnceId, Operation, Origin, Recipient,
    Sequence, SessionId, SessionLabel, Timestamp, TokenHash,
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::{
    log::LogId,
    search::FILE,
    state::{Entry, Options, Payload, State},
};

/// Returns a state in which one account has sent itself `count` messages, and an indexer beside it.
fn with_messages(count: u64) -> (TempDir, State, Indexer) {
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    let name = || AccountName::new("alice").unwrap();
    let create = Operation::Access(AccessOperation::CreateAccount {
        name: name(),
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
    let once = |id| Origin::Once(OnceId([id; 16]));
    apply(&mut state, vec![(once(1), create), (once(2), login)]);
    for number in 1..=count {
        let say = Operation::Message(MessageOperation::SendMessage {
            to: Recipient::Account(name()),
            text: MessageText::new(format!("word n{number}")).unwrap(),
            reply_to: None,
            action: false,
        });
        let session = SessionId(1);
        apply(&mut state, vec![(Origin::Session { session, number }, say)]);
    }
    let path = directory.path().join(FILE);
    let pool = Arc::new(Pool::new(path.clone()));
    let indexer = Indexer::open(path, state.reader(), pool, Arc::default()).unwrap();
    (directory, state, indexer)
}

/// Returns the same with so many messages, which were sent in later entries.
fn with_many(count: u64) -> (TempDir, State, Indexer) {
    let (directory, state, indexer) = with_messages(1);
    let (path, pool) = (indexer.path.clone(), indexer.pool.clone());
    drop((state, indexer));
    let sql = format!(
        "WITH RECURSIVE n(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < {count})
        INSERT INTO messages (position, conversation, sequence, by_account, sent_at, text, action,
            ordinal, in_room)
        SELECT (1000 + n) << 20, 1, n, 1, 2000, 'word n' || n, 0, n, 0 FROM n;
        UPDATE conversations SET message_last = (1000 + {count}) << 20;
        UPDATE meta SET applied_index = 1000 + {count}, messages = {count}"
    );
    let connection = Connection::open(directory.path().join("state.db")).unwrap();
    connection.execute_batch(&sql).unwrap();
    let state = State::open(directory.path(), Options::default()).unwrap();
    let indexer = Indexer::open(path, state.reader(), pool, Arc::default()).unwrap();
    (directory, state, indexer)
}

fn apply(state: &mut State, commands: Vec<(Origin, Operation)>) {
    let index = state.applied().last.map_or(1, |last| last.index + 1);
    let commands = commands.into_iter().map(|(origin, operation)| Command {
        origin,
        digest: Digest(0),
        operation,
    });
    let payload = Payload::Commands(Arc::new(Batch {
        proposed_at: Timestamp(1000 + index),
        date: Timestamp(1000 + index),
        commands: commands.collect(),
    }));
    let id = LogId {
        term: 1,
        node: 1,
        index,
    };
    let results = state.apply(&[Entry { id, payload }]).unwrap();
    let answers = &results[0].answers;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

fn catch_up(indexer: &mut Indexer) {
    while matches!(indexer.step().unwrap(), Step::Behind) {}
}

/// Changes a file behind the back of every program that has it open.
fn change(directory: &TempDir, file: &str, sql: &str) {
    let connection = Connection::open(directory.path().join(file)).unwrap();
    assert!(connection.execute(sql, []).unwrap() > 0);
}

fn numbers(directory: &TempDir, sql: &str) -> i64 {
    let connection = Connection::open(directory.path().join(FILE)).unwrap();
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

const DOCS: &str = "SELECT count(*) FROM docs";
const WORDS: &str = "SELECT count(*) FROM words WHERE words MATCH 'word'";

/// Compares a whole round.
fn compare_all(indexer: &mut Indexer) {
    indexer.compare().unwrap();
    while indexer.rounds.compared_to() > Position(0) {
        indexer.compare().unwrap();
    }
}

#[test]
fn messages_swept_from_the_state_leave_the_index() {
    let (directory, _state, mut indexer) = with_messages(2 * PAGE_ROWS as u64);
    catch_up(&mut indexer);
    compare_all(&mut indexer);
    assert_eq!(numbers(&directory, DOCS), 2 * PAGE_ROWS as i64);
    change(
        &directory,
        "state.db",
        "DELETE FROM messages WHERE sequence % 3 = 0",
    );
    compare_all(&mut indexer);
    let left = 2 * PAGE_ROWS as i64 - 2 * PAGE_ROWS as i64 / 3;
    assert_eq!(numbers(&directory, DOCS), left);
    assert_eq!(numbers(&directory, WORDS), left);
}

#[test]
fn messages_lost_by_the_index_are_restored() {
    let (directory, _state, mut indexer) = with_messages(20);
    catch_up(&mut indexer);
    change(&directory, FILE, "DELETE FROM docs WHERE position % 2 = 0");
    assert!(numbers(&directory, DOCS) < 20);
    compare_all(&mut indexer);
    assert_eq!(numbers(&directory, DOCS), 20);
    assert_eq!(numbers(&directory, WORDS), 20);
}

#[test]
fn an_index_that_contradicts_the_state_is_not_continued() {
    let (directory, state, mut indexer) = with_messages(20);
    catch_up(&mut indexer);
    change(&directory, FILE, "UPDATE docs SET sent_at = sent_at + 1");
    assert!(matches!(indexer.compare(), Err(Trouble::Unusable(_))));
    let (path, pool) = (indexer.path.clone(), indexer.pool.clone());
    drop(indexer);
    let mut again = Indexer::open(path, state.reader(), pool, Arc::default()).unwrap();
    assert!(matches!(again.step(), Err(Trouble::Unusable(_))));
}

#[test]
fn an_index_with_its_last_messages_swept_is_continued() {
    let (directory, state, mut indexer) = with_messages(20);
    catch_up(&mut indexer);
    change(
        &directory,
        "state.db",
        "DELETE FROM messages WHERE sequence > 10",
    );
    let (path, pool) = (indexer.path.clone(), indexer.pool.clone());
    drop(indexer);
    let mut again = Indexer::open(path, state.reader(), pool, Arc::default()).unwrap();
    catch_up(&mut again);
    compare_all(&mut again);
    assert_eq!(numbers(&directory, DOCS), 10);
}

#[test]
fn edits_forgotten_before_the_index_began_are_no_gap() {
    let (directory, state, mut indexer) = with_messages(2 * PAGE_ROWS as u64);
    drop(state);
    change(
        &directory,
        "state.db",
        "UPDATE meta SET changes_after = applied_index << 20",
    );
    assert!(matches!(
        indexer.step(),
        Err(Trouble::State(ReadError::Closed))
    ));
    let state = State::open(directory.path(), Options::default()).unwrap();
    indexer.reader = state.reader();
    catch_up(&mut indexer);
    assert_eq!(numbers(&directory, DOCS), 2 * PAGE_ROWS as i64);
}

#[test]
fn a_rebuild_outlives_the_changes_made_meanwhile() {
    let (directory, mut state, mut indexer) = with_many(3 * PAGE_ROWS as u64);
    assert!(matches!(indexer.step().unwrap(), Step::Behind));
    let edit = |number, sequence| {
        let edit = MessageOperation::EditMessage {
            message: MessageRef {
                conversation: ConversationId(1),
                sequence: Sequence(sequence),
            },
            text: MessageText::new("edited").unwrap(),
        };
        let session = SessionId(1);
        let origin = Origin::Session { session, number };
        (origin, Operation::Message(edit))
    };
    // In the first page, in the second, and in one that is yet to come.
    for (number, sequence) in [(2, 1), (3, 1500), (4, 3 * PAGE_ROWS as u64)] {
        apply(&mut state, vec![edit(number, sequence)]);
    }
    assert!(matches!(indexer.step().unwrap(), Step::Behind));
    let connection = Connection::open(directory.path().join("state.db")).unwrap();
    let sql = "DELETE FROM changes; UPDATE meta SET changes_after = applied_index << 20";
    connection.execute_batch(sql).unwrap();
    catch_up(&mut indexer);
    let edited = "SELECT count(*) FROM words WHERE words MATCH 'edited'";
    assert_eq!(numbers(&directory, edited), 3);
    assert_eq!(numbers(&directory, DOCS), 3 * PAGE_ROWS as i64);
    assert_eq!(numbers(&directory, WORDS), 3 * PAGE_ROWS as i64 - 3);
}

#[test]
fn a_rebuild_that_missed_changes_begins_anew() {
    let (directory, mut state, mut indexer) = with_many(3 * PAGE_ROWS as u64);
    assert!(matches!(indexer.step().unwrap(), Step::Behind));
    // An entry after the last change that the index has seen.
    apply(&mut state, Vec::new());
    let sql = "UPDATE meta SET changes_after = applied_index << 20";
    change(&directory, "state.db", sql);
    assert!(matches!(indexer.step(), Err(Trouble::Unusable(_))));
}

#[test]
fn many_messages_that_are_gone_leave_the_index_soon() {
    let (directory, _state, mut indexer) = with_many(30_000);
    catch_up(&mut indexer);
    compare_all(&mut indexer);
    let connection = Connection::open(directory.path().join("state.db")).unwrap();
    let sql = "DELETE FROM messages WHERE sequence <= 20000;
        UPDATE meta SET messages = messages - 20000";
    connection.execute_batch(sql).unwrap();
    let turns = (1..=6).find(|_| {
        catch_up(&mut indexer);
        indexer.signal.notify();
        assert!(!indexer.rest(), "it goes on");
        numbers(&directory, DOCS) == 10_000
    });
    assert!(turns.is_some(), "{}", numbers(&directory, DOCS));
    assert_eq!(numbers(&directory, WORDS), 10_000);
}

#[test]
fn an_index_that_stays_behind_is_hurried() {
    let (short, long) = (Duration::from_millis(7), Duration::from_secs(1));
    for took in [short, long] {
        assert_eq!(pause(Duration::ZERO, took), PAUSE, "applying comes first");
    }
    let behind = HURRY_AFTER;
    assert_eq!(pause(behind, short), short, "half of the time");
    assert_eq!(
        pause(behind, long),
        PAUSE,
        "a slow page is no reason to rest longer"
    );
}
