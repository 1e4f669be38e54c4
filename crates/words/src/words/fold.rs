//! Makes one form of all the forms in which a character is written.
//!
//! Compatibility forms, cases, accents and what cannot be seen make no difference; vowels and
//! letters do, also where they are written as marks.

use conclave_text::is_ignorable;
use unicode_normalization::{UnicodeNormalization as _, char::compose};

/// Appends the folded form of one cluster; nothing if nothing of it can be seen.
pub(super) fn cluster(cluster: &str, folded: &mut String) {
    if let [byte] = cluster.as_bytes() {
        folded.push(char::from(byte.to_ascii_lowercase()));
        return;
    }
    let mut characters = cluster.chars();
    if let (Some(single), None) = (characters.next(), characters.next())
        && is_folded(single)
    {
        folded.push(single);
        return;
    }
    any_cluster(cluster, folded);
}

/// Letters that are what they fold to, of the scripts in which most messages are written. They
/// need no look into the tables.
fn is_folded(character: char) -> bool {
    matches!(
        character,
        'а'..='я'
            | 'α'..='ρ'
            | 'σ'..='ω'
            | 'א'..='ת'
            | 'ا'..='ب'
            | 'ت'..='غ'
            | 'ف'..='و'
            | 'ي'
            | 'अ'..='न'
            | 'प'..='य'
            | 'அ'..='ஓ'
            | 'க'..='ஹ'
            | 'ก'..='ะ'
            | 'า'
            | 'ა'..='ჰ'
            | 'ぁ'..='ゔ'
            | '一'..='鿿'
            | '가'..='힣'
    )
}

fn any_cluster(cluster: &str, folded: &mut String) {
    let begin = folded.len();
    for character in cluster.nfkd() {
        let last = folded[begin..].chars().next_back();
        if is_ignorable(character) || is_accent(last, character) {
            continue;
        }
        // A sign that stands for two letters as a whole, like a trade mark, belongs to no word.
        if is_sign_of_letters(cluster) {
            folded.push(' ');
            return;
        }
        // Down, up and down again is full case folding: ẞ is ß is SS is ss, and ς is Σ is σ.
        let cases = character.to_lowercase();
        let cases = cases.flat_map(char::to_uppercase);
        let cases = cases.flat_map(char::to_lowercase);
        for character in cases {
            push(begin, character, folded);
        }
    }
}

/// Puts letters and marks together again that are one letter: syllables of Korean, kana with
/// their marks, and й.
fn push(begin: usize, character: char, folded: &mut String) {
    if let Some(last) = folded[begin..].chars().next_back()
        && let Some(whole) = compose(last, character)
    {
        folded.pop();
        folded.push(as_hiragana(whole));
        return;
    }
    match character {
        'æ' => folded.push_str("ae"),
        'œ' => folded.push_str("oe"),
        'þ' => folded.push_str("th"),
        other => folded.push(letter(other)),
    }
}

/// Letters that differ in a stroke which people leave out, and digits.
fn letter(character: char) -> char {
    match character {
        'đ' | 'ð' | 'ɖ' => 'd',
        'ø' => 'o',
        'ł' => 'l',
        'ħ' => 'h',
        'ŧ' => 't',
        'ı' => 'i',
        // Arabic and Persian keyboards have other letters for the same.
        'ى' | 'ی' => 'ي',
        'ک' => 'ك',
        'ة' | 'ۀ' | 'ہ' | 'ۂ' | 'ە' => 'ه',
        other => digit(other).unwrap_or_else(|| as_hiragana(other)),
    }
}

/// The zeros of digits that are used in messages; the other nine follow.
const ZEROS: [char; 18] = [
    '٠', '۰', '०', '০', '੦', '૦', '୦', '௦', '౦', '೦', '൦', '๐', '໐', '༠', '၀', '៰', '០', '᠐',
];

fn digit(character: char) -> Option<char> {
    if character < ZEROS[0] {
        return None;
    }
    let value = |zero: &char| u32::from(character).checked_sub(u32::from(*zero));
    let value = ZEROS.iter().filter_map(value).find(|value| *value < 10)?;
    char::from_digit(value, 10)
}

/// Turns katakana into hiragana, as people mean both.
fn as_hiragana(character: char) -> char {
    match character {
        'ァ'..='ヶ' => char::from_u32(u32::from(character) - 0x60).unwrap_or(character),
        other => other,
    }
}

fn is_sign_of_letters(cluster: &str) -> bool {
    matches!(cluster.chars().next(), Some('™' | '℠' | '©' | '®'))
}

/// Marks that people leave out. Those of other scripts are vowels, and stay.
fn is_accent(on: Option<char>, mark: char) -> bool {
    match mark {
        // й, ў and ї are letters that no text writes without their marks.
        '\u{306}' => !matches!(on, Some('и' | 'у')),
        '\u{308}' => on != Some('і'),
        '\u{300}'..='\u{36f}'
        | '\u{483}'..='\u{489}'
        | '\u{591}'..='\u{5bd}'
        | '\u{5bf}'
        | '\u{5c1}'..='\u{5c2}'
        | '\u{5c4}'..='\u{5c5}'
        | '\u{5c7}'
        | '\u{610}'..='\u{61a}'
        // The mark that makes a long word of a short one for the eye.
        | '\u{640}'
        | '\u{64b}'..='\u{65f}'
        | '\u{670}'
        | '\u{6d6}'..='\u{6dc}'
        | '\u{6df}'..='\u{6e4}'
        | '\u{6e7}'..='\u{6e8}'
        | '\u{6ea}'..='\u{6ed}'
        | '\u{711}'
        | '\u{730}'..='\u{74a}'
        | '\u{898}'..='\u{89f}'
        | '\u{8ca}'..='\u{8ff}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{2de0}'..='\u{2dff}'
        | '\u{a66f}'..='\u{a672}'
        | '\u{a674}'..='\u{a67d}'
        | '\u{fe20}'..='\u{fe2f}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_marked_as_folded_fold_to_themselves() {
        for character in ('\u{80}'..=char::MAX).filter(|one| is_folded(*one)) {
            let mut folded = String::new();
            any_cluster(&character.to_string(), &mut folded);
            assert_eq!(folded, character.to_string(), "{character}");
        }
    }
}
