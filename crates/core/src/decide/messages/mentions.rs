//! Finds the members that a text names as `@name`, as people mean it: around punctuation, marks of
//! Markdown and letters of other scripts; not in code, in addresses of mail and in links.
//!
//! Only ASCII and fixed ranges of Unicode are asked, never a library's tables: what a log means
//! does not change with them. Always true: costs nothing for a text without an at sign, and at most
//! [`MENTIONS_MAX`] names are looked up, each at most [`MENTION_LOOKUPS_MAX`] times.

use std::collections::BTreeSet;

use super::code;
use crate::{
    AccountId, AccountName, ConversationId, Lookup, MessageText,
    decide::ruling::Stop,
    limits::{MENTION_LOOKUPS_MAX, MENTIONS_MAX, NAME_BYTES_MAX},
    name,
};

/// How far before an at sign an address is looked for, in characters.
const LOOK_BACK_MAX: usize = 64;

/// Signs of names that are also signs of sentences and of Markdown.
const SIGNS: [char; 3] = ['.', '_', '-'];

/// Returns members of `conversation` other than `by` that `text` names, in order of their numbers.
/// A conversation that is only being opened has no members yet but `peer`.
pub(crate) fn mentions(
    lookup: &impl Lookup,
    conversation: ConversationId,
    peer: Option<AccountId>,
    by: AccountId,
    text: &MessageText,
) -> Result<Vec<AccountId>, Stop> {
    let mut found = BTreeSet::new();
    for named in named(text.as_str()) {
        let Some(account) = account(lookup, &named)? else {
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

/// Returns the account that is meant: the one with the longest name.
fn account(lookup: &impl Lookup, named: &Named) -> Result<Option<AccountId>, Stop> {
    for candidate in named.candidates() {
        let Ok(name) = AccountName::new(candidate) else {
            continue;
        };
        if let Some(account) = lookup.account_by_key(&name.key())? {
            return Ok(Some(account.id));
        }
    }
    Ok(None)
}

/// What stands behind an at sign.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    /// The characters of names there, one more than a name can have at most.
    run: String,
    /// Whether a sentence may end inside the run.
    may_end_inside: bool,
}

impl Named {
    /// Returns the names that may be meant, the longest first: `@bob.` and `_@bob_` mean bob, and
    /// so does `@bob.Then`, where an account `bob.then` is none.
    fn candidates(&self) -> impl Iterator<Item = &str> {
        let run = self.run.as_str();
        let shorter = run.strip_suffix(SIGNS);
        let mut core = Some(run.trim_end_matches(SIGNS));
        let inside = std::iter::from_fn(move || {
            let longer = core?;
            let stop = longer.rfind('.').max(longer.rfind("--"));
            core = stop.map(|stop| longer[..stop].trim_end_matches(SIGNS));
            Some(longer)
        });
        let inside = inside.take(if self.may_end_inside { usize::MAX } else { 1 });
        let mut last = "";
        let all = [run].into_iter().chain(shorter).chain(inside);
        let all = all.filter(move |name| {
            let is_new = *name != last && (1..=NAME_BYTES_MAX).contains(&name.len());
            last = name;
            is_new
        });
        all.take(MENTION_LOOKUPS_MAX)
    }
}

/// Returns at most [`MENTIONS_MAX`] names.
fn named(text: &str) -> Vec<Named> {
    let mut all = Vec::new();
    // One after the other: looking for one sign is much faster than looking at each character.
    if !text.contains('@') && !text.contains('\u{ff20}') {
        return all;
    }
    let mut code = code::parts(text).into_iter().peekable();
    let mut link = Links::default();
    for (at, sign) in text.match_indices(is_at) {
        while code.next_if(|part| part.end <= at).is_some() {}
        let is_code = code.peek().is_some_and(|part| part.start <= at);
        if is_code || link.is_in_one(text, at) || !may_begin(&text[..at]) {
            continue;
        }
        let may_end_inside = text[..at].chars().next_back().is_none_or(is_no_letter);
        all.extend(behind(&text[at + sign.len()..], may_end_inside));
        if all.len() == MENTIONS_MAX {
            break;
        }
    }
    all
}

/// Returns whether this is an at sign: also the full-width one, which keyboards of East Asia type.
fn is_at(character: char) -> bool {
    matches!(character, '@' | '\u{ff20}')
}

/// Returns the ASCII character that a full-width one stands for.
fn narrow(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character)
        }
        other => other,
    }
}

/// Returns the run of characters of names at the beginning of `rest`, if it is a name and no part
/// of a longer word or of an address.
fn behind(rest: &str, may_end_inside: bool) -> Option<Named> {
    let is_of_name = |character: char| name::is_allowed(narrow(character));
    let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
    let (run, after) = rest.split_at(end);
    let next = after.chars().next();
    if run.is_empty() || next.is_some_and(is_latin) {
        return None;
    }
    if next.is_some_and(is_at) {
        // An account elsewhere: `@bob@example.org`.
        let host = after.trim_start_matches(is_at);
        let end = host.find(|c| !is_of_name(c)).unwrap_or(host.len());
        if host[..end].trim_matches(SIGNS).contains('.') {
            return None;
        }
    }
    let run = run.chars().map(narrow).take(NAME_BYTES_MAX + 1).collect();
    Some(Named {
        run,
        may_end_inside,
    })
}

