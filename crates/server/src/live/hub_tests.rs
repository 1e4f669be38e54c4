//! Tests of the hub without a database: which subscriber gets which event, in which order, and what
//! a slow one costs.

use super::*;
use crate::live::subscriber::QUEUE_BYTES_MAX;

const ROOM: ConversationId = ConversationId(7);

fn hub() -> Arc<Hub> {
    Arc::new(Hub::new(Position(0)))
}

fn at(index: u64) -> Position {
    Position::new(index, 0)
}

fn item(position: Position, bytes: usize) -> Arc<Item> {
    let message = v1::Message {
        text: "x".repeat(bytes),
        ..v1::Message::default()
    };
    Arc::new(Item::new(v1::Event {
        position: position.0,
        event: Some(v1::event::Event::MessageSent(message)),
    }))
}

fn publish(hub: &Hub, index: u64, audience: Audience) {
    let told = Routed::Tell(at(index), audience, item(at(index), 10));
    hub.publish(Some(vec![told]), Position::end_of(index));
}

fn register(hub: &Arc<Hub>, account: u64) -> HubSubscription {
    hub.register(AccountId(account), SessionId(account), true)
        .unwrap()
}

fn taken(place: &HubSubscription) -> Vec<u64> {
    match place.take(usize::MAX) {
        Taken::Items(items) => items
            .iter()
            .map(|item| Position(item.event.position).index())
            .collect(),
        Taken::Nothing(_) => Vec::new(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_subscriber_gets_its_events_in_order() {
    let hub = hub();
    let (alice, bob) = (register(&hub, 1), register(&hub, 2));
    assert!(alice.attach(Position(0), &[ROOM]));
    assert!(bob.attach(Position(0), &[]));
    publish(&hub, 1, Audience::Room(ROOM));
    publish(&hub, 2, Audience::Two(AccountId(1), AccountId(2)));
    publish(&hub, 3, Audience::One(AccountId(2)));
    assert_eq!(taken(&alice), [1, 2]);
    assert_eq!(taken(&bob), [2, 3]);
    assert!(
        matches!(alice.take(1), Taken::Nothing(upto) if upto == Position::end_of(3)),
        "an idle one knows how far everything is told"
    );
}

#[test]
fn a_late_subscriber_gets_the_events_since_its_database_read() {
    let hub = hub();
    let alice = register(&hub, 1);
    publish(&hub, 1, Audience::Room(ROOM));
    publish(&hub, 2, Audience::Room(ROOM));
    assert!(alice.attach(Position::end_of(1), &[ROOM]));
    publish(&hub, 3, Audience::Room(ROOM));
    assert_eq!(taken(&alice), [2, 3]);
}

#[test]
fn attaching_before_the_recent_events_needs_the_database() {
    let hub = hub();
    hub.publish(None, Position::end_of(5));
    let alice = register(&hub, 1);
    assert!(!alice.attach(Position::end_of(4), &[]));
    assert!(alice.attach(Position::end_of(5), &[]));
    hub.lose(Position::end_of(6));
    assert!(matches!(alice.take(1), Taken::Lagged(_)));
    assert!(!alice.attach(Position::end_of(5), &[]));
    assert!(alice.attach(Position::end_of(6), &[]));
    assert_eq!(taken(&alice), [0; 0]);
}

#[test]
fn joining_and_leaving_a_room_are_ordered_with_its_events() {
    let hub = hub();
    let alice = register(&hub, 1);
    assert!(alice.attach(Position(0), &[]));
    let routed = vec![
        Routed::Tell(Position::new(1, 0), Audience::Room(ROOM), item(at(1), 1)),
        Routed::Change(Position::new(1, 1), Change::Enters(ROOM, AccountId(1))),
        Routed::Tell(Position::new(2, 0), Audience::Room(ROOM), item(at(2), 1)),
        Routed::Change(Position::new(2, 1), Change::Leaves(ROOM, AccountId(1))),
        Routed::Tell(Position::new(3, 0), Audience::Room(ROOM), item(at(3), 1)),
    ];
    hub.publish(Some(routed), Position::end_of(3));
    assert_eq!(taken(&alice), [2]);
    // The same for a subscriber that attaches only now and had seen nothing of it.
    let late = register(&hub, 1);
    assert!(late.attach(Position(0), &[]));
    assert_eq!(taken(&late), [2]);
}

#[test]
fn a_subscriber_that_does_not_read_loses_only_its_own_queue() {
    let hub = hub();
    let (slow, quick) = (register(&hub, 1), register(&hub, 2));
    assert!(slow.attach(Position(0), &[ROOM]));
    assert!(quick.attach(Position(0), &[ROOM]));
    let big = 10_000;
    let count = 2 * QUEUE_BYTES_MAX / big;
    for index in 1..=count as u64 {
        let told = Routed::Tell(at(index), Audience::Room(ROOM), item(at(index), big));
        hub.publish(Some(vec![told]), Position::end_of(index));
        assert_eq!(taken(&quick), [index]);
    }
    assert!(matches!(slow.take(1), Taken::Lagged(_)));
    assert_eq!(slow.subscriber.queue_capacity(), 0);
    assert!(slow.attach(Position::end_of(count as u64), &[ROOM]));
    publish(&hub, 1000, Audience::Room(ROOM));
    assert_eq!(taken(&slow), [1000]);
}

#[test]
fn the_end_of_a_session_ends_its_streams_only() {
    let hub = hub();
    let (alice, bob) = (register(&hub, 1), register(&hub, 2));
    hub.end_session(SessionId(1));
    assert!(matches!(alice.take(1), Taken::End(End::SessionClosed)));
    assert!(matches!(bob.take(1), Taken::Nothing(_)));
    hub.close();
    assert!(matches!(bob.take(1), Taken::End(End::Stopping)));
    assert!(hub.register(AccountId(3), SessionId(3), true).is_none());
}

#[test]
fn a_session_has_a_bounded_number_of_streams() {
    let hub = hub();
    let open: Vec<HubSubscription> = (0..STREAMS_PER_SESSION_MAX)
        .map(|_| register(&hub, 1))
        .collect();
    assert!(hub.register(AccountId(1), SessionId(1), true).is_none());
    drop(open);
    assert!(!hub.is_wanted());
    let _again = register(&hub, 1);
    assert!(hub.is_wanted());
}

#[test]
fn ephemeral_events_reach_only_subscribers_that_want_them() {
    let hub = hub();
    let alice = register(&hub, 1);
    let bob = hub.register(AccountId(2), SessionId(2), false).unwrap();
    assert!(alice.attach(Position(0), &[ROOM]));
    assert!(bob.attach(Position(0), &[ROOM]));
    let event = v1::Event::default();
    hub.tell_ephemeral(Audience::Room(ROOM), AccountId(9), event.clone());
    assert!(matches!(alice.take(1), Taken::Items(_)));
    assert!(matches!(bob.take(1), Taken::Nothing(_)));
    hub.tell_ephemeral(Audience::Room(ROOM), AccountId(1), event);
    assert!(matches!(alice.take(1), Taken::Nothing(_)));
}

#[test]
fn recent_events_kept_for_new_subscribers_are_bounded() {
    let hub = hub();
    let _subscriber = register(&hub, 1);
    for index in 1..=RECENT_MAX as u64 + 10 {
        publish(&hub, index, Audience::One(AccountId(5)));
    }
    let subscribers = hub.subscribers();
    assert_eq!(subscribers.recent.len(), RECENT_MAX);
    assert!(subscribers.recent_bytes <= RECENT_BYTES_MAX);
    assert_eq!(subscribers.recent_after, at(10));
}

#[test]
fn each_subscriber_gets_its_events_once_even_if_late() {
    let hub = hub();
    let (alice, bob) = (register(&hub, 1), register(&hub, 2));
    assert!(alice.attach(Position(0), &[ROOM]));
    publish(&hub, 1, Audience::Room(ROOM));
    publish(&hub, 2, Audience::One(AccountId(1)));
    publish(&hub, 3, Audience::Room(ROOM));
    publish(&hub, 4, Audience::Room(ConversationId(8)));
    publish(&hub, 5, Audience::Two(AccountId(1), AccountId(2)));
    assert!(bob.attach(Position::end_of(1), &[ROOM]));
    assert_eq!(taken(&bob), [3, 5]);
    assert_eq!(taken(&alice), [1, 2, 3, 5]);
}

#[test]
fn late_events_from_before_attaching_are_ignored() {
    let hub = hub();
    let alice = register(&hub, 1);
    // No subscriber wanted it, so it overtook the events on their way.
    hub.publish(None, Position::end_of(5));
    assert!(alice.attach(Position::end_of(5), &[ROOM]));
    let late = vec![
        Routed::Tell(Position::new(3, 0), Audience::Room(ROOM), item(at(3), 1)),
        Routed::Change(Position::new(3, 1), Change::Leaves(ROOM, AccountId(1))),
    ];
    hub.publish(Some(late), Position::end_of(3));
    assert!(matches!(alice.take(1), Taken::Nothing(upto) if upto == Position::end_of(5)));
    publish(&hub, 6, Audience::Room(ROOM));
    assert_eq!(taken(&alice), [6]);
}

#[test]
fn the_end_of_an_account_reaches_streams_that_catch_up() {
    let hub = hub();
    let (attached, catching_up, other) = (register(&hub, 1), register(&hub, 1), register(&hub, 2));
    assert!(attached.attach(Position(0), &[]));
    hub.end_account(AccountId(1));
    assert!(catching_up.attach(Position(0), &[]));
    for ended in [attached, catching_up] {
        let taken = ended.take(usize::MAX);
        assert!(matches!(taken, Taken::End(End::SessionClosed)), "{taken:?}");
    }
    assert!(matches!(other.take(usize::MAX), Taken::Nothing(_)));
}
