//! The thread that brings the index up to date with the state, and keeps it so.
//!
//! It reads small pages and rests between them, so that applying the log comes first; when it has
//! been behind for a while, it rests less. It also compares the index with the state, a page at a
//! time: what the state has swept away without a word is found that way (`indexer/rounds.rs`).
//!
//! Always true: an index that may not belong to the state is never continued but built anew.

mod rounds;

use std::{
    collections::BTreeMap,
    error::Error,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use conclave_core::Position;

use self::rounds::{Compared, Rounds};
use super::{
    SearchError, database,
    docs::Doc,
    error::{is_damage, is_outside},
    pool::Pool,
    signal::Signal,
    writer::Writer,
};
use crate::state::{IndexPage, IndexRow, ReadError, Reader};

/// Rows of one page and of one transaction: a few milliseconds of work.
const PAGE_ROWS: usize = 1024;

/// Rest between two pages while there is more: several times as long as the work.
const PAUSE: Duration = Duration::from_millis(80);

/// How long the index may be behind before the thread works for half of the time that it gets: a
/// pace of a page in each [`PAUSE`] is less than a busy cluster writes.
const HURRY_AFTER: Duration = Duration::from_secs(3);

/// How long news may gather before it is read, so that a busy node has few transactions.
const GATHER: Duration = Duration::from_millis(250);

/// How much the thread stands back for all others, as the system counts it: it takes what they
/// leave.
const NICE: i32 = 19;

/// Pages that are compared at once while each has something that the state no longer has.
const COMPARED_AT_ONCE_MAX: usize = 8;

/// Rest after trouble.
const RETRY: Duration = Duration::from_millis(500);

/// How long running searches may take to end before the index is replaced.
const SEARCHES_WAIT: Duration = Duration::from_secs(5);

/// Messages that are looked up in the state to see whether the index belongs to it.
const COMPARED_MAX: usize = 16;

/// Messages of the index that one comparison looks at.
const DOCS_COMPARED_MAX: usize = 8 * PAGE_ROWS;

/// The thread's own things.
pub(super) struct Indexer {
    path: PathBuf,
    reader: Reader,
    pool: Arc<Pool>,
    signal: Arc<Signal>,
    /// `None`: what is there must be replaced.
    writer: Option<Writer>,
    /// Whether the index was found to belong to the state: no search runs before.
    belongs: bool,
    rounds: Rounds,
    /// When a page was compared last.
    compared: Instant,
    /// Whether its present trouble was logged.
    told: bool,
}

/// How far a step has come.
enum Step {
    Behind,
    UpToDate,
}

/// The reason why a step was not made.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the index cannot be used any more: {0}")]
    Unusable(&'static str),
    #[error("the state cannot be read")]
    State(#[from] ReadError),
    #[error("the index cannot be written")]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Search(#[from] SearchError),
}

impl Trouble {
    /// Returns whether only a new index helps. The statements are known to be good, so what is no
    /// trouble outside is trouble in the file.
    fn needs_new_index(&self) -> bool {
        match self {
            Self::Unusable(_) => true,
            Self::Sqlite(error) => is_damage(error) || !is_outside(error),
            Self::State(_) | Self::Search(_) => false,
        }
    }
}

impl Indexer {
    pub(super) fn open(
        path: PathBuf,
        reader: Reader,
        pool: Arc<Pool>,
        signal: Arc<Signal>,
    ) -> Result<Self, SearchError> {
        let writer = Writer::open(&path)?;
        Ok(Self {
            path,
            reader,
            pool,
            signal,
            writer: Some(writer),
            belongs: false,
            rounds: Rounds::default(),
            compared: now(),
            told: false,
        })
    }

    pub(super) fn run(mut self) {
        // On Linux this is about the calling thread alone; on other systems it is left out.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "failed to lower the priority of the search indexer");
        }
        let mut behind_since = None;
        loop {
            let began = now();
            let stop = match self.step() {
                Ok(Step::Behind) => {
                    let behind_for = behind_since.get_or_insert(began).elapsed();
                    self.signal
                        .wait_for_stop(pause(behind_for, began.elapsed()))
                }
                Ok(Step::UpToDate) => {
                    behind_since = None;
                    self.told = false;
                    self.rest()
                }
                Err(Trouble::State(ReadError::Closed)) => return,
                Err(trouble) => self.recover(&trouble),
            };
            if stop {
                return;
            }
        }
    }

    /// Waits for news. Whether it is the end.
    fn rest(&mut self) -> bool {
        let every = self.rounds.every();
        let has_news = self.signal.wait_for_news(every);
        // On a busy node there is always news: what is swept away must not stay for ever.
        if !has_news || self.compared.elapsed() >= every {
            for _ in 0..COMPARED_AT_ONCE_MAX {
                self.compared = now();
                match self.compare() {
                    Ok(false) => break,
                    Ok(true) if self.signal.wait_for_stop(PAUSE) => return true,
                    Ok(true) => {}
                    Err(trouble) => return self.recover(&trouble),
                }
            }
        }
        self.signal.wait_for_stop(GATHER)
    }

    /// Decides what trouble means, and rests. Returns whether the thread has to end.
    fn recover(&mut self, trouble: &Trouble) -> bool {
        let is_new = !std::mem::replace(&mut self.told, true);
        if trouble.needs_new_index() {
            tracing::warn!(error = trouble as &dyn Error, "rebuilding the search index");
            self.writer = None;
        } else if is_new && !matches!(trouble, Trouble::State(ReadError::Busy)) {
            tracing::warn!(
                error = trouble as &dyn Error,
                "failed to update the search index; retrying"
            );
        }
        self.signal.wait_for_stop(RETRY)
    }

    /// Takes in one page.
    fn step(&mut self) -> Result<Step, Trouble> {
        if self.writer.is_none() {
            self.replace()?;
        } else if self.signal.take_damage() {
            return Err(Trouble::Unusable("a search has found damage"));
        }
        let Self { reader, writer, .. } = self;
        let writer = writer.as_mut().expect("it was replaced if it was missing");
        let applied = applied(reader)?;
        if applied < writer.indexed_to() {
            return Err(Trouble::Unusable("the state is behind the index"));
        }
        if !self.belongs {
            if !belongs(reader, writer)? {
                return Err(Trouble::Unusable("the index is of another state"));
            }
            self.belongs = true;
            self.pool.resume();
        }
        let (from, is_begun) = (writer.indexed_to(), writer.begun_at().is_some());
        let mut begun_at = writer.begun_at().unwrap_or(applied);
        let mut page = reader.for_index(from, PAGE_ROWS)?;
        let has_gap = if page.scanned_to < begun_at {
            // Before the state forgets them: what has changed since in the pages that are here.
            let changed = reader.changes_for_index(begun_at, PAGE_ROWS)?;
            let is_here = |row: &IndexRow| row.position <= page.scanned_to;
            page.rows.extend(changed.rows.into_iter().filter(is_here));
            begun_at = changed.scanned_to;
            changed.gap
        } else {
            page.gap && has_gap(reader, from.max(begun_at))?
        };
        if is_begun && has_gap {
            return Err(Trouble::Unusable(
                "the state no longer has the changes since then",
            ));
        }
        if page.scanned_to > from {
            write(writer, &page.rows, begun_at, page.scanned_to)?;
        }
        self.rounds.note(&page);
        self.pool.note_indexed(writer.indexed_to());
        Ok(if page.complete {
            Step::UpToDate
        } else {
            Step::Behind
        })
    }

    /// Puts an empty index in the place of one that cannot be used.
    fn replace(&mut self) -> Result<(), Trouble> {
        if !self.pool.pause(SEARCHES_WAIT) {
            return Err(SearchError::Busy.into());
        }
        // No search runs now: any damage that was found was in the old file.
        self.signal.take_damage();
        database::remove(&self.path).map_err(SearchError::Remove)?;
        self.writer = Some(Writer::open(&self.path)?);
        self.rounds = Rounds::default();
        self.belongs = false;
        Ok(())
    }

    /// Compares the next pages of the index with the state, and mends what differs. Returns whether
    /// the next ones should follow at once.
    fn compare(&mut self) -> Result<bool, Trouble> {
        let Some(indexed_to) = self.writer.as_ref().map(Writer::indexed_to) else {
            return Ok(false);
        };
        let mut has_more = false;
        if let Some(after) = self.rounds.front() {
            let compared = self.compare_after(after)?;
            self.rounds.front_compared(&compared, indexed_to);
            has_more |= compared.rows > 0;
        }
        let compared = self.compare_after(self.rounds.compared_to())?;
        self.rounds.compared(&compared, indexed_to);
        Ok(has_more || compared.rows > 0)
    }

    /// Compares one page of the index with the state, and mends what differs.
    fn compare_after(&mut self, after: Position) -> Result<Compared, Trouble> {
        let Some(writer) = &mut self.writer else {
            return Ok(Compared { to: after, rows: 0 });
        };
        let page = self.reader.messages_for_index(after, PAGE_ROWS)?;
        let mut to = page.scanned_to.min(writer.indexed_to());
        let docs = writer.docs(after, to, DOCS_COMPARED_MAX)?;
        if docs.len() == DOCS_COMPARED_MAX {
            to = docs.last_key_value().map_or(to, |(last, _)| *last);
        }
        let rows = differences(page, after, to, docs)?;
        if !rows.is_empty() {
            tracing::debug!(rows = rows.len(), "repaired the search index");
            let begun_at = writer.begun_at().unwrap_or_default();
            let to = writer.indexed_to();
            write(writer, &rows, begun_at, to)?;
        }
        let rows = rows.len();
        Ok(Compared { to, rows })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "measured to rest between pages, decides nothing"
)]
fn now() -> Instant {
    Instant::now()
}

/// Returns how long to rest after a page that took so long, on an index that has been behind for
/// so long.
fn pause(behind_for: Duration, took: Duration) -> Duration {
    match behind_for < HURRY_AFTER {
        true => PAUSE,
        false => took.min(PAUSE),
    }
}

fn write(
    writer: &mut Writer,
    rows: &[IndexRow],
    begun_at: Position,
    to: Position,
) -> Result<(), Trouble> {
    if writer.write(rows, begun_at, to)? {
        return Ok(());
    }
    Err(Trouble::Unusable("the index has lost messages"))
}

/// Returns what to write so that the index has what the state has, after `after` and up to `to`.
fn differences(
    page: IndexPage,
    after: Position,
    to: Position,
    mut docs: BTreeMap<Position, Doc>,
) -> Result<Vec<IndexRow>, Trouble> {
    let mut rows = Vec::new();
    for row in page.rows {
        if row.position <= after || row.position > to {
            continue;
        }
        match docs.remove(&row.position) {
            Some(doc) if doc != Doc::from(&row) => {
                return Err(Trouble::Unusable("the index is of another state"));
            }
            Some(_) if row.text.is_some() => {}
            None if row.text.is_none() => {}
            Some(_) | None => rows.push(row),
        }
    }
    // Swept away with the conversation.
    rows.extend(docs.into_iter().map(|(position, doc)| IndexRow {
        position,
        conversation: doc.conversation,
        by: doc.by,
        sent_at: doc.sent_at,
        text: None,
    }));
    Ok(rows)
}

fn applied(reader: &Reader) -> Result<Position, ReadError> {
    let last = reader.applied()?.last;
    Ok(last.map_or(Position(0), |last| Position::end_of(last.index)))
}

fn has_gap(reader: &Reader, after: Position) -> Result<bool, ReadError> {
    Ok(reader.for_index(after, 1)?.gap)
}

/// Returns whether the newest messages of the index are in the state. Those that are not may have
/// been swept away; if many are not, a new index costs less than a doubt.
fn belongs(reader: &Reader, writer: &Writer) -> Result<bool, Trouble> {
    let mut before = Position(u64::MAX);
    for _ in 0..COMPARED_MAX {
        let Some((position, doc)) = writer.doc_before(before)? else {
            return Ok(true);
        };
        let page = reader.for_index(Position(position.0.saturating_sub(1)), 1)?;
        if let Some(row) = page.rows.first().filter(|row| row.position == position) {
            return Ok(Doc::from(row) == doc);
        }
        before = position;
    }
    Ok(false)
}

#[cfg(test)]
#[path = "indexer_tests.rs"]
mod tests;
