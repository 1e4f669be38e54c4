//! Records on the disk that come in any order and are read in the order of their times: what an
//! import collects before it builds a state.
//!
//! It also remembers, by conversation, which number a message got. Nothing of it is kept: the file
//! is scratch, it is not synced, and a crash leaves a file that nothing reads.
//!
//! Always true: memory is bounded whatever the number of records; records of one time come in the
//! order in which they were added.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};

/// Page cache in KiB.
const CACHE_KIB: i64 = 64 * 1024;
/// Records in one transaction, and on one page.
const TRANSACTION_RECORDS: u64 = 20_000;
const PAGE_RECORDS_MAX: usize = 1000;
/// Bytes of records on one page, about: a page ends with the record that reaches them.
const PAGE_BYTES_MAX: usize = 4 << 20;

const TABLES: &str = "
CREATE TABLE records (
    number INTEGER PRIMARY KEY,            -- in the order in which they were added
    at INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE TABLE numbers (
    conversation INTEGER NOT NULL,
    name INTEGER NOT NULL,                 -- bits of an unsigned number
    number INTEGER NOT NULL,
    PRIMARY KEY (conversation, name)
) STRICT, WITHOUT ROWID;
BEGIN;";

/// The scratch file cannot be used: the disk is full, or has failed.
#[derive(Debug, thiserror::Error)]
#[error("the scratch file cannot be written or read")]
pub struct PileError(#[from] rusqlite::Error);

/// Records in the order of their times.
pub struct Pile {
    connection: Connection,
    records: u64,
    changes: u64,
    is_sorted: bool,
    /// The last record that was given: its time and number.
    given: (i64, i64),
}

/// A record with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The time under which it was added.
    pub at: u64,
    /// What was added.
    pub bytes: Vec<u8>,
}

impl Pile {
    /// Makes an empty one in a file that does not exist.
    ///
    /// # Errors
    /// See [`PileError`].
    pub fn create(file: &Path) -> Result<Self, PileError> {
        let connection = Connection::open(file)?;
        connection.pragma_update_and_check(None, "journal_mode", "off", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "off")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.execute_batch(TABLES)?;
        Ok(Self {
            connection,
            records: 0,
            changes: 0,
            is_sorted: false,
            given: (i64::MIN, i64::MIN),
        })
    }

    /// Returns how many records were added.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Adds a record.
    ///
    /// # Errors
    /// See [`PileError`].
    ///
    /// # Panics
    /// If records were read already.
    pub fn push(&mut self, at: u64, bytes: &[u8]) -> Result<(), PileError> {
        assert!(!self.is_sorted, "a record would be missed");
        let sql = "INSERT INTO records (number, at, bytes) VALUES (?1, ?2, ?3)";
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        let row = params![self.records.cast_signed(), at, bytes];
        self.connection.prepare_cached(sql)?.execute(row)?;
        self.records += 1;
        self.changed()
    }

    /// Returns the next records in order; an empty page is the end.
    ///
    /// # Errors
    /// See [`PileError`].
    pub fn next_page(&mut self) -> Result<Vec<Record>, PileError> {
        if !self.is_sorted {
            let sql = "CREATE INDEX records_by_time ON records (at, number)";
            self.connection.execute_batch(sql)?;
            self.is_sorted = true;
        }
        let sql = "SELECT at, number, bytes FROM records INDEXED BY records_by_time
            WHERE (at, number) > (?1, ?2) ORDER BY at, number";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![self.given.0, self.given.1])?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        while page.len() < PAGE_RECORDS_MAX && bytes < PAGE_BYTES_MAX {
            let Some(row) = rows.next()? else { break };
            let at: i64 = row.get(0)?;
            self.given = (at, row.get(1)?);
            let content: Vec<u8> = row.get(2)?;
            bytes += content.len();
            page.push(Record {
                at: at.unsigned_abs(),
                bytes: content,
            });
        }
        Ok(page)
    }

    /// Remembers the number of what is called `name` in a conversation.
    ///
    /// # Errors
    /// See [`PileError`].
    pub fn remember(&mut self, conversation: u64, name: u64, number: u64) -> Result<(), PileError> {
        let sql = "INSERT OR REPLACE INTO numbers (conversation, name, number)
            VALUES (?1, ?2, ?3)";
        let row = [conversation, name, number].map(u64::cast_signed);
        self.connection.prepare_cached(sql)?.execute(row)?;
        self.changed()
    }

    /// Returns the number that was remembered.
    ///
    /// # Errors
    /// See [`PileError`].
    pub fn recall(&self, conversation: u64, name: u64) -> Result<Option<u64>, PileError> {
        let sql = "SELECT number FROM numbers WHERE conversation = ?1 AND name = ?2";
        let key = [conversation, name].map(u64::cast_signed);
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row(key, |row| row.get::<_, i64>(0));
        Ok(found.optional()?.map(i64::cast_unsigned))
    }

    /// Begins another transaction from time to time, so that none grows without bound.
    fn changed(&mut self) -> Result<(), PileError> {
        self.changes += 1;
        if self.changes.is_multiple_of(TRANSACTION_RECORDS) {
            self.connection.execute_batch("COMMIT; BEGIN")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_in_order_of_time_and_then_of_arrival() {
        let directory = tempfile::tempdir().unwrap();
        let mut pile = Pile::create(&directory.path().join("pile")).unwrap();
        let count = 2 * TRANSACTION_RECORDS + 7;
        for number in 0..count {
            // Times that come again, and none in order.
            let at = (number * 7919) % 101;
            pile.push(at, &number.to_le_bytes()).unwrap();
        }
        assert_eq!(pile.records(), count);
        let mut all = Vec::new();
        loop {
            let page = pile.next_page().unwrap();
            if page.is_empty() {
                break;
            }
            for record in page {
                let number: [u8; 8] = record.bytes[..].try_into().unwrap();
                // What is remembered meanwhile does not disturb the order.
                pile.remember(1, record.at, u64::from_le_bytes(number))
                    .unwrap();
                all.push((record.at, u64::from_le_bytes(number)));
            }
        }
        assert_eq!(all.len() as u64, count);
        assert!(all.is_sorted());
        assert_eq!(pile.next_page().unwrap(), []);
    }

    #[test]
    fn a_page_is_bounded_by_the_bytes_of_its_records() {
        let directory = tempfile::tempdir().unwrap();
        let mut pile = Pile::create(&directory.path().join("pile")).unwrap();
        for at in 0..10 {
            pile.push(at, &vec![7; 1 << 20]).unwrap();
        }
        let page = pile.next_page().unwrap();
        assert_eq!(page.len(), PAGE_BYTES_MAX >> 20);
        assert_eq!(pile.next_page().unwrap()[0].at, page.len() as u64);
    }

    #[test]
    fn a_name_is_recalled_in_its_conversation_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut pile = Pile::create(&directory.path().join("pile")).unwrap();
        for (conversation, name, number) in [(1, u64::MAX, 3), (2, u64::MAX, 4), (1, 0, 5)] {
            pile.remember(conversation, name, number).unwrap();
        }
        pile.remember(1, 0, 6).unwrap();
        let recalled = [(1, u64::MAX), (2, u64::MAX), (1, 0), (2, 0), (3, 1)]
            .map(|(conversation, name)| pile.recall(conversation, name).unwrap());
        assert_eq!(recalled, [Some(3), Some(4), Some(6), None, None]);
    }
}
