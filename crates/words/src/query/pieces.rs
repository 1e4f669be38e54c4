//! Splits a query into words and phrases.
//!
//! Does not look into what they say: filters and limits are the business of the query.

use std::{iter::Peekable, str::CharIndices};

use super::{QUERY_PREFIX_CHARACTERS_MIN, QueryError};
use crate::{Element, Kind, Pattern};

/// Something between spaces, or between quotes.
pub(super) struct Piece {
    /// Its first character, counted from 1.
    pub(super) at: usize,
    pub(super) is_quoted: bool,
    pub(super) is_excluded: bool,
    pub(super) text: String,
}

impl Piece {
    /// Returns the pattern to search for; `None`: only signs, which no text is searched for.
    pub(super) fn pattern(&self) -> Result<Option<Pattern>, QueryError> {
        if self.is_quoted {
            return Ok(Pattern::phrase(&self.text));
        }
        let pattern = Pattern::word(&self.text);
        // What counts is the last part: in `a-b*` it is `b` that begins a word.
        let is_short = |last: &Element| {
            last.kind == Kind::Word
                && last
                    .text
                    .chars()
                    .nth(QUERY_PREFIX_CHARACTERS_MIN - 1)
                    .is_none()
        };
        if let Some(pattern) = &pattern
            && pattern.is_prefix()
            && pattern.elements().last().is_some_and(is_short)
        {
            return Err(QueryError::PrefixTooShort { at: self.at });
        }
        Ok(pattern)
    }
}

/// Splits a query at its spaces, but not within quotes.
pub(super) fn pieces(typed: &str) -> Result<Vec<Piece>, QueryError> {
    let position = |byte: usize| typed[..byte].chars().count() + 1;
    let mut found = Vec::new();
    let mut rest = typed.char_indices().peekable();
    while let Some((byte, first)) = rest.next() {
        if is_space(first) {
            continue;
        }
        let at = position(byte);
        // A minus before a space is a sign like any other.
        let excluded = match (first, rest.peek()) {
            ('-', Some((_, next))) if !is_space(*next) => rest.next(),
            _ => None,
        };
        let is_excluded = excluded.is_some();
        let (byte, first) = excluded.unwrap_or((byte, first));
        let is_quoted = is_quote(first);
        let text = if is_quoted {
            let at = position(byte);
            phrase(&mut rest).ok_or(QueryError::QuoteOpen { at })?
        } else {
            word(first, &mut rest)
        };
        found.push(Piece {
            at,
            is_quoted,
            is_excluded,
            text,
        });
    }
    Ok(found)
}

/// Returns whether this is a quote: also one that a keyboard makes of a plain one.
fn is_quote(character: char) -> bool {
    matches!(character, '"' | '“' | '”' | '„' | '＂')
}

fn is_space(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

/// Returns what stands up to the closing quote, which is used up; `None` if there is none.
fn phrase(rest: &mut Peekable<CharIndices<'_>>) -> Option<String> {
    let mut text = String::new();
    for (_, next) in rest {
        match next {
            quote if is_quote(quote) => return Some(text),
            space if is_space(space) => text.push(' '),
            other => text.push(other),
        }
    }
    None
}

fn word(first: char, rest: &mut Peekable<CharIndices<'_>>) -> String {
    let mut text = String::from(first);
    while let Some((_, next)) = rest.next_if(|(_, next)| !is_space(*next)) {
        text.push(next);
    }
    text
}
