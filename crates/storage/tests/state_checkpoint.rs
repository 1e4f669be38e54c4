//! A checkpoint completes while reads never end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use conclave_core::{AccountId, ConversationId};
use conclave_storage::state::{HistoryFrom, Options};
use read_support::*;
use state_support::*;

/// Checkpoints that have to complete.
const COMPLETE: usize = 8;

/// Checkpoints that are tried at most for that. Twenty are enough for each if reads are held back
/// then; if they are not, hundreds are needed.
const TRIES_MAX: usize = COMPLETE * 60;

/// Ends the readers, also if the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn checkpoints_complete_though_reads_never_pause() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    let text = "x".repeat(1000);
    let sends = (1..=200).map(|number| ask(1, number, say("bea", &text)));
    accept(&mut state, sends.collect());
    let ended = AtomicBool::new(false);
    let reader = state.reader();
    let read = || {
        while !ended.load(Ordering::Relaxed) {
            let page = reader.history(AccountId(2), ConversationId(1), HistoryFrom::End, 200);
            assert_eq!(page.unwrap().unwrap().rows.len(), 200);
        }
    };
    let complete = thread::scope(|scope| {
        for _ in 0..Options::default().readers_max {
            scope.spawn(read);
        }
        let tries = (201..).take(TRIES_MAX).filter(|number| {
            // As in a busy cluster, something was committed just before.
            apply(&mut state, vec![ask(1, *number, say("bea", "more"))]);
            state.checkpoint().unwrap().complete
        });
        let _ends = Ends(&ended);
        tries.take(COMPLETE).count()
    });
    assert_eq!(complete, COMPLETE, "reads were in the way");
    assert_eq!(
        state.checkpoint().unwrap().synced_through,
        state.applied().last
    );
}
