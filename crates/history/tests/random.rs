//! Random correct runs hold; with one thing changed they are caught by the right property.
//!
//! The run is made from a model that cannot be wrong: sends are committed one after another,
//! invoked before and answered after, with every outcome that a client can get.

#![allow(clippy::too_many_lines, reason = "a test tells its story in one piece")]

use conclave_history::{Action, Event, Findings, History, Observed, Verdict, What, judge};
use proptest::{prelude::*, sample::Index, test_runner::TestCaseResult};

const NODES: u64 = 3;
const CONVERSATIONS: [&str; 3] = ["alice/bob", "alice/carol", "bob/carol"];
/// When everything is at rest and is read.
const END_US: u64 = 1_000_000;

/// The answer that a client gets to a send, and whether the send happens.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Acked,
    AckedThenDeleted,
    Refused,
    UnknownHappened,
    UnknownNever,
    NoOutcome,
}

#[derive(Clone, Debug)]
struct Plan {
    conversation: usize,
    fate: Fate,
    before_us: u64,
    after_us: u64,
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let fate = prop_oneof![
        6 => Just(Fate::Acked),
        1 => Just(Fate::AckedThenDeleted),
        1 => Just(Fate::Refused),
        1 => Just(Fate::UnknownHappened),
        1 => Just(Fate::UnknownNever),
        1 => Just(Fate::NoOutcome),
    ];
    let plan = (0..CONVERSATIONS.len(), fate, 0..500_u64, 0..500_u64).prop_map(
        |(conversation, fate, before_us, after_us)| Plan {
            conversation,
            fate,
            before_us,
            after_us,
        },
    );
    prop::collection::vec(plan, 1..40).prop_map(|mut plans| {
        // Two that certainly exist, for the changes that need something to change.
        for plan in plans.iter_mut().take(1) {
            plan.fate = Fate::Acked;
        }
        let first = plans[0].clone();
        plans.insert(0, first);
        plans
    })
}

/// Returns a correct run of these plans, committed in this order.
fn run(plans: &[Plan]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut places: Vec<Vec<Observed>> = vec![Vec::new(); CONVERSATIONS.len()];
    for (number, plan) in (1_u64..).zip(plans) {
        let committed_us = 1_000 + number * 100;
        let (invoked_us, answered_us) = (
            committed_us - plan.before_us.min(committed_us),
            committed_us + plan.after_us,
        );
        let (client, op, message) = (number, number, format!("m{number}"));
        let conversation = CONVERSATIONS[plan.conversation].to_owned();
        let action = Action::Send {
            conversation: conversation.clone(),
            message: message.clone(),
        };
        events.push(Event {
            at_us: invoked_us,
            what: What::Invoke { client, op, action },
        });
        let place = &mut places[plan.conversation];
        let happens = matches!(
            plan.fate,
            Fate::Acked | Fate::AckedThenDeleted | Fate::UnknownHappened
        );
        if happens {
            let seq = place.len() as u64 + 1;
            place.push(Observed {
                seq,
                message,
                deleted: false,
            });
        }
        let seq = place.len() as u64;
        let outcome = match plan.fate {
            Fate::Acked | Fate::AckedThenDeleted => What::Ok {
                client,
                op,
                seq: Some(seq),
            },
            Fate::Refused => What::Fail { client, op },
            Fate::UnknownHappened | Fate::UnknownNever => What::Unknown { client, op },
            Fate::NoOutcome => continue,
        };
        events.push(Event {
            at_us: answered_us,
            what: outcome,
        });
        if plan.fate == Fate::AckedThenDeleted {
            let op = op + 1_000;
            let action = Action::Delete { conversation, seq };
            let invoke = What::Invoke { client, op, action };
            events.push(Event {
                at_us: answered_us + 1,
                what: invoke,
            });
            events.push(Event {
                at_us: answered_us + 9,
                what: What::Ok {
                    client,
                    op,
                    seq: None,
                },
            });
            let last = place.last_mut().expect("it was just pushed");
            *last = Observed {
                seq,
                message: String::new(),
                deleted: true,
            };
        }
    }
    for node in 1..=NODES {
        for (conversation, messages) in CONVERSATIONS.iter().zip(&places) {
            events.push(reading(node, conversation, 1, messages.clone(), true));
            let from = messages.len() / 2;
            let live = messages[from..].to_vec();
            events.push(reading(node, conversation, from as u64 + 1, live, false));
        }
        let what = What::Digest {
            node,
            applied: 9,
            digest: "same".to_owned(),
        };
        events.push(Event {
            at_us: END_US,
            what,
        });
    }
    events
}

