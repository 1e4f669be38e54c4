//! The shape of a source file: its header, its columns, its length.

use crate::{Problem, numbered};

/// Columns of a line of Rust.
pub const COLUMNS_MAX: usize = 100;

/// Lines of a file, tests included, unless its header says why it is long.
pub const LINES_MAX: usize = 500;

/// Finds files that do not open with their promise.
pub fn header(path: &str, text: &str) -> Vec<Problem> {
    let promise = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("//!"));
    match promise {
        Some(promise) if !promise.trim().is_empty() => Vec::new(),
        _ => vec![Problem::new(
            path,
            1,
            "a file opens with its promise",
            "start it with `//!`: what it is for, what it does not do, what always holds",
        )],
    }
}

/// Finds scripts that do not open with a sentence about their story.
pub fn story(path: &str, text: &str) -> Vec<Problem> {
    let first = text.lines().next().unwrap_or_default();
    if first.starts_with("# ") && first.ends_with('.') {
        return Vec::new();
    }
    vec![Problem::new(
        path,
        1,
        "a script opens with its story",
        "write `# ` and one sentence",
    )]
}

/// Finds lines that are too wide; an address that cannot be broken is excused.
pub fn columns(path: &str, text: &str) -> Vec<Problem> {
    numbered(text)
        .filter(|(_, line)| line.chars().count() > COLUMNS_MAX && !line.contains("://"))
        .map(|(line, _)| Problem::new(path, line, "a line has at most 100 columns", "break it"))
        .collect()
}

/// Finds files that are too long and whose header does not say "long because".
pub fn length(path: &str, text: &str) -> Vec<Problem> {
    let excused = text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .any(|line| line.contains("long because"));
    let lines = text.lines().count();
    if lines <= LINES_MAX || excused {
        return Vec::new();
    }
    vec![Problem::new(
        path,
        lines,
        "a file has at most 500 lines",
        "split it by command or invariant, or say in the header: long because …",
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_promise_is_caught() {
        assert_eq!(header("a.rs", "use std::fs;\n").len(), 1);
        assert_eq!(header("a.rs", "//!\n//! late\n").len(), 1);
        assert_eq!(header("a.rs", "").len(), 1);
        assert!(header("a.rs", "//! Says it.\n").is_empty());
    }

    #[test]
    fn a_script_without_a_story_is_caught() {
        for bad in ["alice send bob", "#", "# retry", ""] {
            assert_eq!(story("a.txt", bad).len(), 1, "{bad}");
        }
        assert!(story("a.txt", "# A retry changes nothing.\n").is_empty());
    }

    #[test]
    fn a_wide_line_is_caught_unless_it_is_an_address() {
        let wide = "é".repeat(COLUMNS_MAX + 1);
        let found = columns("a.rs", &format!("ok\n{wide}\n"));
        assert_eq!(
            found.iter().map(|problem| problem.line).collect::<Vec<_>>(),
            [2]
        );
        assert!(columns("a.rs", &"é".repeat(COLUMNS_MAX)).is_empty());
        assert!(columns("a.rs", &format!("// https://example.org/{wide}")).is_empty());
    }

    #[test]
    fn a_long_file_is_caught_unless_its_header_says_why() {
        let long = "x\n".repeat(LINES_MAX + 1);
        assert_eq!(length("a.rs", &long).len(), 1);
        assert_eq!(
            length(
                "a.rs",
                &format!("{long}//! long because it says so too late")
            )
            .len(),
            1
        );
        assert!(length("a.rs", &format!("//! It is long because it must.\n{long}")).is_empty());
        assert!(length("a.rs", &"x\n".repeat(LINES_MAX)).is_empty());
    }
}
