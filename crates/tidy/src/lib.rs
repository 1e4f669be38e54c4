//! House rules that a compiler cannot check, as plain functions of a path and a text.
//!
//! Each rule returns problems that say where, which rule, and the cure. `tests/tidy.rs` applies
//! them to the tree; the unit tests show for each that it catches a bad sample. Nothing is written,
//! and nothing outside the tree is read.

mod arrows;
mod circles;
mod commands;
mod documents;
mod english;
mod floors;
mod imports;
mod names;
mod paths;
mod proto;
mod source;
mod tree;

use std::fmt;

pub use arrows::{DEPENDENCIES_ALLOWED, arrows, forbidden_dependencies};
pub use circles::circles;
pub use commands::commands;
pub use documents::{
    anchors, foreign_paths, links, lock_sources, named_documents, notebook, promised_tests,
};
pub use english::{TEST_NAME_MAX, hidden_subjects, long_test_names};
pub use floors::{FILES_MAX, FLOORS, crowded, drawn_floors, floors};
pub use names::{clocks, forbidden_names, grpc_inside, hash_order, unicode_tables};
pub use paths::{front_page, named_paths, routes};
pub use proto::{comments, undocumented_calls};
pub use source::{COLUMNS_MAX, LINES_MAX, columns, header, length, story};
pub use tree::{File, read_tree};

/// A place where the house is not tidy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, relative to the root of the repository.
    pub path: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The rule that it breaks.
    pub rule: &'static str,
    /// What to do about it.
    pub cure: String,
}

impl Problem {
    pub(crate) fn new(
        path: &str,
        line: usize,
        rule: &'static str,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            line,
            rule,
            cure: cure.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}; {}",
            self.path, self.line, self.rule, self.cure
        )
    }
}

/// Returns the lines of a text with their numbers, counted from 1.
pub(crate) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines())
}

/// Returns whether a word stands alone in a line: no letter, digit or underscore touches it.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        !line[..start].ends_with(part_of_word)
            && !line[start + word.len()..].starts_with(part_of_word)
    })
}
