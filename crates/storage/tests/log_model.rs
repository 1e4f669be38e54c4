//! The log behaves like a vector, also when it is opened again after every step.

mod log_support;

use conclave_storage::log::{Entry, LogId, LogState, LogStore, SegmentLog, Vote};
use log_support::{append, append_here, entry, id, open, wait};
use proptest::prelude::*;

/// The simplest implementation of a log.
#[derive(Debug, Default, Clone)]
struct Model {
    entries: Vec<Entry>,
    state: LogState,
}

#[derive(Debug, Clone)]
enum Step {
    Append {
        sizes: Vec<usize>,
        here: bool,
    },
    /// Keeps this many of a thousand parts of the entries.
    Truncate {
        kept: usize,
    },
    /// Purges this many of a thousand parts of the entries, and so many indexes beyond.
    Purge {
        purged: usize,
        beyond: u64,
    },
    Vote {
        term: u64,
        committed: bool,
    },
    Committed,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![8 => 0usize..300, 1 => 4000usize..20_000];
    prop_oneof![
        6 => (prop::collection::vec(size, 1..6), any::<bool>())
            .prop_map(|(sizes, here)| Step::Append { sizes, here }),
        2 => (0usize..=1000).prop_map(|kept| Step::Truncate { kept }),
        2 => ((0usize..=1000), prop_oneof![4 => Just(0u64), 1 => 1u64..50])
            .prop_map(|(purged, beyond)| Step::Purge { purged, beyond }),
        1 => (0u64..100, any::<bool>())
            .prop_map(|(term, committed)| Step::Vote { term, committed }),
        1 => Just(Step::Committed),
        2 => Just(Step::Reopen),
    ]
}

impl Model {
    fn next_index(&self) -> u64 {
        self.state.last.map_or(0, |last| last.index + 1)
    }

    fn set_last(&mut self) {
        self.state.last = self
            .entries
            .last()
            .map(|entry| entry.id)
            .or(self.state.purged);
    }

    fn truncate(&mut self, kept: usize) -> Option<LogId> {
        self.entries.truncate(self.entries.len() * kept / 1000);
        self.set_last();
        self.state.last
    }

    fn purge(&mut self, purged: usize, beyond: u64, term: u64) -> Option<LogId> {
        let count = self.entries.len() * purged / 1000;
        let upto = match (beyond, count) {
            (0, 0) => return None,
            (0, count) => self.entries[count - 1].id,
            (beyond, _) => id(term, self.next_index() + beyond),
        };
        self.entries.retain(|entry| entry.id.index > upto.index);
        self.state.purged = Some(upto);
        self.set_last();
        Some(upto)
    }
}

/// Applies one step to both; `term` is new in each step, as Raft has it after a truncation.
fn take(log: &SegmentLog, model: &mut Model, term: u64, step: &Step) {
    match step {
        Step::Append { sizes, here } => {
            let first = model.next_index();
            let made = sizes
                .iter()
                .zip(first..)
                .map(|(bytes, index)| entry(term, index, *bytes));
            let entries: Vec<_> = made.collect();
            model.entries.extend(entries.clone());
            model.set_last();
            match here {
                true => append_here(log, entries),
                false => append(log, entries),
            }
        }
        Step::Truncate { kept } => {
            let last = model.truncate(*kept);
            wait(|done| log.truncate_after(last, done));
        }
        Step::Purge { purged, beyond } => {
            if let Some(upto) = model.purge(*purged, *beyond, term) {
                wait(|done| log.purge(upto, done));
            }
        }
        Step::Vote { term, committed } => {
            let vote = Vote {
                term: *term,
                node: 2,
                committed: *committed,
            };
            model.state.vote = Some(vote);
            wait(|done| log.save_vote(vote, done));
        }
        Step::Committed => {
            model.state.committed = model.state.last;
            log.save_committed(model.state.last)
                .expect("it is accepted");
        }
        Step::Reopen => {}
    }
}

