//! Dropping a search leaves no thread behind. The test is alone in its binary, so that no other
//! test has such a thread.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod search_support;
mod state_support;

use search_support::{World, wait_for};

/// Returns the number of this process's threads that keep an index.
fn indexers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| {
        let comm = task.unwrap().path().join("comm");
        // A thread may have ended since it was listed.
        std::fs::read_to_string(comm).ok()
    });
    names.filter(|name| name.trim() == "search-indexer").count()
}

/// Waits until no thread keeps an index. A joined thread stays in the kernel's list for a moment
/// longer: joining ends when the thread has left its memory, before it has left the list.
fn wait_until_no_indexer() {
    wait_for(|| (indexers() == 0).then_some(()));
}

#[test]
fn dropping_the_last_handle_ends_the_thread() {
    let world = World::of(&["alice"]);
    world.settle();
    let another = world.search.clone();
    assert_eq!(indexers(), 1);
    drop(world.search);
    assert_eq!(indexers(), 1);
    drop(another);
    wait_until_no_indexer();

    // Dropped also in the middle of its work, and after its state.
    let mut world = World::of(&["alice", "bob"]);
    world.tells(1, "bob", "word");
    drop(world.state);
    drop(world.search);
    wait_until_no_indexer();
}
