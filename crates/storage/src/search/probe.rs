//! An index of one text, to ask whether that text is one that a query looks for.
//!
//! The same words as in the large index, because the same code parts the text into words.

use rusqlite::{Connection, Result};

use super::schema::tokenizer;

/// The text is gone when the question is answered.
pub(super) struct Probe {
    connection: Connection,
}

impl Probe {
    pub(super) fn new() -> Result<Self> {
        let connection = Connection::open_in_memory()?;
        let sql = concat!(
            "CREATE VIRTUAL TABLE probe USING fts5(text, content = '', ",
            tokenizer!(),
            ")"
        );
        connection.execute_batch(sql)?;
        Ok(Self { connection })
    }

    /// Whether `text` is what this expression looks for.
    pub(super) fn matches(&mut self, text: &str, expression: &str) -> Result<bool> {
        let transaction = self.connection.transaction()?;
        let sql = "INSERT INTO probe (rowid, text) VALUES (1, ?1)";
        transaction.prepare_cached(sql)?.execute([text])?;
        let sql = "SELECT EXISTS (SELECT 1 FROM probe WHERE probe MATCH ?1)";
        let found = transaction
            .prepare_cached(sql)?
            .query_row([expression], |row| row.get(0))?;
        transaction.rollback()?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use conclave_core::SearchQuery;

    use super::*;
    use crate::search::expression;

    #[test]
    fn words_phrases_and_beginnings_are_found_as_they_should() {
        let text = "The Crème brûlée isn't well-known: NEAR(a b) \u{10}AND \"so\" 日本語";
        let mut probe = Probe::new().unwrap();
        for (typed, found) in [
            ("creme", true),
            ("BRULEE crème", true),
            ("\"creme brulee\"", true),
            ("\"brulee creme\"", false),
            ("brul", false),
            ("brul*", true),
            ("\"brul*\"", false),
            ("well-known", true),
            ("well-kn*", true),
            ("known-well", false),
            ("isn't", true),
            ("NEAR(a", true),
            ("near(b", false),
            ("AND", true),
            ("OR", false),
            ("NOT creme", false),
            ("so\"so", false),
            ("text:creme", false),
            ("the {text}", false),
            ("^the", true),
            ("^creme", true),
            ("+the", true),
            ("日本語", true),
            ("日本*", true),
            ("missing", false),
        ] {
            let query = SearchQuery::parse(typed).unwrap();
            let expression = expression::of_text(&query);
            assert_eq!(probe.matches(text, &expression).unwrap(), found, "{typed}");
            // Nothing of the text stays.
            assert!(!probe.matches("", &expression).unwrap(), "{typed}");
        }
    }
}
