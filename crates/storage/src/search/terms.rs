//! What the index holds of a message: its terms, each once, without their places.
//!
//! A term is a word, a symbol, a few neighbouring characters of a run without spaces, or a tag that
//! says where the message stands. Where the terms of a phrase stand is not in the index: a search
//! that finds a message by them looks into its text.
//!
//! Always true: a text that a query looks for has all terms that the query's expression asks for.

use std::{cmp::Reverse, collections::BTreeSet};

use conclave_core::{AccountId, ConversationId};
use conclave_words::{Element, Kind, Pattern, SearchQuery, Words, query::has_link};

/// Longer words are cut in the index: keys and sums would fill it, and no two real words begin with
/// the same bytes for so long.
const TERM_BYTES_MAX: usize = 48;

/// Terms that one element of a query asks for: more would not narrow it much.
const TERMS_OF_ELEMENT_MAX: usize = 12;

/// Terms that one query asks for: more would not narrow it much either.
const TERMS_OF_QUERY_MAX: usize = 32;

/// Of these, beginnings, the longest: each stands for many terms, which takes a few milliseconds.
const PREFIXES_OF_QUERY_MAX: usize = 6;

/// Begins the tags. Folded texts have no characters for private use.
const TAG: char = '\u{e000}';

/// Returns the tag of a conversation.
pub(super) fn conversation_tag(id: ConversationId) -> String {
    format!("{TAG}c{id}")
}

/// Returns the tag of a sender.
pub(super) fn account_tag(id: AccountId) -> String {
    format!("{TAG}a{id}")
}

/// Returns the tag of what has a link.
pub(super) fn link_tag() -> String {
    format!("{TAG}l")
}

/// Returns the terms of a message, between spaces.
pub(super) fn of_message(text: &str, conversation: ConversationId, by: AccountId) -> String {
    let words = Words::of(text);
    let mut tags = vec![conversation_tag(conversation), account_tag(by)];
    if has_link(text) {
        tags.push(link_tag());
    }
    let tokens = words.tokens();
    let mut terms: Vec<&str> = Vec::with_capacity(tags.len() + tokens.len());
    terms.extend(tags.iter().map(String::as_str));
    for (kind, text) in tokens {
        match kind.gram() {
            None => terms.push(cut(text)),
            // At the end of a run a term is shorter, so that each place in it begins a term.
            Some(length) => terms.extend(windows(text, length, 1)),
        }
    }
    terms.sort_unstable();
    terms.dedup();
    terms.join(" ")
}

/// A term that a query asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueryTerm {
    pub(super) text: String,
    /// Whether terms that begin so will do.
    pub(super) is_prefix: bool,
}

/// Returns the terms that a text has if it says what a query looks for, and whether each text with
/// them says it.
pub(super) fn of_query(query: &SearchQuery) -> (Vec<QueryTerm>, bool) {
    let all: BTreeSet<QueryTerm> = query.wanted().iter().flat_map(of_pattern).collect();
    let count = all.len();
    let (mut prefixes, mut asked): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|asked| asked.is_prefix);
    prefixes.sort_by_key(|asked| Reverse(asked.text.len()));
    prefixes.truncate(PREFIXES_OF_QUERY_MAX);
    asked.truncate(TERMS_OF_QUERY_MAX - prefixes.len());
    asked.append(&mut prefixes);
    let is_exact =
        asked.len() == count && query.wanted().iter().all(is_exact) && query.excluded().is_empty();
    (asked, is_exact)
}

/// Returns the terms that a text has if it says what a pattern looks for.
fn of_pattern(pattern: &Pattern) -> Vec<QueryTerm> {
    let last = pattern.elements().len() - 1;
    let elements = pattern.elements().iter().enumerate();
    let asked = elements.flat_map(|(at, element)| {
        let is_prefix = at == last && pattern.is_prefix();
        of_element(element, is_prefix)
    });
    asked.collect()
}

fn of_element(element: &Element, is_prefix: bool) -> Vec<QueryTerm> {
    let one = |text: &str, is_prefix| QueryTerm {
        text: text.to_owned(),
        is_prefix,
    };
    let text = element.text.as_str();
    match (element.kind, element.kind.gram()) {
        // What is joined to a symbol follows it.
        (Kind::Symbol, _) => vec![one(text, true)],
        (_, None) => vec![one(cut(text), is_prefix)],
        (_, Some(length)) if text.chars().nth(length - 1).is_none() => vec![one(text, true)],
        (_, Some(length)) => {
            let terms = windows(text, length, length).take(TERMS_OF_ELEMENT_MAX);
            terms.map(|term| one(term, false)).collect()
        }
    }
}

/// Returns whether every text with the terms of a pattern says what it looks for.
fn is_exact(pattern: &Pattern) -> bool {
    let [element] = pattern.elements() else {
        return false;
    };
    let text = element.text.as_str();
    pattern.signs().is_empty()
        && match (element.kind, element.kind.gram()) {
            // A flag begins like half a flag.
            (Kind::Symbol, _) => false,
            // What is nearly as long may be the beginning of a longer one.
            (_, None) => text.len() + char::MAX_LEN_UTF8 <= TERM_BYTES_MAX,
            (_, Some(length)) => text.chars().nth(length).is_none(),
        }
}

/// Returns the first bytes of a word, as whole characters.
fn cut(word: &str) -> &str {
    &word[..word.floor_char_boundary(TERM_BYTES_MAX)]
}

/// Returns `length` characters from each character on; at the end fewer, but at least `least`.
fn windows(run: &str, length: usize, least: usize) -> impl Iterator<Item = &str> {
    let starts = run.char_indices().map(|(at, _)| at);
    starts.filter_map(move |start| {
        let rest = &run[start..];
        let mut ends = rest.char_indices().map(|(at, c)| at + c.len_utf8());
        let mut window = 0;
        let mut characters = 0;
        for end in ends.by_ref().take(length) {
            window = end;
            characters += 1;
        }
        (characters >= least).then(|| &rest[..window])
    })
}

#[cfg(test)]
#[path = "terms_tests.rs"]
mod tests;
