//! One voter of the cluster: proposes, replicates, applies and answers.
//!
//! This is the only crate that names openraft; none of its types leave. How nodes reach each
//! other ([`Transport`]) and how entries become bytes ([`Codec`]) is given to it from outside.
//!
//! Always true: an answer leaves only after its entry is on disk on a majority and its events are
//! in this node's database; a node that does not lead never acknowledges a write on its own.

mod apply;
mod clocks;
mod config;
mod convert;
mod election;
mod engine;
mod health;
mod log;
mod membership;
mod network;
mod opening;
mod peer_calls;
mod proposer;
mod reads;
mod recover;
mod replica;
mod snapshot;
mod start_error;
mod transport;
mod types;

pub use clocks::{CLOCK_SKEW_MAX_MS, ClockStatus};
pub use conclave_storage::{
    DiskFailure, Fault,
    log::{Entry, EntryKind, LogId, Verified, Vote},
    search, state as rows,
    state::{ChainPoint, CheckError, Pinned, Reader},
};
pub use config::{Config, LogRetention, Timers};
pub use health::damage::Damage;
pub use health::pins::Pin;
pub use membership::rules::{Change, ChangeError, MEMBERS_MAX, Refusal, VOTERS_MAX};
pub use recover::{Standing, Survivor};
pub use replica::Replica;
pub use start_error::StartError;
pub use transport::{
    AppendRequest, AppendResponse, Codec, CodecError, Lane, Listener, Peer, PeerError,
    SnapshotOffer, Transport, VoteRequest, VoteResponse,
};
pub use types::{Member, Members, Outcome, Place, ProposeError, ReadError, Role, Status};
