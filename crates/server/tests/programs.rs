//! A node as programs see it that speak HTTP but no gRPC, or that ask for its services.

#![allow(clippy::too_many_lines, reason = "a test tells its story in one piece")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod people;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use conclave_server::Registration;
use conclave_wire::v1;
use people::World;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::transport::Channel;
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha,
};
use tower::{Service as _, ServiceExt as _};

/// gRPC code of a method that does not exist.
const UNIMPLEMENTED: &str = "12";
const SEND: &str = "/conclave.v1.ChatService/SendMessage";

/// Parts of an answer: status, type of the content, allowed methods, and the body.
#[derive(Debug)]
struct Reply {
    status: u16,
    kind: String,
    allow: String,
    body: String,
    grpc_status: String,
}

/// Sends a request by HTTP/2.
async fn by_http2(channel: &Channel, method: &Method, path: &str, kind: &str) -> Reply {
    let mut channel = channel.clone();
    let mut request = Request::builder().method(method).uri(path);
    if !kind.is_empty() {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    let request = request.body(tonic::body::Body::new(Body::empty())).unwrap();
    let answer = channel.ready().await.unwrap().call(request).await.unwrap();
    let header = |name| match answer.headers().get(name) {
        Some(value) => value.to_str().unwrap().to_owned(),
        None => String::new(),
    };
    let (kind, allow) = (header(header::CONTENT_TYPE), header(header::ALLOW));
    let grpc_status = header(header::HeaderName::from_static("grpc-status"));
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(Body::new(answer.into_body()), 1 << 20).await;
    let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
    Reply {
        status,
        kind,
        allow,
        body,
        grpc_status,
    }
}

/// Sends a request by HTTP/1.1.
async fn by_http1(world: &World, method: &Method, path: &str, kind: &str) -> Reply {
    let mut stream = TcpStream::connect(world.node.client_address())
        .await
        .unwrap();
    let kind = match kind {
        "" => String::new(),
        kind => format!("content-type: {kind}\r\n"),
    };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{kind}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    Reply {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        kind: header("content-type:"),
        allow: header("allow:"),
        body: body.to_owned(),
        grpc_status: header("grpc-status:"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unserved_requests_never_get_a_success() {
    let world = World::start(Registration::Open).await;
    let secret = "A".repeat(43);
    let cases = [
        // The page is at some paths, and nowhere else.
        (Method::GET, "/nothing".to_owned(), "", 404),
        (Method::HEAD, "/nothing".to_owned(), "", 404),
        (Method::POST, "/".to_owned(), "", 405),
        (Method::GET, "/healthz".to_owned(), "", 404),
        (Method::GET, "/metrics".to_owned(), "", 404),
        (
            Method::POST,
            format!("//hooks/{secret}"),
            "application/json",
            404,
        ),
        (
            Method::POST,
            format!("/hook/{secret}"),
            "application/json",
            404,
        ),
        (
            Method::POST,
            format!("/hooks/{secret}"),
            "application/json",
            404,
        ),
        (Method::POST, "/hooks".to_owned(), "application/json", 404),
        (Method::GET, format!("/hooks/{secret}"), "", 405),
        (
            Method::PUT,
            format!("/hooks/{secret}"),
            "application/json",
            405,
        ),
        (Method::OPTIONS, format!("/hooks/{secret}"), "", 204),
        (Method::GET, SEND.to_owned(), "", 405),
        (Method::HEAD, SEND.to_owned(), "", 405),
        (Method::OPTIONS, SEND.to_owned(), "", 204),
        (Method::POST, SEND.to_owned(), "", 415),
        (Method::POST, SEND.to_owned(), "application/json", 415),
        (
            Method::POST,
            SEND.to_owned(),
            "application/grpc-web-text+proto",
            415,
        ),
        (
            Method::POST,
            "/no.such.Service/Call".to_owned(),
            "application/json",
            404,
        ),
        (
            Method::POST,
            "/grpc.health.v1.Health/Check".to_owned(),
            "application/json",
            415,
        ),
    ];
    for (method, path, kind, status) in cases {
        let answers = [
            by_http1(&world, &method, &path, kind).await,
            by_http2(&world.channel, &method, &path, kind).await,
        ];
        for told in answers {
            let what = format!("{method} {path} {kind}: {told:?}");
            assert_eq!(told.status, status, "{what}");
            let may_be_asked = status == 204 || status == 405;
            assert_eq!(!told.allow.is_empty(), may_be_asked, "{what}");
            if status == 204 || method == Method::HEAD {
                assert_eq!(told.body, "", "{what}");
                continue;
            }
            assert_eq!(told.kind, "application/json", "{what}");
            let body: Value = serde_json::from_str(&told.body).unwrap();
            assert!(
                !body["error"]["reason"].as_str().unwrap().is_empty(),
                "{what}"
            );
            assert!(
                !body["error"]["sentence"].as_str().unwrap().is_empty(),
                "{what}"
            );
            assert!(!body["hint"].as_str().unwrap().is_empty(), "{what}");
            assert!(!told.body.contains(&secret), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_an_unknown_service_is_unimplemented() {
    let world = World::start(Registration::Open).await;
    let paths = [
        "/no.such.Service/Call",
        "/conclave.v1.AdminService/NoSuchCall",
        "/conclave.v2.ChatService/SendMessage",
        "/",
    ];
    for path in paths {
        let told = by_http2(&world.channel, &Method::POST, path, "application/grpc").await;
        assert_eq!(told.status, 200, "{path}");
        assert_eq!(told.grpc_status, UNIMPLEMENTED, "{path}: {told:?}");
    }
    let told = by_http1(&world, &Method::POST, SEND, "application/grpc").await;
    assert_eq!(told.status, StatusCode::HTTP_VERSION_NOT_SUPPORTED.as_u16());
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_only_health_and_the_client_services() {
    let world = World::start(Registration::Open).await;
    let ask = async |asked: MessageRequest| {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(asked),
        };
        let mut client = ServerReflectionClient::new(world.channel.clone());
        let requests = futures::stream::iter([request]);
        let answers = client.server_reflection_info(requests).await.unwrap();
        let answer = answers.into_inner().message().await.unwrap().unwrap();
        answer.message_response.unwrap()
    };
    let listed = ask(MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(listed) = listed else {
        panic!("{listed:?}");
    };
    let mut names: Vec<_> = listed
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    names.sort();
    let expected = [
        "conclave.v1.AccountService",
        "conclave.v1.AdminService",
        "conclave.v1.BackupService",
        "conclave.v1.ChatService",
        "conclave.v1.LiveService",
        "conclave.v1.RoomService",
        "conclave.v1.SessionService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ];
    assert_eq!(names, expected);
    for symbol in [
        "conclave.peer.v1.PeerService",
        "conclave.peer.v1.JoinService",
        "conclave.peer.v1.Envelope",
    ] {
        let asked = MessageRequest::FileContainingSymbol(symbol.to_owned());
        let client = ServerReflectionClient::new(world.channel.clone());
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(asked),
        };
        let mut client = client;
        let answers = client
            .server_reflection_info(futures::stream::iter([request]))
            .await;
        let answer = answers.unwrap().into_inner().message().await;
        let is_found = matches!(
            answer.map(|answer| answer.and_then(|answer| answer.message_response)),
            Ok(Some(MessageResponse::FileDescriptorResponse(_)))
        );
        assert!(!is_found, "{symbol} is told");
    }
    for symbol in ["conclave.v1.ChatService", "grpc.health.v1.Health"] {
        let told = ask(MessageRequest::FileContainingSymbol(symbol.to_owned())).await;
        let is_file = matches!(told, MessageResponse::FileDescriptorResponse(_));
        assert!(is_file, "{symbol}: {told:?}");
    }
    // Tools that know only the older version are served, too.
    let mut older =
        v1alpha::server_reflection_client::ServerReflectionClient::new(world.channel.clone());
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let answers = older
        .server_reflection_info(futures::stream::iter([request]))
        .await;
    let answer = answers
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    let told = format!("{answer:?}");
    assert!(
        told.contains("conclave.v1.ChatService") && !told.contains("peer"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_page_request_is_capped_and_says_so() {
    let mut world = World::start(Registration::Open).await;
    world.create("anna", None, None).await.unwrap();
    let anna = world.login("anna").await;
    let mut chat = v1::chat_service_client::ChatServiceClient::new(world.channel.clone());
    let mut rooms = v1::room_service_client::RoomServiceClient::new(world.channel.clone());
    for (asked, default, told) in [
        (0, 50, 50),
        (7, 7, 7),
        (1000, 1000, 1000),
        (1001, 1000, 1000),
    ]
    .into_iter()
    .chain([(u32::MAX, 1000, 1000)])
    {
        let list = v1::ListUnreadRequest {
            count: asked,
            ..Default::default()
        };
        let unread = chat.list_unread(anna.ask(list)).await.unwrap().into_inner();
        assert_eq!((unread.page_size, told), (default, told));
        let list = v1::ListMessagesRequest {
            conversation: Some(v1::list_messages_request::Conversation::PeerName(
                "anna".to_owned(),
            )),
            page_size: asked,
            ..Default::default()
        };
        let page = chat
            .list_messages(anna.ask(list))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(page.page_size, told);
        let hundred = if asked == 0 { 100 } else { told };
        let list = v1::ListConversationsRequest {
            page_size: asked,
            ..Default::default()
        };
        let page = chat.list_conversations(anna.ask(list)).await.unwrap();
        assert_eq!(page.into_inner().page_size, hundred);
        let list = v1::ListAccountsRequest {
            page_size: asked,
            ..Default::default()
        };
        let page = world
            .accounts()
            .list_accounts(anna.ask(list))
            .await
            .unwrap();
        assert_eq!(page.into_inner().page_size, hundred);
        let list = v1::ListRoomsRequest {
            page_size: asked,
            ..Default::default()
        };
        let page = rooms.list_rooms(anna.ask(list)).await.unwrap();
        assert_eq!(page.into_inner().page_size, hundred);
        let search = v1::SearchMessagesRequest {
            query: "word".to_owned(),
            page_size: asked,
            ..Default::default()
        };
        let page = chat.search_messages(anna.ask(search)).await.unwrap();
        let found = if asked == 0 { 20 } else { told.min(100) };
        assert_eq!(page.into_inner().page_size, found);
    }
}
