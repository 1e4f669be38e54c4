//! What a browser does with a node: calls by gRPC-Web, a session in a cookie, and everything that
//! another site may try with that cookie.

mod files;
mod hosts;
mod page;
mod streams;

use conclave_client::v1;
use page::{Page, Response, framed};

use crate::{
    foreign::{channel, refusal, with_token},
    support::{Cluster, until},
};

const PASSWORD: &str = "a password of a page";
const SEND: &str = "/conclave.v1.ChatService/SendMessage";
const GRPC_WEB: &str = "application/grpc-web+proto";

fn log_in() -> v1::OpenSessionRequest {
    v1::OpenSessionRequest {
        name: "alice".to_owned(),
        password: PASSWORD.to_owned(),
        ..Default::default()
    }
}

fn message(number: u64, text: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest {
        request: Some(v1::RequestId { number, nonce: 0 }),
        to: Some(v1::send_message_request::To::RecipientName(
            "alice".to_owned(),
        )),
        text: text.to_owned(),
        ..Default::default()
    }
}

/// Returns a page in which alice is signed in.
async fn signed_in(cluster: &Cluster) -> Page {
    let mut page = Page::of(&cluster.endpoint(1));
    let created = v1::CreateAccountRequest {
        name: "alice".to_owned(),
        password: PASSWORD.to_owned(),
        ..Default::default()
    };
    let path = "AccountService/CreateAccount";
    let _: v1::CreateAccountResponse = page.call(path, &created).await.unwrap();
    let path = "SessionService/OpenSession";
    let opened: v1::OpenSessionResponse = page.call(path, &log_in()).await.unwrap();
    assert_eq!(opened.token, "", "no script sees the token");
    assert!(
        page.cookie
            .as_ref()
            .unwrap()
            .starts_with("conclave_session=")
    );
    page
}

