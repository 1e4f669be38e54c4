//! What is the same word, and what is another.

use proptest::prelude::*;

use super::*;

/// Returns the tokens of a text, each with the first letter of its kind.
fn parted(text: &str) -> String {
    let words = Words::of(text);
    let tokens = words.tokens().map(|(kind, text)| match kind {
        Kind::Word => text.to_owned(),
        kind => format!("{kind:?}:{text}"),
    });
    tokens.collect::<Vec<_>>().join(" ")
}

#[test]
fn forms_of_a_character_fold_to_the_same_text() {
    for (forms, folded) in [
        (&["STRASSE", "straße", "STRAẞE"][..], "strasse"),
        (&["Ελλάδα", "ΕΛΛΑΔΑ", "ελλαδα"], "ελλαδα"),
        (&["ΟΔΟΣ", "οδός", "οδοσ"], "οδοσ"),
        (&["Жёлтый", "желтый", "ЖЕ\u{308}ЛТЫЙ"], "желтый"),
        (
            &["İstanbul", "ISTANBUL", "ıstanbul", "i̇stanbul"],
            "istanbul",
        ),
        (&["ofﬁce", "ＯＦＦＩＣＥ", "o\u{ad}ff\u{200b}ice"], "office"),
        (&["Đà Nẵng", "đà nẵng", "da nang"], "da nang"),
        (&["cœur", "COEUR"], "coeur"),
        (&["x²", "X2", "ｘ２"], "x2"),
        (&["שָׁלוֹם", "שלום"], "שלום"),
        (&["كِتَابٌ", "كتاب", "کتاب", "كتـــاب"], "كتاب"),
        (&["١٢٣", "۱۲۳", "१२३", "๑๒๓", "123"], "123"),
        (&["می\u{200c}خواهم", "میخواهم"], "ميخواهم"),
        (&["क़लम", "क\u{93c}लम"], "क\u{93c}लम"),
        (&["パソコン", "ﾊﾟｿｺﾝ", "ぱそこん"], "Han:ぱそこん"),
        (
            &["서울", "\u{1109}\u{1165}\u{110b}\u{116e}\u{11af}"],
            "Hangul:서울",
        ),
        (&["👍", "👍🏽", "👍\u{fe0f}"], "Symbol:👍"),
        (&["❤", "❤️", "❤\u{fe0e}"], "Symbol:❤"),
    ] {
        for form in forms {
            assert_eq!(parted(form), folded, "{form}");
        }
    }
}

#[test]
fn letters_that_differ_stay_apart() {
    for (one, other) in [
        ("мой", "мои"),
        ("її", "іі"),
        ("कि", "की"),
        ("กา", "กิ"),
        ("がき", "かき"),
        ("ハハ", "パパ"),
        ("한국", "한구"),
        ("🇩🇪", "🇫🇷"),
        ("👩‍💻", "👩"),
        ("東京", "京東"),
    ] {
        assert_ne!(Words::of(one).folded, Words::of(other).folded, "{one}");
    }
}

#[test]
fn a_text_is_split_by_the_rules_of_its_script() {
    for (text, tokens) in [
        ("foo_bar, v1.2.3-rc1!", "foo bar v1 2 3 rc1"),
        ("mail bob@example.org", "mail bob example org"),
        ("東京タワー2026年", "Han:東京たわー 2026 Han:年"),
        ("Linuxを使う", "linux Han:を使う"),
        ("서울에서 만나요", "Hangul:서울에서 Hangul:만나요"),
        ("ไปเที่ยว กัน", "Mainland:ไปเที่ยว Mainland:กัน"),
        ("ship it🎉🎉ok", "ship it Symbol:🎉 Symbol:🎉 ok"),
        ("50€ or 30 $", "50 Symbol:€ or 30"),
        ("Conclave™ 20°C ①", "conclave 20 c 1"),
        ("नमस्ते दुनिया", "नमस्ते दुनिया"),
        ("1️⃣ *#", "1"),
        ("a\u{301}\u{200d}b", "ab"),
        ("\u{301}\u{200b} \u{e000}c1 \0", "c1"),
    ] {
        assert_eq!(parted(text), tokens, "{text}");
    }
}

/// Returns whether a text has a word as it is typed, or a phrase.
fn is_in(pattern: Option<Pattern>, text: &str) -> bool {
    pattern.unwrap().is_in(text, &Words::of(text))
}

