//! Writing behind: what is decided is answered at once, read later, and never decided otherwise.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod generated_commands;
mod read_support;
mod state_support;

use conclave_core::AccountId;
use conclave_storage::state::{EntryResult, Options, State};
use generated_commands::{generated_command, log};
use proptest::{prelude::*, sample::Index};
use state_support::*;

#[test]
fn rules_see_what_is_decided_and_readers_what_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    people(&mut state, &["ann", "bea"]);
    let reader = state.reader();
    let last = state.applied().last.unwrap().index;
    let sent = entry(last + 1, batch(START, vec![ask(1, 1, say("bea", "hi"))]));
    let first = state.decide(std::slice::from_ref(&sent)).unwrap();
    let retry = entry(last + 2, batch(START, vec![ask(1, 1, say("bea", "hi"))]));
    let again = state.decide(&[retry]).unwrap();
    assert_eq!(again[0].answers, first[0].answers);
    assert_eq!(again[0].decided_in, [last + 1]);
    assert_eq!(state.entries_unwritten(), 2);
    assert_eq!(state.applied().last.unwrap().index, last + 2);
    assert_eq!(reader.applied().unwrap().last.unwrap().index, last);
    let conversations = || reader.conversations(AccountId(2), None, 10).unwrap();
    assert!(conversations().is_empty());
    state.write().unwrap();
    assert_eq!(state.entries_unwritten(), 0);
    assert_eq!(reader.applied().unwrap().last.unwrap().index, last + 2);
    assert_eq!(conversations().len(), 1);
}

#[test]
fn a_checkpoint_syncs_what_is_decided_and_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    people(&mut state, &["ann", "bea"]);
    let last = state.applied().last.unwrap().index;
    let sent = entry(last + 1, batch(START, vec![ask(1, 1, say("bea", "hi"))]));
    state.decide(&[sent]).unwrap();
    let checkpoint = state.checkpoint().unwrap();
    assert!(checkpoint.complete);
    assert_eq!(checkpoint.synced_through.unwrap().index, last + 1);
    let reader = state.reader();
    assert_eq!(reader.applied().unwrap().last.unwrap().index, last + 1);
}

/// What happens to a node between two entries.
#[derive(Clone, Debug)]
enum Step {
    Decide(usize),
    Write,
    Checkpoint,
    Die,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_usize..8).prop_map(Step::Decide),
        2 => Just(Step::Write),
        1 => Just(Step::Checkpoint),
        2 => Just(Step::Die),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_lost_is_decided_again_in_the_same_way(
        commands in prop::collection::vec(generated_command(), 1..120),
        steps in prop::collection::vec(step(), 1..60),
        options in any::<Index>(),
    ) {
        let entries = log(&commands);
        let other = tempfile::tempdir().unwrap();
        let mut plain = State::open(other.path(), Options::default()).unwrap();
        let mut expected: Vec<EntryResult> = Vec::new();
        for entry in &entries {
            expected.extend(plain.apply(std::slice::from_ref(entry)).unwrap());
        }

        let options = [Options::default(), tiny()][options.index(2)].clone();
        let directory = tempfile::tempdir().unwrap();
        let mut state = State::open(directory.path(), options.clone()).unwrap();
        let mut written = 0;
        let rest = [Step::Decide(usize::MAX), Step::Die, Step::Decide(usize::MAX), Step::Write];
        for step in steps.into_iter().chain(rest) {
            let decided = state.applied().last.map_or(0, |last| last.index as usize);
            match step {
                Step::Decide(count) => {
                    let end = decided.saturating_add(count).min(entries.len());
                    let results = state.decide(&entries[decided..end]).unwrap();
                    prop_assert_eq!(&results[..], &expected[decided..end]);
                }
                Step::Write => {
                    state.write().unwrap();
                    written = decided;
                }
                Step::Checkpoint => {
                    state.checkpoint().unwrap();
                    written = decided;
                }
                Step::Die => {
                    drop(state);
                    state = State::open(directory.path(), options.clone()).unwrap();
                    let found = state.applied().last.map_or(0, |last| last.index as usize);
                    prop_assert_eq!(found, written);
                }
            }
        }
        prop_assert_eq!(digest(&state), digest(&plain));
    }
}
