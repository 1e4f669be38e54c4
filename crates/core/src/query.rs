//! What somebody looks for in messages: words, phrases, beginnings of words, and filters.
//!
//! Says only what is asked for. Which words a text has, and what the asker may see, is the
//! business of the index.
//!
//! Always true: a query has 1 to [`QUERY_TERMS_MAX`] terms, each with a letter or a digit.

use std::{fmt, iter::Peekable, str::CharIndices};

use crate::{AccountName, Rejection, RoomName, Timestamp};

/// Longest query in bytes of UTF-8: one line. Longer: refused.
pub const QUERY_BYTES_MAX: usize = 256;

/// Words and phrases of one query: each makes the search longer. More: refused.
pub const QUERY_TERMS_MAX: usize = 16;

/// Beginnings of words in one query: each stands for many words. More: refused.
pub const QUERY_PREFIXES_MAX: usize = 4;

/// Characters before the `*`: fewer would stand for a large part of all words.
pub const QUERY_PREFIX_CHARACTERS_MIN: usize = 2;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A valid query. See [`SearchQuery::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    terms: Vec<Term>,
    filters: Filters,
}

/// Something that a message must say. Letters of another case or with other accents are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// This word. With signs inside, like `well-known`: its parts, one after the other.
    Word(String),
    /// A word that begins like this.
    Prefix(String),
    /// These words, one after the other.
    Phrase(String),
}

/// Where a message must stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this room.
    Room(RoomName),
    /// In the direct conversation with this account.
    Direct(AccountName),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Filters {
    from: Option<AccountName>,
    place: Option<Place>,
    sent_from: Option<Timestamp>,
    sent_before: Option<Timestamp>,
}

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
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::From => "from:",
            Self::In => "in:",
            Self::Before => "before:",
            Self::After => "after:",
        })
    }
}

/// Why a query is refused. `at` counts characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Longer than [`QUERY_BYTES_MAX`].
    #[error("the query has {bytes} bytes; at most {QUERY_BYTES_MAX} are allowed")]
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// There are filters or signs, or nothing.
    #[error("the query has no word to look for: at least one letter or digit is needed")]
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
        /// Which.
        filter: Filter,
    },
    /// The same filter again.
    #[error("{filter} at character {at} is there for the second time")]
    FilterTwice {
        /// Where it begins.
        at: usize,
        /// Which.
        filter: Filter,
    },
    /// What follows is no name.
    #[error("{filter} at character {at} needs a name")]
    NotAName {
        /// Where it begins.
        at: usize,
        /// Which.
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
        /// Which.
        filter: Filter,
    },
}

impl SearchQuery {
    /// Reads what somebody has typed: words that all must be there, `"several words"` in this
    /// order, `word*` for a beginning; and, in any order with them, `from:NAME`, `in:#ROOM` or
    /// `in:NAME`, `before:YYYY-MM-DD` and `after:YYYY-MM-DD` in UTC, which both leave out the day
    /// that they name. Anything else is a word to look for: nothing here is an operator.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn parse(typed: &str) -> Result<Self, QueryError> {
        if typed.len() > QUERY_BYTES_MAX {
            return Err(QueryError::TooLong { bytes: typed.len() });
        }
        let mut query = Self {
            terms: Vec::new(),
            filters: Filters::default(),
        };
        for piece in pieces(typed)? {
            query.take(&piece)?;
        }
        if query.terms.is_empty() {
            return Err(QueryError::NoWord);
        }
        Ok(query)
    }

    /// What a message must say: all of it.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Who must have sent it.
    #[must_use]
    pub fn from(&self) -> Option<&AccountName> {
        self.filters.from.as_ref()
    }

    /// Where it must stand.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.filters.place.as_ref()
    }

    /// It must have been sent at this time or later.
    #[must_use]
    pub fn sent_from(&self) -> Option<Timestamp> {
        self.filters.sent_from
    }

    /// It must have been sent before this time.
    #[must_use]
    pub fn sent_before(&self) -> Option<Timestamp> {
        self.filters.sent_before
    }

    fn take(&mut self, piece: &Piece) -> Result<(), QueryError> {
        let at = piece.at;
        if !piece.quoted
            && let Some((filter, value)) = as_filter(&piece.text)
        {
            return self.filters.set(at, filter, value);
        }
        let Some(term) = piece.term()? else {
            return Ok(());
        };
        if self.terms.len() == QUERY_TERMS_MAX {
            return Err(QueryError::TooManyTerms { at });
        }
        self.terms.push(term);
        let prefixes = self.terms.iter().filter(|t| matches!(t, Term::Prefix(_)));
        if prefixes.count() > QUERY_PREFIXES_MAX {
            return Err(QueryError::TooManyPrefixes { at });
        }
        Ok(())
    }
}

