//! One voter of the cluster: proposes, replicates, applies and answers.
//!
//! This is the only crate that names openraft; none of its types leave. How nodes reach each
//! other ([`Transport`]) and how entries become bytes ([`Codec`]) is given to it from outside.
//!
//! Always true: an answer leaves only after its entry is on disk on a majority and its events are
//! in this node's database; a node that does not lead never acknowledges a write on its own.
//!
//! Rows, positions and faults are of `conclave-storage`, and callers name them there.

mod admission;
mod apply;
mod campaign;
mod change;
mod clocks;
mod config;
mod contact;
mod convert;
mod damage;
mod engine;
mod failure;
mod finisher;
mod following;
mod installed;
mod log_store;
mod membership;
mod network;
mod observe;
mod opening;
mod part;
mod peer_calls;
mod pins;
mod proposer;
mod reads;
mod recover;
mod replica;
mod retention;
mod scrub;
mod snapshot;
mod snapshot_store;
mod start_error;
mod synced;
mod transport;
mod types;

#[cfg(test)]
mod log_suite_tests;

pub use clocks::{CLOCK_SKEW_MAX_MS, ClockStatus};
pub use config::{Config, LogRetention, Timers};
pub use damage::Damage;
pub use membership::{Change, ChangeError, MEMBERS_MAX, Refusal, VOTERS_MAX};
pub use pins::Pin;
pub use recover::{Standing, Survivor};
pub use replica::Replica;
pub use start_error::StartError;
pub use transport::{
    AppendRequest, AppendResponse, Codec, CodecError, Lane, Listener, Peer, PeerError,
    SnapshotOffer, Transport, VoteRequest, VoteResponse,
};
pub use types::{Member, Members, Outcome, Place, ProposeError, ReadError, Role, Status};
