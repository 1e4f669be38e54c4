//! Streams of messages while leaders die, stop and hang: every message is stored once, and all of
//! them in the order in which the program sent them.

use std::time::Duration;

use conclave_client::{
    Client, Freshness, Page, SendStream, SendStreamOptions, SendTicket, core::Sequence,
};
use tokio::time::timeout;

use crate::{
    support::Cluster,
    witness::{person, sign_up},
};

/// Number of messages, within what an account may send at once.
const MESSAGES: u64 = 5000;
/// Number of messages between two troubles.
const BETWEEN: u64 = 1200;
/// Maximum time for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns the texts of alice's messages to bob in their order.
async fn texts(alice: &Client) -> Vec<String> {
    let mut texts = Vec::new();
    let mut after = Sequence(0);
    loop {
        let page = Page::After(after);
        let page = alice
            .messages(&person("bob"), page, 1000, Freshness::Linearizable)
            .await
            .unwrap();
        let Some(last) = page.messages.last() else {
            return texts;
        };
        after = Sequence(last.sequence);
        texts.extend(page.messages.into_iter().map(|message| message.text));
    }
}

async fn send(stream: &SendStream, number: u64) -> SendTicket {
    let text = format!("message {number}");
    let taken = timeout(PATIENCE, stream.send(&person("bob"), text)).await;
    taken.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_survives_its_leaders_in_order_and_once() {
    let cluster = Cluster::start(3).await;
    let anonymous = cluster.client();
    sign_up(&anonymous, "bob").await;
    let alice = sign_up(&anonymous, "alice").await;
    let alice = anonymous.with_token(&alice.token).unwrap();

    let in_flight = 256;
    let stream = alice.send_stream(SendStreamOptions { in_flight });
    let results = {
        let (tickets, mut taken) = tokio::sync::mpsc::channel::<SendTicket>(1024);
        let results = tokio::spawn(async move {
            let mut sequences = Vec::new();
            while let Some(ticket) = taken.recv().await {
                let sent = timeout(PATIENCE, ticket.result()).await.unwrap();
                sequences.push(sent.unwrap().sequence.0);
            }
            sequences
        });
        for number in 0..MESSAGES {
            match number {
                BETWEEN => {
                    let leader = cluster.leader().await;
                    cluster.kill(leader).await;
                    cluster.start_node(leader).await;
                }
                number if number == 2 * BETWEEN => {
                    cluster.all_rejoined().await;
                    let leader = cluster.leader().await;
                    cluster.stop(leader).await;
                    cluster.start_node(leader).await;
                }
                number if number == 3 * BETWEEN => {
                    cluster.all_rejoined().await;
                    let leader = cluster.leader().await;
                    cluster.pause(leader).await;
                }
                _ => {}
            }
            tickets.send(send(&stream, number).await).await.unwrap();
        }
        drop((tickets, stream));
        results.await.unwrap()
    };
    assert!(
        results.into_iter().eq(1..=MESSAGES),
        "the results have gaps"
    );
    let expected = (0..MESSAGES).map(|number| format!("message {number}"));
    let stored = texts(&alice).await;
    assert!(
        stored.into_iter().eq(expected),
        "the messages have another order"
    );
}
