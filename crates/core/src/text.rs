//! What people write: the body of a message, and the short texts around it.
//!
//! Always true: UTF-8 within its bound. The body of a message may hold anything: the program that
//! shows it leaves out what a terminal must not get. A short text has no control characters and
//! none that cannot be seen or that turn the direction of writing, so that two names that look the
//! same are the same.

use serde::{Deserialize, Serialize};

use crate::{
    Rejection,
    limits::{
        DISPLAY_NAME_BYTES_MAX, REACTION_BYTES_MAX, SESSION_LABEL_BYTES_MAX, TEXT_BYTES_MAX,
        TOPIC_BYTES_MAX,
    },
};

/// A valid message body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageText(String);

impl MessageText {
    /// Takes `text` if it is neither empty nor too long.
    ///
    /// # Errors
    /// [`Rejection::TextEmpty`] or [`Rejection::TextTooLong`].
    pub fn new(text: impl Into<String>) -> Result<Self, Rejection> {
        let text = text.into();
        match text.len() {
            0 => Err(Rejection::TextEmpty),
            1..=TEXT_BYTES_MAX => Ok(Self(text)),
            bytes => Err(Rejection::TextTooLong {
                bytes: bytes as u64,
            }),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character cannot be seen or steers what is shown around it: controls, breaks of
/// lines, marks of direction, characters without width, tags.
///
/// The joiners U+200C and U+200D count as well; `is_visible` knows where emoji need one.
#[must_use]
pub fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{17b4}'
                | '\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Whether a short text shows all that it has. Emoji may be joined, and a flag may have its tags.
fn is_visible(text: &str) -> bool {
    let is_emoji = |character: char| {
        let symbols = '\u{203c}'..='\u{3299}';
        let pictures = '\u{1f000}'..='\u{1faff}';
        symbols.contains(&character) || pictures.contains(&character) || character == '\u{fe0f}'
    };
    let mut before = '\0';
    let mut in_flag = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let joins = character == '\u{200d}'
            && is_emoji(before)
            && characters.peek().is_some_and(|next| is_emoji(*next));
        let is_tag = in_flag && matches!(character, '\u{e0020}'..='\u{e007f}');
        if is_unseen(character) && !joins && !is_tag {
            return false;
        }
        in_flag = is_tag || character == '\u{1f3f4}';
        before = character;
    }
    true
}

macro_rules! line {
    ($(#[$doc:meta])* $name:ident, $min:literal..=$max:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes `text` if it is within its bound and every character of it can be seen.
            ///
            /// # Errors
            /// [`Rejection::LineInvalid`].
            pub fn new(text: impl Into<String>) -> Result<Self, Rejection> {
                let text = text.into();
                let fits = ($min..=$max).contains(&text.len());
                if !fits || !is_visible(&text) {
                    return Err(Rejection::LineInvalid {
                        what: Line::$name,
                        bytes_max: $max as u64,
                    });
                }
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

/// The kinds of short texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// See [`DisplayName`].
    DisplayName,
    /// See [`Topic`].
    Topic,
    /// See [`SessionLabel`].
    SessionLabel,
    /// See [`Reaction`].
    Reaction,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DisplayName => "a display name",
            Self::Topic => "a topic",
            Self::SessionLabel => "a session's label",
            Self::Reaction => "a reaction",
        })
    }
}

line! {
    /// What is shown beside an account's name; may be empty.
    DisplayName, 0..=DISPLAY_NAME_BYTES_MAX
}
line! {
    /// What a room is about; may be empty.
    Topic, 0..=TOPIC_BYTES_MAX
}
line! {
    /// What its owner calls a session; may be empty.
    SessionLabel, 0..=SESSION_LABEL_BYTES_MAX
}
line! {
    /// An emoji or a short word, never empty.
    Reaction, 1..=REACTION_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_1_byte_to_16_kib() {
        assert_eq!(MessageText::new(""), Err(Rejection::TextEmpty));
        assert!(MessageText::new("x").is_ok());
        assert!(MessageText::new("x".repeat(TEXT_BYTES_MAX)).is_ok());
        let long = MessageText::new("x".repeat(TEXT_BYTES_MAX + 1));
        assert_eq!(
            long,
            Err(Rejection::TextTooLong {
                bytes: TEXT_BYTES_MAX as u64 + 1
            })
        );
    }

    #[test]
    fn a_short_text_can_be_seen_as_it_is() {
        let good = [
            "",
            "Ann-Marie O’Hara",
            "Zoë 漢字 שלום",
            "a\u{301}",
            "🎉 👩\u{200d}💻 ❤\u{fe0f}",
        ];
        for text in good {
            assert!(DisplayName::new(text).is_ok(), "{text:?}");
        }
        let flag = "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}";
        assert!(Reaction::new(flag).is_ok());
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
            '\u{feff}',
            '\u{e0041}',
        ];
        for character in hidden {
            let text = format!("ad{character}min");
            assert!(DisplayName::new(text.as_str()).is_err(), "{text:?}");
            assert!(Topic::new(text.as_str()).is_err(), "{text:?}");
            assert!(SessionLabel::new(text.as_str()).is_err(), "{text:?}");
            assert!(Reaction::new(text.as_str()).is_err(), "{text:?}");
            assert!(crate::RoomName::new(text.as_str()).is_err(), "{text:?}");
        }
        assert!(DisplayName::new("👩\u{200d}").is_err(), "joined to nothing");
    }
}