async fn session_of(page: &mut Page) -> Result<String, String> {
    let asked = v1::GetSessionRequest::default();
    let path = "SessionService/GetSession";
    let session: Result<v1::GetSessionResponse, _> = page.call(path, &asked).await;
    session.map(|session| session.account.unwrap().name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_signs_in_writes_reads_and_signs_out() {
    let cluster = Cluster::start(1).await;
    let mut page = signed_in(&cluster).await;
    assert_eq!(session_of(&mut page).await.unwrap(), "alice");
    let path = "ChatService/SendMessage";
    let sent: v1::SendMessageResponse = page.call(path, &message(1, "hi")).await.unwrap();
    // A retry gets the first answer, as for every client.
    let again: v1::SendMessageResponse = page.call(path, &message(1, "hi")).await.unwrap();
    assert_eq!((sent.sequence, &again), (1, &sent));
    let refused: Result<v1::SendMessageResponse, _> = page.call(path, &message(2, "")).await;
    assert_eq!(refused.unwrap_err(), "TEXT_EMPTY");

    // A page may not choose its token, and no service is left out.
    let chosen = v1::OpenSessionRequest {
        token: vec![7; 32].into(),
        ..log_in()
    };
    let path = "SessionService/OpenSession";
    let refused: Result<v1::OpenSessionResponse, _> = page.call(path, &chosen).await;
    assert_eq!(refused.unwrap_err(), "TOKEN_INVALID");
    what_a_page_shows(&mut page).await;
    let asked = v1::GetClusterStatusRequest::default();
    let path = "AdminService/GetClusterStatus";
    let status: v1::GetClusterStatusResponse = page.call(path, &asked).await.unwrap();
    assert!(status.quorum);

    let before = page.clone();
    let close = v1::CloseSessionRequest {
        request: Some(v1::RequestId {
            number: 3,
            nonce: 0,
        }),
    };
    let path = "SessionService/CloseSession";
    let _: v1::CloseSessionResponse = page.call(path, &close).await.unwrap();
    assert_eq!(page.cookie, None, "the browser forgets it");
    let mut stolen = before;
    assert_eq!(
        session_of(&mut stolen).await.unwrap_err(),
        "SESSION_EXPIRED"
    );
    let secret = stolen.cookie.unwrap();
    let (_, secret) = secret.split_once('=').unwrap();
    assert!(!cluster.log(1).contains(secret));
}

/// Asks for the list of conversations, for a message in its place and for reactions to it.
async fn what_a_page_shows(page: &mut Page) {
    let asked = v1::ListConversationsRequest {
        with_last_message: true,
        ..Default::default()
    };
    let path = "ChatService/ListConversations";
    let list: v1::ListConversationsResponse = page.call(path, &asked).await.unwrap();
    let last = list.conversations[0].last_message.clone().unwrap();
    assert_eq!(
        (last.sequence, last.text.as_str(), &*last.sender_name),
        (1, "hi", "alice")
    );
    let id = list.conversations[0].id;
    let around = v1::ListMessagesRequest {
        conversation: Some(v1::list_messages_request::Conversation::ConversationId(id)),
        from: Some(v1::list_messages_request::From::AroundSequence(1)),
        ..Default::default()
    };
    let path = "ChatService/ListMessages";
    let shown: v1::ListMessagesResponse = page.call(path, &around).await.unwrap();
    assert_eq!((shown.messages.len(), shown.next_after_sequence), (1, 1));
    let message = Some(v1::MessageRef {
        conversation_id: id,
        sequence: 1,
    });
    let react = v1::SetReactionRequest {
        request: Some(v1::RequestId {
            number: 20,
            nonce: 0,
        }),
        message,
        reaction: ":+1:".to_owned(),
        present: true,
    };
    let path = "ChatService/SetReaction";
    let _: v1::SetReactionResponse = page.call(path, &react).await.unwrap();
    let who = v1::ListReactionsRequest {
        message,
        reaction: "+1".to_owned(),
        ..Default::default()
    };
    let path = "ChatService/ListReactions";
    let who: v1::ListReactionsResponse = page.call(path, &who).await.unwrap();
    assert_eq!(who.reactors[0].account_name, "alice");

    // Another page of the browser may have replaced the cookie.
    let path = "SessionService/GetSession";
    let asked = v1::GetSessionRequest::default();
    let own: v1::GetSessionResponse = page.call(path, &asked).await.unwrap();
    for (session, expected) in [(own.session_id, true), (own.session_id + 1, false)] {
        let named = ("x-conclave-session".to_owned(), session.to_string());
        page.more.push(named);
        let got: Result<v1::GetSessionResponse, _> = page.call(path, &asked).await;
        assert_eq!(got.err(), (!expected).then(|| "SESSION_EXPIRED".to_owned()));
        page.more.pop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_alone_authenticates_no_caller() {
    let cluster = Cluster::start(1).await;
    let page = signed_in(&cluster).await;
    let address = cluster.endpoint(1);
    let with = |change: &dyn Fn(&mut Page)| {
        let mut changed = page.clone();
        change(&mut changed);
        changed
    };
    let foreign = |origin: &str| {
        let origin = origin.to_owned();
        with(&|page| page.origin = Some(origin.clone()))
    };
    // A page of another site is refused, whatever it asks and shows.
    let other_port = format!("http://127.0.0.1:{}", 1);
    for origin in [
        "http://evil.example",
        "null",
        &other_port,
        "https://127.0.0.1",
    ] {
        let refused = session_of(&mut foreign(origin)).await;
        assert_eq!(refused.unwrap_err(), "ORIGIN_REFUSED", "{origin}");
        let mut stranger = foreign(origin);
        stranger.cookie = None;
        let opened: Result<v1::OpenSessionResponse, _> =
            stranger.call("SessionService/OpenSession", &log_in()).await;
        assert_eq!(opened.unwrap_err(), "ORIGIN_REFUSED", "{origin}");
    }
    // A name of an attacker that points to this node.
    let mut rebound = with(&|page| {
        page.more.push(("x-test".to_owned(), "1".to_owned()));
        page.origin = Some("http://evil.example:80".to_owned());
    });
    assert_eq!(
        session_of(&mut rebound).await.unwrap_err(),
        "ORIGIN_REFUSED"
    );

    let cookie = page.cookie.clone().unwrap();
    let twice = format!("{cookie}; {cookie}");
    let token = cookie.split_once('=').unwrap().1.to_owned();
    for mut page in [
        with(&|page| page.more.clear()),
        with(&|page| page.origin = None),
        with(&|page| page.cookie = Some(twice.clone())),
        with(&|page| page.cookie = Some(format!("__Host-conclave_session={token}"))),
        with(&|page| page.cookie = Some(format!("{cookie}x"))),
        with(&|page| page.cookie = None),
    ] {
        assert_eq!(session_of(&mut page).await.unwrap_err(), "SESSION_EXPIRED");
    }
    // Among many others it is found, and a header that is too long costs the request.
    let many = "a=b; ".repeat(400);
    let mut among = with(&|page| page.cookie = Some(format!("{many}{cookie}")));
    assert_eq!(session_of(&mut among).await.unwrap(), "alice");
    let long = with(&|page| page.cookie = Some(format!("{}{cookie}", many.repeat(20))));
    let body = framed(&message(1, "hi"));
    let refused = long.ask("POST", SEND, GRPC_WEB, &body).await;
    assert_eq!(refused.status, 431);

    // What a form of another site can send without being asked first.
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
    ] {
        let mut page = foreign("http://evil.example");
        for by_page in [true, false] {
            let response = page.ask("POST", SEND, kind, &body).await;
            assert_eq!(response.status, 415, "{kind}");
            page.more.retain(|_| by_page);
            let ticket = page.ask("POST", "/page/tickets", kind, b"{}").await;
            assert_eq!(ticket.status, 403, "{kind}");
        }
    }

    // gRPC knows no cookies.
    let mut sessions =
        v1::session_service_client::SessionServiceClient::new(channel(&address).await);
    let mut native = tonic::Request::new(v1::GetSessionRequest::default());
    native
        .metadata_mut()
        .insert("cookie", cookie.parse().unwrap());
    native
        .metadata_mut()
        .insert("x-conclave-page", "1".parse().unwrap());
    let origin = format!("http://{address}").parse().unwrap();
    native.metadata_mut().insert("origin", origin);
    let refused = refusal(sessions.get_session(native).await);
    assert_eq!(refused.1, "SESSION_EXPIRED");
    // The token in it is a token like any other, which a program could show.
    let native = with_token(v1::GetSessionRequest::default(), &token);
    assert!(sessions.get_session(native).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_origins_get_no_answer_that_they_can_read() {
    let cluster = Cluster::start(2).await;
    let [one, two] = [cluster.endpoint(1), cluster.endpoint(2)];
    let mut page = Page::of(&one);
    page.more.clear();
    for (origin, allowed) in [
        (format!("http://{two}"), true),
        (format!("http://{one}"), true),
        ("http://evil.example".to_owned(), false),
        (format!("https://{two}"), false),
    ] {
        page.origin = Some(origin.clone());
        for path in [SEND, "/page/session"] {
            let first = page.ask("OPTIONS", path, "", b"").await;
            let told = first.header("access-control-allow-origin").to_owned();
            assert_eq!(told == origin, allowed, "{origin} {path}");
            let asked = first.header("access-control-allow-headers");
            assert_eq!(asked.contains("x-conclave-page"), allowed);
            let credentials = first.header("access-control-allow-credentials");
            assert_eq!(credentials == "true", allowed);
            assert!(first.header("vary").contains("origin"));
        }
        let answer = page.ask("GET", "/page/config.json", "", b"").await;
        let told = answer.header("access-control-allow-origin");
        assert_eq!(told == origin, allowed);
        assert_eq!(answer.status == 200, allowed);
    }
    page.origin = None;
    let config = page.ask("GET", "/page/config.json", "", b"").await.json();
    assert_eq!(config["cluster"], cluster.name().await);
    assert_eq!(config["node_id"], 1);
    assert_eq!(
        (&config["registration"], &config["needs_setup"]),
        (&"open".into(), &true.into())
    );
    let urls = [&config["nodes"][0], &config["nodes"][1]].map(|node| node["url"].clone());
    assert_eq!(urls, [format!("http://{one}"), format!("http://{two}")]);
    for (method, path, status) in [
        ("POST", "/page/config.json", 405),
        ("GET", "/page/tickets", 405),
        ("GET", "/page/other", 404),
        ("GET", "/page/", 404),
        ("POST", "/page/tickets", 403),
        ("POST", "/page/session", 403),
    ] {
        let answer = page.ask(method, path, "application/json", b"{}").await;
        assert_eq!(answer.status, status, "{method} {path}");
    }
}

/// Hands a ticket to a node, from a page that was loaded from `origin`.
async fn hand(node: &str, origin: &str, ticket: &str) -> Response {
    let mut page = Page::of(node);
    page.origin = Some(origin.to_owned());
    let body = format!(r#"{{"ticket": "{ticket}"}}"#);
    let kind = "application/json";
    page.ask("POST", "/page/session", kind, body.as_bytes())
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_takes_a_session_to_another_node_once() {
    let cluster = Cluster::start(3).await;
    let mut page = signed_in(&cluster).await;
    let none = page.ask("POST", "/page/tickets", "", b"").await.json();
    // All nodes are on one host, and share the cookie.
    assert_eq!(none["tickets"], serde_json::json!([]));
    let [one, two, three] = [1, 2, 3].map(|node| cluster.endpoint(node));
    let mut beside = Page::of(&two);
    beside.cookie = page.cookie.clone();
    assert_eq!(session_of(&mut beside).await.unwrap(), "alice");

    // Under another name of the same node the others are on another host.
    page.host = one.replace("127.0.0.1", "localhost");
    page.origin = Some(format!("http://{}", page.host));
    let none = page.ask("POST", "/page/tickets", "", b"").await.json();
    assert_eq!(
        none["tickets"],
        serde_json::json!([]),
        "that name is of all nodes"
    );
    page.host = one.replace("127.0.0.1", "n1.localhost");
    page.origin = Some(format!("http://{}", page.host));
    let given = page.ask("POST", "/page/tickets", "", b"").await.json();
    let tickets = given["tickets"].as_array().unwrap();
    let ticket = |node: u64| {
        let of = tickets.iter().find(|of| of["node_id"] == node);
        of.unwrap()["ticket"].as_str().unwrap().to_owned()
    };
    assert_eq!(tickets.len(), 2, "{given}");
    assert_eq!(tickets[0]["url"], format!("http://{two}"));

    // Not at another node, not from another site, not in another form.
    let origin = format!("http://{one}");
    assert_eq!(hand(&three, &origin, &ticket(2)).await.status, 403);
    assert_eq!(
        hand(&two, "http://evil.example", &ticket(2)).await.status,
        403
    );
    let mut form = Page::of(&two);
    form.origin = Some(origin.clone());
    let body = format!(r#"{{"ticket": "{}"}}"#, ticket(2));
    let refused = form
        .ask("POST", "/page/session", "text/plain", body.as_bytes())
        .await;
    assert_eq!(refused.status, 415);

    // It outlives the node that has issued it.
    cluster.kill(1).await;
    let handed = until("the other nodes have a leader", async || {
        let handed = hand(&two, &origin, &ticket(2)).await;
        (handed.status != 503).then_some(handed)
    })
    .await;
    assert_eq!(handed.status, 204, "{handed:?}");
    assert_eq!(handed.header("access-control-allow-origin"), origin);
    let mut other = Page::of(&two);
    other.keep(&handed);
    assert_eq!(other.cookie, page.cookie, "it is the same session");
    assert_eq!(session_of(&mut other).await.unwrap(), "alice");
    let replayed = hand(&two, &origin, &ticket(2)).await;
    assert_eq!(replayed.status, 403);
    assert_eq!(replayed.json()["error"]["reason"], "TICKET_INVALID");
    for wrong in ["", "!", "AAAA", &"A".repeat(43), &"A".repeat(900)] {
        assert_eq!(hand(&two, &origin, wrong).await.status, 403, "{wrong}");
    }

    // A session that has ended is worth nothing there.
    let close = v1::CloseSessionRequest {
        request: Some(v1::RequestId {
            number: 9,
            nonce: 0,
        }),
    };
    let path = "SessionService/CloseSession";
    let _: v1::CloseSessionResponse = other.call(path, &close).await.unwrap();
    let handed = hand(&three, &origin, &ticket(3)).await;
    assert_eq!(handed.status, 401, "{handed:?}");
    let secret = page.cookie.unwrap();
    let (_, secret) = secret.split_once('=').unwrap();
    for node in [1, 2, 3] {
        let log = cluster.log(node);
        assert!(!log.contains(secret) && !log.contains(&ticket(2)));
    }
}
