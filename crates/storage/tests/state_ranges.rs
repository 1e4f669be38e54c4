//! Ranges of rows: together they are all rows, each has a digest that shows every change, and
//! reading them keeps neither the writer nor the write-ahead log waiting.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;
mod story;

use std::{fs, path::Path, thread, time::Duration};

use conclave_storage::state::{
    NextRange, Options, RANGE_ROWS_MAX, RANGE_TABLES, RANGES_MAX, ReadError, Reader, RowRange,
    State,
};
use read_support::*;
use rusqlite::Connection;
use state_support::*;
use story::*;

/// Returns all ranges, in order.
fn ranges(reader: &Reader) -> Vec<NextRange> {
    let mut all = Vec::new();
    for table in 0..RANGE_TABLES {
        let mut last: Option<RowRange> = None;
        loop {
            let next = reader.next_range(table, last.as_ref()).unwrap();
            last = Some(next.range.clone());
            let is_last = next.range.is_last();
            all.push(next);
            if is_last {
                break;
            }
        }
    }
    all
}

/// Returns the digests of these ranges in this state.
fn digests(reader: &Reader, ranges: &[NextRange]) -> Vec<[u8; 32]> {
    let one = |next: &NextRange| {
        let range = [next.range.clone()];
        reader.digest_ranges(&range).unwrap().digests[0]
    };
    ranges.iter().map(one).collect()
}

/// Returns a range as another node understands it.
fn sent(range: &RowRange) -> RowRange {
    let (table, after, until) = range.encoded();
    RowRange::decoded(table, &after, &until).unwrap()
}

/// Makes a state with many messages.
fn long(directory: &Path, messages: u64) -> State {
    let mut state = State::open(directory, Options::default()).unwrap();
    people(&mut state, &["alice", "bob"]);
    let mut at = START;
    for first in (1..=messages).step_by(50) {
        at += 100_000;
        let last = (first + 50).min(messages + 1);
        let said = (first..last).map(|number| ask(1, number, say("bob", "hi")));
        apply_at(&mut state, at, said.collect());
    }
    assert_eq!(state.reader().counts().unwrap().messages, messages);
    state
}

#[test]
fn a_changed_row_in_any_table_changes_its_range() {
    let (directory, mut state) = opened();
    story(&mut state);
    let reader = state.reader();
    let before = ranges(&reader);
    let known = digests(&reader, &before);
    let told: Vec<[u8; 32]> = before.iter().map(|next| next.found.digests[0]).collect();
    assert_eq!(told, known, "one range has one digest");
    while_each_table_is_empty(directory.path(), |table, is_empty| {
        if !is_empty {
            assert_eq!(digests(&reader, &before), known, "{table}");
            return;
        }
        let now = digests(&reader, &before);
        let changed = (0..known.len()).filter(|at| now[*at] != known[*at]);
        let changed: Vec<&str> = changed.map(|at| before[at].range.table()).collect();
        assert_eq!(changed, [table]);
    });
}

#[test]
fn ranges_and_their_pieces_cover_every_row_once() {
    let directory = tempfile::tempdir().unwrap();
    let rows = RANGE_ROWS_MAX as i64 + 200;
    let state = long(directory.path(), rows as u64);
    let reader = state.reader();
    let all = ranges(&reader);
    let of_messages = |next: &&NextRange| next.range.table() == "messages";
    let messages: Vec<&NextRange> = all.iter().filter(of_messages).collect();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].pieces.len(), RANGES_MAX);
    assert_eq!(messages[1].pieces.len(), 4);
    let connection = Connection::open(directory.path().join("state.db")).unwrap();
    let pieces: Vec<RowRange> = messages
        .iter()
        .flat_map(|next| next.pieces.clone())
        .collect();
    let digests = || -> Vec<[u8; 32]> {
        let one = |piece: &RowRange| reader.digest_ranges(&[sent(piece)]).unwrap().digests[0];
        pieces.iter().map(one).collect()
    };
    let before = digests();
    // The first row of each piece, the last one, and one behind the end.
    let edges = (0..rows).filter(|row| row % 64 < 2 || row % 64 == 63);
    for row in edges.chain([rows - 1]) {
        let sql = "UPDATE messages SET text = text || '!' WHERE sequence = ?1";
        assert_eq!(connection.execute(sql, [row + 1]).unwrap(), 1);
        let now = digests();
        let changed: Vec<usize> = (0..now.len())
            .filter(|at| now[*at] != before[*at])
            .collect();
        let piece = match row < RANGE_ROWS_MAX as i64 {
            true => row / 64,
            false => RANGES_MAX as i64 + (row - RANGE_ROWS_MAX as i64) / 64,
        };
        assert_eq!(changed, [piece as usize], "row {row}");
        let sql = "UPDATE messages SET text = 'hi' WHERE sequence = ?1";
        connection.execute(sql, [row + 1]).unwrap();
    }
    assert_eq!(digests(), before);
    let more = "INSERT INTO messages SELECT position + (1 << 40), conversation, sequence + 1000000,
        by_account, sent_at, text, deleted_at, edited_at, reply_to, action, ordinal, in_room,
        log_time FROM messages WHERE sequence = 1";
    connection.execute(more, []).unwrap();
    assert_ne!(digests().last(), before.last(), "a row behind all others");
}

