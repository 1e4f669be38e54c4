//! What is typed, and what it means or why it is refused.

use proptest::prelude::*;

use conclave_core::Rejection;

use super::*;

fn parse(typed: &str) -> SearchQuery {
    let query = SearchQuery::parse(typed, &Zone::default());
    query.unwrap_or_else(|error| panic!("{typed}: {error}"))
}

fn refused(typed: &str) -> QueryError {
    SearchQuery::parse(typed, &Zone::default()).expect_err(typed)
}

fn word(text: &str) -> Pattern {
    Pattern::word(text).unwrap()
}

fn phrase(text: &str) -> Pattern {
    Pattern::phrase(text).unwrap()
}

#[test]
fn words_phrases_and_prefixes_are_distinguished() {
    let query = parse("  red\t\"blue  green\" yel* “as typed”");
    let terms = [
        word("red"),
        phrase("blue green"),
        word("yel*"),
        phrase("as typed"),
    ];
    assert_eq!(query.wanted(), terms);
    assert!(query.wanted()[2].is_prefix());
    assert_eq!((query.from(), query.place()), (None, None));
    assert_eq!((query.sent_from(), query.sent_before()), (None, None));
}

#[test]
fn no_word_is_a_query_operator() {
    for typed in [
        "AND", "NEAR(a", "a*b", "(a", "text:a", "x\"y", "{a}", "a-b", "c++",
    ] {
        assert_eq!(parse(typed).wanted(), [word(typed)], "{typed}");
    }
}

#[test]
fn punctuation_alone_is_not_searched() {
    assert_eq!(parse("a - \"!\" * :) b").wanted(), [word("a"), word("b")]);
    assert_eq!(parse("\"a\"b").wanted(), [phrase("a"), word("b")]);
    assert_eq!(parse("a -!").excluded(), []);
    assert_eq!(parse("🎉").wanted(), [word("🎉")]);
}

#[test]
fn a_minus_excludes() {
    let query = parse("party -tonight -\"at noon\" -from:bob -in:#ops -has:link -is:unread");
    assert_eq!(query.wanted(), [word("party")]);
    let bob = AccountName::new("bob").unwrap();
    let ops = RoomName::new("ops").unwrap();
    let excluded = [
        Exclusion::Says(word("tonight")),
        Exclusion::Says(phrase("at noon")),
        Exclusion::From(bob),
        Exclusion::In(ConversationFilter::Room(ops)),
        Exclusion::Link,
        Exclusion::Unread,
    ];
    assert_eq!(query.excluded(), excluded);
    assert_eq!(parse("-x").excluded(), [Exclusion::Says(word("x"))]);
    let (at, filter) = (3, Filter::Before);
    let dated = refused("x -before:2026-01-01");
    assert_eq!(dated, QueryError::DateExcluded { at, filter });
}

#[test]
fn a_text_must_match_all_conditions() {
    for (typed, text, said) in [
        ("party -tonight", "party at noon", true),
        ("party -tonight", "Party TONIGHT", false),
        ("party -\"at noon\"", "party at noon", false),
        ("party -\"at noon\"", "noon party at", true),
        ("-x", "y", true),
        ("has:link", "see https://example.org", true),
        ("has:link", "see HTTP://Example.org/x", true),
        ("has:link", "see http:// and ftp://x", false),
        ("-has:link docs", "docs: https://example.org", false),
        ("-has:link docs", "docs", true),
        ("has:link -has:link", "https://example.org", false),
        ("has:link -has:link", "none", false),
        ("from:bob", "anything", true),
    ] {
        assert_eq!(parse(typed).is_said_by(text), said, "{typed} in {text}");
    }
}

#[test]
fn filters_are_read_in_any_case_and_order() {
    let query = parse("FROM:Alice x in:#Lobby After:2026-11-20 before:2026-11-22");
    assert_eq!(query.wanted(), [word("x")]);
    assert_eq!(query.from().map(AccountName::as_str), Some("Alice"));
    let lobby = RoomName::new("Lobby").unwrap();
    assert_eq!(query.place(), Some(&ConversationFilter::Room(lobby)));
    // 2026-11-21 00:00 and 2026-11-22 00:00: exactly the day between.
    assert_eq!(query.sent_from(), Some(Timestamp(1_795_219_200_000)));
    assert_eq!(query.sent_before(), Some(Timestamp(1_795_305_600_000)));
    let on = parse("on:2026-11-21");
    assert_eq!(on.sent_from(), query.sent_from());
    assert_eq!(on.sent_before(), query.sent_before());

    let bob = AccountName::new("bob").unwrap();
    assert_eq!(
        parse("in:bob x").place(),
        Some(&ConversationFilter::Direct(bob.clone()))
    );
    let seventh = ConversationFilter::Number(ConversationId(7));
    assert_eq!(parse("in:id:7 x").place(), Some(&seventh));
    assert_eq!(parse("from:@bob").from(), Some(&bob));
    assert_eq!(parse("\"from:bob\"").from(), None);
    assert!(parse("has:LINK Is:Unread").has_link());
    assert!(parse("is:unread").is_unread());
}

