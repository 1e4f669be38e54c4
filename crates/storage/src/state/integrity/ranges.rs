//! Digests of parts of tables, so that nodes compare all rows in short steps.
//!
//! A part has a bounded number of rows and bytes and is read in a transaction of its own, so the
//! write-ahead log is never kept from being emptied for long.
//!
//! Always true: the digest of a part depends on the state and the part alone; and a part that
//! another node names is checked before it is used.

use blake3::Hasher;
use conclave_core::ClusterVersion;
use rusqlite::{
    Connection, Result, Row, params_from_iter,
    types::{Value, ValueRef},
};

use super::{
    chain,
    digest::{TABLES, feed_value, tables},
};
use crate::state::{
    ReadError, Reader,
    meta::{self, Meta},
};

/// Maximum number of rows of a range that a node chooses: some milliseconds of reading.
pub const RANGE_ROWS_MAX: usize = 4096;
/// Bytes of rows after which a range that a node chooses ends.
const RANGE_BYTES_MAX: usize = 1024 * 1024;
/// Rows and bytes of any range that are read. More of them make a digest of their own: a node that
/// has as much as that between two keys has other rows than the node that chose them.
const READ_ROWS_MAX: usize = RANGE_ROWS_MAX + 1;
const READ_BYTES_MAX: usize = 4 * RANGE_BYTES_MAX;
/// Rows of each piece into which a range is divided.
pub const PIECE_ROWS: usize = 64;
/// Maximum number of ranges that are read at once.
pub const RANGES_MAX: usize = 64;
/// Number of all tables whose rows can be compared.
pub const RANGE_TABLES: usize = TABLES.len();

/// Returns how many of these tables nodes compare at a cluster version: the first ones. An earlier
/// build does not know the others.
#[must_use]
pub fn range_tables(version: ClusterVersion) -> usize {
    tables(version).len()
}

/// The values of a primary key.
type Key = Vec<Value>;

/// The rows of a table after one key, up to another one. A missing key leaves that end open.
#[derive(Clone, Debug, PartialEq)]
pub struct RowRange {
    table: usize,
    after: Option<Key>,
    until: Option<Key>,
}

/// Digests of ranges of one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeDigests {
    /// The last applied entry of that state.
    pub index: u64,
    /// A digest of each range, in order; less than were asked for if these have enough rows.
    pub digests: Vec<[u8; 32]>,
}

/// The next rows of a table.
#[derive(Clone, Debug)]
pub struct NextRange {
    /// The range that they make.
    pub range: RowRange,
    /// Its digest, and the last applied entry of the state.
    pub found: RangeDigests,
    /// The same range in pieces of few rows.
    pub pieces: Vec<RowRange>,
}

impl RowRange {
    /// Returns a range that another node names; `None` if there is no such table, or if a key is
    /// not one of that table.
    #[must_use]
    pub fn decoded(table: u32, after: &[u8], until: &[u8]) -> Option<Self> {
        let table = usize::try_from(table).ok()?;
        let columns = TABLES.get(table)?.key.split(", ").count();
        let of = |bytes: &[u8]| match bytes.is_empty() {
            true => Some(None),
            false => decode_key(bytes, columns).map(Some),
        };
        Some(Self {
            table,
            after: of(after)?,
            until: of(until)?,
        })
    }

    /// Returns the range as other nodes know it: the number of the table, and both keys; a key is
    /// empty where the end is open.
    #[must_use]
    pub fn encoded(&self) -> (u32, Vec<u8>, Vec<u8>) {
        let of = |key: &Option<Key>| key.as_ref().map_or_else(Vec::new, encode_key);
        let table = u32::try_from(self.table).unwrap_or(u32::MAX);
        (table, of(&self.after), of(&self.until))
    }

