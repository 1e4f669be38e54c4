//! Promises that hold of every log, tried on thousands of random ones.
//!
//! Nothing here repeats a rule: an observer reads events and answers (`model`), and logs are
//! compared with each other. A failing log shrinks to a few steps; turn it into a script.

#![allow(clippy::too_many_lines, reason = "a test tells its story in one piece")]

#[allow(dead_code, reason = "storage uses the rest")]
mod generated_commands;
mod model;
mod support;

use std::collections::BTreeSet;

use conclave_core::{
    Accepted, AccountEvent, Batch, ClusterEvent, Command, ConversationEvent, Decision, Event,
    Lookup, MessageEvent, Origin, Rejection, Remember, RoomEvent, SentMessage, SessionEvent,
    Timestamp,
    limits::{ONCE_ANSWERS_MAX, REQUEST_WINDOW},
};
use generated_commands::{commands, time};
use model::{
    Observer,
    plan::{History, Step, Weather, What, plan, play},
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use support::Memory;

const STEPS: usize = 160;

/// Returns a configuration with half of the usual cases, to be quick at the desk; PROPTEST_CASES
/// asks for more. A failing log is kept as a script, not as a seed.
fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig {
        cases: usual.cases / 2,
        failure_persistence: None,
        ..usual
    }
}

/// Reads a whole log; returns the observer for further questions.
fn observe(history: &History) -> Observer {
    let mut observer = Observer::default();
    for (batch, decisions) in history.batches.iter().zip(&history.decisions) {
        observer.read(batch, decisions);
    }
    observer
}

/// A log with copies of requests behind the entries that they are sent after; for each entry it has
/// the commands that are copies, and their originals.
struct Repeated {
    batches: Vec<Batch>,
    copies: Vec<Vec<(usize, usize)>>,
}

/// Adds copies: each pair chooses a request that `may_repeat`, and a later entry for it.
fn repeat(
    history: &History,
    choices: &[(usize, usize)],
    may_repeat: impl Fn(&Command, &Decision) -> bool,
) -> Repeated {
    let mut batches = history.batches.clone();
    let mut copies = vec![Vec::new(); batches.len()];
    let mut places = Vec::new();
    for (entry, batch) in history.batches.iter().enumerate() {
        for (place, command) in batch.commands.iter().enumerate() {
            if may_repeat(command, &history.decisions[entry][place]) {
                places.push((entry, place));
            }
        }
    }
    for (which, later) in choices.iter().filter(|_| !places.is_empty()) {
        let (entry, place) = places[which % places.len()];
        let target = entry + later % (batches.len() - entry);
        let copy = history.batches[entry].commands[place].clone();
        batches[target].commands.push(copy);
        copies[target].push((entry, place));
    }
    Repeated { batches, copies }
}

fn choices() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0usize..1000, 0usize..1000), 1..60)
}

/// Runs the log with copies: everything but the copies must have the same results as in `history`,
/// and the state must be the same. `check` compares the answer of a copy with the first one.
fn assert_copies_change_nothing(
    history: &History,
    repeated: &Repeated,
    check: impl Fn(&Decision, &Decision),
) {
    let mut state = Memory::default();
    for (entry, batch) in repeated.batches.iter().enumerate() {
        let decisions = state.run(batch);
        let first = &history.decisions[entry];
        assert_eq!(
            &decisions[..first.len()],
            &first[..],
            "a copy changed another's answer"
        );
        for (copy, (entry, place)) in decisions[first.len()..].iter().zip(&repeated.copies[entry]) {
            assert!(copy.events.is_empty(), "a copy did something");
            assert_eq!(copy.remember, Remember::No, "a copy was remembered");
            check(copy, &history.decisions[*entry][*place]);
        }
    }
    assert_eq!(state, history.state);
}

