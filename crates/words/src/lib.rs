//! Texts as a search sees them, and what a search looks for.
//!
//! `words` parts a text of any script and folds what is the same to a reader; [`query`] reads what
//! is typed into a search. The index of a node and its answers use both. The rules of `core` use
//! neither: tables of Unicode change with a library, and what is in the log may not.
//!
//! Always true: the same text gives the same words to the index and to a query, and no input
//! panics.

pub mod query;
mod words;

pub use query::{QueryError, SearchQuery};
pub use words::{
    Element, Kind, Pattern, SNIPPET_CHARACTERS_MAX, SnippetPart, Token, Words, snippet,
    tables_version,
};
