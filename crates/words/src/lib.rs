//! Texts as a search sees them, and what a search looks for.
//!
//! `words` parts a text of any script and folds what is the same to a reader; [`query`] reads what
//! is typed into a search. The index of a node and its answers use both. The rules of `core` use
//! neither: tables of Unicode change with a library, and what is in the log may not.
//!
//! Always true: the same text gives the same words to the index and to a query, and no input
//! panics.
//!
//! ```
//! use conclave_words::{SearchQuery, query::Zone};
//!
//! // Days such as `after:2026-11-20` are those of this zone, here UTC.
//! let zone = Zone::new(0, Vec::new()).expect("UTC is a zone");
//! let query = SearchQuery::parse("strasse deploy* -rollback", &zone)?;
//! assert!(query.is_said_by("Deployed from the Straße"));
//! assert!(!query.is_said_by("the deployment in this Straße, and its rollback"));
//! # Ok::<(), conclave_words::QueryError>(())
//! ```
//!
//! Start reading with [`SearchQuery::parse`], then [`Words::of`] and [`Pattern`], which decide
//! whether a text says a word.

pub mod query;
mod words;

pub use query::{QueryError, SearchQuery};
pub use words::{
    Element, Kind, Pattern, SNIPPET_CHARACTERS_MAX, SnippetPart, Token, Words, snippet,
    tables_version,
};
