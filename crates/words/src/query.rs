//! What a search looks for: words, phrases, beginnings of words, and filters.
//!
//! Says only what is asked for. What the caller may see is the business of the index.
//!
//! Always true: a query has a word, an exclusion or a filter, and at most [`QUERY_TERMS_MAX`]
//! conditions besides the filters that are there once.

mod days;

use std::{fmt, iter::Peekable, str::CharIndices};

use conclave_core::{AccountName, ConversationId, Rejection, RoomName, Timestamp};

use crate::{Element, Kind, Pattern, Words};

pub use days::{DAYS_MAX, Day, OFFSET_MINUTES_MAX, Zone, days_in};

/// Longest query in bytes of UTF-8: one line, also in scripts of three or four bytes a letter.
/// Longer: refused.
pub const QUERY_BYTES_MAX: usize = 512;

/// Words, phrases and exclusions of one query: each makes the search longer. More: refused.
pub const QUERY_TERMS_MAX: usize = 16;

/// Beginnings of words in one query: each stands for many words. More: refused.
pub const QUERY_PREFIXES_MAX: usize = 4;

/// Characters before the `*`: fewer would stand for a large part of all words.
pub const QUERY_PREFIX_CHARACTERS_MIN: usize = 2;

/// A valid query. See [`SearchQuery::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    wanted: Vec<Pattern>,
    excluded: Vec<Exclusion>,
    filters: Filters,
}

/// Something that a message must not be or say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// It says this.
    Says(Pattern),
    /// It was sent by this account.
    From(AccountName),
    /// It stands here.
    In(Place),
    /// It has a link.
    Link,
    /// The caller has not read it.
    Unread,
}

