//! Short texts: display names, topics, labels of sessions.
//!
//! Display names follow the Nickname profile of PRECIS (RFC 8266) with two differences, which
//! `docs/notebook/2026-11-26-names-that-look-alike.md` explains: they are kept in NFC instead of
//! NFKC, and joiners and selectors may stand where emoji and words need them. Topics and labels
//! follow the same rules.

use conclave_core::{
    DisplayName, Line, SessionLabel, Topic,
    limits::{
        DISPLAY_NAME_BYTES_MAX, DISPLAY_NAME_CHARACTERS_MAX, SESSION_LABEL_BYTES_MAX,
        SESSION_LABEL_CHARACTERS_MAX, TOPIC_BYTES_MAX, TOPIC_CHARACTERS_MAX,
    },
};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::{
    Fault, Refused,
    character::{is_blank, is_space},
    shown::{code_point, first_hidden},
};

/// Marks on one letter. The scripts of the world need at most four; more of them would cover the
/// lines above and below.
const MARKS_MAX: usize = 8;

/// Takes what is shown beside an account's name; may be empty.
///
/// # Errors
/// [`Refused`] as [`Fault::LineInvalid`].
pub fn display_name(text: &str) -> Result<DisplayName, Refused> {
    let bounds = (DISPLAY_NAME_CHARACTERS_MAX, DISPLAY_NAME_BYTES_MAX);
    let line = prepared(text, Line::DisplayName, bounds)?;
    DisplayName::new(line).map_err(|rejection| invalid(rejection.to_string()))
}

/// Takes what a room is about; may be empty.
///
/// # Errors
/// [`Refused`] as [`Fault::LineInvalid`].
pub fn topic(text: &str) -> Result<Topic, Refused> {
    let bounds = (TOPIC_CHARACTERS_MAX, TOPIC_BYTES_MAX);
    let line = prepared(text, Line::Topic, bounds)?;
    Topic::new(line).map_err(|rejection| invalid(rejection.to_string()))
}

/// Takes what the owner of a session calls it; may be empty.
///
/// # Errors
/// [`Refused`] as [`Fault::LineInvalid`].
pub fn session_label(text: &str) -> Result<SessionLabel, Refused> {
    let bounds = (SESSION_LABEL_CHARACTERS_MAX, SESSION_LABEL_BYTES_MAX);
    let line = prepared(text, Line::SessionLabel, bounds)?;
    SessionLabel::new(line).map_err(|rejection| invalid(rejection.to_string()))
}

pub(crate) fn invalid(sentence: impl Into<String>) -> Refused {
    Refused::new(Fault::LineInvalid, sentence)
}

/// Returns the text in the form in which it is kept. Only the empty text takes a line away: what
/// merely shows nothing is refused.
fn prepared(
    text: &str,
    what: Line,
    (characters, bytes): (usize, usize),
) -> Result<String, Refused> {
    // Work is bounded before anything is normalised. NFC makes no text three times as long.
    if text.len() > 3 * bytes {
        return Err(too_many_bytes(what, text.len(), bytes));
    }
    if !text.is_empty() && is_blank(text) {
        return Err(invalid(format!("{what} shows nothing")));
    }
    let line = without_spare_spaces(text).nfc().collect::<String>();
    visible(&line, what)?;
    within(&line, what, characters, bytes)?;
    Ok(line)
}

/// Refuses what cannot be seen, is no character yet, or has too many marks.
pub(crate) fn visible(line: &str, what: Line) -> Result<(), Refused> {
    if let Some(hidden) = first_hidden(line) {
        let code = code_point(hidden);
        return Err(invalid(format!(
            "{what} contains {code}, which cannot be seen"
        )));
    }
    // The Braille pattern without dots is the last one that shows nothing.
    if line.contains('\u{2800}') {
        return Err(invalid(format!(
            "{what} contains U+2800, which cannot be seen"
        )));
    }
    let unknown = line.chars().find(|character| !is_assigned(*character));
    if let Some(unknown) = unknown {
        let code = u32::from(unknown);
        let sentence = format!("{what} contains U+{code:04X}, which is no character of Unicode");
        return Err(invalid(sentence));
    }
    let mut marks = 0;
    for character in line.chars() {
        marks = if is_combining_mark(character) {
            marks + 1
        } else {
            0
        };
        if marks > MARKS_MAX {
            let sentence = format!("{what} has more than {MARKS_MAX} marks on one letter");
            return Err(invalid(sentence));
        }
    }
    Ok(())
}

/// Returns whether a character has a meaning that is the same everywhere.
pub(crate) fn is_assigned(character: char) -> bool {
    !matches!(
        character.general_category(),
        GeneralCategory::Unassigned | GeneralCategory::PrivateUse
    )
}

