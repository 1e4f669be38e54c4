//! Wildcards for lists of names: `*` is any run of characters, `?` is any one.
//!
//! Always true: matching takes at most (pattern × name) steps, ignores ASCII case, and `*`
//! matches everything.

use crate::{Rejection, limits::NAME_BYTES_MAX, name};

/// A valid pattern in lower case: at most twice the length of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Takes `pattern` if it consists of characters of names, `*` and `?`. Empty means `*`.
    ///
    /// # Errors
    /// [`Rejection::PatternInvalid`].
    pub fn new(pattern: &str) -> Result<Self, Rejection> {
        let allowed = |c: char| name::is_allowed(c) || matches!(c, '*' | '?');
        if pattern.len() > 2 * NAME_BYTES_MAX || !pattern.chars().all(allowed) {
            return Err(Rejection::PatternInvalid);
        }
        let pattern = if pattern.is_empty() { "*" } else { pattern };
        Ok(Self(pattern.to_ascii_lowercase()))
    }

    /// Returns the characters before the first wildcard: a list sorted by name may start there.
    #[must_use]
    pub fn prefix(&self) -> &str {
        let end = self.0.find(['*', '?']).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// Returns whether the name with this key (see [`crate::AccountName::key`]) matches.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        let (pattern, key) = (self.0.as_bytes(), key.as_bytes());
        let (mut p, mut k) = (0, 0);
        // Where to go on if the characters after the last star turn out not to match.
        let mut retry: Option<(usize, usize)> = None;
        while k < key.len() {
            if p < pattern.len() && pattern[p] == b'*' {
                retry = Some((p + 1, k));
                p += 1;
            } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == key[k]) {
                p += 1;
                k += 1;
            } else if let Some((after_star, from)) = retry {
                retry = Some((after_star, from + 1));
                p = after_star;
                k = from + 1;
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|c| *c == b'*')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, key: &str) -> bool {
        NamePattern::new(pattern).unwrap().matches(key)
    }

    /// Matches by the definition, as short as it can be written.
    fn simple(pattern: &[u8], key: &[u8]) -> bool {
        match (pattern.first(), key.first()) {
            (None, None) => true,
            (Some(b'*'), _) => {
                simple(&pattern[1..], key) || (!key.is_empty() && simple(pattern, &key[1..]))
            }
            (Some(p), Some(k)) => (*p == b'?' || p == k) && simple(&pattern[1..], &key[1..]),
            _ => false,
        }
    }

    #[test]
    fn stars_and_question_marks_match_as_in_a_shell() {
        assert!(matches("", "anyone"));
        assert!(matches("AL*", "alice"));
        assert!(matches("*ic?", "alice"));
        assert!(!matches("al?", "alice"));
        assert!(matches("a*b*c", "axxbxbxc"));
        assert!(NamePattern::new("a%b").is_err());
        assert_eq!(NamePattern::new("Ab*c").unwrap().prefix(), "ab");
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition(pattern in "[ab*?]{0,6}", key in "[ab]{0,7}") {
            let of = if pattern.is_empty() { "*" } else { &pattern };
            prop_assert_eq!(matches(&pattern, &key), simple(of.as_bytes(), key.as_bytes()));
        }
    }
}
