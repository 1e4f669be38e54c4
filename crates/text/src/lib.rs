//! What people write, at the edge: normalised and bounded before it becomes a command, and made
//! harmless before it is shown.
//!
//! Tables of Unicode change between versions of the libraries here. So nothing of this crate runs
//! where the log is decided: `core` may not depend on it. A node that receives a request prepares
//! the text, and the command carries the prepared form; every other node takes it as it is.
//!
//! Always true: preparing what was prepared changes nothing, and no input panics.
//!
//! ```
//! use conclave_text::{message, shown, topic};
//!
//! // One form for what looks the same: `e` with an accent is one character or two.
//! assert_eq!(topic("Cafe\u{301}")?.as_str(), "Caf\u{e9}");
//! // A message of which nothing can be seen is refused.
//! assert!(message("\u{200b} \n").is_err());
//! // A text cannot steer the terminal that shows it.
//! assert_eq!(shown("hello\x1b[2J\u{202e}"), "hello[2J");
//! # Ok::<(), conclave_text::Refused>(())
//! ```
//!
//! Start reading with [`message`], then `hidden.rs`, which says which characters cannot be seen.

mod alike;
mod character;
mod hidden;
mod line;
mod password;
mod reaction;
mod shown;

use conclave_core::{MessageText, Rejection};

pub use alike::names_like;
pub use character::is_blank;
pub use hidden::{
    BYTE_ORDER_MARK, ZERO_WIDTH_JOINER, breaks_line, is_form_selector, is_hidden, is_ignorable,
    turns_direction,
};
pub use line::{display_name, session_label, topic};
pub use password::Password;
pub use reaction::reaction;
pub use shown::{shown, shown_lines};

/// Reason why a text is refused before anything is proposed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Refused {
    /// The stable word, such as `LINE_INVALID`.
    pub reason: &'static str,
    /// A sentence for people.
    pub sentence: String,
}

impl Refused {
    fn new(reason: &'static str, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { reason, sentence }
    }
}

/// Takes the body of a message if something of it can be seen and it is not too long. The body
/// stays as it was written.
///
/// # Errors
/// [`Rejection::TextEmpty`] or [`Rejection::TextTooLong`].
pub fn message(text: impl Into<String>) -> Result<MessageText, Rejection> {
    let text = MessageText::new(text)?;
    if is_blank(text.as_str()) {
        return Err(Rejection::TextEmpty);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_message_is_empty() {
        let blank = [
            "",
            " ",
            "\n\t\r\n",
            "\u{200b}",
            "\u{200b}\u{feff} \u{2060}",
            "\u{2800}",
            "\u{3164}\u{115f}\u{ffa0}",
            "\u{a0}\u{3000}\u{2003}",
            "\u{202e}\u{202c}",
            "\u{ad}\u{34f}\u{fe0f}\u{200d}",
            "\u{e0041}\u{e007f}",
            "\0\u{7f}\u{9b}",
        ];
        for text in blank {
            assert_eq!(message(text), Err(Rejection::TextEmpty), "{text:?}");
        }
        for text in [
            "x",
            " .",
            "\u{200b}x",
            "🎉",
            "\u{301}",
            "漢",
            "\u{200b}\u{1f3f4}",
        ] {
            let taken = message(text).unwrap();
            assert_eq!(taken.as_str(), text, "a body stays as it was written");
        }
    }
}
