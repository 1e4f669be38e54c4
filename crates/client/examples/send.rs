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
    let (outbox, _restored) = Outbox::with_file(client, "send.outbox")?;
    for line in std::io::stdin().lines() {
        outbox.send(&to, line?).await?;
    }
    outbox.flush().await;
    Ok(())
}
