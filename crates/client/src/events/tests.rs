//! Streams that move: over nodes that cut, hang, stop, are behind or repeat themselves.

use std::time::Duration;

use conclave_core::{ConversationId, Position, Rejection};
use conclave_wire::{
    Problem,
    v1::{self, event::Event as Kind},
};
use tokio::time::{Instant, timeout};

use super::{Item, StartAt, SubscribeOptions};
use crate::{
    CallError, Client, Events,
    tests::fake::{Fake, Part},
};

/// Time limit of each test: a test that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(30);
const SELF: u64 = 1;

fn client(nodes: &[&Fake]) -> Client {
    Client::builder()
        .endpoints(nodes.iter().map(|node| node.address.clone()))
        .token("token")
        .build()
        .unwrap()
}

fn respond(position: u64, events: Vec<v1::Event>) -> Part {
    Ok(v1::SubscribeResponse {
        resume_token: vec![1, u8::try_from(position).unwrap()].into(),
        position,
        events,
    })
}

fn event(position: u64, kind: Kind) -> v1::Event {
    v1::Event {
        position,
        event: Some(kind),
    }
}

fn message(position: u64) -> v1::Event {
    let message = v1::Message {
        position,
        conversation_id: 5,
        sequence: position,
        sender_id: 2,
        ..Default::default()
    };
    event(position, Kind::MessageSent(message))
}

fn started(position: u64, applied: u64) -> Part {
    let started = v1::Started {
        account_id: SELF,
        applied_position: applied,
        ..Default::default()
    };
    respond(position, vec![event(0, Kind::Started(started))])
}

fn messages(positions: &[u64]) -> Part {
    let events = positions
        .iter()
        .map(|position| message(*position))
        .collect();
    respond(*positions.last().unwrap(), events)
}

async fn next(events: &mut Events) -> Result<Item, CallError> {
    timeout(LIMIT, events.next()).await.expect("it goes on")
}

/// Returns the positions of the next events of the log, up to `last`.
async fn positions(events: &mut Events, last: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        if let Item::Event(event) = next(events).await.unwrap()
            && event.position > 0
        {
            seen.push(event.position);
        }
    }
    seen
}

#[tokio::test]
async fn a_cut_stream_resumes_on_another_node_without_gap_or_repeat() {
    let one = Fake::streaming(vec![vec![started(2, 2), messages(&[3, 5])], vec![]]).await;
    // The second node repeats events that the first has given.
    let two = vec![started(5, 9), messages(&[3, 5, 8]), messages(&[8, 9])];
    let two = Fake::streaming(vec![two]).await;
    let mut events = client(&[&one, &two]).subscribe(StartAt::After(Position(2)));
    assert_eq!(positions(&mut events, 9).await, [3, 5, 8, 9]);
    let Item::Reconnected(reconnect) = next(&mut events).await.unwrap() else {
        panic!("it should tell that it is back");
    };
    assert_eq!((reconnect.attempt, reconnect.missed), (1, 2));
    assert_eq!(reconnect.node, two.address);
    assert_eq!(events.resume_token(), [1, 9]);
    let first = one.node.seen.subscribes.lock().unwrap()[0].clone();
    assert_eq!((first.after_position, first.resume_token.len()), (2, 0));
    let second = two.node.seen.subscribes.lock().unwrap()[0].clone();
    assert_eq!(
        (second.after_position, &second.resume_token[..]),
        (0, &[1, 5][..])
    );
}

