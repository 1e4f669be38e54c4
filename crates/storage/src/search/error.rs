//! Why a search, or the index behind it, failed.

use std::io;

use rusqlite::ErrorCode;

use crate::state::ReadError;
pub(super) use crate::state::is_outside;

/// The index was not opened, or did not answer. The state is not concerned.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// As many searches as allowed were under way the whole time, or the index is being built
    /// anew. Try again.
    #[error("too many searches are under way")]
    Busy,
    /// The caller has gone, or its time was over.
    #[error("the search was stopped")]
    Stopped,
    /// The index was closed.
    #[error("the index is closed")]
    Closed,
    /// The state did not answer.
    #[error("the state cannot be read")]
    State(#[from] ReadError),
    /// SQLite failed on the index. If the file is damaged, it is being built anew: try again.
    #[error("the index cannot be read or written")]
    Sqlite(#[from] rusqlite::Error),
    /// The thread of the index could not be started.
    #[error("the search indexer cannot be started")]
    Thread(#[source] io::Error),
    /// A damaged or outdated index could not be removed.
    #[error("the old index cannot be removed")]
    Remove(#[source] io::Error),
}

impl SearchError {
    /// Returns whether the file cannot be used any more.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite(error) => is_damage(error),
            _ => false,
        }
    }
}

/// Returns whether SQLite says that the file is damaged. The disk need not be asked: an index that
/// it does not give cannot be built anew either, and the state behind it reports a failed disk.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}
