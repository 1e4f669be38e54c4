//! What a search looks for: words, phrases, beginnings of words, and filters.
//!
//! Says only what is asked for. What the caller may see is the business of the index.
//!
//! Always true: a query has a word, an exclusion or a filter, and at most [`QUERY_TERMS_MAX`]
//! conditions besides the filters that are there once.

mod days;
mod error;
mod filter;
mod pieces;

use conclave_core::{AccountName, ConversationId, RoomName, Timestamp};

use crate::{Pattern, Words};
use pieces::{Piece, pieces};

pub use days::{DAYS_MAX, Day, OFFSET_MINUTES_MAX, Zone, days_in};
pub use error::QueryError;
pub use filter::Filter;

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
    In(ConversationFilter),
    /// It has a link.
    Link,
    /// The caller has not read it.
    Unread,
}

/// Where a message must stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationFilter {
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
    place: Option<ConversationFilter>,
    sent_from: Option<Timestamp>,
    sent_before: Option<Timestamp>,
    on: bool,
    link: bool,
    unread: bool,
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
    pub fn place(&self) -> Option<&ConversationFilter> {
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
            && let Some((filter, value)) = filter::split(&piece.text)
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
            Filter::In => self.place = Some(conversation_filter_of(at, filter, value)?),
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
        Filter::In => Exclusion::In(conversation_filter_of(at, filter, value)?),
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

fn conversation_filter_of(
    at: usize,
    filter: Filter,
    value: &str,
) -> Result<ConversationFilter, QueryError> {
    // No name has a colon.
    let number = value.strip_prefix("id:");
    if let Some(id) = number.and_then(|digits| digits.parse().ok()) {
        return Ok(ConversationFilter::Number(ConversationId(id)));
    }
    let Some(room) = value.strip_prefix('#') else {
        return name_of(at, filter, value).map(ConversationFilter::Direct);
    };
    let room = RoomName::new(room);
    let room = room.map_err(|source| QueryError::NotAName { at, filter, source })?;
    Ok(ConversationFilter::Room(room))
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

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
