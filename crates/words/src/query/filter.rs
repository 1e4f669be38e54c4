//! The names of the filters, as they are typed and shown.

use std::fmt;

/// The kinds of filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `from:NAME`
    From,
    /// `in:#ROOM` or `in:NAME`
    In,
    /// `before:YYYY-MM-DD`
    Before,
    /// `after:YYYY-MM-DD`
    After,
    /// `on:YYYY-MM-DD`
    On,
    /// `has:link`
    Has,
    /// `is:unread`
    Is,
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::From => "from:",
            Self::In => "in:",
            Self::Before => "before:",
            Self::After => "after:",
            Self::On => "on:",
            Self::Has => "has:",
            Self::Is => "is:",
        })
    }
}

/// Splits a filter from its value; `None`: the word is none.
pub(super) fn split(word: &str) -> Option<(Filter, &str)> {
    let (key, value) = word.split_once(':')?;
    let filter = match key.to_ascii_lowercase().as_str() {
        "from" => Filter::From,
        "in" => Filter::In,
        "before" => Filter::Before,
        "after" => Filter::After,
        "on" => Filter::On,
        "has" => Filter::Has,
        "is" => Filter::Is,
        _ => return None,
    };
    Some((filter, value))
}
