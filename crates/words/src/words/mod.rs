//! Texts as a search sees them: folded words, runs of scripts without spaces, and symbols.
//!
//! The tables may change with a library: [`tables_version`] shows that an index was made with other
//! tables, and it is built anew.
//!
//! Always true: a query and a text go through the same code, so what is the same to a reader is
//! the same here.

mod fold;
mod pattern;
mod snippet;
mod symbol;

use std::ops::Range;

use unicode_normalization::char::is_combining_mark;
use unicode_script::{Script, UnicodeScript as _};
use unicode_segmentation::UnicodeSegmentation as _;

pub use pattern::{Element, Pattern};
pub use snippet::{SNIPPET_CHARACTERS_MAX, SnippetPart, snippet};

/// Counts the rules of this module and of [`conclave_text::is_ignorable`]. Raise it whenever a text
/// may give other words than before.
const RULES_VERSION: u32 = 1;

/// Returns the name of the rules and of the tables of Unicode behind them. An index of another name
/// is outdated.
#[must_use]
pub fn tables_version() -> String {
    let tables = [
        char::UNICODE_VERSION,
        unicode_normalization::UNICODE_VERSION,
        version_of(unicode_properties::UNICODE_VERSION),
        version_of(unicode_script::UNICODE_VERSION),
        version_of(unicode_segmentation::UNICODE_VERSION),
    ];
    let mut name = format!("rules {RULES_VERSION}, unicode");
    for (major, minor, patch) in tables {
        name += &format!(" {major}.{minor}.{patch}");
    }
    name
}

/// Narrows a version: the crates of Unicode name theirs with wider numbers.
fn version_of((major, minor, patch): (u64, u64, u64)) -> (u8, u8, u8) {
    let narrow = |number| u8::try_from(number).unwrap_or(u8::MAX);
    (narrow(major), narrow(minor), narrow(patch))
}

/// What kind of thing a [`Token`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Letters and digits of a script that parts words with spaces or signs: found as a whole.
    Word,
    /// Chinese and Japanese: found anywhere inside. Its index has every two neighbours.
    Han,
    /// Korean, whose words carry their endings: likewise.
    Hangul,
    /// Thai, Lao, Khmer, Burmese and their relatives: likewise, with three neighbours, because
    /// their letters are few.
    Mainland,
    /// One emoji or another symbol.
    Symbol,
}

impl Kind {
    /// Returns how many neighbouring characters the index keeps together; `None`: the token as a
    /// whole.
    #[must_use]
    pub fn gram(self) -> Option<usize> {
        match self {
            Self::Han | Self::Hangul => Some(2),
            Self::Mainland => Some(3),
            Self::Word | Self::Symbol => None,
        }
    }
}

/// A part of a text that is looked for as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it stands in the folded text.
    folded: Range<usize>,
}

/// A text, parted and folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The tokens' folded texts, one after the other.
    folded: String,
    tokens: Vec<Token>,
    clusters: Vec<Cluster>,
}

/// Which part of the text became which part of the folded one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cluster {
    /// Where its folded text begins; it ends where the next one begins.
    folded_at: usize,
    /// Where it stands in the text.
    source: Range<usize>,
}

impl Words {
    /// Parts and folds a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        if text.is_ascii() {
            return Self::of_ascii(text);
        }
        Self::of_any(text)
    }

    /// Does the same as [`Self::of_any`] in a small part of the time.
    fn of_ascii(text: &str) -> Self {
        let mut words = Self::default();
        words.folded.reserve_exact(text.len());
        words.clusters.reserve_exact(text.len());
        let mut open = false;
        for (at, byte) in text.bytes().enumerate() {
            let is_word = byte.is_ascii_alphanumeric();
            if is_word {
                words.cluster(at..at + 1);
                if !open {
                    words.begin(Kind::Word);
                }
                let folded = char::from(byte.to_ascii_lowercase());
                words.push(folded.encode_utf8(&mut [0; 4]));
            }
            open = is_word;
        }
        words
    }

    fn of_any(text: &str) -> Self {
        let mut words = Self::default();
        let mut open = false;
        let mut folded = String::new();
        for (at, cluster) in text.grapheme_indices(true) {
            let source = at..at + cluster.len();
            if let Some(symbol) = symbol::of(cluster) {
                words.cluster(source);
                words.begin(Kind::Symbol);
                words.push(&symbol);
                open = false;
                continue;
            }
            folded.clear();
            fold::cluster(cluster, &mut folded);
            // What is invisible does not part words.
            if folded.is_empty() {
                continue;
            }
            let mut is_noted = false;
            for character in folded.chars() {
                let last = words.tokens.last().filter(|_| open).map(|token| token.kind);
                let Some(kind) = kind_of(character, last) else {
                    open = false;
                    continue;
                };
                if !std::mem::replace(&mut is_noted, true) {
                    words.cluster(source.clone());
                }
                if last != Some(kind) {
                    words.begin(kind);
                }
                words.push(character.encode_utf8(&mut [0; 4]));
                open = true;
            }
        }
        words
    }

    fn cluster(&mut self, source: Range<usize>) {
        let folded_at = self.folded.len();
        self.clusters.push(Cluster { folded_at, source });
    }

    fn begin(&mut self, kind: Kind) {
        let at = self.folded.len();
        let folded = at..at;
        self.tokens.push(Token { kind, folded });
    }

    fn push(&mut self, folded: &str) {
        self.folded.push_str(folded);
        if let Some(token) = self.tokens.last_mut() {
            token.folded.end = self.folded.len();
        }
    }

    /// Returns the tokens of the text.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = (Kind, &str)> {
        let text = |token: &Token| (token.kind, token.folded.clone());
        let tokens = self.tokens.iter().map(text);
        tokens.map(|(kind, folded)| (kind, &self.folded[folded]))
    }

    /// Returns the bytes of the text that became these bytes of the folded one.
    fn source(&self, folded: Range<usize>) -> Range<usize> {
        let from = |at: usize| self.clusters.partition_point(|c| c.folded_at <= at) - 1;
        let (first, last) = (from(folded.start), from(folded.end - 1));
        self.clusters[first].source.start..self.clusters[last].source.end
    }
}

/// Returns the kind of token that a folded character belongs to, after one of `last`; `None`: it
/// parts words.
fn kind_of(character: char, last: Option<Kind>) -> Option<Kind> {
    if character.is_ascii() {
        return character.is_ascii_alphanumeric().then_some(Kind::Word);
    }
    let is_mark = is_combining_mark(character);
    if !is_mark && !character.is_alphanumeric() {
        return None;
    }
    // Before the first script of these there is none of them.
    if character < '\u{e00}' && !is_mark {
        return Some(Kind::Word);
    }
    // The sign for a long vowel is of no script, but of Japanese alone.
    if character == 'ー' {
        return Some(Kind::Han);
    }
    Some(match character.script() {
        Script::Han | Script::Hiragana | Script::Katakana | Script::Bopomofo => Kind::Han,
        Script::Hangul => Kind::Hangul,
        Script::Thai
        | Script::Lao
        | Script::Khmer
        | Script::Myanmar
        | Script::Tai_Le
        | Script::New_Tai_Lue
        | Script::Tai_Tham
        | Script::Tai_Viet => Kind::Mainland,
        // A mark of no script follows what it stands on.
        Script::Inherited | Script::Common if is_mark => return last,
        _ => Kind::Word,
    })
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
