//! One voter of the cluster: proposes, replicates, applies and answers.
//!
//! This is the only crate that names openraft; none of its types leave. How nodes reach each
//! other ([`Transport`]) and how entries become bytes ([`Codec`]) is given to it from outside.
//!
//! Always true: an answer leaves only after its entry is on disk on a majority, or on all voters if
//! that is the policy, and is decided on this node; a node that does not lead never acknowledges a
//! write on its own.
//!
//! ```no_run
//! use std::{sync::Arc, time::Duration};
//!
//! use conclave_core::Command;
//! use conclave_replica::{Codec, Config, Listener, Replica, Transport};
//!
//! /// Executes one command on a new replica and waits until a read would see what it did.
//! async fn execute(
//!     config: Config,
//!     codec: Arc<dyn Codec>,
//!     transport: Arc<dyn Transport>,
//!     listener: Arc<dyn Listener>,
//!     command: Command,
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     const LIMIT: Duration = Duration::from_secs(5);
//!     let replica = Replica::start(config, codec, transport, listener).await?;
//!     // The leader decides, wherever it runs. An error says what the caller may do next.
//!     let outcome = replica.propose(command, LIMIT).await?;
//!     println!("{:?}", outcome.answer);
//!     let index = replica.read_barrier(LIMIT).await?;
//!     println!("a read now sees every entry up to {index}");
//!     replica.stop().await;
//!     Ok(())
//! }
//! ```
//!
//! Start reading with [`Replica::propose`], then `proposer.rs` (the queue that becomes entries),
//! `log/store.rs` (openraft's view of the log) and `apply/mod.rs` (where entries are decided).
//! `tests/support` runs replicas in one process, with links that can be cut.
//!
//! Rows, positions and faults are of `conclave-storage`, and callers name them there.

mod acks;
mod apply;
mod backlog;
mod clocks;
mod config;
mod convert;
mod election;
mod engine;
mod health;
mod log;
mod membership;
mod opening;
mod packs;
mod peer_calls;
mod proposer;
mod reads;
mod recover;
mod replica;
mod replication;
mod snapshot;
mod start_error;
mod trace;
mod transport;
mod types;

pub use apply::written::Written;
pub use clocks::{CLOCK_SKEW_MAX_MS, ClockStatus};
pub use config::{Config, LogRetention, Timers};
pub use health::damage::Damage;
pub use health::figures::{Figures, Follower};
pub use health::meter::{CommitLatency, Counts, Pace};
pub use health::pins::RowsAt;
pub use membership::rules::{Change, ChangeError, MEMBERS_MAX, Refusal, VOTERS_MAX};
pub use recover::{Survivor, SurvivorState};
pub use replica::Replica;
pub use start_error::StartError;
pub use trace::{
    Attribute, OpenSpan, Span, SpanKind, SpanSink, TRACES_MAX, Trace, current as current_traces,
    within,
};
pub use transport::{
    APPENDS_UNANSWERED_MAX, AppendRequest, AppendResponse, Appends, Codec, CodecError, Lane,
    Listener, Peer, PeerError, SnapshotOffer, Transport, VoteRequest, VoteResponse,
};
pub use types::{Member, Members, NodeMembership, Outcome, ProposeError, ReadError, Role, Status};
