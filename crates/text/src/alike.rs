//! Display names that look like the name of an account.
//!
//! Names of accounts are ASCII, and `core` compares their looks by a rule of its own. A display
//! name can be written in any script, so the letters that look like ASCII are found by the
//! skeletons of UTS 39.

use std::collections::BTreeSet;

use conclave_core::{limits::NAME_BYTES_MAX, name};
use unicode_normalization::UnicodeNormalization as _;
use unicode_security::skeleton;

use crate::character::is_nothing;

/// Returns the names that a display name could be taken for, as they would be written: at most 5,
/// none if it looks like no name of an account. Those accounts have such a name in lower case, or
/// one with its [`skeleton`](name::skeleton).
#[must_use]
pub fn names_like(display_name: &str) -> BTreeSet<String> {
    let seen = display_name.chars().filter(|c| !is_nothing(*c));
    let written: String = seen.nfkc().collect();
    let lower = written.to_lowercase();
    // The skeleton of a capital I is that of a small L, and it is as well a capital i.
    let is_capital_i = |c| matches!(c, 'I' | '\u{399}' | '\u{406}' | '\u{4c0}');
    let with_i: String = written
        .chars()
        .map(|c| if is_capital_i(c) { 'i' } else { c })
        .collect();
    let forms = [
        skeleton(&with_i).collect(),
        skeleton(&written).collect(),
        skeleton(&lower).collect(),
        written,
        lower,
    ];
    let looks = forms.iter().map(|form: &String| {
        // A mark on a letter is easily overlooked.
        let bare = form
            .nfd()
            .filter(|c| !unicode_normalization::char::is_combining_mark(*c));
        bare.collect::<String>()
    });
    let is_name = |look: &String| {
        (1..=NAME_BYTES_MAX).contains(&look.len()) && look.chars().all(name::is_allowed)
    };
    looks.filter(is_name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_like(display_name: &str, account: &str) -> bool {
        names_like(display_name).iter().any(|name| {
            name.eq_ignore_ascii_case(account) || name::skeleton(name) == name::skeleton(account)
        })
    }

    #[test]
    fn confusable_display_names_are_recognized() {
        let alike = [
            ("alice", "alice"),
            ("ALICE", "alice"),
            ("Alice", "ALICE"),
            ("a l i c e", "alice"),
            ("аlicе", "alice"),
            ("АLICE", "alice"),
            ("ａｌｉｃｅ", "alice"),
            ("𝐚𝐥𝐢𝐜𝐞", "alice"),
            ("al\u{200b}ice", "alice"),
            ("a1ice", "alice"),
            ("aIice", "alice"),
            ("álicé", "alice"),
            ("rnary", "mary"),
            ("mary", "rnary"),
            ("Ⅰvan", "lvan"),
            ("b0b", "bob"),
            // In Greek capitals.
            ("\u{39c}\u{399}\u{39a}\u{395}", "mike"),
            ("\u{391}L\u{399}C\u{395}", "alice"),
            ("вob", "bob"),
        ];
        for (display_name, account) in alike {
            let like = is_like(display_name, account);
            // Cyrillic `в` is a small capital: it looks like no `b`.
            assert_eq!(like, display_name != "вob", "{display_name} {account}");
        }
    }

    #[test]
    fn distinct_names_are_not_confusable() {
        for (display_name, account) in [
            ("Alice Smith", "alice"),
            ("Алиса", "alice"),
            ("bob", "rob"),
            ("漢字", "bob"),
            ("🎉", "bob"),
            ("", "bob"),
        ] {
            assert!(!is_like(display_name, account), "{display_name} {account}");
        }
    }
}
