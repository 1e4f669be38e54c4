//! The client library: calls that survive fail-over.
//!
//! A [`Client`] knows several nodes and asks the one that leads. When a node fails, the same
//! request goes to another one with the same request number, so that it happens once. It keeps no
//! state outside memory and starts no task of its own, except for [`Events`], [`SendStream`] and
//! [`Outbox`].
//!
//! Always true: a call ends within its total time, and its error says whether the request
//! certainly did not happen ([`CallError::NotDone`]) or may have ([`CallError::Unknown`]).
//!
//! ```no_run
//! # async fn hello() -> Result<(), Box<dyn std::error::Error>> {
//! use conclave_client::{Client, core::{AccountName, Recipient}};
//!
//! let nodes = ["127.0.0.1:7400", "127.0.0.1:7410", "127.0.0.1:7420"];
//! let anonymous = Client::builder().endpoints(nodes).build()?;
//! let login = anonymous.login("alice", "a long password").await?;
//! let alice = anonymous.with_token(&login.token)?;
//! let bob = Recipient::Account(AccountName::new("bob")?);
//! let sent = alice.send(&bob, "hello").await?;
//! # let _ = sent;
//! # Ok(())
//! # }
//! ```
//!
//! [`Client::subscribe`] delivers each event once, even when it moves from node to node:
//!
//! ```no_run
//! # async fn listen(alice: conclave_client::Client) -> Result<(), conclave_client::CallError> {
//! use conclave_client::{Item, StartAt, v1::event::Event};
//!
//! let mut events = alice.subscribe(StartAt::Now);
//! loop {
//!     match events.next().await? {
//!         Item::Event(event) => {
//!             if let Some(Event::MessageSent(message)) = event.event {
//!                 println!("{}: {}", message.sender_name, message.text);
//!             }
//!         }
//!         Item::Disconnected(lost) => println!("lost {}: {}", lost.node, lost.sentence),
//!         Item::Reconnected(back) => println!("{} came late", back.missed),
//!     }
//! }
//! # }
//! ```
//!
//! A [`SendStream`] sends many messages in their order, without a wait for each:
//!
//! ```no_run
//! # async fn report(alice: conclave_client::Client) -> Result<(), conclave_client::CallError> {
//! use conclave_client::{SendStreamOptions, core::{Recipient, RoomName}};
//!
//! let lobby = Recipient::Room(RoomName::new("lobby")?);
//! let stream = alice.send_stream(SendStreamOptions::default());
//! let mut tickets = Vec::new();
//! for line in 1..=1000 {
//!     tickets.push(stream.send(&lobby, format!("line {line}")).await?); // It is taken.
//! }
//! for ticket in tickets {
//!     ticket.result().await?; // It is on a majority of the nodes' disks.
//! }
//! # Ok(())
//! # }
//! ```
//!
//! An [`Outbox`] keeps messages that are not acknowledged; with a file, also across restarts of the
//! program:
//!
//! ```no_run
//! # async fn talk(alice: conclave_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use conclave_client::{Outbox, core::{Recipient, RoomName}};
//!
//! let (outbox, left) = Outbox::with_file(alice, "alice.outbox")?;
//! tokio::spawn(async move {
//!     for restored in left {
//!         // It was refused, or was perhaps sent in a session that has ended.
//!         if let Err(error) = restored.ticket.outcome().await {
//!             eprintln!("not sent: {}: {error}", restored.message.text);
//!         }
//!     }
//! });
//! let lobby = Recipient::Room(RoomName::new("lobby")?);
//! let ticket = outbox.send(&lobby, "hello").await?; // It is on disk.
//! let sent = ticket.outcome().await?; // It is on a majority of the nodes' disks.
//! # let _ = sent;
//! # Ok(())
//! # }
//! ```
//!
//! Start reading with [`Client`] and [`Builder`], then `call.rs` (how a call goes on elsewhere),
//! [`Events`], [`SendStream`] and [`Outbox`]. `examples/bot.rs` is a whole program.

#![cfg_attr(
    test,
    allow(clippy::too_many_lines, reason = "a test tells its story in one piece")
)]

mod attempts;
mod builder;
mod call;
mod calls;
mod connect;
mod error;
mod events;
mod limits;
mod nodes;
mod numbers;
mod outbox;
mod random;
mod retry_decision;
mod rpc;
mod send_stream;
mod trust;
mod trusted_hosts;

#[cfg(test)]
mod tests;

pub use builder::{ATTEMPT_TIMEOUT, Builder, CONNECT_TIMEOUT, TOTAL_TIMEOUT};
pub use call::Client;
pub use calls::account::Grant;
pub use calls::backup::{Backup, BackupPart};
pub use calls::chat::{Days, Outgoing, Page, Sent};
pub use calls::operator::new_credential;
pub use calls::sessions::{Login, new_device_secret};
pub use conclave_core as core;
pub use conclave_tls::{Fingerprint, NoFingerprint};
pub use conclave_wire::{OperatorCredential, Reason, v1};
pub use connect::{BuildError, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, check_address};
pub use error::{CallError, RequestKey};
pub use events::{Disconnect, Events, HEARTBEAT, Item, Reconnect, StartAt, SubscribeOptions};
pub use limits::{ENDPOINTS_MAX, IN_FLIGHT_MAX};
pub use outbox::{
    OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX, Outbox, OutboxError, Outcome, Restored, Ticket,
};
pub use send_stream::{SendStream, SendStreamOptions, SendTicket};
pub use trust::{
    Authority, Distrust, FetchError, NoAuthority, NoRoots, Roots, fetch_authority, is_loopback,
};

/// Freshness of the answer to a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// The answer includes everything that was acknowledged anywhere before the call. Needs a
    /// quorum.
    #[default]
    Linearizable,
    /// The answer includes what some node has applied, at least up to this position (0: whatever it
    /// has). Works without a quorum.
    Stale {
        /// Position from an earlier answer, to read your own writes.
        min_position: u64,
    },
}

impl Freshness {
    pub(crate) fn options(self) -> v1::ReadOptions {
        let (consistency, min_position) = match self {
            Self::Linearizable => (v1::Consistency::Linearizable, 0),
            Self::Stale { min_position } => (v1::Consistency::Stale, min_position),
        };
        v1::ReadOptions {
            consistency: consistency.into(),
            min_position,
        }
    }
}