/// Returns whether a mention may stand behind `before`: not in an address of mail, not in a path,
/// and not if it is taken back with a back-slash.
fn may_begin(before: &str) -> bool {
    let mut back = before.chars().rev().take(LOOK_BACK_MAX);
    match back.next() {
        None => true,
        Some('\\') => false,
        Some('/') => {
            let is_of_path = |c: &char| name::is_allowed(*c) || matches!(c, '/' | ':');
            let path = back.clone().take_while(is_of_path);
            let has_host = path.clone().any(|c| c == '.');
            let mut ahead = back.skip(path.count());
            !has_host || ahead.next().is_some_and(is_at)
        }
        // The end of a sentence. No address ends so.
        Some('.') => true,
        Some('_' | '-' | '+') => {
            let signs = |c: &char| matches!(c, '.' | '_' | '-' | '+');
            let inside = back.find(|c| !signs(c));
            !inside.is_some_and(is_word)
        }
        Some(character) => !is_word(character),
    }
}

/// Letters and digits that stand in addresses.
fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || is_latin(character)
}

/// Letters of the Latin script beyond ASCII, and marks on letters: `@josé` does not mean `jos`.
/// Behind a name in other scripts stands the next word, or an ending.
fn is_latin(character: char) -> bool {
    matches!(
        character,
        '\u{aa}' | '\u{ba}' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{24f}'
            | '\u{300}'..='\u{36f}' | '\u{1e00}'..='\u{1eff}'
    )
}

/// Returns whether this is no letter: ASCII, and punctuation and symbols beyond it. Behind letters
/// of other scripts a dot makes an address more likely than a sentence: `почта@example.org`.
fn is_no_letter(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{a9}' | '\u{ab}'..='\u{b9}' | '\u{bb}'..='\u{bf}' | '\u{2000}'..='\u{206f}'
            | '\u{2190}'..='\u{2bff}' | '\u{3000}'..='\u{3004}' | '\u{3008}'..='\u{3020}'
            | '\u{fe0f}' | '\u{ff00}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}'
            | '\u{ff3b}'..='\u{ff40}' | '\u{ff5b}'..='\u{ff65}' | '\u{1f000}'..='\u{1faff}'
    )
}

/// Walks over the links of a text, each one once.
#[derive(Default)]
struct Links {
    /// Up to here the text was looked through.
    until: usize,
    /// Where the link begins in the word that ends there, if it has one.
    begins: Option<usize>,
}

impl Links {
    /// Returns whether what is at `at`, which is behind all that was asked for before, is in a
    /// link.
    fn is_in_one(&mut self, text: &str, at: usize) -> bool {
        while self.until <= at {
            let rest = &text[self.until..];
            let spaces = rest.find(|c| !ends_link(c)).unwrap_or(rest.len());
            let word = &rest[spaces..];
            let length = word.find(ends_link).unwrap_or(word.len());
            let scheme = word[..length].find("://");
            let bare = (word.len() >= 4 && word.as_bytes()[..4].eq_ignore_ascii_case(b"www."))
                .then_some(0);
            let begin = scheme.filter(|scheme| *scheme > 0).or(bare);
            self.begins = begin.map(|begin| self.until + spaces + begin);
            self.until += spaces + length;
            if self.until >= text.len() {
                break;
            }
        }
        self.begins.is_some_and(|begin| begin <= at)
    }
}

