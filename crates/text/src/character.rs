//! What a character is to a reader, and where one that cannot be seen belongs to what is seen.
//!
//! Joiners and selectors are invisible, and needed: in emoji, in Persian and Indic words, in
//! Japanese names. They are at home in few places; everywhere else they hide.

use unicode_normalization::char::canonical_combining_class;
use unicode_properties::{GeneralCategory, UnicodeEmoji as _, UnicodeGeneralCategory as _};

use crate::hidden::{
    EMOJI_SELECTOR, TEXT_SELECTOR, ZERO_WIDTH_JOINER, ZERO_WIDTH_NON_JOINER, is_hidden,
};

/// Canonical combining class of the signs that join two Indic letters (virama).
const VIRAMA: u8 = 9;

const BLACK_FLAG: char = '\u{1f3f4}';
const END_OF_TAGS: char = '\u{e007f}';
/// Encloses the digit before it.
pub(crate) const KEYCAP: char = '\u{20e3}';

/// Returns whether a character shows nothing: hidden ones, and spaces of every kind.
pub(crate) fn is_nothing(character: char) -> bool {
    // The Braille pattern without dots is a symbol by its category, and a space to the eye.
    character.is_whitespace() || character == '\u{2800}' || is_hidden(character)
}

/// Returns whether nothing of a text can be seen.
#[must_use]
pub fn is_blank(text: &str) -> bool {
    text.chars().all(is_nothing)
}

/// Returns whether a space or a break separates words: general category `Zs`.
pub(crate) fn is_space(character: char) -> bool {
    character.general_category() == GeneralCategory::SpaceSeparator
}

/// Returns whether a character can be drawn as a picture: no digit and no sign of ASCII.
pub(crate) fn is_picture(character: char) -> bool {
    !character.is_ascii() && character.is_emoji_char()
}

/// Walks over a text and decides of each character whether it may be shown where it stands.
pub(crate) struct Walk<'a> {
    rest: std::str::Chars<'a>,
    /// The character before, if it may be shown.
    last: Option<char>,
    /// Whether the characters before are a picture, perhaps with a selector.
    is_picture: bool,
    /// How many tags still belong to the flag before.
    tags_left: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            rest: text.chars(),
            last: None,
            is_picture: false,
            tags_left: 0,
        }
    }

    /// Returns whether `character`, which is hidden, belongs where it stands.
    fn belongs(&self, character: char) -> bool {
        let Some(last) = self.last else {
            return false;
        };
        let next = self.rest.clone().next();
        match character {
            ZERO_WIDTH_JOINER => {
                let joins_pictures = self.is_picture && next.is_some_and(is_picture);
                joins_pictures || joins_letters(last, next)
            }
            ZERO_WIDTH_NON_JOINER => joins_letters(last, next),
            EMOJI_SELECTOR | TEXT_SELECTOR => {
                is_picture(last) || is_keycap_base(last) && next == Some(KEYCAP)
            }
            '\u{fe00}'..='\u{fe02}' | '\u{e0100}'..='\u{e01ef}' => is_ideograph(last),
            '\u{180b}'..='\u{180d}' | '\u{180f}' => matches!(last, '\u{1820}'..='\u{18aa}'),
            '\u{e0000}'..='\u{e007f}' => self.tags_left > 0,
            _ => false,
        }
    }
}

impl Iterator for Walk<'_> {
    /// A character, and whether it may be shown.
    type Item = (char, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let character = self.rest.next()?;
        let may = !is_hidden(character) || self.belongs(character);
        if may {
            self.tags_left = match character {
                BLACK_FLAG => tags_of_a_flag(self.rest.clone()),
                _ => self.tags_left.saturating_sub(1),
            };
            let keeps_picture = self.is_picture && is_hidden(character);
            self.is_picture = is_picture(character) || keeps_picture;
            self.last = Some(character);
        } else {
            (self.last, self.is_picture, self.tags_left) = (None, false, 0);
        }
        Some((character, may))
    }
}

/// Returns how many tags make a flag of a region of the black flag before them: 3 to 6 letters and
/// digits, and the end. Other tags would be a text that cannot be seen.
fn tags_of_a_flag(rest: std::str::Chars<'_>) -> usize {
    let is_tag = |c: &char| matches!(c, '\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}');
    let letters = rest.clone().take_while(is_tag).take(7).count();
    let ends = rest.clone().nth(letters) == Some(END_OF_TAGS);
    match (letters, ends) {
        (3..=6, true) => letters + 1,
        _ => 0,
    }
}

pub(crate) fn is_keycap_base(character: char) -> bool {
    character.is_ascii_digit() || matches!(character, '#' | '*')
}

/// Returns whether the place is between letters of a script that joins them, or behind the sign
/// that joins Indic ones.
fn joins_letters(last: char, next: Option<char>) -> bool {
    let is_between = |next: char| is_cursive(last) && is_cursive(next);
    canonical_combining_class(last) == VIRAMA || next.is_some_and(is_between)
}

/// Returns whether this is an Arabic, Syriac, N'Ko or Mongolian letter, or a sign that stands on
/// one.
fn is_cursive(character: char) -> bool {
    matches!(
        character,
        '\u{610}'..='\u{6ff}'
            | '\u{700}'..='\u{7fa}'
            | '\u{840}'..='\u{8ff}'
            | '\u{1820}'..='\u{18aa}'
            | '\u{fb50}'..='\u{fdfc}'
            | '\u{fe70}'..='\u{fefc}'
    )
}

fn is_ideograph(character: char) -> bool {
    matches!(
        character,
        '\u{3005}'..='\u{3007}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden_in(text: &str) -> Vec<char> {
        let unseen = Walk::new(text).filter(|(_, may)| !may);
        unseen.map(|(character, _)| character).collect()
    }

    #[test]
    fn joiners_and_selectors_are_kept_in_valid_sequences() {
        let whole = [
            "👩\u{200d}💻",
            "👩🏻\u{200d}❤\u{fe0f}\u{200d}💋\u{200d}👨🏾",
            "❤\u{fe0f}",
            "1\u{fe0f}\u{20e3}",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "می\u{200c}خواهم",
            "क्\u{200d}ष",
            "ශ්\u{200d}රී",
            "葛\u{e0100}城",
            "\u{1820}\u{180b}",
            "🏴\u{200d}☠\u{fe0f}",
        ];
        for text in whole {
            assert_eq!(hidden_in(text), [], "{text:?}");
        }
    }

    #[test]
    fn joiners_and_selectors_elsewhere_are_hidden() {
        let parts = [
            ("a\u{200d}b", 1),
            ("a\u{200c}b", 1),
            ("\u{200d}💻", 1),
            ("👩\u{200d}", 1),
            ("👩\u{200d}a", 1),
            ("a\u{fe0f}", 1),
            ("1\u{fe0f}", 1),
            ("\u{fe0f}", 1),
            ("a\u{e0100}", 1),
            // A flag with a message behind it.
            ("\u{1f3f4}\u{e0068}\u{e0069}", 2),
            ("👍\u{e0068}\u{e0069}\u{e0021}\u{e007f}", 4),
            ("م\u{200c}", 1),
            ("م\u{200c}x", 1),
            ("x\u{202e}y\u{2066}", 2),
            ("\u{7}\u{9b}\u{ffff}\u{1fffe}\u{fdd0}", 5),
        ];
        for (text, hidden) in parts {
            assert_eq!(hidden_in(text).len(), hidden, "{text:?}");
        }
    }
}
