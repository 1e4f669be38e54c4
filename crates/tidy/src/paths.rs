//! What documents say of files: every path that they name exists, and the paths through the code
//! are short and name each file once.

use std::collections::BTreeSet;

use crate::{Problem, numbered};

/// Folders of the root that documents name paths in.
const ROOTS: [&str; 5] = ["bench/", "crates/", "docs/", "proto/", "scripts/"];
/// Parts of a path that is named relative to `crates/`.
const OF_CRATES: [&str; 4] = ["/src/", "/tests/", "/benches/", "/examples/"];
/// Headings of the paths through the code, and the maximum number of steps of each.
const ROUTES: [(&str, usize); 3] = [
    ("The path of one message", 12),
    ("The path of one joining node", 12),
    ("The path of one snapshot", 10),
];

/// Finds paths in backticks that do not exist, at the root or in `crates/`.
///
/// What looks like a path but is none of the tree (a file in a data directory, a branch) is not
/// checked.
pub fn named_paths(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut fenced = false;
    for (line, content) in numbered(text) {
        fenced ^= content.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        for name in paths_in(content) {
            if !exists(name) && !exists(&format!("crates/{name}")) {
                let cure = format!("`{name}` does not exist");
                problems.push(Problem::new(
                    path,
                    line,
                    "a document names what is there",
                    cure,
                ));
            }
        }
    }
    problems
}

/// Finds files and folders of its crate that a front page (the header of `lib.rs`) names in
/// backticks and that do not exist in `src` or beside it.
pub fn front_page(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(folder) = path.strip_suffix("src/lib.rs") else {
        return problems;
    };
    let mut fenced = false;
    for (line, content) in numbered(text).take_while(|(_, line)| line.starts_with("//!")) {
        fenced ^= content.contains("```");
        let names = content.split('`').skip(1).step_by(2).filter(|_| !fenced);
        for name in names.filter(|name| name.ends_with(".rs") || name.starts_with("tests/")) {
            let places = [format!("{folder}src/{name}"), format!("{folder}{name}")];
            if !places.iter().any(|place| exists(place)) {
                let cure = format!("`{name}` does not exist");
                problems.push(Problem::new(
                    path,
                    line,
                    "a front page names what is there",
                    cure,
                ));
            }
        }
    }
    problems
}

/// Finds paths through the code that are missing, too long, or name a file twice.
pub fn routes(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (heading, steps_max) in ROUTES {
        let mut lines = numbered(text);
        let is_heading = |line: &str| line.trim_start_matches('#').trim() == heading;
        let Some((begin, _)) = lines.find(|(_, line)| is_heading(line)) else {
            let cure = format!("write `{heading}`");
            problems.push(Problem::new(
                path,
                1,
                "the paths through the code are told",
                cure,
            ));
            continue;
        };
        let section = lines.take_while(|(_, line)| !line.starts_with('#'));
        let (mut steps, mut seen, mut in_step) = (0, BTreeSet::new(), false);
        for (line, content) in section {
            if is_step(content) {
                steps += 1;
                in_step = true;
            } else if !content.starts_with(' ') {
                in_step = false;
            }
            for name in paths_in(content).filter(|_| in_step) {
                if !seen.insert(name) {
                    let cure = format!("`{name}` is met before: name it once");
                    problems.push(Problem::new(path, line, "a path has no loop", cure));
                }
            }
        }
        if !(1..=steps_max).contains(&steps) {
            let cure = format!("it has {steps} steps, of at most {steps_max}");
            problems.push(Problem::new(path, begin, "a path is short", cure));
        }
    }
    problems
}

/// Returns whether a line begins a step of a numbered list.
fn is_step(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < line.len() && rest.starts_with(". ")
}

/// Returns the paths of the tree that a line names in backticks, without what follows `::`.
fn paths_in(line: &str) -> impl Iterator<Item = &str> {
    let codes = line.split('`').skip(1).step_by(2);
    let names = codes.map(|code| code.split("::").next().unwrap_or(code));
    names.filter(|name| {
        let is_path = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
        let whole = format!("{name}/");
        let of_tree = ROOTS.iter().any(|root| name.starts_with(root))
            || OF_CRATES.iter().any(|part| whole.contains(part));
        of_tree && !name.starts_with('/') && name.chars().all(is_path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(problems: &[Problem]) -> Vec<usize> {
        problems.iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn a_path_that_a_document_names_and_that_is_missing_is_caught() {
        let text = "\
`crates/core/src/once.rs` `core/src/once.rs` `core/src` `core/src/once.rs::Pool`
`core/src/twice.rs`
`docs/lost.md` `log/lock` `state.db` `src/once.rs:1`
```
`core/src/twice.rs`
```
";
        let there = ["crates/core/src/once.rs", "crates/core/src"];
        let found = named_paths("docs/a.md", text, |path| there.contains(&path));
        assert_eq!(lines(&found), [2, 3]);
    }

    #[test]
    fn a_file_that_a_front_page_names_and_that_is_missing_is_caught() {
        let text =
            "//! See `once.rs`, `tests/scripts` and `twice.rs`.\n//! ```\n//! `x.rs`\n//! ```\n";
        let there = ["crates/core/src/once.rs", "crates/core/tests/scripts"];
        let found = front_page("crates/core/src/lib.rs", text, |path| there.contains(&path));
        assert_eq!(found.len(), 1);
        assert!(found[0].cure.contains("twice.rs"));
    }

    #[test]
    fn a_path_with_a_loop_or_too_many_steps_is_caught() {
        let step = |number: usize| format!("{number}. `core/src/{number}.rs`: a step.\n");
        let long: String = (1..=11).map(step).collect();
        let good = format!("## The path of one message\n\n{}", step(1));
        let loops = format!("{good}   and `core/src/1.rs`\n\nAgain `core/src/1.rs`.\n");
        let text = format!("{loops}### The path of one snapshot\n{long}");
        // The joining node is missing.
        assert_eq!(lines(&routes("docs/a.md", &text)), [4, 1, 7]);
        let node = format!("## The path of one joining node\n{}", step(1));
        let snapshot = format!("## The path of one snapshot\n{}", step(1));
        assert_eq!(routes("docs/a.md", &[good, node, snapshot].concat()), []);
    }
}
