//! One account that never stops asking: what it costs is counted, and its connections are read
//! later.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod people;

use std::sync::atomic::{AtomicU64, Ordering};

use conclave_server::{NodeConfig, Registration};
use conclave_wire::v1::{
    self, admin_service_client::AdminServiceClient, chat_service_client::ChatServiceClient,
    list_messages_request::Conversation, send_message_request::To,
};
use futures::future::join_all;

use people::{Person, World, metric, until};

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
        until(async || (metric(&world, RESTS).await > 0).then_some(())).await;
        // Over a connection of its own: the other one is full of pages that are not read yet.
        let mut admin = AdminServiceClient::new(world.from(1).await);
        admin.set_account_limits(root.ask(request)).await.unwrap();
        let (rests, before) = (metric(&world, RESTS).await, pages.load(Ordering::Relaxed));
        let goes_on = || pages.load(Ordering::Relaxed) > before + 50;
        until(async || goes_on().then_some(())).await;
        assert_eq!(metric(&world, RESTS).await, rests);
    };
    tokio::select! {
        () = outcome => {}
        _ = join_all(readers) => unreachable!("they never end"),
    }
}
