//! A query in the language of the index.
//!
//! Always true: a term stands between quotes and consists of letters, digits and what is not
//! ASCII, so it is looked for and never obeyed.

use conclave_words::SearchQuery;

use super::{
    scope::Scope,
    terms::{self, QueryTerm},
};

/// Returns what the index is asked for within a scope; `None`: for everything.
pub(super) fn within(query: &SearchQuery, asked: &[QueryTerm], scope: &Scope) -> Option<String> {
    let mut all: Vec<String> = asked.iter().map(term).collect();
    if query.has_link() {
        all.push(quoted(&terms::link_tag()));
    }
    if let Some(by) = scope.by {
        all.push(quoted(&terms::account_tag(by)));
    }
    if let Some(conversations) = &scope.conversations {
        let tags = conversations.iter().map(|id| terms::conversation_tag(*id));
        let tags: Vec<String> = tags.map(|tag| quoted(&tag)).collect();
        all.push(format!("({})", tags.join(" OR ")));
    }
    (!all.is_empty()).then(|| all.join(" AND "))
}

fn term(term: &QueryTerm) -> String {
    let star = if term.is_prefix { " *" } else { "" };
    quoted(&term.text) + star
}

fn quoted(term: &str) -> String {
    format!("\"{term}\"")
}

#[cfg(test)]
mod tests {
    use conclave_core::{AccountId, ConversationId};
    use conclave_words::query::Zone;

    use super::*;

    fn whole(typed: &str, scope: &Scope) -> Option<String> {
        let query = SearchQuery::parse(typed, &Zone::default()).unwrap();
        within(&query, &terms::of_query(&query).0, scope)
    }

    #[test]
    fn query_words_become_quoted_terms() {
        let typed = "a\"b OR \"c d\" ee* {tags} 東京都 -x has:link";
        let everywhere = Scope::default();
        let expected = concat!(
            "\"a\" AND \"b\" AND \"c\" AND \"d\" AND \"or\" AND \"tags\" AND ",
            "\"京都\" AND \"東京\" AND \"ee\" * AND \"\u{e000}l\""
        );
        assert_eq!(whole(typed, &everywhere).unwrap(), expected);
        assert_eq!(whole("-x", &everywhere), None);
    }

    #[test]
    fn a_scope_becomes_tags() {
        let scope = Scope {
            conversations: Some(vec![ConversationId(7), ConversationId(12)]),
            by: Some(AccountId(3)),
            ..Scope::default()
        };
        let expected = concat!(
            "\"x\" AND \"\u{e000}a3\" AND ",
            "(\"\u{e000}c7\" OR \"\u{e000}c12\")"
        );
        assert_eq!(whole("x", &scope).unwrap(), expected);
    }
}
