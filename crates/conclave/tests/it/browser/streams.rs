//! Streams and slow readers over HTTP/1.1, gRPC-Web over HTTP/2, and the cookie over TLS.

use conclave_client::v1;
use prost_reflect::prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tonic::{body::Body, codegen::http};
use tonic_web::{GrpcWebCall, GrpcWebClientLayer};
use tower::{Layer as _, ServiceExt as _};

use super::{
    GRPC_WEB, PASSWORD, log_in, message,
    page::{Page, answer, framed, frames, unchunked},
    session_of, signed_in,
};
use crate::{
    foreign::{channel, with_token},
    forger::{self, ANY_NODE},
    support::{Cluster, PATIENCE, until},
};

const SUBSCRIBE: &str = "/conclave.v1.LiveService/Subscribe";
/// Number of pages of a megabyte that no buffer of the system takes.
const PAGES: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_reaches_a_page_over_http_1_and_over_http_2() {
    let cluster = Cluster::start(1).await;
    let mut page = signed_in(&cluster).await;
    let body = framed(&v1::SubscribeRequest {
        heartbeat_ms: 500,
        from_beginning: true,
        ..Default::default()
    });
    let mut stream = TcpStream::connect(cluster.endpoint(1)).await.unwrap();
    let head = page.head("POST", SUBSCRIBE, GRPC_WEB, body.len());
    stream
        .write_all(&[head.as_bytes(), &body].concat())
        .await
        .unwrap();
    let send = "ChatService/SendMessage";
    let _: v1::SendMessageResponse = page.call(send, &message(1, "to a page")).await.unwrap();
    let mut heard = Vec::new();
    let reading = async {
        // A sign of life comes after the message, in a stream that goes on.
        while !is_followed(&heard) {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).await.unwrap();
            assert_ne!(count, 0, "it goes on");
            heard.extend_from_slice(&bytes[..count]);
        }
    };
    timeout(PATIENCE, reading).await.unwrap();

    // The same over HTTP/2, by a program that shows its token.
    let token = page.cookie.as_ref().unwrap().split_once('=').unwrap().1;
    let channel = channel(&cluster.endpoint(1)).await;
    let boxed = |request: http::Request<GrpcWebCall<Body>>| request.map(Body::new);
    let web = GrpcWebClientLayer::new().layer(channel.map_request(boxed));
    let mut live = v1::live_service_client::LiveServiceClient::new(web);
    let asked = v1::SubscribeRequest {
        from_beginning: true,
        ..Default::default()
    };
    let mut stream = live
        .subscribe(with_token(asked, token))
        .await
        .unwrap()
        .into_inner();
    let first = timeout(PATIENCE, stream.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let is_start = |event: &v1::Event| matches!(event.event, Some(v1::event::Event::Started(_)));
    assert!(first.events.iter().any(is_start), "{first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_reads_nothing_loses_its_connection() {
    let cluster = Cluster::start(1).await;
    let mut page = signed_in(&cluster).await;
    let text = "x".repeat(16 * 1024);
    for number in 1..=60 {
        let message = message(number, &text);
        let sent = page.call("ChatService/SendMessage", &message);
        let _: v1::SendMessageResponse = sent.await.unwrap();
    }
    // Some pages of a megabyte each, and then a stream: more than buffers of the system take.
    let mut requests = Vec::new();
    let list = framed(&v1::ListMessagesRequest {
        conversation: Some(v1::list_messages_request::Conversation::ConversationId(1)),
        page_size: 1000,
        ..Default::default()
    });
    let subscribe = framed(&v1::SubscribeRequest::default());
    let asked = [vec![("/conclave.v1.ChatService/ListMessages", list); PAGES]];
    for (path, body) in asked.concat().into_iter().chain([(SUBSCRIBE, subscribe)]) {
        let head = page.head("POST", path, GRPC_WEB, body.len());
        requests.extend(head.replace("connection: close\r\n", "").into_bytes());
        requests.extend(body);
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = cluster.endpoint(1).parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(&requests).await.unwrap();
    // It reads nothing. The node aborts a response of which nothing is read for ten seconds.
    for waits in [true, false] {
        until("bytes wait, and then no longer", async || {
            let port = cluster.status(1).await.client_port.unwrap();
            ((port.held_bytes > 0) == waits).then_some(())
        })
        .await;
    }
    let mut heard = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut heard))
        .await
        .unwrap();
    assert!(heard.len() < PAGES * 60 * text.len(), "it got everything");
    assert_eq!(session_of(&mut page).await.unwrap(), "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_cookie_is_bound_to_its_host() {
    let cluster = Cluster::start_encrypted(1).await;
    let address = cluster.endpoint(1);
    let client = cluster.client();
    client.create_account("alice", PASSWORD).await.unwrap();
    let config = forger::config(&cluster.secret(), None);
    let mut page = Page::of(&address);
    let body = framed(&log_in());
    let path = "/conclave.v1.SessionService/OpenSession";
    for (origin, reason) in [
        (format!("http://{address}"), Some("ORIGIN_REFUSED")),
        (format!("https://{address}"), None),
    ] {
        page.origin = Some(origin);
        let stream = forger::connect(&config, &address, ANY_NODE).await.unwrap();
        let response = page.ask_on(stream, "POST", path, GRPC_WEB, &body).await;
        let opened: Result<v1::OpenSessionResponse, _> = answer(&response);
        assert_eq!(opened.err().as_deref(), reason);
        page.keep(&response);
        if reason.is_none() {
            let set = response.header("set-cookie");
            assert!(set.starts_with("__Host-conclave_session=") && set.contains("; Secure"));
        }
    }
    let body = framed(&v1::GetSessionRequest::default());
    let path = "/conclave.v1.SessionService/GetSession";
    let stream = forger::connect(&config, &address, ANY_NODE).await.unwrap();
    let response = page.ask_on(stream, "POST", path, GRPC_WEB, &body).await;
    assert!(answer::<v1::GetSessionResponse>(&response).is_ok());
}

/// Returns whether the events have the message, and a sign of life behind it.
fn is_followed(heard: &[u8]) -> bool {
    let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let content = unchunked(&heard[end + 4..]);
    let (messages, trailers) = frames(&content);
    assert!(trailers.is_none(), "the stream has ended");
    let events = messages
        .iter()
        .flat_map(|message| v1::SubscribeResponse::decode(*message).unwrap().events);
    let mut was_there = false;
    for event in events {
        match event.event.unwrap() {
            v1::event::Event::MessageSent(message) => was_there |= message.text == "to a page",
            v1::event::Event::Heartbeat(_) if was_there => return true,
            _ => {}
        }
    }
    false
}