fn reading(
    node: u64,
    conversation: &str,
    from_seq: u64,
    messages: Vec<Observed>,
    complete: bool,
) -> Event {
    let what = What::Observe {
        node,
        client: (!complete).then_some(node + 100),
        conversation: conversation.to_owned(),
        asked_us: END_US,
        from_seq,
        messages,
        complete,
    };
    Event {
        at_us: END_US + node,
        what,
    }
}

/// Returns the complete readings of the conversation that certainly has two messages.
fn readings<'e>(plans: &[Plan], events: &'e mut [Event]) -> Vec<&'e mut Vec<Observed>> {
    let wanted = CONVERSATIONS[plans[0].conversation];
    events
        .iter_mut()
        .filter_map(|event| match &mut event.what {
            What::Observe {
                conversation,
                messages,
                complete: true,
                ..
            } if conversation == wanted => Some(messages),
            _ => None,
        })
        .collect()
}

fn caught(events: Vec<Event>, by: fn(&Verdict) -> &Findings) -> TestCaseResult {
    let verdict = judge(&History::from(events));
    prop_assert!(!verdict.holds());
    prop_assert!(by(&verdict).count > 0, "{verdict:#?}");
    Ok(())
}

proptest! {
    #[test]
    fn a_correct_run_holds(plans in plans()) {
        let verdict = judge(&History::from(run(&plans)));
        prop_assert!(verdict.holds(), "{verdict:#?}");
        prop_assert_eq!(verdict.sent, plans.len() as u64);
    }

    #[test]
    fn a_truncated_run_is_blamed_only_for_unread_messages(
        plans in plans(), at in any::<Index>(),
    ) {
        let mut events = run(&plans);
        events.sort_by_key(|event| event.at_us);
        let ends = events.len() - at.index(events.len());
        let verdict = judge(&History::from(events.clone()));
        prop_assert!(verdict.holds(), "{verdict:#?}");
        events.truncate(ends);
        let verdict = judge(&History::from(events));
        for (name, findings) in verdict.properties() {
            prop_assert!(name == "unread" || findings.count == 0, "{verdict:#?}");
        }
    }

    #[test]
    fn an_acknowledged_message_missing_from_one_node_is_lost(
        plans in plans(), node in any::<Index>(), which in 0..2_usize,
    ) {
        let mut events = run(&plans);
        let mut readings = readings(&plans, &mut events);
        let node = node.index(readings.len());
        readings[node].remove(which);
        caught(events, |verdict| &verdict.lost)?;
    }

    #[test]
    fn a_message_at_two_positions_is_duplicated(plans in plans(), which in 0..2_usize) {
        let mut events = run(&plans);
        for messages in readings(&plans, &mut events) {
            let seq = messages.len() as u64 + 1;
            messages.push(Observed { seq, ..messages[which].clone() });
        }
        caught(events, |verdict| &verdict.duplicated)?;
    }

    #[test]
    fn messages_swapped_on_all_nodes_are_reordered(plans in plans()) {
        let mut events = run(&plans);
        for messages in readings(&plans, &mut events) {
            swap_first_two(messages);
        }
        caught(events, |verdict| &verdict.reordered)?;
    }

    #[test]
    fn messages_swapped_on_one_node_are_a_disagreement(
        plans in plans(), node in any::<Index>(),
    ) {
        let mut events = run(&plans);
        let mut readings = readings(&plans, &mut events);
        let node = node.index(readings.len());
        swap_first_two(readings[node]);
        caught(events, |verdict| &verdict.disagreements)?;
    }

    #[test]
    fn a_message_without_a_send_is_invented(plans in plans()) {
        let mut events = run(&plans);
        for messages in readings(&plans, &mut events) {
            let seq = messages.len() as u64 + 1;
            messages.push(Observed { seq, message: "x".to_owned(), deleted: false });
        }
        caught(events, |verdict| &verdict.invented)?;
    }

    #[test]
    fn a_message_of_a_refused_send_is_invented(plans in plans(), which in 0..2_u64) {
        let mut events = run(&plans);
        for event in &mut events {
            if let What::Ok { client, op, .. } = event.what
                && op == which + 1
            {
                event.what = What::Fail { client, op };
            }
        }
        caught(events, |verdict| &verdict.invented)?;
    }

    #[test]
    fn a_differing_digest_is_a_disagreement(plans in plans()) {
        let mut events = run(&plans);
        let what = What::Digest { node: 2, applied: 9, digest: "other".to_owned() };
        events.push(Event { at_us: END_US, what });
        caught(events, |verdict| &verdict.disagreements)?;
    }
}

fn swap_first_two(messages: &mut [Observed]) {
    let (first, second) = messages.split_at_mut(1);
    std::mem::swap(&mut first[0].message, &mut second[0].message);
}
