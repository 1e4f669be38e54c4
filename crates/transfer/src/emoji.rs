//! Short names of emoji, as other systems write them, and the pictures that they mean.

use emojis::SkinTone;

/// Longest short name in bytes.
const NAME_BYTES_MAX: usize = 64;
/// A colour of skin, which stands behind a name as a name of its own.
const TONE: &str = "skin-tone-2";

/// Returns the picture of a short name; `None` if it is one that a team has made, or none at all.
pub(crate) fn picture(name: &str) -> Option<String> {
    let (base, tone) = match name.split_once("::") {
        Some((base, tone)) => (base, Some(tone)),
        None => (name, None),
    };
    let emoji = emojis::get_by_shortcode(base)?;
    let tone = match tone {
        Some("skin-tone-2") => Some(SkinTone::Light),
        Some("skin-tone-3") => Some(SkinTone::MediumLight),
        Some("skin-tone-4") => Some(SkinTone::Medium),
        Some("skin-tone-5") => Some(SkinTone::MediumDark),
        Some("skin-tone-6") => Some(SkinTone::Dark),
        _ => None,
    };
    let toned = tone.and_then(|tone| emoji.with_skin_tone(tone));
    Some(toned.unwrap_or(emoji).as_str().to_owned())
}

/// Replaces `:tada:` by what it means, outside of code.
pub(crate) fn pictures(text: &str) -> String {
    if !text.contains(':') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut is_code = false;
    let mut rest = text;
    while let Some(at) = rest.find([':', '`']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix('`') {
            is_code = !is_code;
            out.push('`');
            rest = after;
            continue;
        }
        match (!is_code).then(|| named(rest)).flatten() {
            Some((picture, length)) => {
                out.push_str(&picture);
                rest = &rest[length..];
            }
            None => {
                out.push(':');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Returns the picture at the beginning of a text, and how long its name is there.
fn named(text: &str) -> Option<(String, usize)> {
    let inside = text.strip_prefix(':')?;
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+');
    let end = inside.find(|c| !is_of_name(c))?;
    let base = &inside[..end];
    if end == 0 || end > NAME_BYTES_MAX || !inside[end..].starts_with(':') {
        return None;
    }
    let after = &inside[end + 1..];
    let tone = after
        .strip_prefix(':')
        .and_then(|tone| tone.get(..TONE.len()));
    let toned = tone.filter(|tone| tone.starts_with("skin-tone-"));
    match toned.filter(|_| after[1 + TONE.len()..].starts_with(':')) {
        Some(tone) => {
            let picture = picture(&format!("{base}::{tone}"))?;
            Some((picture, 1 + end + 1 + 1 + TONE.len() + 1))
        }
        None => Some((picture(base)?, 1 + end + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_become_pictures_outside_of_code() {
        for (text, shown) in [
            ("done :tada:", "done 🎉"),
            (":+1::heart:", "👍❤️"),
            (":wave::skin-tone-5: hi", "👋🏾 hi"),
            ("at 10:30:45", "at 10:30:45"),
            (":partyparrot: ::", ":partyparrot: ::"),
            ("`:tada:` :tada:", "`:tada:` 🎉"),
            ("a:b", "a:b"),
            (":", ":"),
            ("", ""),
        ] {
            assert_eq!(pictures(text), shown, "{text}");
        }
        assert_eq!(picture("+1").as_deref(), Some("👍"));
        assert_eq!(picture("wave::skin-tone-2").as_deref(), Some("👋🏻"));
        assert_eq!(picture("partyparrot"), None);
    }
}