impl Filters {
    fn set(&mut self, at: usize, filter: Filter, value: &str) -> Result<(), QueryError> {
        let is_there = match filter {
            Filter::From => self.from.is_some(),
            Filter::In => self.place.is_some(),
            Filter::Before => self.sent_before.is_some(),
            Filter::After => self.sent_from.is_some(),
        };
        if is_there {
            return Err(QueryError::FilterTwice { at, filter });
        }
        if value.is_empty() {
            return Err(QueryError::FilterEmpty { at, filter });
        }
        let not_a_name = |source| QueryError::NotAName { at, filter, source };
        let day = || day_begins(value).ok_or(QueryError::NotADate { at, filter });
        match filter {
            Filter::From => self.from = Some(AccountName::new(value).map_err(not_a_name)?),
            Filter::In => {
                self.place = Some(match value.strip_prefix('#') {
                    Some(room) => Place::Room(RoomName::new(room).map_err(not_a_name)?),
                    None => Place::Direct(AccountName::new(value).map_err(not_a_name)?),
                });
            }
            Filter::Before => self.sent_before = Some(Timestamp(day()?)),
            Filter::After => self.sent_from = Some(Timestamp(day()?).plus_ms(DAY_MS)),
        }
        Ok(())
    }
}

/// Something between spaces, or between quotes.
struct Piece {
    /// Its first character, counted from 1.
    at: usize,
    quoted: bool,
    text: String,
}

impl Piece {
    /// `None`: only signs, which no text is searched for.
    fn term(&self) -> Result<Option<Term>, QueryError> {
        if !self.text.contains(char::is_alphanumeric) {
            return Ok(None);
        }
        if self.quoted {
            return Ok(Some(Term::Phrase(self.text.clone())));
        }
        let Some(beginning) = self.text.strip_suffix('*') else {
            return Ok(Some(Term::Word(self.text.clone())));
        };
        // What counts is the last part: in `a-b*` it is `b` that begins a word.
        let ending = beginning.chars().rev().take_while(|c| c.is_alphanumeric());
        if ending.count() < QUERY_PREFIX_CHARACTERS_MIN {
            return Err(QueryError::PrefixTooShort { at: self.at });
        }
        Ok(Some(Term::Prefix(beginning.to_owned())))
    }
}

fn pieces(typed: &str) -> Result<Vec<Piece>, QueryError> {
    let position = |byte: usize| typed[..byte].chars().count() + 1;
    let mut found = Vec::new();
    let mut rest = typed.char_indices().peekable();
    while let Some((byte, first)) = rest.next() {
        if is_space(first) {
            continue;
        }
        let at = position(byte);
        let quoted = first == '"';
        let text = if quoted {
            phrase(&mut rest).ok_or(QueryError::QuoteOpen { at })?
        } else {
            word(first, &mut rest)
        };
        found.push(Piece { at, quoted, text });
    }
    Ok(found)
}

fn is_space(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

/// What stands up to the closing quote, which is used up; `None` if there is none.
fn phrase(rest: &mut Peekable<CharIndices<'_>>) -> Option<String> {
    let mut text = String::new();
    for (_, next) in rest {
        match next {
            '"' => return Some(text),
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

fn as_filter(word: &str) -> Option<(Filter, &str)> {
    let (key, value) = word.split_once(':')?;
    let filter = match key.to_ascii_lowercase().as_str() {
        "from" => Filter::From,
        "in" => Filter::In,
        "before" => Filter::Before,
        "after" => Filter::After,
        _ => return None,
    };
    Some((filter, value))
}

/// Milliseconds from 1970 to the beginning of a day that is written as 2026-11-20.
fn day_begins(date: &str) -> Option<u64> {
    let mut parts = date.split('-');
    let mut number = |digits: usize| {
        let part = parts.next()?;
        let is_number = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| part.parse::<u64>().ok())?
    };
    let (year, month, day) = (number(4)?, number(2)?, number(2)?);
    if parts.next().is_some() || year < 1970 || !(1..=12).contains(&month) {
        return None;
    }
    let days_of = |month: u64| match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=days_of(month)).contains(&day) {
        return None;
    }
    let years: u64 = (1970..year)
        .map(|y| if is_leap(y) { 366 } else { 365 })
        .sum();
    let months: u64 = (1..month).map(days_of).sum();
    Some((years + months + day - 1) * DAY_MS)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
