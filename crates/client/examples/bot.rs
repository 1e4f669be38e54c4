//! A bot that answers `!ping` in every conversation. An administrator makes its account and token
//! (`Client::create_bot`); then:
//! `CONCLAVE_TOKEN=… cargo run -p conclave-client --example bot -- 127.0.0.1:7400`.

use conclave_client::{
    Client, Item, Outbox, StartAt,
    core::{ConversationId, Recipient},
    v1::event::Event,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::builder()
        .endpoints(std::env::args().skip(1))
        .token(std::env::var("CONCLAVE_TOKEN")?)
        .build()?;
    let outbox = Outbox::new(client.clone());
    let mut events = client.subscribe(StartAt::Now);
    loop {
        // Nodes may die: the stream ends only with the session.
        let Item::Event(event) = events.next().await? else {
            continue;
        };
        if let Some(Event::MessageSent(message)) = event.event
            && message.text == "!ping"
        {
            let there = Recipient::Conversation(ConversationId(message.conversation_id));
            outbox.send(&there, "pong").await?;
        }
    }
}
