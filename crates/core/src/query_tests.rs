//! What is typed, and what it means or why it is refused.

use proptest::prelude::*;

use super::*;

fn parse(typed: &str) -> SearchQuery {
    SearchQuery::parse(typed).unwrap_or_else(|error| panic!("{typed}: {error}"))
}

fn refused(typed: &str) -> QueryError {
    SearchQuery::parse(typed).expect_err(typed)
}

fn word(text: &str) -> Term {
    Term::Word(text.to_owned())
}

fn phrase(text: &str) -> Term {
    Term::Phrase(text.to_owned())
}

fn prefix(text: &str) -> Term {
    Term::Prefix(text.to_owned())
}

#[test]
fn words_phrases_and_beginnings_are_told_apart() {
    let query = parse("  red\t\"blue  green\" yel* ");
    let terms = [word("red"), phrase("blue  green"), prefix("yel")];
    assert_eq!(query.terms(), terms);
    assert_eq!((query.from(), query.place()), (None, None));
    assert_eq!((query.sent_from(), query.sent_before()), (None, None));
}

#[test]
fn nothing_is_an_operator() {
    for typed in ["AND", "NEAR(a", "a*b", "-a", "(a", "text:a", "x\"y", "{a}"] {
        assert_eq!(parse(typed).terms(), [word(typed)], "{typed}");
    }
}

#[test]
fn signs_alone_are_not_looked_for() {
    assert_eq!(parse("a - \"!\" * :) b").terms(), [word("a"), word("b")]);
    assert_eq!(parse("\"a\"b").terms(), [phrase("a"), word("b")]);
}

#[test]
fn filters_are_read_in_any_case_and_order() {
    let query = parse("FROM:Alice x in:#Lobby After:2026-11-20 before:2026-11-22");
    assert_eq!(query.terms(), [word("x")]);
    assert_eq!(query.from().map(AccountName::as_str), Some("Alice"));
    let lobby = RoomName::new("Lobby").unwrap();
    assert_eq!(query.place(), Some(&Place::Room(lobby)));
    // 2026-11-21 00:00 and 2026-11-22 00:00: exactly the day between.
    assert_eq!(query.sent_from(), Some(Timestamp(1_795_219_200_000)));
    assert_eq!(query.sent_before(), Some(Timestamp(1_795_305_600_000)));

    let bob = AccountName::new("bob").unwrap();
    assert_eq!(parse("in:bob x").place(), Some(&Place::Direct(bob)));
    assert_eq!(parse("\"from:bob\"").from(), None);
}

#[test]
fn dates_are_those_of_the_calendar() {
    let begins = |date: &str| day_begins(date).map(|ms| ms / DAY_MS);
    for (date, days) in [
        ("1970-01-01", 0),
        ("1970-12-31", 364),
        ("2000-02-29", 11_016),
        ("2000-03-01", 11_017),
        ("2100-03-01", 47_541),
        ("9999-12-31", 2_932_896),
    ] {
        assert_eq!(begins(date), Some(days), "{date}");
    }
    for bad in [
        "1969-12-31",
        "2026-02-29",
        "2100-02-29",
        "2026-00-01",
        "2026-13-01",
        "2026-01-00",
        "2026-04-31",
        "2026-1-1",
        "2026-01-01-",
        "+026-01-01",
        "2026/01/01",
        "20260101",
        "today",
    ] {
        assert_eq!(begins(bad), None, "{bad}");
    }
}

#[test]
fn a_query_needs_a_word() {
    for typed in ["", "  ", "from:alice", "!!", "\"\"", "*", "in:#lobby ..."] {
        assert_eq!(refused(typed), QueryError::NoWord, "{typed}");
    }
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    let (at, from) = (3, Filter::From);
    assert_eq!(refused("é \"x"), QueryError::QuoteOpen { at });
    assert_eq!(refused("é x*"), QueryError::PrefixTooShort { at });
    assert_eq!(refused("é yyy-x*"), QueryError::PrefixTooShort { at });
    let filter = from;
    assert_eq!(refused("é from:"), QueryError::FilterEmpty { at, filter });
    let twice = QueryError::FilterTwice { at: 8, filter };
    assert_eq!(refused("from:a from:b x"), twice);
    let source = Rejection::NameCharacter { character: 'é' };
    let name = QueryError::NotAName { at, filter, source };
    assert_eq!(refused("x from:é"), name);
    let source = Rejection::NameEmpty;
    let filter = Filter::In;
    assert_eq!(
        refused("x in:#"),
        QueryError::NotAName { at, filter, source }
    );
    let filter = Filter::Before;
    assert_eq!(
        refused("x before:soon"),
        QueryError::NotADate { at, filter }
    );
    let sentence = "before: at character 3 needs a date such as 2026-11-20";
    assert_eq!(refused("x before:soon").to_string(), sentence);
}

#[test]
fn everything_has_a_maximum() {
    assert!(SearchQuery::parse(&"x".repeat(QUERY_BYTES_MAX)).is_ok());
    let bytes = QUERY_BYTES_MAX + 1;
    assert_eq!(refused(&"x".repeat(bytes)), QueryError::TooLong { bytes });
    assert_eq!(parse(&"x ".repeat(16)).terms().len(), QUERY_TERMS_MAX);
    let at = 33;
    assert_eq!(refused(&"x ".repeat(17)), QueryError::TooManyTerms { at });
    let at = 17;
    assert_eq!(
        refused(&"xy* ".repeat(5)),
        QueryError::TooManyPrefixes { at }
    );
}

proptest! {
    #[test]
    fn no_input_is_too_strange(typed in any::<String>()) {
        let _ = SearchQuery::parse(&typed);
    }

    #[test]
    fn what_is_accepted_has_terms_with_letters_or_digits(
        typed in "([ \"*:#a1é-]|from:|in:|before:2026-|after:|\\PC){0,40}",
    ) {
        if let Ok(query) = SearchQuery::parse(&typed) {
            prop_assert!((1..=QUERY_TERMS_MAX).contains(&query.terms().len()));
            for term in query.terms() {
                let (Term::Word(text) | Term::Prefix(text) | Term::Phrase(text)) = term;
                prop_assert!(text.contains(char::is_alphanumeric));
                prop_assert!(!text.contains(char::is_control));
            }
        }
    }

    #[test]
    fn plain_words_come_back_as_they_are(words in prop::collection::vec("[a-z0-9é]{1,9}", 1..9)) {
        let query = SearchQuery::parse(&words.join(" "));
        let terms: Vec<Term> = words.iter().map(|text| word(text)).collect();
        prop_assert_eq!(query.map(|query| query.terms), Ok(terms));
    }
}
