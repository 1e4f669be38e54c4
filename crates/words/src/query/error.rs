//! The reasons why a query is refused.

use conclave_core::Rejection;

use super::{
    Filter, QUERY_BYTES_MAX, QUERY_PREFIX_CHARACTERS_MIN, QUERY_PREFIXES_MAX, QUERY_TERMS_MAX,
};

/// The reason why a query is refused. `at` counts characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Longer than [`QUERY_BYTES_MAX`].
    #[error("the query has {bytes} bytes; at most {QUERY_BYTES_MAX} are allowed")]
    TooLong {
        /// Number of bytes.
        bytes: usize,
    },
    /// There are signs, or nothing.
    #[error("the query has nothing to look for: a letter, a digit, a symbol or a filter is needed")]
    NoWord,
    /// More than [`QUERY_TERMS_MAX`].
    #[error("the word at character {at} is one too many: at most {QUERY_TERMS_MAX} are allowed")]
    TooManyTerms {
        /// Where the first one too many begins.
        at: usize,
    },
    /// More than [`QUERY_PREFIXES_MAX`].
    #[error(
        "the word with * at character {at} is one too many: at most {QUERY_PREFIXES_MAX} are \
         allowed"
    )]
    TooManyPrefixes {
        /// Where the first one too many begins.
        at: usize,
    },
    /// Fewer than [`QUERY_PREFIX_CHARACTERS_MIN`].
    #[error(
        "the word with * at character {at} is too short: at least {QUERY_PREFIX_CHARACTERS_MIN} \
         letters or digits must stand before the *"
    )]
    PrefixTooShort {
        /// Where it begins.
        at: usize,
    },
    /// A phrase has no end.
    #[error("the quote at character {at} is not closed")]
    QuoteOpen {
        /// Where it stands.
        at: usize,
    },
    /// A filter without a value.
    #[error("{filter} at character {at} has nothing after it")]
    FilterEmpty {
        /// Where it begins.
        at: usize,
        /// The filter.
        filter: Filter,
    },
    /// The same filter again.
    #[error("{filter} at character {at} is there for the second time")]
    FilterTwice {
        /// Where it begins.
        at: usize,
        /// The filter.
        filter: Filter,
    },
    /// What follows is no name.
    #[error("{filter} at character {at} needs a name")]
    NotAName {
        /// Where it begins.
        at: usize,
        /// The filter.
        filter: Filter,
        /// What is wrong with the name.
        #[source]
        source: Rejection,
    },
    /// What follows is no date.
    #[error("{filter} at character {at} needs a date such as 2026-11-20")]
    NotADate {
        /// Where it begins.
        at: usize,
        /// The filter.
        filter: Filter,
    },
    /// `on:` beside `before:` or `after:`.
    #[error("on: at character {at} says the whole time: leave out before: and after:")]
    OnBesideOthers {
        /// Where the later one begins.
        at: usize,
    },
    /// What follows is not what the filter knows.
    #[error("{filter} at character {at} knows only {filter}{known}")]
    NotKnown {
        /// Where it begins.
        at: usize,
        /// The filter.
        filter: Filter,
        /// What it knows.
        known: &'static str,
    },
    /// A date with a minus.
    #[error("{filter} at character {at} cannot be excluded: use the other of before: and after:")]
    DateExcluded {
        /// Where it begins.
        at: usize,
        /// The filter.
        filter: Filter,
    },
}
