//! The rules of Conclave: what every command means.
//!
//! A rule is a plain function of what it reads (a [`Lookup`]) and a command. It gives an [`Answer`]
//! for the client and [`Event`]s for every other client; an event is both the row that is kept and
//! the item that is streamed.
//!
//! Always true: the same state and the same command give the same answer and the same events, on
//! every machine and at every time. Nothing here knows a clock, randomness, a file, a network or
//! the order of a hash table.
//!
//! ```
//! use conclave_core::{
//!     AccountName, Batch, Broken, Command, Decision, Lookup, MessageText, Now, Position,
//!     Rejection, Timestamp, decide,
//! };
//!
//! // Values that break a rule cannot be made.
//! assert_eq!(MessageText::new(""), Err(Rejection::TextEmpty));
//! assert_eq!(AccountName::new("Alice")?.key(), AccountName::new("alice")?.key());
//!
//! // Time is what the log says: a new leader whose clock is behind does not turn it back.
//! let now = Now { log_time: Timestamp(5_000), date: Timestamp(5_000) };
//! let batch = Batch { proposed_at: Timestamp(4_000), date: Timestamp(0), commands: Vec::new() };
//! assert_eq!(now.next(&batch).log_time, Timestamp(5_000));
//!
//! /// Decides the only command of log entry 7, as every node does.
//! fn apply(state: &impl Lookup, now: Now, command: &Command) -> Result<Decision, Broken> {
//!     decide(state, now, |event| Position::new(7, event), command)
//! }
//! # Ok::<(), Rejection>(())
//! ```
//!
//! Start reading with [`decide()`], the gate that lets each request through once; then
//! `decide/messages/send_message.rs`, a whole rule, and `tests/scripts`, what rules answer, as
//! stories.

#![deny(clippy::wildcard_enum_match_arm)]

pub mod allowance;
pub mod answer;
pub mod audit;
pub mod command;
pub mod decide;
pub mod event;
pub mod ids;
pub mod limits;
pub mod lookup;
pub mod name;
pub mod now;
pub mod once;
pub mod operation;
pub mod pattern;
pub mod rejection;
pub mod requests;
pub mod text;
pub mod version;

pub use allowance::Allowance;
pub use allowance::account_limits::AccountLimits;
pub use allowance::limit_table::AccountLimit;
pub use allowance::retention::{ClusterRetention, Retention, RetentionChange, RoomRetention};
pub use allowance::spend::Spend;
pub use answer::{Accepted, Answer};
pub use audit::act::{ActNote, AuditAct, AuditText};
pub use audit::record::{AuditOf, AuditRecord};
pub use command::{Batch, Command, Origin};
pub use decide::{Decision, Remember, decide};
pub use event::{
    AccessEvent, AccountEvent, ClusterEvent, ConversationEvent, Event, MessageEvent, RoomEvent,
    SentMessage, SessionEvent,
};
pub use ids::{
    AccountId, AuthorityId, ConversationId, Digest, InviteId, JoinTokenId, NodeId, OnceId,
    Position, Sequence, SessionId, ThrottleKey, Timestamp, TokenHash, WebhookId,
};
pub use lookup::{
    Account, Broken, Conversation, Invite, JoinToken, Kind, Lookup, Membership, MessageHead,
    OldMessage, Session, Throttle, Webhook,
};
pub use name::{AccountName, OperatorName, RoomName};
pub use now::Now;
pub use once::OncePool;
pub use operation::{
    AccessOperation, AccountOperation, AccountRole, AckPolicy, AdminOperation, ClusterOperation,
    Grant, JoinCredential, LoginKeys, MemberRole, MessageOperation, MessageRef, Operation,
    OperatorRequest, Progress, Recipient, RoomOperation,
};
pub use pattern::NamePattern;
pub use rejection::{Bound, Line, Rejection};
pub use requests::RequestWindow;
pub use text::{DisplayName, MessageText, Reaction, SessionLabel, Topic};
pub use version::{ClusterVersion, VersionRange};
