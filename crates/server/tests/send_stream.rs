//! Streams of messages: order, exactly once, and refusals in the middle. What a hostile caller may
//! do is in a file of its own.

#![allow(clippy::too_many_lines, reason = "a test tells its story in one piece")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "send_stream/hostile.rs"]
mod hostile;
mod people;
#[path = "send_stream/stream.rs"]
mod stream;

use std::time::Duration;

use conclave_wire::v1::{self, send_message_request::To};
use people::{PATIENCE, reason};
use stream::{Stream, limit, message, messages, outcome, texts, world};
use tokio::time::{Instant, timeout};

#[tokio::test(flavor = "multi_thread")]
async fn results_have_the_order_of_the_messages() {
    let (world, alice) = world().await;
    let mut stream = Stream::open(&world, &alice).await.unwrap();
    // Behind the numbers that the administrator has used.
    let (first, count) = (100, 3000);
    let mut sent = first;
    let mut told = Vec::new();
    while told.len() < count {
        // At most 256 without a result, in requests of different sizes.
        while sent < first + count as u64 && sent - first < told.len() as u64 + 200 {
            let next = sent + 1 + sent % 50;
            stream.send(messages(sent..next)).await;
            sent = next;
        }
        for result in stream.results().await.unwrap() {
            told.push((result.number, outcome(result.outcome).unwrap()));
        }
    }
    let expected = (0..told.len() as u64).map(|place| (first + place, place + 1));
    assert!(told.iter().copied().eq(expected), "{told:?}");
    let stored = texts(&world, &alice).await;
    let expected = (first..).map(|number| format!("message {number}"));
    assert!(stored.iter().cloned().eq(expected.take(stored.len())));
    assert_eq!(stored.len(), told.len());
    drop(stream.requests);
    let end = timeout(PATIENCE, stream.responses.message()).await.unwrap();
    assert!(end.unwrap().is_none(), "the stream ends with its client");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_number_gets_its_first_result() {
    let (world, alice) = world().await;
    let mut stream = Stream::open(&world, &alice).await.unwrap();
    stream.send(messages(10..14)).await;
    // In the same stream, beside new ones.
    stream.send(messages([11, 14, 10, 15].into_iter())).await;
    let told = stream.told(8).await;
    let expected = [
        (10, 1),
        (11, 2),
        (12, 3),
        (13, 4),
        (11, 2),
        (14, 5),
        (10, 1),
        (15, 6),
    ];
    assert!(
        told.into_iter()
            .eq(expected.map(|(number, place)| (number, Ok(place))))
    );
    // In another stream, as after the loss of the first one.
    drop(stream);
    let mut stream = Stream::open(&world, &alice).await.unwrap();
    stream.send(messages(12..18)).await;
    let told = stream.told(6).await;
    let expected = (12..18).map(|number| (number, Ok(number - 9)));
    assert!(told.into_iter().eq(expected));
    assert_eq!(texts(&world, &alice).await.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lasting_refusal_concerns_its_message_alone() {
    let (world, alice) = world().await;
    let mut stream = Stream::open(&world, &alice).await.unwrap();
    let to_a_stranger = v1::SendMessageRequest {
        to: Some(To::RecipientName("nemo".to_owned())),
        ..message(22, "hello?")
    };
    let without_recipient = v1::SendMessageRequest {
        to: None,
        ..message(23, "hello?")
    };
    let without_number = v1::SendMessageRequest {
        request: None,
        ..message(0, "hello?")
    };
    let long = "x".repeat(17 * 1024);
    stream
        .send(v1::SendMessagesRequest {
            messages: vec![
                message(20, ""),
                message(21, "one"),
                to_a_stranger,
                without_recipient,
                message(24, &long),
                without_number,
                message(25, "two"),
                message(26, " "),
            ],
        })
        .await;
    let told = stream.told(8).await;
    let refused = |reason: &str| Err(reason.to_owned());
    let expected = [
        (20, refused("TEXT_EMPTY")),
        (21, Ok(1)),
        (22, refused("NO_SUCH_ACCOUNT")),
        (23, refused("RECIPIENT_MISSING")),
        (24, refused("TEXT_TOO_LONG")),
        (0, refused("REQUEST_MISSING")),
        (25, Ok(2)),
        (26, refused("TEXT_EMPTY")),
    ];
    assert_eq!(told, expected);
    assert_eq!(texts(&world, &alice).await, ["one", "two"]);
    // An empty request is a request.
    stream.send(v1::SendMessagesRequest::default()).await;
    stream.send(messages(27..28)).await;
    assert_eq!(stream.told(1).await, [(27, Ok(3))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_number_ends_the_stream_after_those_before() {
    let (world, alice) = world().await;
    let mut stream = Stream::open(&world, &alice).await.unwrap();
    stream.send(messages(10..12)).await;
    stream.told(2).await;
    let other = message(11, "another text");
    let mut request = messages(12..14);
    request.messages.push(other);
    stream.send(request).await;
    let (told, status) = stream.end().await;
    assert_eq!(
        (told, reason(status)),
        (vec![12, 13], "REQUEST_REUSED".to_owned())
    );

    let stream = Stream::open(&world, &alice).await.unwrap();
    let mut request = messages(14..15);
    request.messages.extend(messages(4711..4712).messages);
    request.messages.extend(messages(15..16).messages);
    stream.send(request).await;
    let (told, status) = stream.end().await;
    assert_eq!(
        (told, reason(status)),
        (vec![14], "REQUEST_OUT_OF_RANGE".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_over_the_rate_are_held_and_not_refused() {
    let (mut world, alice) = world().await;
    let limits = [("messages-per-minute", 6000), ("messages-burst", 10)];
    limit(&mut world, &alice, &limits).await;
    let mut stream = Stream::open(&world, &alice).await.unwrap();
    let began = Instant::now();
    stream.send(messages(10..160)).await;
    let told = stream.told(150).await;
    assert!(
        told.into_iter()
            .eq((0..150).map(|place| (10 + place, Ok(place + 1))))
    );
    assert!(
        began.elapsed() >= Duration::from_millis(1300),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_session_ends_the_stream() {
    let (mut world, alice) = world().await;
    let other = world.login("alice").await;
    let mut stream = Stream::open(&world, &other).await.unwrap();
    stream.send(messages(1..3)).await;
    stream.told(2).await;
    let request = v1::EndSessionRequest {
        request: world.number(),
        session_id: other.session,
    };
    world
        .sessions()
        .end_session(alice.ask(request))
        .await
        .unwrap();
    stream.send(messages(3..5)).await;
    let (told, status) = stream.end().await;
    assert_eq!(
        (told, reason(status)),
        (vec![], "SESSION_EXPIRED".to_owned())
    );
    let refused = Stream::open(&world, &other).await;
    if let Ok(stream) = refused {
        stream.send(messages(5..6)).await;
        assert_eq!(reason(stream.end().await.1), "SESSION_EXPIRED");
    }
}