/// Where a message must stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this room.
    Room(RoomName),
    /// In the direct conversation with this account.
    Direct(AccountName),
    /// In the conversation with this number.
    Number(ConversationId),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Filters {
    from: Option<AccountName>,
    place: Option<Place>,
    sent_from: Option<Timestamp>,
    sent_before: Option<Timestamp>,
    on: bool,
    link: bool,
    unread: bool,
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

impl SearchQuery {
    /// Reads a query as it is typed: words that all must be there, `"several words"` in this
    /// order, `word*` for a beginning, a `-` before what must not be there; and, in any order
    /// with them, `from:NAME`, `in:#ROOM` or `in:NAME`, `has:link`, `is:unread`, `on:YYYY-MM-DD`,
    /// `before:YYYY-MM-DD` and `after:YYYY-MM-DD`, which both leave out the day that they name.
    /// Days are those of `zone`. Anything else is a word to look for: nothing is an operator.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn parse(typed: &str, zone: &Zone) -> Result<Self, QueryError> {
        if typed.len() > QUERY_BYTES_MAX {
            return Err(QueryError::TooLong { bytes: typed.len() });
        }
        let mut query = Self {
            wanted: Vec::new(),
            excluded: Vec::new(),
            filters: Filters::default(),
        };
        for piece in pieces(typed)? {
            query.take(&piece, zone)?;
        }
        let is_empty = query.wanted.is_empty() && query.excluded.is_empty();
        if is_empty && query.filters == Filters::default() {
            return Err(QueryError::NoWord);
        }
        Ok(query)
    }

    /// Returns what a message must say: all of it.
    #[must_use]
    pub fn wanted(&self) -> &[Pattern] {
        &self.wanted
    }

    /// Returns what a message must not be or say: none of it.
    #[must_use]
    pub fn excluded(&self) -> &[Exclusion] {
        &self.excluded
    }

    /// Returns the sender that a message must have.
    #[must_use]
    pub fn from(&self) -> Option<&AccountName> {
        self.filters.from.as_ref()
    }

    /// Returns the conversation that a message must be in.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.filters.place.as_ref()
    }

    /// Returns the earliest time at which a message must have been sent.
    #[must_use]
    pub fn sent_from(&self) -> Option<Timestamp> {
        self.filters.sent_from
    }

    /// Returns the time before which a message must have been sent.
    #[must_use]
    pub fn sent_before(&self) -> Option<Timestamp> {
        self.filters.sent_before
    }

    /// Returns whether a message must have a link.
    #[must_use]
    pub fn has_link(&self) -> bool {
        self.filters.link
    }

    /// Returns whether the caller must not have read a message.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.filters.unread
    }

    /// Returns whether a text says all that it must and nothing that it must not.
    #[must_use]
    pub fn is_said_by(&self, text: &str) -> bool {
        let says = |exclusion: &Exclusion| matches!(exclusion, Exclusion::Says(_));
        if !self.wanted.is_empty() || self.excluded.iter().any(says) {
            let words = Words::of(text);
            let is_excluded = |exclusion: &Exclusion| match exclusion {
                Exclusion::Says(pattern) => pattern.is_in(text, &words),
                _ => false,
            };
            if !self.wanted.iter().all(|one| one.is_in(text, &words))
                || self.excluded.iter().any(is_excluded)
            {
                return false;
            }
        }
        let needs_link = self.filters.link;
        let bars_link = self.excluded.contains(&Exclusion::Link);
        if needs_link || bars_link {
            let has_link = has_link(text);
            return has_link == needs_link && has_link != bars_link;
        }
        true
    }

    fn take(&mut self, piece: &Piece, zone: &Zone) -> Result<(), QueryError> {
        let at = piece.at;
        if !piece.is_quoted
            && let Some((filter, value)) = as_filter(&piece.text)
        {
            if !piece.is_excluded {
                return self.filters.set(at, filter, value, zone);
            }
            let exclusion = exclusion_of(at, filter, value)?;
            return self.exclude(at, exclusion);
        }
        let Some(pattern) = piece.pattern()? else {
            return Ok(());
        };
        if piece.is_excluded {
            self.exclude(at, Exclusion::Says(pattern))?;
        } else {
            self.has_room_for_term(at)?;
            self.wanted.push(pattern);
        }
        let says = self
            .excluded
            .iter()
            .filter_map(|exclusion| match exclusion {
                Exclusion::Says(pattern) => Some(pattern),
                _ => None,
            });
        let prefixes = self.wanted.iter().chain(says).filter(|one| one.is_prefix());
        if prefixes.count() > QUERY_PREFIXES_MAX {
            return Err(QueryError::TooManyPrefixes { at });
        }
        Ok(())
    }

    fn exclude(&mut self, at: usize, exclusion: Exclusion) -> Result<(), QueryError> {
        self.has_room_for_term(at)?;
        self.excluded.push(exclusion);
        Ok(())
    }

    fn has_room_for_term(&self, at: usize) -> Result<(), QueryError> {
        if self.wanted.len() + self.excluded.len() == QUERY_TERMS_MAX {
            return Err(QueryError::TooManyTerms { at });
        }
        Ok(())
    }
}

impl Filters {
    fn set(
        &mut self,
        at: usize,
        filter: Filter,
        value: &str,
        zone: &Zone,
    ) -> Result<(), QueryError> {
        let is_there = match filter {
            Filter::From => self.from.is_some(),
            Filter::In => self.place.is_some(),
            Filter::Before => self.sent_before.is_some() && !self.on,
            Filter::After => self.sent_from.is_some() && !self.on,
            Filter::On => self.on,
            // Said twice it means the same.
            Filter::Has | Filter::Is => false,
        };
        if is_there {
            return Err(QueryError::FilterTwice { at, filter });
        }
        if value.is_empty() {
            return Err(QueryError::FilterEmpty { at, filter });
        }
        let has_days = self.sent_from.is_some() || self.sent_before.is_some();
        let is_day = matches!(filter, Filter::Before | Filter::After | Filter::On);
        if is_day && (self.on || has_days && filter == Filter::On) {
            return Err(QueryError::OnBesideOthers { at });
        }
        let day = || Day::parse(value).ok_or(QueryError::NotADate { at, filter });
        match filter {
            Filter::From => self.from = Some(name_of(at, filter, value)?),
            Filter::In => self.place = Some(place_of(at, filter, value)?),
            Filter::Before => self.sent_before = Some(zone.begin(day()?)),
            Filter::After => self.sent_from = Some(zone.begin(day()?.next())),
            Filter::On => {
                let day = day()?;
                self.sent_from = Some(zone.begin(day));
                self.sent_before = Some(zone.begin(day.next()));
                self.on = true;
            }
            Filter::Has => {
                known(at, filter, value)?;
                self.link = true;
            }
            Filter::Is => {
                known(at, filter, value)?;
                self.unread = true;
            }
        }
        Ok(())
    }
}

