//! Failures of the index: it may be lost, damaged, old or of another state, and all results are
//! complete in the end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod search_support;
mod state_support;

use std::{fs, path::Path};

use conclave_storage::{
    search::{CancelFlag, FILE, Search},
    state::{Options, State},
};
use rusqlite::Connection;
use search_support::{ALICE, BOB, World, applied, find, settle, texts, to_lobby, wait_for};

/// Returns a room with 600 messages: more than one page of the indexer.
fn world() -> World {
    let mut world = World::with_lobby();
    for _ in 0..2 {
        world.ask_all(
            ALICE,
            (0..300).map(|n| to_lobby(&format!("word n{n}"))).collect(),
        );
    }
    world
}

fn count(world: &World, typed: &str) -> usize {
    world.settle();
    find(&world.search, BOB, typed, None, 1000).rows.len()
}

fn index(directory: &Path) -> Connection {
    Connection::open(directory.join(FILE)).unwrap()
}

#[test]
fn a_missing_index_is_rebuilt() {
    let mut world = world();
    assert_eq!(count(&world, "word"), 600);
    world.restart(|directory| fs::remove_file(directory.join(FILE)).unwrap());
    assert_eq!(count(&world, "word"), 600);
}

#[test]
fn an_index_is_kept_over_a_restart() {
    let mut world = world();
    assert_eq!(count(&world, "word"), 600);
    world.restart(|directory| {
        index(directory)
            .execute_batch("CREATE TABLE kept (x)")
            .unwrap();
    });
    assert_eq!(count(&world, "word"), 600);
    let kept = "SELECT count(*) FROM sqlite_schema WHERE name = 'kept'";
    let kept: i64 = index(world.directory.path())
        .query_row(kept, [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 1);
}

#[test]
fn a_damaged_index_is_rebuilt() {
    let damages: [fn(&Path); 8] = [
        |file| fs::write(file, "no database at all, but a text of some length").unwrap(),
        |file| fs::write(file, "").unwrap(),
        |file| {
            let bytes = fs::read(file).unwrap();
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        },
        |file| {
            let mut bytes = fs::read(file).unwrap();
            bytes[100..].fill(0x5a);
            fs::write(file, bytes).unwrap();
        },
        |file| run(file, "DROP TABLE docs"),
        |file| run(file, "DELETE FROM meta"),
        |file| run(file, "PRAGMA user_version = 99"),
        |file| run(file, "UPDATE meta SET tables = 'rules of long ago'"),
    ];
    let mut world = world();
    for damage in damages {
        assert_eq!(count(&world, "word"), 600);
        world.restart(|directory| damage(&directory.join(FILE)));
    }
    assert_eq!(count(&world, "word"), 600);
}

fn run(file: &Path, sql: &str) {
    Connection::open(file).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn an_index_damaged_while_in_use_is_rebuilt() {
    let world = world();
    assert_eq!(count(&world, "word"), 600);
    let sql = "DELETE FROM words_data WHERE id > 10";
    assert!(index(world.directory.path()).execute(sql, []).unwrap() > 0);
    wait_for(|| {
        let found = world.search.find(
            conclave_core::AccountId(BOB),
            &search_support::query("word"),
            None,
            1000,
            &CancelFlag::default(),
        );
        found.ok().filter(|found| found.rows.len() == 600)
    });
}

#[test]
fn the_index_catches_up_with_missed_changes() {
    let mut world = world();
    let edited = world.says(ALICE, "lobby", "red one");
    let deleted = world.says(ALICE, "lobby", "red two");
    assert_eq!(world.finds(BOB, "red"), ["red two", "red one"]);
    world.pause();
    world.edits(ALICE, edited, "blue one");
    world.deletes(ALICE, deleted, true);
    world.says(ALICE, "lobby", "red three");
    let mut world = world.reopen(|_| {});
    assert_eq!(world.finds(BOB, "red"), ["red three"]);
    assert_eq!(world.finds(BOB, "blue"), ["blue one"]);
    world.says(ALICE, "lobby", "red four");
    assert_eq!(world.finds(BOB, "red"), ["red four", "red three"]);
}

#[test]
fn an_index_that_missed_forgotten_edits_is_rebuilt() {
    let mut world = world();
    let edited = world.says(ALICE, "lobby", "red one");
    assert_eq!(world.finds(BOB, "red"), ["red one"]);
    // The text changes while no search runs, and the state has forgotten the change.
    world.pause();
    world.edits(ALICE, edited, "blue one");
    let end = applied(&world.state).0;
    let world = world.reopen(|directory| {
        let forget =
            format!("DELETE FROM changes; UPDATE meta SET changes = 0, changes_after = {end}");
        run(&directory.join("state.db"), &forget);
    });
    assert_eq!(world.finds(BOB, "blue"), ["blue one"]);
    assert!(world.finds(BOB, "red").is_empty());
    assert_eq!(count(&world, "word"), 600);
}

#[test]
fn an_index_of_older_rules_is_rebuilt_while_it_is_searched() {
    let mut world = world();
    assert_eq!(count(&world, "word"), 600);
    // The index was built with rules that knew none of these words, and is marked as such.
    world.restart(|directory| {
        let file = directory.join(FILE);
        run(&file, "UPDATE meta SET tables = 'rules of long ago'");
        run(&file, "DELETE FROM words; DELETE FROM docs");
    });
    wait_for(|| {
        let found = find(&world.search, BOB, "word", None, 1000);
        // While the index is incomplete the answer says so.
        assert!(found.rows.len() == 600 || found.complete_to < found.applied);
        (found.rows.len() == 600).then_some(())
    });
    let name = "SELECT tables FROM meta";
    let name: String = index(world.directory.path())
        .query_row(name, [], |row| row.get(0))
        .unwrap();
    assert_eq!(name, conclave_words::tables_version());
}

#[test]
fn an_index_ahead_of_its_state_is_rebuilt() {
    let longer = world();
    let mut shorter = other();
    let file = whole_index(&longer);
    shorter.restart(|directory| fs::write(directory.join(FILE), file).unwrap());
    assert_eq!(shorter.finds(BOB, "red"), ["red one"]);
    assert_eq!(count(&shorter, "word"), 0);
}

#[test]
fn an_index_of_another_state_is_rebuilt() {
    let mut longer = world();
    let file = whole_index(&other());
    longer.restart(|directory| fs::write(directory.join(FILE), file).unwrap());
    assert_eq!(count(&longer, "word"), 600);
    assert!(longer.finds(BOB, "red").is_empty());
}

/// Returns another history, in which another text has the same position, a little later.
fn other() -> World {
    let mut world = World::with_lobby();
    world.now += 1;
    world.says(ALICE, "lobby", "red one");
    world
}

/// Returns the file of an index that is up to date.
fn whole_index(world: &World) -> Vec<u8> {
    world.settle();
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    let moved = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let busy = index(world.directory.path()).query_row(sql, [], moved);
    assert_eq!(busy.unwrap(), 0);
    fs::read(world.directory.path().join(FILE)).unwrap()
}

#[test]
fn an_installed_snapshot_is_searched() {
    let mut leader = world();
    let edited = leader.says(ALICE, "lobby", "red one");
    let behind = leader.directory.path().join("behind.db");
    leader.state.reader().snapshot_to(&behind).unwrap();

    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    let search = Search::start(directory.path(), state.reader()).unwrap();
    state.install(&behind).unwrap();
    settle(&search, &state);
    assert_eq!(texts(&find(&search, BOB, "red", None, 9)), ["red one"]);

    leader.edits(ALICE, edited, "blue one");
    leader.says(ALICE, "lobby", "red two");
    let newer = leader.directory.path().join("newer.db");
    leader.state.reader().snapshot_to(&newer).unwrap();
    state.install(&newer).unwrap();
    settle(&search, &state);
    assert_eq!(texts(&find(&search, BOB, "red", None, 9)), ["red two"]);
    assert_eq!(texts(&find(&search, BOB, "blue", None, 9)), ["blue one"]);
    assert_eq!(find(&search, BOB, "word", None, 1000).rows.len(), 600);
}

#[test]
fn complete_to_covers_only_what_the_search_finds() {
    let mut world = world();
    world.settle();
    let all = find(&world.search, BOB, "word", None, 1000).rows;
    // The same while the index is only just being built.
    world.restart(|directory| fs::remove_file(directory.join(FILE)).unwrap());
    let mut steps = 0;
    wait_for(|| {
        let found = find(&world.search, BOB, "word", None, 1000);
        let promised = all.iter().filter(|row| row.position <= found.complete_to);
        let found_of_them = found
            .rows
            .iter()
            .filter(|row| row.position <= found.complete_to);
        assert!(promised.eq(found_of_them));
        assert_eq!(found.applied, applied(&world.state));
        steps += 1;
        (found.complete_to == found.applied).then_some(())
    });
    assert!(steps > 0);
}

#[test]
fn readers_that_are_busy_do_not_stop_the_index_for_good() {
    let mut world = World::with_lobby();
    let directory = tempfile::tempdir().unwrap();
    let one = Options {
        readers_max: 1,
        reader_wait: std::time::Duration::from_millis(1),
        ..Options::default()
    };
    let snapshot = directory.path().join("snapshot.db");
    world.says(ALICE, "lobby", "red one");
    world.state.reader().snapshot_to(&snapshot).unwrap();
    let mut state = State::open(directory.path(), one).unwrap();
    state.install(&snapshot).unwrap();

    let reader = state.reader();
    let busy = std::thread::spawn(move || (0..200).filter(|_| reader.digest().is_ok()).count());
    let search = Search::start(directory.path(), state.reader()).unwrap();
    busy.join().unwrap();
    settle(&search, &state);
    assert_eq!(texts(&find(&search, BOB, "red", None, 9)), ["red one"]);
}
