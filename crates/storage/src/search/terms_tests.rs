//! Terms of texts and of queries.

use conclave_words::{SearchQuery, query::Zone};
use proptest::prelude::*;

use super::*;

fn of(text: &str) -> Vec<String> {
    let all = of_message(text, ConversationId(7), AccountId(3));
    let terms = all.split(' ').filter(|term| !term.starts_with(TAG));
    terms.map(str::to_owned).collect()
}

#[test]
fn a_run_has_a_term_for_each_of_its_characters() {
    assert_eq!(of("東京都 x東"), ["x", "京都", "東", "東京", "都"]);
    assert_eq!(of("กขคง"), ["กขค", "ขคง", "คง", "ง"]);
    assert_eq!(of("b a b 🎉"), ["a", "b", "🎉"]);
}

#[test]
fn a_message_has_tags_that_no_text_has() {
    let tags = |text: &str| {
        let all = of_message(text, ConversationId(7), AccountId(3));
        all.split(' ').filter(|term| term.starts_with(TAG)).count()
    };
    assert_eq!(tags("\u{e000}c8 \u{e000}a9"), 2);
    assert_eq!(tags("https://example.org"), 3);
}

#[test]
fn long_words_are_cut_and_still_found() {
    let key = "k".repeat(200);
    assert_eq!(of(&key), [key[..TERM_BYTES_MAX].to_owned()]);
    let pattern = Pattern::word(&key).unwrap();
    assert!(!is_exact(&pattern));
    assert_eq!(of_pattern(&pattern)[0].text, key[..TERM_BYTES_MAX]);
}

#[test]
fn a_query_asks_for_a_bounded_number_of_terms() {
    let asked = |typed: &str| {
        let query = SearchQuery::parse(typed, &Zone::default()).unwrap();
        let (asked, is_exact) = of_query(&query);
        let prefixes = asked.iter().filter(|asked| asked.is_prefix).count();
        (asked.len(), prefixes, is_exact)
    };
    assert_eq!(asked("a bb* c"), (3, 1, true));
    assert_eq!(asked("東 京 都 市 区 町"), (6, 6, true));
    assert_eq!(asked("東 京 都 市 区 町 村"), (6, 6, false));
    let letters: String = ('a'..='z')
        .chain('0'..='9')
        .flat_map(|c| [c, ' '])
        .collect();
    assert_eq!(asked(&format!("\"{letters}\"")), (32, 0, false));
    assert_eq!(asked("東京都庁舎前"), (5, 0, false));
}

/// Returns whether a message with these terms is proposed for a pattern.
fn is_proposed(terms: &[String], pattern: &Pattern) -> bool {
    of_pattern(pattern).iter().all(|asked| {
        let fits = |term: &String| match asked.is_prefix {
            true => term.starts_with(&asked.text),
            false => *term == asked.text,
        };
        terms.iter().any(fits)
    })
}

proptest! {
    #[test]
    fn index_terms_propose_every_matching_text(
        text in "(\\PC|[ab東京都タワー서울에กขค🎉👩\u{200d} _-]){0,24}",
        from in 0_usize..24,
        length in 1_usize..9,
    ) {
        let typed: String = text.chars().skip(from).take(length).collect();
        let terms = of(&text);
        let words = Words::of(&text);
        for pattern in [Pattern::word(&typed), Pattern::phrase(&typed)].into_iter().flatten() {
            if pattern.is_in(&text, &words) {
                prop_assert!(is_proposed(&terms, &pattern), "{} {:?}", typed, terms);
            } else if is_exact(&pattern) {
                prop_assert!(!is_proposed(&terms, &pattern), "{} {:?}", typed, terms);
            }
        }
    }

    #[test]
    fn index_terms_contain_no_index_syntax(text in any::<String>()) {
        for term in of(&text) {
            let is_plain = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric();
            prop_assert!(term.chars().all(is_plain), "{}", term);
        }
        if let Ok(query) = SearchQuery::parse(&text, &Zone::default()) {
            for asked in query.wanted().iter().flat_map(of_pattern) {
                prop_assert!(!asked.text.contains(['"', ' ', '*']) && !asked.text.is_empty());
            }
        }
    }
}
