//! Texts on their way to a terminal or a log.
//!
//! Always true: what is shown has no control character, no mark of direction and nothing that
//! cannot be seen, except joiners and selectors inside emoji and words that need them.

use crate::{
    character::Walk,
    hidden::{breaks_line, is_hidden},
};

/// Returns a text that is safe to show on one line: line breaks and tabs become spaces; everything
/// else that steers a terminal, reorders a line or cannot be seen is left out.
#[must_use]
pub fn shown(text: &str) -> String {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut shown = once_over(text);
    // What stood between may have kept two characters apart that hide something together.
    while Walk::new(&shown).any(|(_, may)| !may) {
        shown = once_over(&shown);
    }
    shown
}

fn once_over(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (character, may) in Walk::new(text) {
        match character {
            '\n' | '\t' => shown.push(' '),
            character if breaks_line(character) => shown.push(' '),
            character if may => shown.push(character),
            _ => {}
        }
    }
    shown
}

/// Returns the same for a text of several lines, which stay.
#[must_use]
pub fn shown_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(shown).collect();
    lines.join("\n")
}

/// Returns the first character of a text that cannot be seen where it stands.
pub(crate) fn first_hidden(text: &str) -> Option<char> {
    let mut walk = Walk::new(text);
    walk.find(|(_, may)| !may).map(|(character, _)| character)
}

/// Returns how a character that cannot be seen is named in an error.
pub(crate) fn code_point(character: char) -> String {
    debug_assert!(is_hidden(character), "others can be shown");
    format!("U+{:04X}", u32::from(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_text_has_no_terminal_control_characters() {
        let cases = [
            ("\x1b[2Jgone", "[2Jgone"),
            ("a\rb\x07\x08\x7f", "ab"),
            ("\u{9b}31mred", "31mred"),
            ("tab\there", "tab here"),
            ("\u{202e}txt.exe", "txt.exe"),
            ("naïve 漢字 🎉", "naïve 漢字 🎉"),
            ("ad\u{200b}m\u{feff}i\u{ad}n\u{200d}", "admin"),
            ("hi\u{e0041}\u{e007f}", "hi"),
            ("👍\u{e0068}\u{e0069}", "👍"),
            ("👩\u{200d}\u{200b}\u{200d}💻", "👩💻"),
            (
                "👩\u{200d}💻 می\u{200c}خواهم",
                "👩\u{200d}💻 می\u{200c}خواهم",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text:?}");
        }
        assert_eq!(shown_lines("a\r\nb\u{202e}\nc"), "a\nb\nc");
    }
}
