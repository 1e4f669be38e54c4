//! The rules of Conclave: what every command means.
//!
//! A rule is a plain function of what it reads (a [`Lookup`]) and a command. It gives an [`Answer`]
//! for the client and [`Event`]s for every other client; an event is both the row that is kept and
//! the item that is streamed.
//!
//! Always true: the same state and the same command give the same answer and the same events, on
//! every machine and at every time. Nothing here knows a clock, randomness, a file, a network or
//! the order of a hash table.

pub mod allowance;
pub mod answer;
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

pub use allowance::Allowance;
pub use allowance::account_limits::AccountLimits;
pub use allowance::limit_table::AccountLimit;
pub use allowance::spend::Spend;
pub use answer::{Accepted, Answer};
pub use command::{Batch, Command, Origin};
pub use decide::{Decision, Remember, decide};
pub use event::Event;
pub use ids::{
    AccountId, AuthorityId, ConversationId, Digest, InviteId, JoinTokenId, NodeId, OnceId,
    Position, Sequence, SessionId, ThrottleKey, Timestamp, TokenHash, WebhookId,
};
pub use lookup::{
    Account, Broken, Conversation, Invite, JoinToken, Kind, Lookup, Membership, MessageHead,
    Session, Throttle, Webhook,
};
pub use name::{AccountName, OperatorName, RoomName};
pub use now::Now;
pub use once::OncePool;
pub use operation::{
    AccountRole, Grant, LoginKeys, MemberRole, MessageRef, Operation, OperatorRequest, Pass,
    Progress, Recipient,
};
pub use pattern::NamePattern;
pub use rejection::{Bound, Line, Rejection};
pub use requests::RequestWindow;
pub use text::{DisplayName, MessageText, Reaction, SessionLabel, Topic};
