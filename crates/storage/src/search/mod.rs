//! Full text search: words to messages, beside the state and derived from it.
//!
//! The index is a file of its own that holds no text and may be deleted at any time: it is built
//! anew from the state. A thread keeps it up to date; a search may be a little behind, and says
//! how far it has seen.
//!
//! Always true: the index proposes and the state decides. Every row that is found is read from the
//! state of that moment for the searching account, so no account finds what it may not see, or a
//! text that is no longer there.

mod column;
mod database;
mod docs;
mod error;
mod expression;
mod find;
mod indexer;
mod pool;
mod schema;
mod scope;
mod signal;
mod terms;
mod writer;

use std::{path::Path, sync::Arc, thread};

use conclave_core::{AccountId, Position};
use conclave_words::SearchQuery;

use crate::state::Reader;
use indexer::Indexer;
use pool::Pool;
use signal::Signal;

pub use error::SearchError;
pub use find::{CancelFlag, Found};

/// The name of the index in a node's directory.
pub const FILE: &str = "search.db";

/// The index of one node; a cheap clone. The last one that is dropped ends the thread behind it.
#[derive(Clone)]
pub struct Search {
    running: Arc<Running>,
}

struct Running {
    pool: Arc<Pool>,
    signal: Arc<Signal>,
    reader: Reader,
    thread: Option<thread::JoinHandle<()>>,
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Search")
    }
}

impl Search {
    /// Opens the index in `directory`, or begins an empty one if there is none, or none that can
    /// be used; and starts the thread that brings it up to date and keeps it so.
    ///
    /// # Errors
    /// See [`SearchError`].
    pub fn start(directory: &Path, reader: Reader) -> Result<Self, SearchError> {
        let path = directory.join(FILE);
        let pool = Arc::new(Pool::new(path.clone()));
        let signal = Arc::new(Signal::default());
        let indexer = Indexer::open(path, reader.clone(), pool.clone(), signal.clone())?;
        let thread = thread::Builder::new()
            .name("search-indexer".to_owned())
            .spawn(move || indexer.run())
            .map_err(SearchError::Thread)?;
        let running = Running {
            pool,
            signal,
            reader,
            thread: Some(thread),
        };
        Ok(Self {
            running: Arc::new(running),
        })
    }

    /// Notifies the index that something was applied. Never waits.
    pub fn notify(&self) {
        self.running.signal.notify();
    }

    /// Returns up to where the index has the state, as far as its thread has said since the start.
    #[must_use]
    pub fn indexed_to(&self) -> Position {
        self.running.pool.indexed_to()
    }

    /// Returns the length in bytes of the index.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.running.pool.file_bytes()
    }

    /// Finds up to `limit` messages (at least 1, at most a page) that `account` may see, the
    /// newest first, before the position `before`.
    ///
    /// # Errors
    /// See [`SearchError`]. Asking again is always safe.
    pub fn find(
        &self,
        account: AccountId,
        query: &SearchQuery,
        before: Option<Position>,
        limit: usize,
        stop: &CancelFlag,
    ) -> Result<Found, SearchError> {
        let running = &self.running;
        let found = find::find(
            &running.pool,
            &running.reader,
            account,
            query,
            before,
            limit,
            stop,
        );
        if stop.is_set() && found.is_err() {
            return Err(SearchError::Stopped);
        }
        if let Err(error) = &found
            && error.is_damage()
        {
            running.signal.damaged();
        }
        found
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal.stop();
        self.pool.close();
        if let Some(Err(_)) = self.thread.take().map(thread::JoinHandle::join) {
            tracing::error!("the search indexer has panicked");
        }
    }
}
