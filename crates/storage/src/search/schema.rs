//! The tables of the index, and its version.

/// The version of the tables and of what stands in them. A file of another one is built anew.
pub(super) const VERSION: i32 = 1;

/// Marks the file as ours ("Cons").
pub(super) const APPLICATION_ID: i32 = 0x436f_6e73;

/// How texts become words: cases and accents are folded, everything but letters and digits parts.
macro_rules! tokenizer {
    () => {
        "tokenize = 'unicode61 remove_diacritics 2'"
    };
}
pub(super) use tokenizer;

/// `words` keeps no texts, only which words stand where. Beside the text's own words there are
/// tags: `c7` for conversation 7 and `a3` for sender 3, so that a search among few conversations
/// reads little even if its words are everywhere.
pub(super) const TABLES: &str = concat!(
    "
-- How far the index has come; there is one row.
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    indexed_to INTEGER NOT NULL,           -- everything up to this position in the log is here
    begun_at INTEGER                       -- where the log was when the first row was read
) STRICT;
INSERT INTO meta VALUES (1, 0, NULL);

-- The messages that are in the index.
CREATE TABLE docs (
    position INTEGER PRIMARY KEY,
    conversation INTEGER NOT NULL,
    by_account INTEGER NOT NULL,
    sent_at INTEGER NOT NULL               -- grows with the position between two steps back
) STRICT;

-- Their words; the row is the position.
CREATE VIRTUAL TABLE words USING fts5(text, tags, content = '', contentless_delete = 1, ",
    tokenizer!(),
    ");
"
);
