//! Usage of accounts: it survives everything that a node does, and agrees with what is stored.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;

use conclave_core::{
    AccessOperation, AccountId, AccountLimit, AccountOperation, AdminOperation, Allowance, Command,
    ConversationId, Event, Grant, MessageOperation, MessageRef, MessageText, Operation, Reaction,
    Rejection, RoomEvent, Sequence, TokenHash,
    limits::{MESSAGE_COST_BYTES, REACTION_COST_BYTES},
};
use conclave_storage::state::{Entry, Options, State};
use read_support::*;
use state_support::*;

/// Creates account 1, an administrator, and accounts 2 and 3; each has a session of its number.
fn started(options: Options) -> (tempfile::TempDir, State) {
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), options).unwrap();
    let token = TokenHash([9; 32]);
    let root = Operation::Access(AccessOperation::CreateAccount {
        name: conclave_core::AccountName::new("root").unwrap(),
        password_hash: "$argon2id$".to_owned(),
        grant: Grant::Setup(token),
    });
    let first = vec![
        once(1, Operation::Access(AccessOperation::OfferSetup { token })),
        once(2, root),
        once(3, login(1)),
        once(4, create("ann")),
        once(5, login(2)),
        once(6, create("bea")),
        once(7, login(3)),
    ];
    accept(&mut state, first);
    (directory, state)
}

fn set(number: u64, limits: &[(&str, u64)]) -> Command {
    let named = |name| AccountLimit::named(name).unwrap();
    let values = limits.iter().map(|(name, value)| (named(name), *value));
    let values = values.collect();
    ask(
        1,
        number,
        Operation::Admin(AdminOperation::SetAccountLimits { values }),
    )
}

fn is_limited(state: &mut State, at: u64, number: u64) -> bool {
    let answers = apply_at(state, at, vec![ask(2, number, say("bea", "more"))]).answers;
    matches!(answers[0], Err(Rejection::RateLimited { .. }))
}

#[test]
fn an_empty_bucket_stays_empty_over_a_restart_and_in_a_snapshot() {
    for options in [Options::default(), tiny()] {
        let (directory, mut state) = started(options.clone());
        let limits = [("messages-per-minute", 60), ("messages-burst", 3)];
        accept(&mut state, vec![set(1, &limits)]);
        for number in 1..=3 {
            assert!(!is_limited(&mut state, START, number));
        }
        assert!(is_limited(&mut state, START, 4));
        drop(state);
        let mut state = State::open(directory.path(), options.clone()).unwrap();
        assert!(is_limited(&mut state, START, 4), "a restart has filled it");
        let file = directory.path().join("snapshot");
        state.reader().snapshot_to(&file).unwrap();
        let (_other, mut installed) = opened();
        installed.install(&file).unwrap();
        for state in [&mut state, &mut installed] {
            assert!(
                is_limited(state, START + 999, 4),
                "a snapshot has filled it"
            );
            assert!(!is_limited(state, START + 1000, 4));
            assert!(is_limited(state, START + 1000, 5));
        }
        assert_eq!(digest(&state), digest(&installed));
    }
}

#[test]
fn entries_of_one_transaction_see_the_usage_of_earlier_entries() {
    let limits = [("messages-per-minute", 60), ("messages-burst", 3)];
    let run = |entries_at_once: usize, options: Options| {
        let (_directory, mut state) = started(options);
        accept(&mut state, vec![set(1, &limits)]);
        let first = state.applied().last.unwrap().index + 1;
        let entries: Vec<Entry> = (0..12)
            .map(|step| {
                let said = vec![ask(2, step + 1, say("bea", "hi"))];
                entry(first + step, batch(START + 100 * step, said))
            })
            .collect();
        let results: Vec<_> = entries
            .chunks(entries_at_once)
            .flat_map(|chunk| state.apply(chunk).unwrap())
            .collect();
        let accepted = results.iter().filter(|result| result.answers[0].is_ok());
        assert_eq!(accepted.count(), 4);
        digest(&state)
    };
    let one_by_one = run(1, Options::default());
    for (entries_at_once, options) in [(12, Options::default()), (5, tiny()), (1, tiny())] {
        assert_eq!(run(entries_at_once, options), one_by_one);
    }
}