fn check_same(log: &SegmentLog, model: &Model) {
    assert_eq!(log.state(), model.state);
    let all = log
        .read(0..u64::MAX, usize::MAX)
        .expect("the log can be read");
    assert_eq!(all, model.entries);
    if let Some(middle) = model.entries.get(model.entries.len() / 2) {
        let one = log
            .read(middle.id.index..u64::MAX, 0)
            .expect("the log can be read");
        assert_eq!(
            one,
            std::slice::from_ref(middle),
            "the first entry comes whatever the limit"
        );
    }
}

fn check_story(steps: &[Step], reopen_always: bool) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut model = Model::default();
    let mut log = open(dir.path());
    for (step, term) in steps.iter().zip(1..) {
        take(&log, &mut model, term, step);
        check_same(&log, &model);
        if reopen_always || matches!(step, Step::Reopen) {
            drop(log);
            log = open(dir.path());
            assert_eq!(log.recovery().torn_tail, None);
            check_same(&log, &model);
        }
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_log_behaves_like_a_vector(steps in prop::collection::vec(step(), 1..60)) {
        check_story(&steps, false);
    }

    #[test]
    fn a_log_reopened_after_every_step_behaves_like_a_vector(
        steps in prop::collection::vec(step(), 1..25),
    ) {
        check_story(&steps, true);
    }
}

#[test]
fn entries_may_start_anywhere_in_an_empty_log_but_leave_no_gap() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    append(&log, vec![entry(1, 5, 10)]);
    let gap = log.append(vec![entry(1, 7, 10)], Box::new(|_| ()));
    assert_eq!(
        gap.expect_err("a gap is refused").kind(),
        std::io::ErrorKind::InvalidInput
    );
    assert_eq!(log.state().last, Some(id(1, 5)));
}

#[test]
fn a_truncation_must_name_an_entry_of_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    append(&log, (1..=9).map(|index| entry(1, index, 10)).collect());
    wait(|done| log.purge(id(1, 4), done));
    for wrong in [Some(id(2, 6)), Some(id(1, 3)), Some(id(2, 4)), None] {
        assert!(
            log.truncate_after(wrong, Box::new(|_| ())).is_err(),
            "{wrong:?}"
        );
    }
    wait(|done| log.truncate_after(Some(id(1, 4)), done));
    assert_eq!(log.state().last, Some(id(1, 4)));
}

#[test]
fn an_oversized_entry_is_refused_without_effect() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let big = entry(1, 1, conclave_storage::log::ENTRY_BYTES_MAX + 1);
    let refused = log.append(vec![entry(1, 0, 1), big], Box::new(|_| ()));
    assert_eq!(
        refused.expect_err("it is refused").kind(),
        std::io::ErrorKind::InvalidInput
    );
    assert_eq!(log.state(), LogState::default());
}

#[test]
fn a_closed_log_refuses_writes_and_can_be_opened_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    append(&log, vec![entry(1, 1, 10)]);
    log.save_committed(Some(id(1, 1))).expect("it is accepted");
    assert!(
        log_support::try_open(dir.path()).is_err(),
        "one process at a time"
    );
    log.close();
    assert!(log.save_committed(None).is_err());
    let again = open(dir.path());
    assert_eq!(
        again.state().committed,
        Some(id(1, 1)),
        "closing syncs what waits"
    );
}

#[test]
fn purged_segments_are_removed_and_the_state_survives_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let vote = Vote {
        term: 1,
        node: 3,
        committed: true,
    };
    wait(|done| log.save_vote(vote, done));
    for index in 1..=200 {
        append(&log, vec![entry(1, index, 400)]);
    }
    let before = log_support::segments(dir.path()).len();
    wait(|done| log.purge(id(1, 190), done));
    log.close();
    let after = log_support::segments(dir.path()).len();
    assert!(before > 8 && after <= 3, "{before} segments, then {after}");
    let log = open(dir.path());
    assert_eq!(log.state().vote, Some(vote));
    assert_eq!(
        log.read(0..u64::MAX, usize::MAX)
            .expect("it can be read")
            .len(),
        10
    );
}

#[test]
fn an_append_bigger_than_a_segment_gets_a_segment_of_its_size() {
    for bytes in [7850, 7873, 8000, 100_000] {
        let append = Step::Append {
            sizes: vec![bytes],
            here: true,
        };
        check_story(&[append, Step::Reopen], false);
    }
}