#[test]
fn query_days_are_in_the_callers_zone() {
    const HOUR: u64 = 60 * 60 * 1000;
    let utc = parse("on:2026-03-29").sent_from().unwrap().0;
    let day = |date: &str| Day::parse(date).unwrap();
    let between = |typed: &str, zone: &Zone| {
        let query = SearchQuery::parse(typed, zone).unwrap();
        (
            query.sent_from().map(|at| at.0),
            query.sent_before().map(|at| at.0),
        )
    };
    let tokyo = Zone::new(540, Vec::new()).unwrap();
    let (from, to) = (utc - 9 * HOUR, utc + 15 * HOUR);
    assert_eq!(between("on:2026-03-29", &tokyo), (Some(from), Some(to)));
    assert_eq!(between("before:2026-03-29", &tokyo), (None, Some(from)));
    assert_eq!(between("after:2026-03-29", &tokyo), (Some(to), None));
    // The clocks of Berlin go forward on this day: it has 23 hours.
    let berlin = Zone::new(60, vec![(day("2026-03-30"), 120)]).unwrap();
    let (from, to) = (utc - HOUR, utc + 22 * HOUR);
    assert_eq!(between("on:2026-03-29", &berlin), (Some(from), Some(to)));
    let first = Zone::new(OFFSET_MINUTES_MAX, Vec::new()).unwrap();
    assert_eq!(between("on:1970-01-01", &first), (Some(0), Some(6 * HOUR)));

    assert_eq!(Zone::new(OFFSET_MINUTES_MAX + 1, Vec::new()), None);
    assert_eq!(Zone::new(0, vec![(day("2026-03-30"), -1081)]), None);
    assert_eq!(
        Zone::new(0, vec![(day("2026-03-30"), 0); DAYS_MAX + 1]),
        None
    );
}

#[test]
fn a_query_lists_the_days_whose_offsets_it_needs() {
    let days = days_in("x on:2026-03-29 -before:2026-03-30 \"2026-01-01");
    let day = |date: &str| Day::parse(date).unwrap();
    assert_eq!(days, ["2026-03-29", "2026-03-30", "2026-03-31"].map(day));
    let many: String = (1..20).map(|n| format!("2026-01-{n:02} ")).collect();
    assert_eq!(days_in(&many).len(), DAYS_MAX);
}

#[test]
fn dates_are_valid_calendar_dates() {
    let begins = |date: &str| Day::parse(date).map(|day| day.begin_ms() / 86_400_000);
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
fn a_query_needs_something_to_look_for() {
    for typed in ["", "  ", "!!", "\"\"", "*", "...", "-", "-!", "\u{200b}"] {
        assert_eq!(refused(typed), QueryError::NoWord, "{typed}");
    }
    for typed in [
        "from:alice",
        "in:#lobby ...",
        "before:2026-01-01",
        "is:unread",
        "-x",
        "🎉",
    ] {
        parse(typed);
    }
}

#[test]
fn a_query_error_names_its_cause_and_position() {
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
    let (filter, known) = (Filter::Has, "link");
    assert_eq!(
        refused("x has:file"),
        QueryError::NotKnown { at, filter, known }
    );
    assert_eq!(refused("é -\"x"), QueryError::QuoteOpen { at: 4 });
    let at = 15;
    assert_eq!(
        refused("on:2026-11-20 before:2026-11-21"),
        QueryError::OnBesideOthers { at }
    );
    assert_eq!(
        refused("after:2026-11-20 on:2026-11-21"),
        QueryError::OnBesideOthers { at: 18 }
    );
    let sentence = "before: at character 3 needs a date such as 2026-11-20";
    assert_eq!(refused("x before:soon").to_string(), sentence);
}

#[test]
fn every_part_of_a_query_has_a_maximum() {
    parse(&"x".repeat(QUERY_BYTES_MAX));
    let bytes = QUERY_BYTES_MAX + 1;
    assert_eq!(refused(&"x".repeat(bytes)), QueryError::TooLong { bytes });
    assert_eq!(parse(&"x ".repeat(16)).wanted().len(), QUERY_TERMS_MAX);
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
    fn any_input_is_parsed_without_a_panic(typed in any::<String>(), text in any::<String>()) {
        if let Ok(query) = SearchQuery::parse(&typed, &Zone::default()) {
            let _ = query.is_said_by(&text);
            let _ = query.is_said_by(&typed);
        }
        let _ = days_in(&typed);
    }

    #[test]
    fn accepted_queries_are_bounded(
        typed in "([ \"*:#a1é-]|from:|in:|-|on:2026-11-2|before:2026-|after:|has:|\\PC){0,40}",
    ) {
        if let Ok(query) = SearchQuery::parse(&typed, &Zone::default()) {
            prop_assert!(query.wanted().len() + query.excluded().len() <= QUERY_TERMS_MAX);
            prop_assert!(query.wanted().iter().all(|one| !one.elements().is_empty()));
            let _ = query.is_said_by(&typed);
        }
    }

    #[test]
    fn plain_words_are_parsed_unchanged(words in prop::collection::vec("[a-z0-9é]{1,9}", 1..9)) {
        let query = parse(&words.join(" "));
        let terms: Vec<Pattern> = words.iter().map(|text| word(text)).collect();
        prop_assert_eq!(query.wanted(), terms);
    }
}
