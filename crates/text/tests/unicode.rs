//! Laws of texts that hold for all of Unicode: no panic, preparing twice changes nothing, nothing
//! invisible is shown, and what the log takes is what the edge has made.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use conclave_core::{DisplayName, MessageText, Reaction, Rejection, Topic};
use conclave_text::{
    Password, Refused, display_name, is_blank, is_hidden, message, names_like, reaction,
    session_label, shown, shown_lines, topic,
};
use proptest::prelude::*;

/// Characters of every kind, most of them from where the rules turn.
fn character() -> impl Strategy<Value = char> {
    let ranges = |ranges: &'static [(u32, u32)]| {
        proptest::sample::select(ranges).prop_flat_map(|(first, last)| {
            (first..=last).prop_map(|code| char::from_u32(code).unwrap_or('\u{fffd}'))
        })
    };
    prop_oneof![
        any::<char>(),
        ranges(&[
            (0, 0xff),
            (0x20, 0x7e),
            (0x300, 0x36f),
            (0x400, 0x4ff),
            (0x600, 0x6ff)
        ]),
        ranges(&[
            (0x900, 0x97f),
            (0xac00, 0xac40),
            (0x1100, 0x11ff),
            (0x1800, 0x18aa)
        ]),
        ranges(&[
            (0x2000, 0x206f),
            (0x200b, 0x200f),
            (0xfe00, 0xfe0f),
            (0x20d0, 0x20f0)
        ]),
        ranges(&[
            (0x1f3f0, 0x1f468),
            (0x1f1e6, 0x1f1ff),
            (0x2600, 0x27bf),
            (0x3000, 0x303f)
        ]),
        ranges(&[
            (0xe0000, 0xe01ff),
            (0xfff0, 0xffff),
            (0x4e00, 0x4e20),
            (0xff00, 0xffa0)
        ]),
    ]
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(character(), 0..24).prop_map(String::from_iter)
}

fn kept(line: Result<DisplayName, Refused>) -> Option<String> {
    line.ok().map(|line| line.as_str().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn text_preparation_is_idempotent(text in text()) {
        if let Some(first) = kept(display_name(&text)) {
            let again = kept(display_name(&first));
            prop_assert_eq!(again.as_ref(), Some(&first));
            let (about, label) = (topic(&text).unwrap(), session_label(&text).unwrap());
            prop_assert_eq!((about.as_str(), label.as_str()), (&*first, &*first));
        }
        if let Ok(first) = reaction(&text) {
            prop_assert_eq!(reaction(first.as_str()), Ok(first));
        }
        if let Ok(first) = Password::new(&text) {
            let again = std::str::from_utf8(first.as_bytes()).unwrap();
            prop_assert_eq!(Password::new(again), Ok(first.clone()));
            prop_assert_eq!(Password::typed(&text), Ok(first));
        }
    }

    #[test]
    fn accepted_text_is_visible(text in text()) {
        let name = kept(display_name(&text));
        for line in name.into_iter().chain(reaction(&text).map(|kept| kept.as_str().to_owned())) {
            prop_assert_eq!(&shown(&line), &line);
            prop_assert!(line.is_empty() || !is_blank(&line));
            // The log's own check asks for less.
            prop_assert!(DisplayName::new(line.as_str()).is_ok());
            prop_assert!(Topic::new(line).is_ok());
        }
        if let Ok(kept) = reaction(&text) {
            prop_assert!(Reaction::new(kept.as_str()).is_ok());
            prop_assert!(!is_blank(kept.as_str()));
        }
        match message(text.as_str()) {
            Ok(kept) => {
                prop_assert_eq!(kept.as_str(), text.as_str());
                prop_assert!(MessageText::new(text.as_str()).is_ok());
            }
            Err(refused) => {
                prop_assert_eq!(refused, Rejection::TextEmpty);
                prop_assert!(is_blank(&text));
            }
        }
    }

    #[test]
    fn shown_text_has_no_control_characters(text in text()) {
        let once = shown(&text);
        prop_assert_eq!(&shown(&once), &once, "once more changes nothing");
        // Selectors, joiners and tags alone, and only behind what they belong to.
        let mut before = None;
        for character in once.chars() {
            let may = match character {
                '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{180b}'..='\u{180f}' => true,
                '\u{e0020}'..='\u{e01ef}' => true,
                other => !is_hidden(other),
            };
            prop_assert!(may, "{:?}", character);
            prop_assert!(!is_hidden(character) || before.is_some(), "{:?} is first", character);
            before = Some(character);
        }
        let steers = |c: char| matches!(c, '\t' | '\u{1b}' | '\u{202e}' | '\u{2066}' | '\u{200b}');
        prop_assert!(!once.contains(steers) && !once.contains('\n'));
        prop_assert!(!shown_lines(&text).contains(steers));
    }

    #[test]
    fn a_name_has_few_confusable_names(text in text()) {
        prop_assert!(names_like(&text).len() <= 5);
    }
}

#[test]
fn every_single_character_is_accepted_or_refused() {
    // All of the planes that have characters, and a few of the others.
    let dense = (0..0x3_3480).chain(0xe_0000..0xe_1000);
    let sparse = (0x3_3480..0x11_0000).step_by(1009);
    for character in dense.chain(sparse).filter_map(char::from_u32) {
        let text = character.to_string();
        let seen = shown(&text);
        assert!(!seen.contains(is_hidden), "{character:?}");
        let hides = is_hidden(character);
        let password = Password::new(&format!("password{text}"));
        let _ = (reaction(&text), password, names_like(&text));
        if hides {
            assert!(display_name(&text).is_err(), "{character:?}");
            assert!(display_name(&format!("a{text}b")).is_err(), "{character:?}");
            assert!(reaction(&text).is_err(), "{character:?}");
            assert_eq!(
                message(text.as_str()),
                Err(Rejection::TextEmpty),
                "{character:?}"
            );
        }
    }
}
