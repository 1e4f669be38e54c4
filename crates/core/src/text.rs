//! What people write: the body of a message, and the short texts around it.
//!
//! Always true: UTF-8 within its bound, and a short text has no control characters. More is checked
//! where a request arrives, by the crate `text`: which characters can be seen, how many people
//! count, which forms are the same. That follows tables of Unicode, which change; what is in the
//! log must mean the same for ever, so no such table is asked here.

use serde::{Deserialize, Serialize};

use crate::{
    Line, Rejection,
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

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns whether a text has one of the 65 control characters. Unicode promises that there will be
/// no other ones.
fn has_controls(text: &str) -> bool {
    let is_control = |c: char| matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}');
    text.contains(is_control)
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
            /// Takes `text` if it is within its bound and has no control characters.
            ///
            /// # Errors
            /// [`Rejection::LineInvalid`].
            pub fn new(text: impl Into<String>) -> Result<Self, Rejection> {
                let text = text.into();
                let fits = ($min..=$max).contains(&text.len());
                if !fits || has_controls(&text) {
                    return Err(Rejection::LineInvalid {
                        what: Line::$name,
                        bytes_max: $max as u64,
                    });
                }
                Ok(Self(text))
            }

            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

line! {
    /// Display name of an account; may be empty.
    DisplayName, 0..=DISPLAY_NAME_BYTES_MAX
}
line! {
    /// Topic of a room; may be empty.
    Topic, 0..=TOPIC_BYTES_MAX
}
line! {
    /// The owner's name for a session; may be empty.
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
    fn a_short_text_has_no_control_characters() {
        for text in [
            "",
            "Ann-Marie O’Hara",
            "Zoë 漢字 שלום",
            "a\u{301}",
            "🎉",
            "\u{200b}",
        ] {
            assert!(DisplayName::new(text).is_ok(), "{text:?}");
        }
        for character in ['\0', '\n', '\u{1b}', '\u{7f}', '\u{80}', '\u{9b}', '\u{9f}'] {
            let text = format!("ad{character}min");
            assert!(DisplayName::new(text.as_str()).is_err(), "{text:?}");
            assert!(Topic::new(text.as_str()).is_err(), "{text:?}");
            assert!(SessionLabel::new(text.as_str()).is_err(), "{text:?}");
            assert!(Reaction::new(text.as_str()).is_err(), "{text:?}");
            assert!(crate::RoomName::new(text.as_str()).is_err(), "{text:?}");
        }
        assert!(Reaction::new("").is_err());
        assert!(Reaction::new("x".repeat(REACTION_BYTES_MAX)).is_ok());
        assert!(Reaction::new("x".repeat(REACTION_BYTES_MAX + 1)).is_err());
    }
}
