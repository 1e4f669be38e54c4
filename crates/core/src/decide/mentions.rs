//! Finds the members that a text names as `@name`.
//!
//! Always true: costs nothing for a text without `@`, and at most [`MENTIONS_MAX`] names are
//! looked up, each at most a few times.

use std::collections::BTreeSet;

use super::Stop;
use crate::{
    AccountId, AccountName, ConversationId, Lookup, MessageText, limits::MENTIONS_MAX, name,
};

/// Members of `conversation` other than `by` that `text` names, in order of their numbers. A
/// conversation that is only being opened has no members yet but `peer`.
pub(super) fn mentions(
    lookup: &impl Lookup,
    conversation: ConversationId,
    peer: Option<AccountId>,
    by: AccountId,
    text: &MessageText,
) -> Result<Vec<AccountId>, Stop> {
    let mut found = BTreeSet::new();
    for word in named(text.as_str()).take(MENTIONS_MAX) {
        let Some(account) = account(lookup, word)? else {
            continue;
        };
        let is_member = || -> Result<bool, Stop> {
            Ok(peer == Some(account) || lookup.membership(conversation, account)?.is_some())
        };
        if account != by && is_member()? {
            found.insert(account);
        }
    }
    Ok(found.into_iter().collect())
}

/// The account with this name; `@bob.` and `@bob-` mean bob if nobody has the longer name.
fn account(lookup: &impl Lookup, word: &str) -> Result<Option<AccountId>, Stop> {
    let shorter = word.trim_end_matches(['.', '-', '_']);
    for candidate in [word, shorter] {
        let Ok(name) = AccountName::new(candidate) else {
            continue;
        };
        if let Some(account) = lookup.account_by_key(&name.key())? {
            return Ok(Some(account.id));
        }
    }
    Ok(None)
}

/// The runs of name characters behind each `@` that does not itself stand behind one.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('@').filter_map(|(at, _)| {
        let before = text[..at].chars().next_back();
        if before.is_some_and(name::is_allowed) {
            return None;
        }
        let rest = &text[at + 1..];
        let end = rest.find(|c| !name::is_allowed(c)).unwrap_or(rest.len());
        Some(&rest[..end]).filter(|word| !word.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_behind_an_at_sign_that_is_no_part_of_a_word() {
        let names = |text| named(text).collect::<Vec<_>>();
        assert_eq!(names("@bob, ask @carol.d!"), ["bob", "carol.d"]);
        assert_eq!(names("(@bob) @ @@eve é@x"), ["bob", "eve", "x"]);
        assert_eq!(names("mail bob@example.org"), [""; 0]);
        assert_eq!(names("none"), [""; 0]);
    }
}
