//! What a word or a phrase of a query looks for, and where a text has it.
//!
//! Always true: a pattern has at least one element, and is found where all of them stand in the
//! text one after the other.

use std::ops::Range;

use conclave_text::ZERO_WIDTH_JOINER;

use super::{Kind, Words};

/// Something that a text must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    elements: Vec<Element>,
    /// Whether the last word may go on.
    is_prefix: bool,
    /// Signs that must follow at once, as in `c++`.
    signs: String,
}

/// A part of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The kind of the element.
    pub kind: Kind,
    /// The folded text of the element.
    pub text: String,
}

impl Pattern {
    /// Returns words, one after the other; `None`: there is none in `text`.
    #[must_use]
    pub fn phrase(text: &str) -> Option<Self> {
        let words = Words::of(text);
        let element = |(kind, text): (Kind, &str)| Element {
            kind,
            text: text.to_owned(),
        };
        let elements: Vec<Element> = words.tokens().map(element).collect();
        (!elements.is_empty()).then_some(Self {
            elements,
            is_prefix: false,
            signs: String::new(),
        })
    }

    /// Returns one word as it is typed: `word*` is a beginning, and signs at the end belong to it
    /// if they make another word of it, as in `c++` and `c#`.
    #[must_use]
    pub fn word(text: &str) -> Option<Self> {
        let mut pattern = Self::phrase(text)?;
        let last_is_word = pattern
            .elements
            .last()
            .is_some_and(|e| e.kind == Kind::Word);
        let end = Words::of(text).end();
        match &text[end..] {
            "*" => pattern.is_prefix = last_is_word,
            signs if last_is_word && signs.chars().all(|sign| matches!(sign, '+' | '#')) => {
                signs.clone_into(&mut pattern.signs);
            }
            _ => {}
        }
        Some(pattern)
    }

    /// Returns the elements that must be there, one after the other.
    #[must_use]
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// Returns whether the last element, a word, may go on.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.is_prefix
    }

    /// Signs that must follow at once.
    #[must_use]
    pub fn signs(&self) -> &str {
        &self.signs
    }

    /// Returns whether a text has the pattern. `text` is what `words` was made of.
    #[must_use]
    pub fn is_in(&self, text: &str, words: &Words) -> bool {
        self.find(text, words, &mut |_| false)
    }

    /// Returns where a text has the pattern, as ranges of its bytes, which do not overlap.
    pub(super) fn ranges(&self, text: &str, words: &Words) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        self.find(text, words, &mut |range| {
            found.push(range);
            true
        });
        found
    }

    /// Goes through all places until `go_on` says no. Whether there was one.
    fn find(&self, text: &str, words: &Words, go_on: &mut dyn FnMut(Range<usize>) -> bool) -> bool {
        let mut is_there = false;
        for first in 0..words.tokens.len() {
            for found in self.at(text, words, first) {
                is_there = true;
                if !go_on(found) {
                    return true;
                }
            }
        }
        is_there
    }

    /// Returns where the pattern is if its first element is in the token `first`: more than once
    /// only inside of a run without spaces.
    fn at<'a>(
        &'a self,
        text: &'a str,
        words: &'a Words,
        first: usize,
    ) -> impl Iterator<Item = Range<usize>> + 'a {
        let last = self.elements.len() - 1;
        let inside = (last == 0).then(|| self.inside(words, first)).flatten();
        let whole = match &inside {
            Some(_) => None,
            None => self.whole(words, first),
        };
        let found = inside.into_iter().flatten().chain(whole);
        let source = found.map(|folded| words.source(folded));
        source.filter(|source| text[source.end..].starts_with(self.signs.as_str()))
    }

    /// Finds a single element in a run: wherever it occurs.
    fn inside<'a>(
        &'a self,
        words: &'a Words,
        at: usize,
    ) -> Option<impl Iterator<Item = Range<usize>> + 'a> {
        let (element, token) = (&self.elements[0], &words.tokens[at]);
        let run = element.kind.gram().filter(|_| element.kind == token.kind);
        run.map(|_| {
            let folded = &words.folded[token.folded.clone()];
            let found = folded.match_indices(element.text.as_str());
            let begin = token.folded.start;
            found.map(move |(at, text)| begin + at..begin + at + text.len())
        })
    }

    /// Finds all elements in the tokens from `first` on.
    fn whole(&self, words: &Words, first: usize) -> Option<Range<usize>> {
        let last = self.elements.len() - 1;
        let tokens = words.tokens.get(first..=first + last)?;
        let (mut begin, mut end) = (0, 0);
        for (at, (element, token)) in self.elements.iter().zip(tokens).enumerate() {
            let folded = &words.folded[token.folded.clone()];
            let text = element.text.as_str();
            let (is_first, is_last) = (at == 0, at == last);
            let fits = element.kind == token.kind
                && match element.kind {
                    Kind::Word if is_last && self.is_prefix => folded.starts_with(text),
                    Kind::Word => folded == text,
                    Kind::Symbol => folded.strip_prefix(text).is_some_and(is_end_of_symbol),
                    Kind::Han | Kind::Hangul | Kind::Mainland if is_first && last > 0 => {
                        folded.ends_with(text)
                    }
                    Kind::Han | Kind::Hangul | Kind::Mainland if is_last => {
                        folded.starts_with(text)
                    }
                    Kind::Han | Kind::Hangul | Kind::Mainland => folded == text,
                };
            if !fits {
                return None;
            }
            let whole = &token.folded;
            if is_first {
                let is_run = element.kind.gram().is_some();
                begin = if is_run {
                    whole.end - text.len()
                } else {
                    whole.start
                };
            }
            end = match element.kind.gram() {
                Some(_) if is_last => whole.start + text.len(),
                _ => whole.end,
            };
        }
        Some(begin..end)
    }
}

/// Returns whether a symbol may end here: a symbol is found in what was joined to it, such as a
/// woman in a woman at a computer.
fn is_end_of_symbol(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(ZERO_WIDTH_JOINER)
}

impl Words {
    /// Returns where the last token ends in the text.
    fn end(&self) -> usize {
        self.clusters.last().map_or(0, |cluster| cluster.source.end)
    }
}