    /// Returns the name of its table.
    #[must_use]
    pub fn table(&self) -> &'static str {
        TABLES[self.table].name
    }

    /// Returns whether the range reaches the end of its table.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.until.is_none()
    }

    /// Returns a number that stands for this range: another one for every other range.
    #[must_use]
    pub fn id(&self) -> u64 {
        let (_, after, until) = self.encoded();
        let mut hasher = Hasher::new();
        for part in [self.table().as_bytes(), &after, &until] {
            chain::bytes(&mut hasher, part);
        }
        let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl Reader {
    /// Returns the next rows of a table after a range of it, or its first ones. `table` is less
    /// than [`range_tables`]. Uses a connection of its own, and one transaction.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn next_range(
        &self,
        table: usize,
        before: Option<&RowRange>,
    ) -> std::result::Result<NextRange, ReadError> {
        let after = before.and_then(|range| range.until.clone());
        self.read_apart(|connection| next_range(connection, table, after))
    }

    /// Returns the digests of ranges, all of one state. Uses a connection of its own, and one
    /// transaction.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn digest_ranges(
        &self,
        ranges: &[RowRange],
    ) -> std::result::Result<RangeDigests, ReadError> {
        self.read_apart(|connection| digest_ranges(connection, ranges))
    }
}

fn applied(connection: &Connection) -> Result<u64> {
    let applied = Meta::load(connection)?.applied;
    Ok(applied.map_or(0, |last| last.index))
}

/// Returns the digests of ranges in an open database.
pub(crate) fn digest_ranges(connection: &Connection, ranges: &[RowRange]) -> Result<RangeDigests> {
    let mut digests = Vec::with_capacity(ranges.len());
    let (mut rows, mut bytes) = (0, 0);
    for range in ranges.iter().take(RANGES_MAX) {
        if rows >= READ_ROWS_MAX || bytes >= READ_BYTES_MAX {
            break;
        }
        let mut read = Rows::new(range.table);
        scan(connection, range, &mut |keys, row| {
            read.feed(keys, row)?;
            Ok(read.rows < READ_ROWS_MAX && read.bytes < READ_BYTES_MAX)
        })?;
        rows += read.rows;
        bytes += read.bytes;
        digests.push(read.hasher.finalize().into());
    }
    Ok(RangeDigests {
        index: applied(connection)?,
        digests,
    })
}

fn next_range(connection: &Connection, table: usize, after: Option<Key>) -> Result<NextRange> {
    let mut range = RowRange {
        table,
        after,
        until: None,
    };
    let mut read = Rows::new(table);
    let mut ends: Vec<Key> = Vec::new();
    let mut is_whole = true;
    scan(connection, &range, &mut |keys, row| {
        // Only a row more shows that there is one.
        if read.rows >= RANGE_ROWS_MAX || read.bytes >= RANGE_BYTES_MAX {
            is_whole = false;
            return Ok(false);
        }
        read.feed(keys, row)?;
        let key = (0..keys).map(|at| row.get(at)).collect::<Result<Key>>()?;
        match ends.last_mut() {
            Some(last) if read.rows % PIECE_ROWS != 1 => *last = key,
            _ => ends.push(key),
        }
        Ok(true)
    })?;
    if !is_whole {
        range.until = ends.last().cloned();
    }
    // The last piece ends where the range does.
    ends.pop();
    let mut pieces = Vec::with_capacity(ends.len() + 1);
    let mut from = range.after.clone();
    for end in ends {
        pieces.push(RowRange {
            table,
            after: from.replace(end.clone()),
            until: Some(end),
        });
    }
    pieces.push(RowRange {
        table,
        after: from,
        until: range.until.clone(),
    });
    let found = RangeDigests {
        index: applied(connection)?,
        digests: vec![read.hasher.finalize().into()],
    };
    Ok(NextRange {
        range,
        found,
        pieces,
    })
}

/// Rows that were read, and their digest.
struct Rows {
    hasher: Hasher,
    rows: usize,
    bytes: usize,
}

impl Rows {
    fn new(table: usize) -> Self {
        let mut hasher = Hasher::new();
        chain::bytes(&mut hasher, TABLES[table].name.as_bytes());
        Self {
            hasher,
            rows: 0,
            bytes: 0,
        }
    }

