//! The state of one node in SQLite: what the log has made.
//!
//! [`State`] is the one writer: it decides entries by the rules of the core and writes their
//! events. [`Reader`] answers questions beside it. No clock and no chance: the same log makes the
//! same rows, however its entries are grouped into transactions.
//!
//! Always true: rows, remembered answers and the place in the log change in one transaction.

mod allowances;
mod answers;
mod cache;
mod chain;
mod changes;
mod checkpointer;
mod column;
mod company;
mod conversations;
mod database;
mod dates;
mod digest;
mod entry;
mod error;
mod index;
mod install;
mod mark;
mod messages;
mod meta;
mod nodes;
mod operators;
mod people;
mod pinned;
mod points;
mod pool;
mod reader;
mod rooms;
mod rows;
mod sent;
mod snapshot;
mod stream;
mod sweep;
mod unread;
mod view;
mod write;
mod writer;

pub use database::SCHEMA_VERSION;
pub use digest::Digest;
pub use entry::{Applied, Checkpoint, Entry, EntryResult, Options, Payload};
pub(crate) use error::is_outside;
pub use error::{ApplyError, CheckpointError, InstallError, OpenError, ReadError, SnapshotError};
pub use index::{IndexPage, IndexRow};
pub use install::VerifiedSnapshot;
pub use pinned::{CheckError, Pinned};
pub use points::{CHAIN_POINT_ENTRIES, CHAIN_POINTS_KEPT, ChainPoint};
pub use reader::Reader;
pub use rows::{
    AccountRow, AccountsPage, ConversationInfo, ConversationRow, Delivery, Happened, HistoryFrom,
    HistoryPage, InviteRow, MemberRow, MessageRow, NodesRow, ReactionRow, RoomChange, RoomRow,
    RoomsPage, SessionRow, StreamItem, StreamPage, To, WebhookRow, With,
};
pub use snapshot::SnapshotFile;
pub use writer::State;