/// Refuses what is too long, and says which bound it met.
pub(crate) fn within(
    line: &str,
    what: Line,
    characters: usize,
    bytes: usize,
) -> Result<(), Refused> {
    let count = line.graphemes(true).count();
    if count > characters {
        return Err(invalid(format!(
            "{what} has at most {characters} characters; this one has {count}"
        )));
    }
    if line.len() > bytes {
        return Err(too_many_bytes(what, line.len(), bytes));
    }
    Ok(())
}

fn too_many_bytes(what: Line, count: usize, bytes: usize) -> Refused {
    invalid(format!(
        "{what} has at most {bytes} bytes; this one has {count}"
    ))
}

/// Returns a text with plain spaces, one at a time, and none at its ends.
fn without_spare_spaces(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(word);
    }
    debug_assert!(
        kept.chars().all(|c| c == ' ' || !is_space(c)),
        "only plain spaces"
    );
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> String {
        display_name(text).unwrap().as_str().to_owned()
    }

    fn refused(text: &str) -> String {
        let refused = display_name(text).unwrap_err();
        assert_eq!(refused.fault, Fault::LineInvalid);
        refused.sentence
    }

    #[test]
    fn display_names_are_accepted_in_every_script() {
        let names = [
            "",
            "Ann-Marie O’Hara",
            "Zoë 漢字 שלום",
            "Александр Сергеевич Пушкин-Достоевский А",
            "الأستاذ محمد",
            "می\u{200c}خواهم",
            "श्रीमान क्\u{200d}ष",
            "ดร. สมชาย",
            "葛\u{e0100}飾",
            "김철수",
            "🎉 👩\u{200d}💻 ❤\u{fe0f}",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "Q̇̈",
        ];
        for name in names {
            assert_eq!(taken(name), name.nfc().collect::<String>(), "{name:?}");
        }
    }

    #[test]
    fn spaces_are_plain_and_single_and_letters_are_composed() {
        assert_eq!(
            taken("  Bob \u{a0}\u{3000} the\u{2003}Builder "),
            "Bob the Builder"
        );
        assert_eq!(taken("Zoe\u{308}"), "Zo\u{eb}");
        // A name from a file system that takes syllables apart.
        assert_eq!(taken("\u{1100}\u{1175}\u{11b7}"), "김");
    }

    #[test]
    fn hidden_characters_in_a_line_are_refused_and_named() {
        let hidden = [
            '\n',
            '\u{7f}',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2800}',
            '\u{3164}',
            '\u{feff}',
            '\u{fe0f}',
            '\u{e0041}',
        ];
        for character in hidden {
            let code = format!("U+{:04X}", u32::from(character));
            let sentence = refused(&format!("ad{character}min"));
            assert!(sentence.contains(&code), "{sentence}");
            assert!(session_label(&format!("ad{character}min")).is_err());
            assert!(topic(&format!("ad{character}min")).is_err());
        }
        for blank in [" ", "\u{200b}", "\u{2800}", "\u{3164}", "\u{3000}\u{200b}"] {
            assert_eq!(refused(blank), "a display name shows nothing");
        }
        refused("👩\u{200d}");
        assert!(refused("\u{378}").contains("U+0378"), "no character");
        assert!(refused("\u{e000}").contains("U+E000"), "private");
        refused(&format!("a{}", "\u{301}".repeat(20)));
    }

    #[test]
    fn a_name_has_40_cyrillic_letters_and_64_of_any() {
        for letter in ["я", "漢", "x", "क्षि", "👩🏻\u{200d}❤"] {
            let most = letter.repeat(64);
            let fits = most.len() <= DISPLAY_NAME_BYTES_MAX;
            assert_eq!(display_name(&most).is_ok(), fits, "{letter}");
            let sentence = refused(&letter.repeat(65));
            assert!(
                sentence.contains("64 characters; this one has 65"),
                "{sentence}"
            );
        }
        taken(&"я".repeat(40));
        let family = "👩🏻\u{200d}👩🏻\u{200d}👧🏻\u{200d}👦🏻".repeat(14);
        let sentence = refused(&family);
        assert!(sentence.contains("at most 512 bytes"), "{sentence}");
    }

    #[test]
    fn a_topic_may_be_longer() {
        assert!(topic(&"я".repeat(256)).is_ok());
        let sentence = topic(&"я".repeat(257)).unwrap_err().sentence;
        assert_eq!(
            sentence,
            "a topic has at most 256 characters; this one has 257"
        );
        assert!(topic(&"x".repeat(1_000_000)).is_err());
    }
}
