//! Which characters cannot be seen or steer what is shown around them: the one table of them.
//!
//! Three sets, each inside the next:
//!
//! * [`turns_direction`]: marks that turn the direction of writing. What a program posts to a
//!   webhook is kept without them, controls and [`BYTE_ORDER_MARK`]. The others stay, because a
//!   body is kept as it was written: joiners and selectors belong into emoji and into Persian and
//!   Indic words.
//! * [`is_ignorable`]: characters without a form of their own. Words of a search are found with
//!   and without them, and they part no word. Controls and breaks of lines are not among them:
//!   these do part words.
//! * [`is_hidden`]: all of these, and controls, breaks of lines and what is no character. A name
//!   with one of them is refused, and no text is shown with one, except where it is needed:
//!   `character::Walk` knows these places.
//!
//! Always true: the first two sets are ranges that no library changes. The words of an index follow
//! the second one: if it changes, so does the version of the rules of `conclave-words`. The log
//! cannot ask this table, so the signs around a mention are ranges in `core` (`decide/mentions`).

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Keeps two letters apart that would be joined.
pub(crate) const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
/// Joins letters, and emoji to one, as the members of a family.
pub const ZERO_WIDTH_JOINER: char = '\u{200d}';
/// Asks for the form of a letter or a sign.
pub(crate) const TEXT_SELECTOR: char = '\u{fe0e}';
/// Asks for a picture.
pub(crate) const EMOJI_SELECTOR: char = '\u{fe0f}';
/// Stands before a text and gives the order of its bytes; elsewhere it is a space without width.
pub const BYTE_ORDER_MARK: char = '\u{feff}';

/// Returns whether a character turns the direction of writing or marks the side on which a sign is
/// shown. Unicode calls this `Bidi_Control`.
#[must_use]
pub fn turns_direction(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Returns whether a character selects the form of the one before it.
#[must_use]
pub fn is_form_selector(character: char) -> bool {
    matches!(character, '\u{fe00}'..='\u{fe0f}')
}

/// Returns whether a character has no form of its own: joiners, marks of direction, hyphens that
/// show at the end of a line only, fillers, selectors, tags. Unicode calls this
/// `Default_Ignorable_Code_Point`.
#[must_use]
pub fn is_ignorable(character: char) -> bool {
    turns_direction(character)
        || is_form_selector(character)
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'
                | ZERO_WIDTH_NON_JOINER
                | ZERO_WIDTH_JOINER
                | '\u{2060}'..='\u{2065}'
                | '\u{206a}'..='\u{206f}'
                | '\u{3164}'
                | BYTE_ORDER_MARK
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fff8}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Returns whether a character cannot be seen or steers what is shown around it: what is
/// ignorable, controls, breaks of lines, what is no character.
#[must_use]
pub fn is_hidden(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    character.is_control()
        || is_ignorable(character)
        || breaks_line(character)
        || is_no_character(character)
        || character.general_category() == GeneralCategory::Format && !is_visible_format(character)
}

/// Returns whether a character breaks a line or a paragraph and is no control.
#[must_use]
pub fn breaks_line(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}')
}

/// Returns whether Unicode will never make a character of this number.
fn is_no_character(character: char) -> bool {
    u32::from(character) & 0xfffe == 0xfffe || matches!(character, '\u{fdd0}'..='\u{fdef}')
}

/// Returns whether a character of the category of marks of direction is seen: signs that stand
/// before numbers, and those that arrange hieroglyphs.
fn is_visible_format(character: char) -> bool {
    matches!(
        character,
        '\u{600}'..='\u{605}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direction_controls_are_ignorable_and_ignorables_are_hidden() {
        let (mut direction, mut ignorable, mut hidden) = (0, 0, 0);
        for character in '\0'..=char::MAX {
            let turns = turns_direction(character);
            let ignores = is_ignorable(character);
            let hides = is_hidden(character);
            assert!(!turns || ignores, "{character:?}");
            assert!(!ignores || hides, "{character:?}");
            direction += u32::from(turns);
            ignorable += u32::from(ignores);
            hidden += u32::from(hides);
        }
        // As many as Unicode counts in its lists of these two properties.
        assert_eq!((direction, ignorable), (12, 4174));
        // At least the controls, both breaks and what is no character.
        assert!(hidden >= ignorable + 65 + 2 + 66, "{hidden}");
    }

    #[test]
    fn ignorable_characters_are_hidden() {
        let ignorable = [
            '\u{ad}', '\u{34f}', '\u{61c}', '\u{115f}', '\u{17b4}', '\u{180e}',
        ];
        let more = [
            '\u{2065}', '\u{3164}', '\u{fe00}', '\u{feff}', '\u{ffa0}', '\u{fff0}',
        ];
        let last = [
            '\u{1bca0}',
            '\u{1d173}',
            '\u{e0000}',
            '\u{e01ef}',
            '\u{e0fff}',
        ];
        for character in ignorable.into_iter().chain(more).chain(last) {
            assert!(is_hidden(character), "{character:?}");
        }
        for character in [
            'a', ' ', '\u{a0}', '\u{2800}', '\u{301}', 'é', '漢', '🎉', '\u{600}',
        ] {
            assert!(!is_hidden(character), "{character:?}");
        }
    }
}
