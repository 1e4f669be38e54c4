//! Callers that ignore every bound: they disturb themselves alone.

use std::{pin::Pin, time::Duration};

use conclave_wire::{
    Problem,
    v1::{self, chat_service_client::ChatServiceClient},
};
use tokio::time::{Instant, timeout};
use tonic::{Code, Request};

use crate::{
    people::{PATIENCE, Person, World, reason},
    stream::{Stream, message, messages, texts, world},
};

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_bounds_end_the_stream() {
    let (world, alice) = world().await;
    let stream = Stream::open(&world, &alice).await.unwrap();
    stream.send(messages(10..267)).await;
    let (_, status) = stream.end().await;
    assert_eq!(reason(status), "LIST_TOO_LONG");

    let stream = Stream::open(&world, &alice).await.unwrap();
    let long = "x".repeat(16 * 1024);
    let request = v1::SendMessagesRequest {
        messages: (10..20).map(|number| message(number, &long)).collect(),
    };
    stream.send(request).await;
    let (told, status) = stream.end().await;
    assert_eq!(
        (told, reason(status)),
        (vec![], "REQUEST_TOO_LONG".to_owned())
    );
    assert!(texts(&world, &alice).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_a_bounded_number_of_streams() {
    let (world, alice) = world().await;
    let mut streams = Vec::new();
    let refused = loop {
        match Stream::open(&world, &alice).await {
            Ok(stream) => streams.push(stream),
            Err(status) => break status,
        }
    };
    assert_eq!((streams.len(), reason(refused)), (32, "BUSY".to_owned()));
    // A stream that ends leaves its place.
    drop(streams.pop().unwrap());
    let began = Instant::now();
    while Stream::open(&world, &alice).await.is_err() {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_results_stops_itself_alone() {
    let (mut world, alice) = world().await;
    let other = world.login("alice").await;
    let stream = Stream::open(&world, &alice).await.unwrap();
    // Results are small: the connection takes some thousands of them, and then nothing moves.
    let mut number = 10;
    let send_for = async |number: &mut u64, limit| {
        let flood = async {
            loop {
                stream.send(messages(*number..*number + 200)).await;
                *number += 200;
            }
        };
        let _ = timeout(limit, flood).await;
    };
    let began = Instant::now();
    loop {
        let before = number;
        send_for(&mut number, Duration::from_secs(1)).await;
        if number == before {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{number} messages were taken");
    }
    let mut modest = Stream::open(&world, &other).await.unwrap();
    modest.send(messages(1..2)).await;
    assert!(modest.told(1).await[0].1.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_the_stream_and_nothing_else() {
    let (world, alice) = world().await;
    let mut good = Stream::open(&world, &alice).await.unwrap();
    for body in [
        &b"\0\0\0\0\x05hello"[..],
        b"\x01\0\0\0\0",
        b"\0\xff\xff\xff\xff",
        b"\0\0",
    ] {
        let status = raw(&world, &alice, body).await;
        assert_ne!(status, "0", "{body:?}");
    }
    good.send(messages(10..11)).await;
    assert_eq!(good.told(1).await, [(10, Ok(1))]);
}

/// Makes the call with this body; returns the status of gRPC.
async fn raw(world: &World, person: &Person, body: &'static [u8]) -> String {
    use axum::{
        body::{Body, HttpBody as _},
        http,
    };
    use tower::{Service as _, ServiceExt as _};
    let mut channel = world.channel.clone();
    let request = http::Request::builder()
        .method("POST")
        .uri("/conclave.v1.ChatService/SendMessages")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {}", person.token))
        .body(tonic::body::Body::new(Body::from(body)));
    let answer = channel.ready().await.unwrap().call(request.unwrap());
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    if let Some(status) = answer.headers().get("grpc-status") {
        return status.to_str().unwrap().to_owned();
    }
    let mut body = answer.into_body();
    let mut trailers = http::HeaderMap::new();
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let Some(frame) = timeout(PATIENCE, frame).await.unwrap() else {
            break;
        };
        let frame = frame.unwrap().into_trailers();
        trailers.extend(frame.ok().into_iter().flatten());
    }
    let status = trailers.get("grpc-status");
    status.map_or_else(String::new, |status| status.to_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_sends_its_streams_away() {
    let (world, alice) = world().await;
    let mut stream = Stream::open(&world, &alice).await.unwrap();
    stream.send(messages(10..20)).await;
    stream.told(10).await;
    world.node.stop(PATIENCE).await;
    let (_, status) = stream.end().await;
    let problem = Problem::from_status(&status);
    assert_eq!(problem, Some(Problem::GoingAway), "{status:?}");
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_session_is_refused() {
    let (world, _) = world().await;
    let mut chat = ChatServiceClient::new(world.channel.clone());
    let requests = tokio_stream::iter([messages(1..2)]);
    let refused = chat.send_messages(Request::new(requests)).await;
    assert_eq!(reason(refused.unwrap_err()), "SESSION_EXPIRED");
}
