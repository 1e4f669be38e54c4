//! Nodes on several host names, between which a session goes by ticket; connections that a browser
//! keeps open; callers behind a proxy.

use std::time::Duration;

use conclave_client::v1;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{
    GRPC_WEB, PASSWORD, hand, message,
    page::{Page, framed},
    session_of, signed_in,
};
use crate::{
    moved::start_at,
    support::{Cluster, PATIENCE, until},
};

const GET_SESSION: &str = "/conclave.v1.SessionService/GetSession";
/// Longer than the header of a request may take.
const QUIET: Duration = Duration::from_secs(7);
/// Time after which a connection that sends a header slowly must be closed.
const SLOW_MAX: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_at_a_node_on_another_host() {
    let cluster = Cluster::start(3).await;
    let mut page = signed_in(&cluster).await;
    let away = cluster.directory(2);
    cluster.stop(2).await;
    let mut node = start_at(&away, "127.0.0.2:0", "127.0.0.2:0", &[]).await;
    node.says("ready").await;
    let url = format!("http://{}", node.client_address);
    assert!(url.starts_with("http://127.0.0.2:"), "{url}");
    let ticket = until("the node gets a ticket", async || {
        let given = page.ask("POST", "/page/tickets", "", b"").await.json();
        let mut tickets = given["tickets"].as_array()?.iter();
        let ticket = tickets.find(|ticket| ticket["url"] == url)?;
        Some(ticket["ticket"].as_str()?.to_owned())
    })
    .await;
    let config = page.ask("GET", "/page/config.json", "", b"").await.json();
    let urls: Vec<_> = config["nodes"].as_array().unwrap().iter().collect();
    assert!(urls.iter().any(|node| node["url"] == url), "{config}");

    // The browser sends no cookie of one host to another.
    let origin = format!("http://{}", page.host);
    let mut there = Page::of(&node.client_address);
    there.origin = Some(origin.clone());
    assert_eq!(session_of(&mut there).await.unwrap_err(), "SESSION_EXPIRED");
    let handed = hand(&node.client_address, &origin, &ticket).await;
    assert_eq!(handed.status, 204, "{handed:?}");
    there.keep(&handed);

    // The first node dies; the page that it has served goes on, with the numbers of its requests.
    let path = "ChatService/SendMessage";
    let sent: v1::SendMessageResponse = page.call(path, &message(1, "hi")).await.unwrap();
    cluster.kill(1).await;
    let again = until("the others have a leader", async || {
        there.call(path, &message(1, "hi")).await.ok()
    });
    let again: v1::SendMessageResponse = again.await;
    assert_eq!(again, sent, "it is the same session");
    assert_eq!(session_of(&mut there).await.unwrap(), "alice");
    node.stop().await;
}

/// Sends a call over a connection that stays open, and reads the whole response.
async fn call_on(stream: &mut TcpStream, page: &Page) {
    let body = framed(&v1::GetSessionRequest::default());
    let head = page.head("POST", GET_SESSION, GRPC_WEB, body.len());
    let head = head.replace("connection: close\r\n", "");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut heard = Vec::new();
    let reading = async {
        while !heard.ends_with(b"\r\n0\r\n\r\n") {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).await.unwrap();
            assert_ne!(count, 0, "the connection was closed");
            heard.extend_from_slice(&bytes[..count]);
        }
    };
    timeout(PATIENCE, reading).await.unwrap();
    assert!(heard.starts_with(b"HTTP/1.1 200"));
    let has_name = heard.windows(5).any(|five| five == b"alice");
    assert!(has_name, "{}", String::from_utf8_lossy(&heard));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_connection_stays_open_and_a_slow_header_does_not() {
    let cluster = Cluster::start(1).await;
    let page = signed_in(&cluster).await;
    let mut stream = TcpStream::connect(cluster.endpoint(1)).await.unwrap();
    call_on(&mut stream, &page).await;
    sleep(QUIET).await;
    call_on(&mut stream, &page).await;

    let began = Instant::now();
    let slow = async {
        loop {
            if stream.write_all(b"P").await.is_err() {
                return;
            }
            let mut byte = [0];
            if let Ok(Ok(0) | Err(_)) =
                timeout(Duration::from_secs(1), stream.read(&mut byte)).await
            {
                return;
            }
        }
    };
    timeout(SLOW_MAX, slow).await.expect("the node closes it");
    assert!(began.elapsed() >= Duration::from_secs(4));
    let port = cluster.status(1).await.client_port.unwrap();
    let slow = port.closed.iter().find(|closed| closed.reason == "slow");
    assert_eq!(slow.unwrap().count, 1);
}

/// Failed log-ins of one address without a wait, and more.
const FAILURES: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn callers_behind_a_trusted_proxy_are_told_apart() {
    let mut cluster = Cluster::prepare(1).await;
    cluster.set_variable(1, "CONCLAVE_TRUSTED_PROXIES", "127.0.0.0/8");
    cluster.start_all().await;
    let mut page = signed_in(&cluster).await;
    page.cookie = None;
    let log_in = async |from: &str, name: &str, password: &str| {
        let mut page = page.clone();
        let header = "x-forwarded-for".to_owned();
        // Whatever a caller writes stands before what the proxy adds.
        page.more.push((header, format!("198.51.100.1, {from}")));
        let request = v1::OpenSessionRequest {
            name: name.to_owned(),
            password: password.to_owned(),
            ..Default::default()
        };
        let path = "SessionService/OpenSession";
        page.call::<_, v1::OpenSessionResponse>(path, &request)
            .await
    };
    let mut held_back = false;
    for number in 0..FAILURES {
        let guess = log_in("192.0.2.66", &format!("p{number}"), "a wrong guess").await;
        held_back |= guess.unwrap_err() == "LOGIN_THROTTLED";
    }
    assert!(held_back, "one address guesses");
    log_in("192.0.2.7", "alice", PASSWORD).await.unwrap();
    let refused = log_in("192.0.2.66", "alice", "a wrong guess").await;
    assert_eq!(refused.unwrap_err(), "LOGIN_THROTTLED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_learns_whether_a_node_serves() {
    let cluster = Cluster::start(3).await;
    let mut probe = Page::of(&cluster.endpoint(1));
    (probe.origin, probe.more) = (None, Vec::new());
    let health = async || probe.ask("GET", "/page/health", "", b"").await;
    let well = health().await;
    assert_eq!((well.status, &well.json()["serving"]), (200, &true.into()));
    cluster.kill(2).await;
    cluster.kill(3).await;
    let ill = until("it has no majority", async || {
        let health = health().await;
        (health.status != 200).then_some(health)
    })
    .await;
    assert_eq!((ill.status, &ill.json()["serving"]), (503, &false.into()));
}