/// Spaces, quotation marks and the punctuation of East Asia.
fn ends_link(character: char) -> bool {
    matches!(
        character,
        '\0'..=' ' | '"' | '<' | '>' | '`' | '\u{a0}' | '\u{2000}'..='\u{200a}'
            | '\u{2028}'..='\u{202f}' | '\u{3000}'..='\u{3003}' | '\u{3008}'..='\u{3011}'
            | '\u{ff01}' | '\u{ff08}' | '\u{ff09}' | '\u{ff0c}' | '\u{ff1a}' | '\u{ff1b}'
            | '\u{ff1f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns what would be looked up for each mention, the longest name first.
    fn looked_up(text: &str) -> Vec<String> {
        let names = named(text);
        let names = names
            .iter()
            .map(|named| named.candidates().collect::<Vec<_>>().join(" "));
        names.collect()
    }

    #[test]
    fn a_mention_is_found_next_to_punctuation_and_marks() {
        let bob = [
            "@bob",
            "@bob, hi",
            "(@bob)",
            "[@bob]",
            "**@bob**",
            "hi**@bob**",
            "~~@bob~~",
            "@bob's turn",
            "@bob’s turn",
            "@bob、",
            "，@bob。",
            "＠bob",
            "＠ｂｏｂ",
            "中文@bob中文",
            "ไทย@bobไทย",
            "привет@bob",
            "передай @bobу",
            "🎉@bob🎉",
            "\u{201c}@bob\u{201d}",
            "cc:@bob",
            "cc/@bob",
            "either/@bob/me",
            "end.@bob",
            "- @bob",
            "@bob\u{200b}",
            "@@bob",
            "> @bob",
            "<@bob>",
            "http://x.org @bob",
            "<http://x.org>@bob",
            "ftp：//x @bob",
            "one ` alone @bob",
            "`code` @bob",
        ];
        for text in bob {
            assert_eq!(looked_up(text), ["bob"], "{text:?}");
        }
    }

    #[test]
    fn the_longest_mention_candidate_is_looked_up_first() {
        let cases: [(&str, &[&str]); 16] = [
            ("_@bob_", &["bob_ bob"]),
            ("__@bob__", &["bob__ bob_ bob"]),
            ("@bob.", &["bob. bob"]),
            ("@bob...", &["bob... bob.. bob"]),
            ("@bob.The", &["bob.The bob"]),
            (
                "@bob.the.builder.",
                &["bob.the.builder. bob.the.builder bob.the bob"],
            ),
            ("@a.b.c.d.e.f", &["a.b.c.d.e.f a.b.c.d.e a.b.c.d a.b.c"]),
            ("@bob--thanks", &["bob--thanks bob"]),
            ("@bob_smith", &["bob_smith"]),
            ("@bob-smith", &["bob-smith"]),
            ("@bob @carol.d!", &["bob", "carol.d carol"]),
            ("@alice.b/@bob", &["alice.b alice", "bob"]),
            ("@alice/@bob", &["alice", "bob"]),
            ("@bob.хорошо", &["bob. bob"]),
            ("中文@bob.谢谢", &["bob. bob"]),
            ("@.", &["."]),
        ];
        for (text, expected) in cases {
            assert_eq!(looked_up(text), expected, "{text:?}");
        }
        let last = |text: &str| named(text)[0].candidates().last().map(str::to_owned);
        let bob = Some("bob".to_owned());
        assert_eq!(last(&format!("@bob.{}", "x".repeat(1000))), bob);
        assert_eq!(last(&format!("@bob{}", ".".repeat(1000))), bob);
        assert_eq!(last(&format!("@{}", "x".repeat(33))), None);
    }

    #[test]
    fn addresses_links_and_code_mention_no_account() {
        let no_mentions = [
            "bob@example.com",
            "mail bob.smith+tag@example.com",
            "josé@example.com",
            "jose\u{301}@example.com",
            "foo_@example.com",
            "foo-@example.com",
            "@josé",
            "@jose\u{301}",
            "@bob@example.org",
            "https://x/@bob",
            "(https://x.org/a?b=@bob)",
            "HTTPS://X/@bob",
            "www.example.org/@bob",
            "mastodon.example/@bob",
            "mailto:bob@example.org",
            "`@bob`",
            "`` @bob ` ``",
            "```\n@bob\n```",
            "~~~\n@bob",
            "\\@bob",
            "@",
            "@ bob",
            "@@",
            "@中文",
        ];
        for text in no_mentions {
            assert_eq!(looked_up(text), [""; 0], "{text:?}");
        }
        // Only if there is an account with the whole name.
        assert_eq!(looked_up("почта@example.org"), ["example.org"]);
    }

    proptest! {
        #[test]
        fn mentions_of_any_text_are_bounded_and_well_formed(
            text in prop_oneof![
                any::<String>(),
                "[ab@＠.`~_/:\\\\ \\n中é\u{301}-]{0,40}",
            ],
        ) {
            for named in named(&text) {
                prop_assert!(!named.run.is_empty() && named.run.len() <= NAME_BYTES_MAX + 1);
                prop_assert!(named.run.chars().all(name::is_allowed), "{:?}", named);
                let candidates: Vec<_> = named.candidates().collect();
                prop_assert!(candidates.len() <= MENTION_LOOKUPS_MAX);
                prop_assert!(candidates.is_sorted_by(|long, short| long.len() > short.len()));
                prop_assert!(candidates.iter().all(|name| named.run.starts_with(name)));
            }
            // A fence before it makes code of everything.
            let quoted = format!("~~~~~\n{}", text.replace('~', "-"));
            prop_assert_eq!(named(&quoted).len(), 0);
            let plain = text.replace(['`', '~'], "");
            let before = named(&plain).len().min(MENTIONS_MAX - 1);
            let with_bob = format!("{plain} @bob");
            prop_assert_eq!(named(&with_bob).len(), before + 1);
        }
    }

    #[test]
    fn hostile_texts_exceed_no_mention_bound() {
        for piece in [
            "@", "a@", "a/@", "x.y/@", "_@", "x_@", "`@", "``@`", "http://@", "@a.", "＠",
        ] {
            let text = piece.repeat(crate::limits::TEXT_BYTES_MAX / piece.len());
            assert!(named(&text).len() <= MENTIONS_MAX, "{piece:?}");
        }
    }
}
