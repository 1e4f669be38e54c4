//! Reactions: one character as people count them, or a short word.
//!
//! Always true: what looks the same is the same. An emoji that may also be drawn as text carries
//! the selector for pictures, whether or not the keyboard has typed it; a word stands without the
//! colons around it.

use conclave_core::{
    Line, Reaction,
    limits::{REACTION_BYTES_MAX, REACTION_CHARACTERS_MAX},
};
use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{EmojiStatus, UnicodeEmoji as _};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::{
    Fault, Refused,
    character::{KEYCAP, is_blank, is_keycap_base, is_picture},
    hidden::{EMOJI_SELECTOR, TEXT_SELECTOR, ZERO_WIDTH_JOINER},
    line::{invalid, visible, within},
};

/// Takes what a member puts on a message.
///
/// # Errors
/// [`Refused`] as [`Fault::LineInvalid`] or, if it is neither one character nor a word,
/// [`Fault::ReactionInvalid`].
pub fn reaction(text: &str) -> Result<Reaction, Refused> {
    let what = Line::Reaction;
    // Work is bounded before anything is normalised.
    if text.len() > 3 * REACTION_BYTES_MAX {
        let count = text.len();
        let sentence =
            format!("{what} has at most {REACTION_BYTES_MAX} bytes; this one has {count}");
        return Err(invalid(sentence));
    }
    if is_blank(text) {
        return Err(invalid(format!("{what} shows nothing")));
    }
    let typed: String = without_colons(text).nfc().collect();
    visible(&typed, what)?;
    let same: String = with_selectors(&typed);
    within(&same, what, REACTION_CHARACTERS_MAX, REACTION_BYTES_MAX)?;
    let is_one = same.graphemes(true).count() == 1 && !same.starts_with(char::is_whitespace);
    if !is_one && !same.chars().all(is_of_a_word) {
        let sentence = "a reaction is one emoji, one character, or a word of letters, digits, \
                        '+', '-' and '_'";
        return Err(Refused::new(Fault::ReactionInvalid, sentence));
    }
    Reaction::new(same).map_err(|rejection| invalid(rejection.to_string()))
}

/// Returns `+1` for `:+1:`, as people type it elsewhere.
fn without_colons(text: &str) -> &str {
    let inner = text
        .strip_prefix(':')
        .and_then(|rest| rest.strip_suffix(':'));
    inner.filter(|inner| !inner.is_empty()).unwrap_or(text)
}

fn is_of_a_word(character: char) -> bool {
    let is_letter = character.is_alphanumeric() && !is_picture(character);
    let is_mark = unicode_normalization::char::is_combining_mark(character);
    is_letter || is_mark || matches!(character, '+' | '-' | '_')
}

/// Returns a text in which every emoji says that it is a picture, if it could be taken for text.
fn with_selectors(text: &str) -> String {
    let is_selector = |character: &char| matches!(*character, EMOJI_SELECTOR | TEXT_SELECTOR);
    let mut characters = text.chars().filter(|c| !is_selector(c)).peekable();
    let mut same = String::with_capacity(text.len() + EMOJI_SELECTOR.len_utf8());
    while let Some(character) = characters.next() {
        same.push(character);
        let next = characters.peek().copied();
        let is_ambiguous = match next {
            Some(KEYCAP) => is_keycap_base(character),
            // The colour of the skin makes a picture of the character before.
            Some('\u{1f3fb}'..='\u{1f3ff}') => false,
            _ => is_text_by_default(character),
        };
        if is_ambiguous {
            same.push(EMOJI_SELECTOR);
        }
    }
    // A joiner that joins nothing, behind the sign that joins Indic letters, is not seen.
    while same.ends_with(ZERO_WIDTH_JOINER) {
        same.pop();
    }
    same
}

fn is_text_by_default(character: char) -> bool {
    let status = character.emoji_status();
    is_picture(character)
        && matches!(
            status,
            EmojiStatus::EmojiOther
                | EmojiStatus::EmojiModifierBase
                | EmojiStatus::EmojiOtherAndEmojiComponent
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> String {
        let taken = reaction(text);
        let taken = taken.unwrap_or_else(|refused| panic!("{text:?}: {refused}"));
        taken.as_str().to_owned()
    }

    #[test]
    fn a_grapheme_cluster_of_any_length_is_a_reaction() {
        let emoji = [
            "🎉",
            "👍🏽",
            "👩🏻\u{200d}❤\u{fe0f}\u{200d}💋\u{200d}👨🏾",
            "👨🏻\u{200d}👩🏻\u{200d}👧🏻\u{200d}👦🏻",
            "🇩🇪",
            "1\u{fe0f}\u{20e3}",
            "#\u{fe0f}\u{20e3}",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "🏳\u{fe0f}\u{200d}🌈",
            "🏴\u{200d}☠\u{fe0f}",
            "⁉\u{fe0f}",
            "é",
            "क्षि",
            "!",
            "1",
            "漢",
        ];
        for text in emoji {
            assert_eq!(taken(text), text);
        }
    }

    #[test]
    fn reactions_that_look_the_same_are_equal() {
        let pairs = [
            ("❤", "❤\u{fe0f}"),
            ("❤\u{fe0e}", "❤\u{fe0f}"),
            (
                "👩🏻\u{200d}❤\u{200d}💋\u{200d}👨🏾",
                "👩🏻\u{200d}❤\u{fe0f}\u{200d}💋\u{200d}👨🏾",
            ),
            ("1\u{20e3}", "1\u{fe0f}\u{20e3}"),
            ("☝\u{fe0f}🏽", "☝🏽"),
            ("🎉\u{fe0f}", "🎉"),
            ("©", "©\u{fe0f}"),
            ("e\u{301}", "é"),
            ("क\u{94d}\u{200d}", "क\u{94d}"),
            (":+1:", "+1"),
            (":thumbs_up:", "thumbs_up"),
            ("noe\u{308}l", "noël"),
        ];
        for (typed, kept) in pairs {
            assert_eq!(taken(typed), kept);
            assert_eq!(taken(kept), kept, "once more changes nothing");
        }
    }

    #[test]
    fn a_word_is_short_and_has_no_emoji() {
        for word in [
            "+1",
            "-1",
            "lgtm",
            "OK",
            "да",
            "完了",
            "thumbs_up",
            &"x".repeat(32),
        ] {
            assert_eq!(taken(word), word);
        }
        let reason = |text: &str| reaction(text).unwrap_err().fault;
        for (text, expected) in [
            ("", Fault::LineInvalid),
            (" ", Fault::LineInvalid),
            ("\u{200b}", Fault::LineInvalid),
            ("\u{fe0f}", Fault::LineInvalid),
            ("\u{3164}", Fault::LineInvalid),
            ("a\u{200b}", Fault::LineInvalid),
            ("\u{202e}", Fault::LineInvalid),
            ("a\u{7}", Fault::LineInvalid),
            ("👩\u{200d}", Fault::LineInvalid),
            ("\u{1f3f4}\u{e0068}\u{e0069}", Fault::LineInvalid),
            ("👍\u{e0068}", Fault::LineInvalid),
            (&"x".repeat(33), Fault::LineInvalid),
            (&"👍".repeat(10_000), Fault::LineInvalid),
            ("a b", Fault::ReactionInvalid),
            ("🎉🎉", Fault::ReactionInvalid),
            ("🎉!", Fault::ReactionInvalid),
            ("ok🎉", Fault::ReactionInvalid),
            ("@bob", Fault::ReactionInvalid),
            ("<b>", Fault::ReactionInvalid),
        ] {
            assert_eq!(reason(text), expected, "{text:?}");
        }
    }
}