fn stored(state: &State, account: u64) -> u64 {
    let reader = state.reader();
    reader.allowance(AccountId(account)).unwrap().stored_bytes
}

fn message(sequence: u64) -> MessageRef {
    MessageRef {
        conversation: ConversationId(1),
        sequence: Sequence(sequence),
    }
}

fn delete(sequence: u64) -> Operation {
    Operation::Message(MessageOperation::DeleteMessages {
        messages: vec![message(sequence)],
        for_everyone: true,
    })
}

#[test]
fn the_stored_bytes_follow_the_stored_content() {
    let (_directory, mut state) = started(tiny());
    accept(&mut state, vec![ask(2, 1, say("bea", "12345"))]);
    assert_eq!(stored(&state, 2), MESSAGE_COST_BYTES + 5);
    let edit = |text| {
        Operation::Message(MessageOperation::EditMessage {
            message: message(1),
            text: MessageText::new(text).unwrap(),
        })
    };
    accept(&mut state, vec![ask(2, 2, edit("é"))]);
    assert_eq!(stored(&state, 2), MESSAGE_COST_BYTES + 2);
    accept(&mut state, vec![ask(2, 3, edit("1234567"))]);
    assert_eq!(stored(&state, 2), MESSAGE_COST_BYTES + 7);
    let react = |reaction: &str, present| {
        Operation::Message(MessageOperation::SetReaction {
            message: message(1),
            reaction: Reaction::new(reaction).unwrap(),
            present,
        })
    };
    accept(
        &mut state,
        vec![
            ask(3, 1, react("a", true)),
            ask(3, 2, react("b", true)),
            ask(3, 3, react("b", true)),
            ask(3, 4, react("a", false)),
        ],
    );
    assert_eq!(stored(&state, 3), REACTION_COST_BYTES);
    // The message keeps its row; its text and all reactions to it are gone.
    accept(&mut state, vec![ask(2, 4, delete(1)), ask(2, 5, delete(1))]);
    assert_eq!(stored(&state, 2), MESSAGE_COST_BYTES);
    assert_eq!(stored(&state, 3), 0);
}

#[test]
fn a_closed_room_frees_its_bytes_and_deleted_accounts_own_none() {
    let (_directory, mut state) = started(Options::default());
    accept(
        &mut state,
        vec![
            ask(2, 1, create_room("lobby", true)),
            ask(3, 1, join("lobby")),
            ask(2, 2, say_room("lobby", "one")),
            ask(3, 2, say_room("lobby", "two")),
        ],
    );
    let all = MESSAGE_COST_BYTES + 3;
    assert_eq!((stored(&state, 2), stored(&state, 3)), (all, all));
    let delete = Operation::Account(AccountOperation::DeleteAccount {
        password_version: 1,
    });
    accept(&mut state, vec![ask(3, 3, delete)]);
    let of_bea = |state: &State| state.reader().allowance(AccountId(3)).unwrap();
    assert_eq!(of_bea(&state), Allowance::default());
    let gone = apply(&mut state, vec![ask(2, 3, leave("lobby"))]).events;
    assert!(
        matches!(gone[..], [(_, Event::Room(RoomEvent::MemberLeft { .. }))]),
        "{gone:?}"
    );
    assert_eq!((stored(&state, 2), stored(&state, 3)), (0, 0));
    assert_eq!(of_bea(&state), Allowance::default());
}

#[test]
fn a_new_quota_counts_earlier_messages() {
    let (_directory, mut state) = started(Options::default());
    accept(&mut state, vec![ask(2, 1, say("bea", "hi"))]);
    accept(&mut state, vec![set(1, &[("stored-bytes", 100)])]);
    let refused = |answers: &[conclave_core::Answer]| {
        matches!(answers[0], Err(Rejection::QuotaExceeded { .. }))
    };
    assert!(refused(
        &apply(&mut state, vec![ask(2, 2, say("bea", "more"))]).answers
    ));
    // Other accounts have usage of their own.
    accept(&mut state, vec![ask(3, 1, say("ann", "hello"))]);
    accept(&mut state, vec![set(2, &[("stored-bytes", 0)])]);
    accept(&mut state, vec![ask(2, 3, say("bea", "more"))]);
}
