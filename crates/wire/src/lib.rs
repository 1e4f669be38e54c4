//! The protocol in code, and its translation into the types of the rules.
//!
//! This is the only place where both are known: code that speaks to clients, peers or the log goes
//! through here. Untyped data stops here; what comes out has passed every bound that does not need
//! the state.
//!
//! A request becomes a command, a command becomes bytes of the log, and every node reads the same
//! command from them:
//!
//! ```
//! use conclave_core::{Batch, SessionId, Timestamp};
//! use conclave_wire::{batch, request::SessionRequest as _, v1};
//!
//! let request = v1::SendMessageRequest {
//!     request: Some(v1::RequestId { number: 1, nonce: 7 }),
//!     to: Some(v1::send_message_request::To::RoomName("ops".to_owned())),
//!     text: "deploy at noon".to_owned(),
//!     ..Default::default()
//! };
//! let command = request.into_command(SessionId(3))?;
//! let time = Timestamp(1_000);
//! let entry = Batch { proposed_at: time, date: time, commands: vec![command] };
//! let newest = conclave_core::VersionRange::BUILD.newest;
//! assert_eq!(batch::decode(batch::encode(&entry), newest)?, entry);
//!
//! // A request that breaks a bound is refused before it reaches the log.
//! assert!(v1::SendMessageRequest::default().into_command(SessionId(3)).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Start reading with [`request`] (bounds of what clients send), then [`batch`] (the content of log
//! entries) and [`problem`] (every refusal and its gRPC status).

#![cfg_attr(
    test,
    allow(clippy::too_many_lines, reason = "a test tells its story in one piece")
)]

pub mod address;
pub mod answer;
pub mod batch;
pub mod codec;
pub mod operator;
pub mod problem;
mod reason;
pub mod request;

/// As the packages of the protocol stand to each other: generated code finds its neighbours so.
#[allow(
    missing_docs,
    clippy::all,
    clippy::too_many_lines,
    unreachable_pub,
    unused_qualifications
)]
mod generated {
    pub mod v1 {
        tonic::include_proto!("conclave.v1");
    }
    pub mod peer {
        pub mod v1 {
            tonic::include_proto!("conclave.peer.v1");
        }
    }
}

/// What nodes say to each other and store. Generated from `proto/conclave/peer/v1`.
pub use generated::peer::v1 as peer;
/// What clients see. Generated from `proto/conclave/v1`; the comments there are the reference.
pub use generated::v1;

/// The encoded descriptors of all files.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The encoded descriptors of what clients see, for reflection.
pub const PUBLIC_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/public.bin"));

pub use operator::OperatorCredential;
pub use problem::Problem;
pub use reason::Reason;
