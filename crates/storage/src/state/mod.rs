//! The state of one node in SQLite: what the log has made.
//!
//! [`State`] is the one writer: it decides entries by the rules of the core and writes their
//! events. [`Reader`] answers questions beside it. No clock and no chance: the same log makes the
//! same rows, however its entries are grouped into transactions.
//!
//! Always true: rows, remembered answers and the place in the log change in one transaction.

mod audited;
mod change_kind;
mod column;
mod database;
mod entry;
mod error;
mod integrity;
mod mark;
mod meta;
mod migrations;
mod read;
mod rows;
mod sent;
mod snapshot;
mod write;

pub use audited::{AuditActor, AuditFilter, AuditPage, AuditRefusal, AuditRow};
pub use entry::{Applied, Checkpoint, Entry, EntryResult, Options, Payload};
pub(crate) use error::is_outside;
pub use error::{ApplyError, CheckpointError, InstallError, OpenError, ReadError, SnapshotError};
pub use integrity::digest::{Counts, Digest};
pub use integrity::pinned::{CheckError, CheckedTables, Pinned};
pub use integrity::points::{CHAIN_POINT_ENTRIES, CHAIN_POINTS_KEPT, ChainPoint};
pub use integrity::ranges::{
    NextRange, PIECE_ROWS, RANGE_ROWS_MAX, RANGE_TABLES, RANGES_MAX, RangeDigests, RowRange,
    range_tables,
};
pub use migrations::{SCHEMA_OLDEST, SCHEMA_VERSION};
pub use read::index::{IndexPage, IndexRow};
pub use read::reader::Reader;
pub use read::retention::DuePage;
pub use rows::{
    AccountRow, AccountsPage, ConversationInfo, ConversationRow, Counterpart, Delivery,
    Destination, HistoryFrom, HistoryPage, InviteRow, MemberRow, MessageRow, NodesRow, PreviewRow,
    ReactionRow, ReactorRow, RoomChange, RoomRow, RoomsPage, SessionRow, StreamEvent, StreamItem,
    StreamPage, WebhookRow,
};
pub use snapshot::browse::{
    BrowseError, BrowsedAccount, BrowsedDirect, BrowsedMember, BrowsedMessage, BrowsedRoom,
    Browser, Received,
};
pub use snapshot::contents::Contents;
pub use snapshot::install::VerifiedSnapshot;
pub use snapshot::make::SnapshotFile;
pub use write::vacuum::{FreeRoom, VACUUM_STEP_PAGES};
pub use write::writer::State;
