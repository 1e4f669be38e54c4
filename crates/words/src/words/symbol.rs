//! Emoji and other symbols, which are looked for as they are.
//!
//! The colour of a skin and the form in which an emoji is drawn make no difference.

use conclave_text::{ZERO_WIDTH_JOINER, is_form_selector};
use unicode_properties::{GeneralCategory, UnicodeEmoji as _, UnicodeGeneralCategory as _};

/// Returns the folded form of a cluster that is a symbol; `None`: it is none.
pub(super) fn of(cluster: &str) -> Option<String> {
    let first = cluster.chars().next()?;
    if !is_symbol(first) {
        return None;
    }
    let is_colour = |c: char| matches!(c, '\u{1f3fb}'..='\u{1f3ff}');
    let is_form = |c: &char| is_form_selector(*c) || is_colour(*c);
    let mut shape: String = cluster.chars().filter(|c| !is_form(c)).collect();
    while shape.ends_with(ZERO_WIDTH_JOINER) {
        shape.pop();
    }
    // A colour alone is a symbol like others.
    (!shape.is_empty()).then_some(shape).or(Some(first.into()))
}

fn is_symbol(first: char) -> bool {
    if first < '¢' {
        return false;
    }
    match first {
        // Signs beside words, not looked for.
        '©' | '®' | '™' | '℠' | '°' | '¦' | '\u{fffc}' | '\u{fffd}' => false,
        // Letters and numbers in circles and squares are those letters and numbers.
        '\u{2100}'..='\u{214f}' | '\u{2460}'..='\u{24ff}' | '\u{3200}'..='\u{33ff}' => false,
        first => {
            first.is_emoji_char()
                || matches!(
                    first.general_category(),
                    GeneralCategory::OtherSymbol | GeneralCategory::CurrencySymbol
                )
        }
    }
}
