//! Exports of everything that people wrote, and imports of exports: Conclave's own, and those of
//! Slack and Mattermost.
//!
//! An export is a directory of JSON lines; `format.rs` has its records, and docs/export.md says
//! what they mean. An import builds the state of a new cluster: it reads the source into a pile on
//! the disk that is in the order of time (`plan.rs`), and then has every operation decided by the
//! rules of the log, each at the date that it had (`build`). What the rules refuse is mapped by a
//! stated rule or stands in the report (`report.rs`); nothing is lost without a word.
//!
//! Nothing here talks to a node, and nothing knows how a node's directory is made: the result is a
//! snapshot's file.
//!
//! Always true: memory grows with accounts, rooms and members, never with messages; input that is
//! malformed is an error that names the file and the line, never a panic; no path of an archive is
//! ever used as a path of this machine.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")
)]

mod build;
mod conclave;
mod emoji;
mod error;
mod export;
mod format;
mod import;
mod json;
mod mattermost;
mod names;
mod plan;
mod report;
mod slack;
mod text;
mod tree;

pub use error::{ExportError, ImportError};
pub use export::{Exported, Origin, export};
pub use format::VERSION;
pub use import::{Imported, Importing, Kind, Stage, import};
pub use report::Counts;
