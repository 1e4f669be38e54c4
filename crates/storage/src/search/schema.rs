//! The tables of the index, and its version.

/// The version of the tables and of what stands in them. A file of another one is built anew.
pub(super) const VERSION: i32 = 2;

/// Marks the file as ours ("Cons").
pub(super) const APPLICATION_ID: i32 = 0x436f_6e73;

/// `words` keeps no texts and no places, only which terms are in which message: see
/// [`super::terms`]. The texts are parted and folded before they come here, so its tokenizer only
/// splits at spaces.
pub(super) const TABLES: &str = "
-- How far the index has come; there is one row.
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    indexed_to INTEGER NOT NULL,           -- everything up to this position in the log is here
    begun_at INTEGER,                      -- where the log was when the first row was read
    tables TEXT NOT NULL                   -- by which rules texts became terms
) STRICT;

-- The messages that are in the index. Their numbers are small and near to each other, unlike
-- positions: the lists of the terms are half as long.
CREATE TABLE docs (
    id INTEGER PRIMARY KEY,                -- grows with the position
    position INTEGER NOT NULL,
    conversation INTEGER NOT NULL,
    by_account INTEGER NOT NULL,
    sent_at INTEGER NOT NULL               -- grows with the position between two steps back
) STRICT;

-- Their terms; the row is the number.
CREATE VIRTUAL TABLE words USING fts5(
    terms, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii');
";
