//! Words that hide who does what, and names of tests that are too long to read.

use crate::{Problem, numbered};

/// Words without a concrete subject, and an order without one who is ordered.
const FORBIDDEN: [&str; 8] = [
    "whoever",
    "whomever",
    "whom",
    "nobody",
    "somebody",
    "everybody",
    "anybody",
    "shall",
];

/// Begins the comment that says why a line needs one of the words all the same.
const EXCUSE: &str = "this word because";

/// Characters of the name of a test: what holds, in which case.
pub const TEST_NAME_MAX: usize = 60;

/// Finds the words, also within names. A line is excused by a comment on it or before it.
pub fn hidden_subjects(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut is_excused = false;
    for (line, content) in numbered(text) {
        let excuses_next = content.contains(EXCUSE);
        if !is_excused && !excuses_next {
            let words = content.split(|character: char| !character.is_alphanumeric());
            let found = words.filter(|word| {
                FORBIDDEN
                    .iter()
                    .any(|forbidden| word.eq_ignore_ascii_case(forbidden))
            });
            problems.extend(found.map(|word| {
                let cure = format!("instead of `{word}` name the client, the caller, the node …");
                Problem::new(path, line, "a sentence has a concrete subject", cure)
            }));
        }
        is_excused = excuses_next;
    }
    problems
}

/// Finds tests with long names.
pub fn long_test_names(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut is_test = false;
    for (line, content) in numbered(text) {
        let content = content.trim_start();
        if content.starts_with("#[test]") || content.starts_with("#[tokio::test") {
            is_test = true;
        } else if is_test && let Some(name) = name_of_function(content) {
            if name.len() > TEST_NAME_MAX {
                let cure = format!("shorten `{name}` to what holds, in which case");
                let rule = "the name of a test has at most 60 characters";
                problems.push(Problem::new(path, line, rule, cure));
            }
            is_test = false;
        }
    }
    problems
}

/// Returns the name of the function that this line begins.
fn name_of_function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    let (name, _) = line.strip_prefix("fn ")?.split_once('(')?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_hides_its_subject_is_found() {
        let bad = FORBIDDEN[3];
        for line in [format!("// {bad} waits"), format!("let as_{bad} = 1;")] {
            assert_eq!(hidden_subjects("a.rs", &line).len(), 1, "{line}");
        }
        let capital = format!("/// {}{} waits.", bad[..1].to_uppercase(), &bad[1..]);
        assert_eq!(hidden_subjects("a.rs", &capital).len(), 1);
        assert!(hidden_subjects("a.rs", "// a shallow wait").is_empty());
        let excused = format!("// {EXCUSE} a user has that name\nlet name = \"{bad}\";");
        assert!(hidden_subjects("a.rs", &excused).is_empty());
        let later = format!("// {EXCUSE} a user has that name\n\nlet name = \"{bad}\";");
        assert_eq!(hidden_subjects("a.rs", &later).len(), 1);
    }

    #[test]
    fn a_test_with_a_long_name_is_found() {
        let long = "x".repeat(TEST_NAME_MAX + 1);
        for attribute in ["#[test]", "#[tokio::test(flavor = \"multi_thread\")]"] {
            let text = format!("{attribute}\nasync fn {long}() {{\n");
            assert_eq!(long_test_names("a.rs", &text).len(), 1, "{attribute}");
            let text = format!("{attribute}\n#[ignore]\nfn {}() {{\n", &long[1..]);
            assert!(long_test_names("a.rs", &text).is_empty());
        }
        assert!(long_test_names("a.rs", &format!("fn {long}() {{\n")).is_empty());
    }
}