#[tokio::test]
async fn a_node_that_is_silent_stops_or_is_behind_is_left() {
    let going = v1::GoingAway::default();
    let ways: [(&str, Vec<Part>); 3] = [
        ("silent", vec![started(2, 2)]),
        (
            "going away",
            vec![
                started(2, 2),
                respond(2, vec![event(0, Kind::GoingAway(going))]),
            ],
        ),
        ("behind", vec![Err(Problem::Behind)]),
    ];
    for (name, parts) in ways {
        let one = Fake::streaming(vec![parts]).await;
        let two = Fake::streaming(vec![vec![started(2, 3), messages(&[3])]]).await;
        let options = SubscribeOptions {
            heartbeat: Duration::from_millis(500),
            ..Default::default()
        };
        let client = client(&[&one, &two]);
        let from = StartAt::Token(vec![1, 2]);
        let mut events = client.subscribe_with(from, options);
        let begun = Instant::now();
        assert_eq!(positions(&mut events, 3).await, [3], "{name}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{name}");
        assert_eq!(one.node.seen.subscribes.lock().unwrap().len(), 1, "{name}");
        // Typing and presence go to the node that has the stream.
        client.set_typing(ConversationId(5)).await.unwrap();
        assert_eq!(*two.node.seen.typing.lock().unwrap(), [5], "{name}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_session_but_not_while_nodes_are_down() {
    let expired = Problem::from(Rejection::SessionExpired);
    let node = Fake::streaming(vec![vec![started(1, 1), Err(expired)]]).await;
    let mut events = client(&[&node]).subscribe(StartAt::Now);
    assert!(matches!(next(&mut events).await, Ok(Item::Event(_))));
    loop {
        match next(&mut events).await {
            Ok(_) => {}
            Err(error) => {
                assert!(matches!(error, CallError::SessionExpired { .. }), "{error}");
                break;
            }
        }
    }
    assert!(next(&mut events).await.is_err(), "and stays ended");

    let mut gone = Fake::streaming(vec![]).await;
    gone.stop().await;
    let mut events = client(&[&gone]).subscribe(StartAt::Now);
    for _ in 0..3 {
        let item = next(&mut events).await.unwrap();
        assert!(matches!(item, Item::Disconnected(_)), "{item:?}");
    }
}

#[tokio::test]
async fn a_resume_token_covers_only_delivered_events() {
    let parts = vec![started(2, 9), messages(&[3, 5, 8])];
    let node = Fake::streaming(vec![parts.clone(), parts]).await;
    let client = client(&[&node]);
    let mut events = client.subscribe(StartAt::Token(vec![1, 2]));
    assert_eq!(positions(&mut events, 5).await, [3, 5]);
    let token = events.resume_token();
    drop(events);
    let mut events = client.subscribe(StartAt::Token(token));
    assert_eq!(positions(&mut events, 8).await, [8]);
    assert_eq!(events.resume_token(), [1, 8]);
}

#[tokio::test]
async fn deliveries_are_batched_despite_a_lost_conversation() {
    let in_conversation = |conversation_id, position| {
        let mut event = message(position);
        let Some(Kind::MessageSent(message)) = &mut event.event else {
            unreachable!("it is a message");
        };
        message.conversation_id = conversation_id;
        event
    };
    let mut many: Vec<v1::Event> = (2..50).map(|p| in_conversation(5 + p % 2, p)).collect();
    let mut own = message(50);
    let mut room = message(51);
    for (event, of_room) in [(&mut own, false), (&mut room, true)] {
        let Some(Kind::MessageSent(message)) = &mut event.event else {
            unreachable!("it is a message");
        };
        message.conversation_id = 9;
        match of_room {
            true => message.room_name = "lobby".to_owned(),
            false => message.sender_id = SELF,
        }
    }
    many.extend([own, room]);
    let node = Fake::streaming(vec![vec![started(1, 51), respond(51, many)]]).await;
    node.node.gone.lock().unwrap().insert(6);
    let mut events = client(&[&node]).subscribe(StartAt::Now);
    positions(&mut events, 51).await;
    events.close().await;
    let advances = node.node.seen.advances.lock().unwrap().clone();
    let last = |conversation| {
        let mut all = advances.iter().flatten();
        all.rfind(|p| p.conversation_id == conversation)
            .map(|p| (p.sequence_delivered, p.sequence_read))
    };
    assert_eq!((last(5), last(6)), (Some((48, 0)), Some((49, 0))));
    assert_eq!(last(9), None, "own messages and rooms are not acknowledged");
    assert!(
        advances.len() <= 12,
        "{} calls for 48 messages",
        advances.len()
    );
}
