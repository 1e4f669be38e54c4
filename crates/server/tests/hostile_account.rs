//! One account that never stops asking: what it costs is counted, and its connections are read
//! later.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod people;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use conclave_server::{NodeConfig, Registration};
use conclave_wire::v1::{
    self, chat_service_client::ChatServiceClient, list_messages_request::Conversation,
    send_message_request::To,
};
use futures::future::join_all;
use tokio::time::{sleep, timeout};

use people::{PATIENCE, Person, World, metric};

const RESTS: &str = "conclave_account_rests_total{kind=\"connection\"}";
/// Callers of the account at the same time.
const CALLERS: usize = 16;

/// Reads pages for ever, and counts them.
async fn read_all(world: &World, person: &Person, conversation: u64, pages: &AtomicU64) {
    let mut chat = ChatServiceClient::new(world.channel.clone());
    loop {
        let request = v1::ListMessagesRequest {
            conversation: Some(Conversation::ConversationId(conversation)),
            page_size: 100,
            ..Default::default()
        };
        // A turn may be long in coming.
        if chat.list_messages(person.ask(request)).await.is_ok() {
            pages.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Waits until a condition holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_never_stops_rests_unless_limits_are_lifted() {
    let mut world = World::of(NodeConfig {
        client_address: "127.0.0.1:0".to_owned(),
        peer_address: "127.0.0.1:0".to_owned(),
        admin_address: Some("127.0.0.1:0".to_owned()),
        registration: Some(Registration::Open),
        ..NodeConfig::default()
    })
    .await;
    let root = world.administrator("root").await;
    world.create("greedy", None, None).await.unwrap();
    let greedy = world.login("greedy").await;
    let mut conversation = 0;
    for number in 1..=40 {
        let request = v1::SendMessageRequest {
            request: Some(v1::RequestId { number, nonce: 1 }),
            to: Some(To::RecipientName("root".to_owned())),
            text: "x".repeat(16 * 1024),
            ..v1::SendMessageRequest::default()
        };
        let mut chat = ChatServiceClient::new(world.channel.clone());
        let sent = chat.send_message(greedy.ask(request)).await.unwrap();
        conversation = sent.into_inner().conversation_id;
    }
    assert_eq!(metric(&world, RESTS).await, 0, "it has used little");

    let request = v1::SetAccountLimitsRequest {
        request: world.number(),
        limits: vec![v1::AccountLimit {
            name: "messages-per-minute".to_owned(),
            value: 0,
            ..Default::default()
        }],
    };
    let pages = AtomicU64::new(0);
    let readers = (0..CALLERS).map(|_| read_all(&world, &greedy, conversation, &pages));
    let outcome = async {
        until("it rests", async || metric(&world, RESTS).await > 0).await;
        let set = world.admin().set_account_limits(root.ask(request)).await;
        set.unwrap();
        let (rests, before) = (metric(&world, RESTS).await, pages.load(Ordering::Relaxed));
        until("it goes on", async || {
            pages.load(Ordering::Relaxed) > before + 50
        })
        .await;
        assert_eq!(metric(&world, RESTS).await, rests);
    };
    tokio::select! {
        () = outcome => {}
        _ = join_all(readers) => unreachable!("they never end"),
    }
}
