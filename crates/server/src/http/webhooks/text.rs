//! Cleans text of programs for people.
//!
//! Always true: the result has no control characters but line feeds, none that turn the direction
//! of writing, and no more characters than its bound; a cut text ends with a sign.

use conclave_core::limits::TEXT_BYTES_MAX;
use conclave_text::{BYTE_ORDER_MARK, breaks_line, turns_direction};
use serde_json::Value;

/// Sign where a part was cut.
const CUT: &str = "…";
/// Text at the end of a message that was cut.
const CUT_MESSAGE: &str = "\n… (the rest was cut: a message has at most 16 KiB)";
/// Maximum length of an address that is shown, in bytes: longer than browsers keep whole. A longer
/// one is left out.
const URL_BYTES_MAX: usize = 2048;

/// Cleans a program's text: removes sequences for terminals, control characters and marks of
/// direction, and ends lines with a line feed.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' => cleaned.push('\n'),
            '\t' => cleaned.push_str("    "),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' => cleaned.push('\n'),
            character if breaks_line(character) => cleaned.push('\n'),
            // A sequence that colours a terminal, as logs of builds have them.
            '\u{1b}' if characters.peek() == Some(&'[') => {
                characters.next();
                let is_middle = |next: &char| matches!(next, ' '..='?');
                while characters.next_if(is_middle).is_some() {}
                characters.next_if(|next| matches!(next, '@'..='~'));
            }
            BYTE_ORDER_MARK => {}
            character if steers(character) => {}
            character => cleaned.push(character),
        }
    }
    cleaned
}

/// Returns whether a character controls a terminal or turns the direction of writing.
fn steers(character: char) -> bool {
    character.is_control() || turns_direction(character)
}

/// Cleans what belongs into one line, and cuts it to a number of characters.
pub(super) fn line(text: &str, characters_max: usize) -> String {
    let cleaned = clean(text);
    let words: Vec<&str> = cleaned.split_whitespace().collect();
    cut(&words.join(" "), characters_max)
}

/// Cleans what may have several lines, and cuts it to a number of characters.
pub(super) fn excerpt(text: &str, characters_max: usize) -> String {
    cut(clean(text).trim(), characters_max)
}

/// Cuts a text to a number of characters.
fn cut(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}{CUT}", text[..at].trim_end()),
    }
}

/// Cuts a text to the length of a message; returns whether it was longer.
pub(super) fn fit(text: &str) -> (String, bool) {
    let text = text.trim_end();
    if text.len() <= TEXT_BYTES_MAX {
        return (text.to_owned(), false);
    }
    let at = text.floor_char_boundary(TEXT_BYTES_MAX - CUT_MESSAGE.len());
    (format!("{}{CUT_MESSAGE}", text[..at].trim_end()), true)
}

/// Returns an address, or nothing if a reader cannot follow it.
pub(super) fn url(text: &str) -> &str {
    let text = text.trim();
    let known = ["http://", "https://", "mailto:"];
    let is_known = known.iter().any(|scheme| starts_with(text, scheme));
    let is_one = !text.contains(|c: char| c.is_whitespace() || steers(c));
    match is_known && is_one && text.len() <= URL_BYTES_MAX {
        true => text,
        false => "",
    }
}

fn starts_with(text: &str, beginning: &str) -> bool {
    let start = text.get(..beginning.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(beginning))
}

/// Returns a label and its address: `label (address)`.
pub(super) fn link(label: &str, address: &str) -> String {
    let address = url(address);
    match (label.is_empty(), address.is_empty()) {
        (_, true) => label.to_owned(),
        (true, false) => address.to_owned(),
        (false, false) if label == address => address.to_owned(),
        (false, false) => format!("{label} ({address})"),
    }
}

/// Returns the value at `path`, whose steps are divided by dots; `Null` if there is none.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, step| &value[step])
}

/// Returns the text at `path`; empty if there is none.
pub(super) fn text_at<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_default()
}

/// Returns the text, number or truth value at `path` as a text; empty if there is none.
pub(super) fn word_at(value: &Value, path: &str) -> String {
    word(at(value, path))
}

/// Returns a text, number or truth value as a text; empty for anything else.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(is_so) => is_so.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

/// Returns the list at `path`; empty if there is none.
pub(super) fn list_at<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_array().map_or(&[], Vec::as_slice)
}

/// Returns the first of several texts that is not empty.
pub(super) fn first_of<'a>(value: &'a Value, paths: &[&str]) -> &'a str {
    let mut texts = paths.iter().map(|path| text_at(value, path).trim());
    texts.find(|text| !text.is_empty()).unwrap_or_default()
}

/// Joins the parts that are not empty.
pub(super) fn join(parts: &[String], between: &str) -> String {
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).collect();
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_hidden_characters_are_removed() {
        let cases = [
            ("a\r\nb\rc\u{2028}d", "a\nb\nc\nd"),
            ("\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}", "red ]0;title"),
            ("\u{1b}[1;32", ""),
            ("a\tb\0c\u{85}d", "a    bcd"),
            ("\u{feff}safe\u{202e}txt", "safetxt"),
            ("a\u{200e}b\u{200f}c\u{61c}d\u{2066}e\u{2069}f", "abcdef"),
            ("👩🏻‍❤️‍💋‍👨🏾", "👩🏻‍❤️‍💋‍👨🏾"),
        ];
        for (sent, shown) in cases {
            assert_eq!(clean(sent), shown, "{sent:?}");
        }
    }

    #[test]
    fn overlong_text_is_cut_and_marked() {
        assert_eq!(line("  one\n two ", 20), "one two");
        assert_eq!(line("żółw łódka", 4), "żółw…");
        assert_eq!(excerpt("a\nb\nc", 3), "a\nb…");
        let (text, was_cut) = fit(&"ż".repeat(TEXT_BYTES_MAX));
        assert!(text.len() <= TEXT_BYTES_MAX && was_cut);
        assert!(text.ends_with("16 KiB)"), "{}", &text[text.len() - 80..]);
        assert_eq!(fit("short\n\n"), ("short".to_owned(), false));
        let just = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(fit(&just), (just.clone(), false));
    }

    #[test]
    fn only_addresses_that_a_reader_can_follow_are_linked() {
        assert_eq!(url(" HTTPS://x.example/a "), "HTTPS://x.example/a");
        let persian = "https://x.example/می\u{200c}خواهم";
        assert_eq!(url(persian), persian);
        for bad in [
            "",
            "javascript:alert(1)",
            "https://a b",
            "https://x.example/\u{202e}gpj.exe",
            "https://x.example/\u{200f}a",
            "/relative",
            "żółw",
        ] {
            assert_eq!(url(bad), "", "{bad}");
        }
        assert_eq!(link("x", "https://x.example"), "x (https://x.example)");
        assert_eq!(link("x", "javascript:x"), "x");
        assert_eq!(link("", "https://x.example"), "https://x.example");
    }
}