    /// Feeds a row, whose first columns are its key once more.
    fn feed(&mut self, keys: usize, row: &Row<'_>) -> Result<()> {
        self.hasher.update(b"r");
        for column in keys..row.as_ref().column_count() {
            let value = row.get_ref(column)?;
            self.bytes += match value {
                ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 8,
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
            };
            feed_value(&mut self.hasher, value);
        }
        self.rows += 1;
        Ok(())
    }
}

/// Gives the rows of a range in order of their keys, until `each` says that it has enough. Each row
/// begins with its key, which has as many columns as `each` is told.
fn scan(
    connection: &Connection,
    range: &RowRange,
    each: &mut dyn FnMut(usize, &Row<'_>) -> Result<bool>,
) -> Result<()> {
    let table = &TABLES[range.table];
    let (name, key) = (table.name, table.key);
    let columns = table.columns(meta::cluster_version_of(connection)?);
    let keys = key.split(", ").count();
    let marks = vec!["?"; keys].join(", ");
    let bound = |key_is: Option<&Key>, than: &str| match key_is {
        Some(_) => format!(" AND ({key}) {than} ({marks})"),
        None => String::new(),
    };
    let (after, until) = (range.after.as_ref(), range.until.as_ref());
    let sql = format!(
        "SELECT {key}, {columns} FROM {name} WHERE 1{}{} ORDER BY {key}",
        bound(after, ">"),
        bound(until, "<="),
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let values = after.into_iter().chain(until).flatten();
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        if !each(keys, row)? {
            break;
        }
    }
    Ok(())
}

const INTEGER: u8 = b'i';
const TEXT: u8 = b't';
const BLOB: u8 = b'b';

fn encode_key(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |kind, value: &[u8]| {
        bytes.push(kind);
        // No key is that long.
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        bytes.extend(length.to_le_bytes());
        bytes.extend(value);
    };
    for value in key {
        match value {
            Value::Integer(number) => put(INTEGER, &number.to_le_bytes()),
            Value::Text(text) => put(TEXT, text.as_bytes()),
            Value::Blob(blob) => put(BLOB, blob),
            // No key has these; a damaged one may, and the other nodes refuse it.
            Value::Null | Value::Real(_) => put(b'?', &[]),
        }
    }
    bytes
}

fn decode_key(mut bytes: &[u8], columns: usize) -> Option<Key> {
    let mut key = Vec::with_capacity(columns);
    while let Some((kind, rest)) = bytes.split_first() {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        key.push(match *kind {
            INTEGER => Value::Integer(i64::from_le_bytes(value.try_into().ok()?)),
            TEXT => Value::Text(String::from_utf8(value.to_vec()).ok()?),
            BLOB => Value::Blob(value.to_vec()),
            _ => return None,
        });
        bytes = rest;
    }
    (key.len() == columns).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_round_trips_and_a_malformed_one_is_refused() {
        let key = vec![
            Value::Integer(-7),
            Value::Text("a".to_owned()),
            Value::Blob(vec![0, 255]),
        ];
        let bytes = encode_key(&key);
        assert_eq!(decode_key(&bytes, 3), Some(key));
        assert_eq!(decode_key(&bytes, 2), None);
        for end in 1..bytes.len() {
            assert_eq!(decode_key(&bytes[..end], 3), None, "{end}");
        }
        for kind in 0..=u8::MAX {
            let mut other = bytes.clone();
            other[0] = kind;
            let is_known = [INTEGER, BLOB].contains(&kind);
            assert_eq!(decode_key(&other, 3).is_some(), is_known, "{kind}");
        }
    }

    #[test]
    fn a_range_of_an_unknown_table_or_key_is_refused() {
        let key = encode_key(&vec![Value::Integer(1)]);
        assert!(RowRange::decoded(0, &[], &key).is_some());
        let tables = u32::try_from(RANGE_TABLES).unwrap();
        for table in [tables, u32::MAX] {
            assert_eq!(RowRange::decoded(table, &[], &[]), None);
        }
        assert_eq!(RowRange::decoded(0, &key[1..], &[]), None);
        assert_eq!(RowRange::decoded(0, &[], b"i"), None);
    }
}
