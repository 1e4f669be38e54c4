//! Makes messages of the rules out of texts of any length.
//!
//! The rule: a text that is too long becomes several messages, cut at the end of a line, of a word,
//! or where it must be; one of which nothing can be seen gets a text that says so.

use conclave_core::{MessageText, limits::TEXT_BYTES_MAX};

/// Text of a message that had none.
pub(crate) const NOTHING: &str = "(this message had no text)";

/// Returns the texts of the messages, at least one, and whether the text had anything to see.
pub(crate) fn messages(text: &str) -> (Vec<MessageText>, bool) {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(end_of_part(rest));
        // A part of which nothing can be seen is none.
        parts.extend(conclave_text::message(part).ok());
        rest = after;
    }
    let has_text = !parts.is_empty();
    if !has_text {
        parts.extend(conclave_text::message(NOTHING).ok());
    }
    (parts, has_text)
}

/// Returns where the first message of a text ends.
fn end_of_part(text: &str) -> usize {
    if text.len() <= TEXT_BYTES_MAX {
        return text.len();
    }
    let most = text.floor_char_boundary(TEXT_BYTES_MAX);
    let behind = |sign: char| text[..most].rfind(sign).map(|at| at + sign.len_utf8());
    // Not so early that many short messages come of it.
    let good = |end: &usize| *end > most / 2;
    let line = behind('\n').filter(good);
    line.or_else(|| behind(' ').filter(good)).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &str) -> Vec<usize> {
        let (parts, has_text) = messages(text);
        assert!(has_text);
        let joined: String = parts.iter().map(MessageText::as_str).collect();
        assert_eq!(joined, text, "something is lost");
        parts.iter().map(|part| part.as_str().len()).collect()
    }

    #[test]
    fn a_long_text_becomes_messages_that_end_where_lines_do() {
        let whole = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(lengths(&whole), [TEXT_BYTES_MAX]);
        assert_eq!(lengths(&format!("{whole}y")), [TEXT_BYTES_MAX, 1]);
        let lines = format!("{}\n{}", "x".repeat(10_000), "y".repeat(10_000));
        assert_eq!(lengths(&lines), [10_001, 10_000]);
        let words = format!("{} {}", "x".repeat(12_000), "y".repeat(12_000));
        assert_eq!(lengths(&words), [12_001, 12_000]);
        let wide = "ż".repeat(TEXT_BYTES_MAX);
        assert_eq!(lengths(&wide), [TEXT_BYTES_MAX, TEXT_BYTES_MAX]);
    }

    #[test]
    fn a_text_of_which_nothing_can_be_seen_says_so() {
        for text in ["", " \n", "\u{200b}"] {
            let (parts, has_text) = messages(text);
            assert!(!has_text);
            assert_eq!(parts.len(), 1);
            assert_eq!(parts[0].as_str(), NOTHING);
        }
    }
}