fn exclusion_of(at: usize, filter: Filter, value: &str) -> Result<Exclusion, QueryError> {
    if value.is_empty() {
        return Err(QueryError::FilterEmpty { at, filter });
    }
    Ok(match filter {
        Filter::From => Exclusion::From(name_of(at, filter, value)?),
        Filter::In => Exclusion::In(place_of(at, filter, value)?),
        Filter::Before | Filter::After | Filter::On => {
            return Err(QueryError::DateExcluded { at, filter });
        }
        Filter::Has => {
            known(at, filter, value)?;
            Exclusion::Link
        }
        Filter::Is => {
            known(at, filter, value)?;
            Exclusion::Unread
        }
    })
}

/// Checks that the value of `has:` or `is:` is the one that there is.
fn known(at: usize, filter: Filter, value: &str) -> Result<(), QueryError> {
    let known = match filter {
        Filter::Has => "link",
        _ => "unread",
    };
    if value.eq_ignore_ascii_case(known) {
        return Ok(());
    }
    Err(QueryError::NotKnown { at, filter, known })
}

fn name_of(at: usize, filter: Filter, value: &str) -> Result<AccountName, QueryError> {
    // As people write it in messages.
    let value = value.strip_prefix('@').unwrap_or(value);
    AccountName::new(value).map_err(|source| QueryError::NotAName { at, filter, source })
}

fn place_of(at: usize, filter: Filter, value: &str) -> Result<Place, QueryError> {
    // No name has a colon.
    let number = value.strip_prefix("id:");
    if let Some(id) = number.and_then(|digits| digits.parse().ok()) {
        return Ok(Place::Number(ConversationId(id)));
    }
    let Some(room) = value.strip_prefix('#') else {
        return name_of(at, filter, value).map(Place::Direct);
    };
    let room = RoomName::new(room);
    let room = room.map_err(|source| QueryError::NotAName { at, filter, source })?;
    Ok(Place::Room(room))
}

/// Returns whether a text names a place on the web.
#[must_use]
pub fn has_link(text: &str) -> bool {
    text.match_indices("://").any(|(at, sign)| {
        let before = &text.as_bytes()[..at];
        let ends_with = |scheme: &str| {
            let from = before.len().checked_sub(scheme.len());
            from.is_some_and(|from| before[from..].eq_ignore_ascii_case(scheme.as_bytes()))
        };
        (ends_with("http") || ends_with("https"))
            && text[at + sign.len()..].starts_with(char::is_alphanumeric)
    })
}

/// Something between spaces, or between quotes.
struct Piece {
    /// Its first character, counted from 1.
    at: usize,
    is_quoted: bool,
    is_excluded: bool,
    text: String,
}

impl Piece {
    /// Returns the pattern to search for; `None`: only signs, which no text is searched for.
    fn pattern(&self) -> Result<Option<Pattern>, QueryError> {
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

fn pieces(typed: &str) -> Result<Vec<Piece>, QueryError> {
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

fn as_filter(word: &str) -> Option<(Filter, &str)> {
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

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
