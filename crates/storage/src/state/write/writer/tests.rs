//! A transaction that is lost for want of room is made again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use conclave_core::{
    AccessOperation, AccountName, Command, Digest, Grant, OnceId, Operation, Timestamp,
};

use super::*;

/// Entries that create an account each.
fn entries() -> Vec<Entry> {
    let entry = |index: u64| {
        let operation = Operation::Access(AccessOperation::CreateAccount {
            name: AccountName::new(format!("ann{index}")).unwrap(),
            password_hash: "x".repeat(200),
            grant: Grant::Open,
        });
        let command = Command {
            origin: Origin::Once(OnceId(u128::from(index).to_be_bytes())),
            digest: Digest(index),
            operation,
        };
        let (term, node) = (1, 1);
        let batch = Batch {
            proposed_at: Timestamp(1_000_000),
            date: Timestamp(1_000_000),
            commands: vec![command],
        };
        Entry {
            id: LogId { term, node, index },
            payload: Payload::Commands(Arc::new(batch)),
        }
    };
    (1..=400).map(entry).collect()
}

fn pages_max(state: &State, pages: i64) {
    let connection = &state.writer.as_ref().unwrap().connection;
    let set = connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()));
    set.unwrap();
}

#[test]
fn what_a_full_disk_takes_back_is_decided_again_first() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    let entries = entries();
    let pages: i64 = {
        let connection = &state.writer.as_ref().unwrap().connection;
        connection
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap()
    };
    pages_max(&state, pages + 10);
    let mut results = Vec::new();
    let mut full = 0;
    for entry in &entries {
        loop {
            match state.decide(std::slice::from_ref(entry)) {
                Ok(decided) => break results.extend(decided),
                Err(ApplyError::Full(_)) => {
                    full += 1;
                    let decided = results.len() as u64;
                    let applied = state.applied().last.map_or(0, |last| last.index);
                    assert_eq!(applied, decided, "what is answered stays decided");
                    assert_eq!(state.entries_unwritten() as u64, decided);
                    if full == 2 {
                        pages_max(&state, 1 << 30);
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(full, 2);
    state.write().unwrap();

    let other = tempfile::tempdir().unwrap();
    let mut plain = State::open(other.path(), Options::default()).unwrap();
    assert_eq!(results, plain.apply(&entries).unwrap());
    let digest = |state: &State| state.reader().digest().unwrap();
    assert_eq!(digest(&state), digest(&plain));
}
