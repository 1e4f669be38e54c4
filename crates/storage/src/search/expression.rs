//! A query in the language of the index.
//!
//! Always true: what somebody typed stands between quotes, with the quotes in it doubled, so it
//! is looked for and never obeyed.

use conclave_core::{AccountId, ConversationId, SearchQuery, query::Term};

use super::scope::Scope;

/// The tag of a conversation.
pub(super) fn conversation_tag(id: ConversationId) -> String {
    format!("c{id}")
}

/// The tag of a sender.
pub(super) fn account_tag(id: AccountId) -> String {
    format!("a{id}")
}

/// What the text must say, whoever says it wherever.
pub(super) fn of_text(query: &SearchQuery) -> String {
    let terms: Vec<String> = query.terms().iter().map(term).collect();
    format!("{{text}} : ({})", terms.join(" AND "))
}

/// The same within a scope.
pub(super) fn within(query: &SearchQuery, scope: &Scope) -> String {
    let mut whole = of_text(query);
    if let Some(conversations) = &scope.conversations {
        let tags = conversations
            .iter()
            .map(|id| quoted(&conversation_tag(*id)));
        let tags: Vec<String> = tags.collect();
        whole += &format!(" AND {{tags}} : ({})", tags.join(" OR "));
    }
    if let Some(by) = scope.by {
        whole += &format!(" AND {{tags}} : {}", quoted(&account_tag(by)));
    }
    whole
}

fn term(term: &Term) -> String {
    match term {
        Term::Word(text) | Term::Phrase(text) => quoted(text),
        Term::Prefix(text) => quoted(text) + " *",
    }
}

fn quoted(text: &str) -> String {
    // A zero byte would end the whole expression; to the index it is a sign like any other.
    format!("\"{}\"", text.replace('\0', " ").replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(typed: &str) -> SearchQuery {
        SearchQuery::parse(typed).unwrap()
    }

    #[test]
    fn whatever_is_typed_stands_between_quotes() {
        let typed = query("a\"b OR \"c d\" ee* {tags}");
        let whole = r#"{text} : ("a""b" AND "OR" AND "c d" AND "ee" * AND "{tags}")"#;
        assert_eq!(of_text(&typed), whole);
    }

    #[test]
    fn a_scope_becomes_tags() {
        let scope = Scope {
            conversations: Some(vec![ConversationId(7), ConversationId(12)]),
            by: Some(AccountId(3)),
        };
        let whole = r#"{text} : ("x") AND {tags} : ("c7" OR "c12") AND {tags} : "a3""#;
        assert_eq!(within(&query("x"), &scope), whole);
        let everywhere = Scope {
            conversations: None,
            by: None,
        };
        assert_eq!(within(&query("x"), &everywhere), of_text(&query("x")));
    }
}