#[test]
fn a_range_with_far_too_many_rows_ends_and_differs() {
    let directory = tempfile::tempdir().unwrap();
    let state = long(directory.path(), 3 * RANGE_ROWS_MAX as u64);
    let reader = state.reader();
    let at = (0..RANGE_TABLES).find(|table| {
        let next = reader.next_range(*table, None).unwrap();
        next.range.table() == "messages"
    });
    let table = u32::try_from(at.unwrap()).unwrap();
    let all = RowRange::decoded(table, &[], &[]).unwrap();
    let first = reader.next_range(at.unwrap(), None).unwrap();
    let found = reader
        .digest_ranges(&[all.clone(), first.range.clone()])
        .unwrap();
    assert_eq!(found.digests.len(), 1, "these were enough rows");
    assert_ne!(found.digests[0], first.found.digests[0]);
    let many = vec![first.pieces[0].clone(); RANGES_MAX + 1];
    let found = reader.digest_ranges(&many).unwrap();
    assert_eq!(found.digests.len(), RANGES_MAX);
    // By the writer, too.
    let found = state.digest_ranges(&[all, first.range]).unwrap();
    assert_eq!(found.digests.len(), 1);
}

#[test]
fn writer_and_reader_give_a_range_one_digest() {
    let (_directory, mut state) = opened();
    story(&mut state);
    for next in ranges(&state.reader()) {
        let range = [sent(&next.range)];
        let by_writer = state.digest_ranges(&range).unwrap();
        assert_eq!(by_writer, next.found);
        assert_eq!(by_writer.index, state.applied().last.unwrap().index);
    }
}

/// Returns the size of the write-ahead log.
fn wal(directory: &Path) -> u64 {
    fs::metadata(directory.join("state.db-wal")).map_or(0, |file| file.len())
}

#[test]
fn reading_all_ranges_lets_the_write_ahead_log_begin_anew() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = long(directory.path(), 12_000);
    let reader = state.reader();
    assert!(state.checkpoint().unwrap().complete);
    let once = wal(directory.path());
    let (mut number, mut read) = (12_000, 0);
    for table in 0..RANGE_TABLES {
        let mut last: Option<RowRange> = None;
        while !last.as_ref().is_some_and(RowRange::is_last) {
            let next = reader.next_range(table, last.as_ref()).unwrap();
            last = Some(next.range);
            read += 1;
            for _ in 0..20 {
                number += 1;
                let said = ask(1, number, say("bob", &"so on ".repeat(500)));
                apply_at(&mut state, START + number * 100_000, vec![said]);
            }
            // A reader in the way would keep it from being complete.
            assert!(state.checkpoint().unwrap().complete);
        }
    }
    assert!(read > 8, "{read} ranges");
    let grown = wal(directory.path()).saturating_sub(once);
    assert!(grown < 4 << 20, "the write-ahead log grew by {grown} bytes");
}

#[test]
fn slow_readers_leave_the_pool_to_others_and_end_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        readers_max: 1,
        reader_wait: Duration::from_millis(10),
        ..Options::default()
    };
    let mut state = State::open(directory.path(), options).unwrap();
    people(&mut state, &["alice", "bob"]);
    let reader = state.reader();
    let pinned = reader.pin().unwrap();
    assert!(matches!(reader.applied(), Err(ReadError::Busy)));
    reader
        .next_range(0, None)
        .expect("it has a connection of its own");
    drop(pinned);
    // A snapshot is installed while ranges are read.
    let file = directory.path().join("snapshot");
    let made = reader.snapshot_to(&file).unwrap();
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let read = |_| reader.next_range(3, None).is_ok();
            (0..200).filter(|at| read(*at)).count()
        });
        assert_eq!(state.install(&file).unwrap(), made.applied);
        assert!(reading.join().unwrap() > 0);
    });
    reader.next_range(3, None).unwrap();
    drop(state);
    assert!(matches!(reader.next_range(3, None), Err(ReadError::Closed)));
}

#[test]
fn a_damaged_page_found_by_a_range_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    drop(long(directory.path(), 4000));
    let file = directory.path().join("state.db");
    let mut bytes = fs::read(&file).unwrap();
    // Behind the first pages, which opening reads.
    let place = bytes.len() * 3 / 4 / 4096 * 4096;
    bytes[place..place + 8 * 4096].fill(0xff);
    fs::write(&file, bytes).unwrap();
    let state = State::open(directory.path(), Options::default()).unwrap();
    let reader = state.reader();
    let found = (0..RANGE_TABLES).find(|table| reader.next_range(*table, None).is_err());
    assert!(found.is_some());
    assert!(reader.damage().is_some());
}