/// Returns whether a request was refused for a while, or until the cluster version is raised: that
/// is not remembered, and a retry is decided anew.
fn passes(decision: &Decision) -> bool {
    use conclave_core::Bound::WebhookKeys;
    matches!(
        decision.answer,
        Err(Rejection::LoginThrottled { .. }
            | Rejection::VersionTooLow { .. }
            | Rejection::TooMany { what: WebhookKeys })
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_log_produces_an_impossible_event(steps in plan(Weather::Wild, STEPS)) {
        let history = play(&steps);
        let observer = observe(&history);
        for gone in observer.deleted_accounts() {
            prop_assert_eq!(history.state.account(gone).unwrap(), None);
            prop_assert_eq!(history.state.sessions_of(gone).unwrap(), vec![]);
            for conversation in observer.conversations() {
                prop_assert_eq!(history.state.membership(conversation, gone).unwrap(), None);
            }
        }
    }

    #[test]
    fn remembered_answers_are_bounded(steps in plan(Weather::Wild, STEPS)) {
        let history = play(&steps);
        let asked_once = history.batches.iter().flat_map(|batch| &batch.commands);
        let asked_once = asked_once.filter(|c| matches!(c.origin, Origin::Once(_))).count();
        let (of_a_session, once) = history.state.answers_remembered();
        prop_assert!(of_a_session as u64 <= REQUEST_WINDOW);
        prop_assert!(once as u64 <= ONCE_ANSWERS_MAX && once <= asked_once);
    }

    #[test]
    fn retries_do_not_change_what_a_log_decides(
        steps in plan(Weather::Calm, STEPS), choices in choices()
    ) {
        let history = play(&steps);
        let repeated = repeat(&history, &choices, |_, decision| !passes(decision));
        assert_copies_change_nothing(&history, &repeated, |copy, first| {
            assert_eq!(copy.answer, first.answer, "a retry got another answer");
        });
    }

    #[test]
    fn a_retry_of_a_forgotten_request_is_refused_without_effect(
        steps in plan(Weather::Slow, STEPS), choices in choices()
    ) {
        let history = play(&steps);
        let in_session = |command: &Command, decision: &Decision| {
            let session = matches!(command.origin, Origin::Session { .. });
            session && decision.remember == Remember::Yes
        };
        let repeated = repeat(&history, &choices, in_session);
        assert_copies_change_nothing(&history, &repeated, |copy, first| match &copy.answer {
            Err(Rejection::SessionExpired | Rejection::RequestTooOld { .. }) => {}
            other => assert_eq!(other, &first.answer, "a retry got another answer"),
        });
    }

    #[test]
    fn the_same_log_gives_the_same_state_in_any_batching(steps in plan(Weather::Wild, STEPS)) {
        let history = play(&steps);
        let mut state = Memory::default();
        for (batch, decisions) in history.batches.iter().zip(&history.decisions) {
            prop_assert_eq!(&state.run(batch), decisions);
            // A node that restarts continues from a copy of its state.
            state = state.clone();
        }
        prop_assert_eq!(state, history.state);
    }

    #[test]
    fn a_login_never_exceeds_the_session_bound(
        ticks in prop::collection::vec(prop::sample::select(vec![0i64, 700_000, 86_400_000]), 60)
    ) {
        let ask = |what| Step::Ask { who: 0, what, late: 0, skip: 0 };
        let mut steps = vec![ask(What::Create(0, 11)), Step::Tick(0)];
        for ms in ticks {
            steps.extend([ask(What::Login { account: 0, version: 1 }), Step::Tick(ms)]);
        }
        let observer = observe(&play(&steps));
        prop_assert_eq!(observer.deleted_accounts(), vec![]);
    }

    #[test]
    fn dates_affect_only_displayed_times(
        steps in plan(Weather::Wild, STEPS),
        dates in prop::collection::vec(time(), 1..20),
    ) {
        let history = play(&steps);
        let mut state = Memory::default();
        let dates = dates.iter().cycle();
        for (number, (batch, date)) in history.batches.iter().zip(dates).enumerate() {
            let batch = Batch { date: *date, ..batch.clone() };
            for (decision, before) in state.run(&batch).iter().zip(&history.decisions[number]) {
                prop_assert_eq!(undated(decision), undated(before));
            }
        }
    }

    #[test]
    fn no_command_makes_a_rule_panic(
        batches in prop::collection::vec((time(), time(), commands()), 1..40)
    ) {
        let mut state = Memory::default();
        let mut observer = Observer::default();
        let mut before = Timestamp(0);
        for (proposed_at, date, commands) in batches {
            let batch = Batch { proposed_at, date, commands };
            let decisions = state.run(&batch);
            observer.read(&batch, &decisions);
            prop_assert!(state.now.log_time >= before, "log time went back");
            before = state.now.log_time;
        }
    }
}

/// Returns the decision without the times that people see.
fn undated(decision: &Decision) -> Decision {
    let mut decision = decision.clone();
    for event in &mut decision.events {
        match event {
            Event::Account(AccountEvent::Created { at, .. })
            | Event::Session(SessionEvent::Opened { at, .. })
            | Event::Conversation(ConversationEvent::Opened { at, .. })
            | Event::Message(MessageEvent::Sent(SentMessage { at, .. }))
            | Event::Message(MessageEvent::Edited { at, .. })
            | Event::Message(MessageEvent::Deleted { at, .. })
            | Event::Room(RoomEvent::Created { at, .. })
            | Event::Room(RoomEvent::WebhookCreated { at, .. })
            | Event::Cluster(ClusterEvent::JoinTokenCreated { at, .. })
            | Event::Cluster(ClusterEvent::OperatorCreated { at, .. }) => *at = Timestamp(0),
            _ => {}
        }
    }
    if let Ok(
        Accepted::MessageSent { sent_at: at, .. }
        | Accepted::SessionOpened { expires_at: at, .. }
        | Accepted::InviteCreated { expires_at: at, .. }
        | Accepted::JoinTokenCreated { expires_at: at },
    ) = &mut decision.answer
    {
        *at = Timestamp(0);
    }
    decision
}

#[test]
fn generated_plans_reach_every_possible_answer() {
    let mut runner = TestRunner::deterministic();
    let mut reached = BTreeSet::new();
    for _ in 0..250 {
        let steps = plan(Weather::Wild, STEPS)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        for decision in play(&steps).decisions.into_iter().flatten() {
            let whole = match decision.answer {
                Err(rejection) => format!("{rejection:?}"),
                Ok(accepted) => format!("{accepted:?}"),
            };
            let end = whole.find(' ').unwrap_or(whole.len());
            reached.insert(whole[..end].to_owned());
        }
    }
    let mut missed = Vec::new();
    for wanted in [
        "AccountCreated",
        "AccountDeleted",
        "SessionOpened",
        "SessionClosed",
        "MessageSent",
        "PositionAdvanced",
        "MessagesDeleted",
        "Done",
        "RoomEntered",
        "InviteCreated",
        "BotCreated",
        "WebhookCreated",
        "PasswordTried",
        "NameTaken",
        "WrongCredentials",
        "SessionExpired",
        "SessionMisplaced",
        "RequestReused",
        "RequestTooOld",
        "RequestOutOfRange",
        "NoSuchAccount",
        "RecipientGone",
        "NoSuchConversation",
        "NoSuchMessage",
        "NotYourMessage",
        "ListEmpty",
        "MessageGone",
        "Blocked",
        "Oneself",
        "NotAllowed",
        "NotAMember",
        "LastOfItsKind",
        "RegistrationClosed",
        "InviteInvalid",
        "SetupTokenInvalid",
        "NoSuchWebhook",
        "NoSuchSession",
        "InviteOutOfRange",
        "TokenInUse",
    ] {
        if !reached.contains(wanted) {
            missed.push(wanted);
        }
    }
    assert!(missed.is_empty(), "no plan came to {missed:?}");
}