#[test]
fn a_word_is_found_where_a_reader_expects_it() {
    for (text, typed, found) in [
        ("use foo_bar here", "foo_bar", true),
        ("use foo bar here", "foo_bar", true),
        ("use foo_bar here", "bar", true),
        ("use foo_bars here", "bar", false),
        ("use foo_bars here", "foo_bar*", true),
        ("written in C++.", "c++", true),
        ("vitamin C", "c++", false),
        ("C# and F#", "C#", true),
        ("plan C", "C#", false),
        ("東京都に住む", "京都", true),
        ("東京都に住む", "東都", false),
        ("東京都に住む", "京", true),
        ("we met in 東京都", "in東京", true),
        ("we met in 東京都", "in京都", false),
        ("旧東京2026年に", "東京2026年", true),
        ("👩🏽‍💻 at work", "👩", true),
        ("👩🏽‍💻 at work", "👩‍💻", true),
        ("👩 at work", "👩‍💻", false),
        ("👩🏽‍💻 at work", "💻", false),
        ("🇩🇪", "🇩", false),
        ("**bold**", "**bold**", true),
        ("bolder", "**bold**", false),
    ] {
        assert_eq!(
            is_in(Pattern::word(typed), text),
            found,
            "{typed} in {text}"
        );
    }
}

fn shown(text: &str, typed: &[&str]) -> String {
    let patterns: Vec<_> = typed.iter().filter_map(|one| Pattern::word(one)).collect();
    let parts = snippet(text, &patterns);
    let part = |part: SnippetPart| match part.is_match {
        true => format!("[{}]", part.text),
        false => part.text,
    };
    parts.into_iter().map(part).collect()
}

#[test]
fn a_snippet_marks_the_matches() {
    for (text, typed, snippet) in [
        ("Our CRÈME brûlée", &["creme"][..], "Our [CRÈME] brûlée"),
        ("a b a", &["a", "b"], "[a] [b] [a]"),
        ("use foo_bar()", &["foo_bar"], "use [foo_bar]()"),
        ("deployed", &["depl*"], "[deployed]"),
        ("東京都庁", &["東京", "京都"], "[東京都]庁"),
        ("ﾊﾟｿｺﾝを買う", &["ソコン"], "ﾊﾟ[ｿｺﾝ]を買う"),
        ("nothing here", &["x"], "nothing here"),
        ("", &["x"], ""),
        ("so👍🏽ok", &["👍"], "so[👍🏽]ok"),
        ("ﬁne", &["fine"], "[ﬁne]"),
    ] {
        assert_eq!(shown(text, typed), snippet);
    }
}

#[test]
fn a_long_text_is_cut_around_the_match() {
    let text = format!("{}needle{}", "hay ".repeat(500), " straw".repeat(500));
    let snippet = shown(&text, &["needle"]);
    assert!(snippet.starts_with('…') && snippet.ends_with('…'));
    assert!(snippet.contains("hay [needle] straw"));
    // Two marks and two cuts more.
    assert_eq!(snippet.chars().count(), SNIPPET_CHARACTERS_MAX + 4);
    let wide = "e\u{301}\u{302}".repeat(6000);
    let parts = super::snippet(&wide, &[]);
    assert!(parts.iter().map(|part| part.text.len()).sum::<usize>() <= 4 * 1024 + 3);
}

#[test]
fn the_tables_version_names_the_unicode_version() {
    let (major, ..) = char::UNICODE_VERSION;
    assert!(tables_version().contains(&format!("unicode {major}.")));
}

proptest! {
    #[test]
    fn ascii_texts_are_split_like_other_texts(text in "[ -~\r\n\t\0]{0,60}") {
        prop_assert_eq!(Words::of_ascii(&text), Words::of_any(&text));
    }

    #[test]
    fn folding_is_idempotent(text in any::<String>()) {
        let texts: Vec<String> = Words::of(&text).tokens().map(|(_, t)| t.to_owned()).collect();
        for once in texts {
            let again: String = Words::of(&once).tokens().map(|(_, t)| t.to_owned()).collect();
            prop_assert_eq!(again, once);
        }
    }

    #[test]
    fn every_text_matches_its_own_words(text in any::<String>()) {
        let words = Words::of(&text);
        if let Some(whole) = Pattern::phrase(&text) {
            prop_assert!(whole.is_in(&text, &words));
        }
        for (_, token) in words.tokens() {
            let pattern = Pattern::phrase(token);
            prop_assert!(pattern.is_some_and(|pattern| pattern.is_in(&text, &words)));
        }
    }

    #[test]
    fn a_snippet_is_a_piece_of_its_text(text in any::<String>(), typed in any::<String>()) {
        let patterns: Vec<Pattern> = Pattern::word(&typed).into_iter().collect();
        let parts = snippet(&text, &patterns);
        let whole: String = parts.iter().map(|part| part.text.as_str()).collect();
        prop_assert!(text.contains(whole.trim_matches('…')) || text.contains('…'));
        let has_match = parts.iter().any(|part| part.is_match);
        let is_in = patterns.iter().any(|one| one.is_in(&text, &Words::of(&text)));
        prop_assert_eq!(has_match, is_in);
    }
}
