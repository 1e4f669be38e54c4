//! Sends each line of its input to an account or a room exactly once, even if nodes fail meanwhile;
//! lines that are left when it is killed are sent when it is started again:
//! `CONCLAVE_TOKEN=… cargo run -p conclave-client --example send -- '#lobby' 127.0.0.1:7400`.

use conclave_client::{
    Client, Outbox,
    core::{AccountName, Recipient, RoomName},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let to = arguments.next().ok_or("the recipient is missing")?;
    let to = match to.strip_prefix('#') {
        Some(room) => Recipient::Room(RoomName::new(room)?),
        None => Recipient::Account(AccountName::new(to)?),
    };
    let client = Client::builder()
        .endpoints(arguments)
        .token(std::env::var("CONCLAVE_TOKEN")?)
        .build()?;
    let (outbox, left) = Outbox::with_file(client, "send.outbox")?;
    let mut tickets = Vec::new();
    for restored in left {
        tickets.push((restored.message.text, restored.ticket));
    }
    for line in std::io::stdin().lines() {
        let line = line?;
        tickets.push((line.clone(), outbox.send(&to, line).await?));
    }
    let mut unsent = Vec::new();
    for (line, ticket) in tickets {
        if let Err(error) = ticket.outcome().await {
            unsent.push(format!("not sent: {line}: {error}"));
        }
    }
    match unsent.is_empty() {
        true => Ok(()),
        false => Err(unsent.join("\n").into()),
    }
}
