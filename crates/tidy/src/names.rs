//! Words that mislead, and words that let the rules know the time.

use crate::{Problem, has_word, numbered};

/// Names that say nothing about what a thing is for.
const NAMES_FORBIDDEN: [&str; 4] = ["Manager", "Helper", "Util", "Common"];

/// What makes applying the same log give another result.
const NONDETERMINISTIC: [&str; 9] = [
    "SystemTime::now",
    "Instant::now",
    "thread_rng",
    "rand::rng",
    "getrandom",
    "CURRENT_TIMESTAMP",
    "CURRENT_TIME",
    "datetime('now')",
    "random()",
];

/// Finds types, traits and modules whose name contains an empty word.
pub fn forbidden_names(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, content) in numbered(text) {
        let Some(name) = declared(content) else {
            continue;
        };
        let words = words_of(name);
        for forbidden in NAMES_FORBIDDEN {
            let plural = format!("{forbidden}s");
            if words.iter().any(|word| {
                word.eq_ignore_ascii_case(forbidden) || word.eq_ignore_ascii_case(&plural)
            }) {
                problems.push(Problem::new(
                    path,
                    line,
                    "a name says the thing",
                    format!("rename {name}: `{forbidden}` does not say what it is for"),
                ));
            }
        }
    }
    problems
}

/// Finds clocks and randomness; comments may name them, code may not.
///
/// The log and the search index measure with `Instant::now` how long they work: that is the one
/// exception, `instants` being true.
pub fn clocks(path: &str, text: &str, instants: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, content) in numbered(text) {
        let code = content.split("//").next().unwrap_or_default();
        for word in NONDETERMINISTIC {
            if code.contains(word) && !(instants && word == "Instant::now") {
                problems.push(Problem::new(
                    path,
                    line,
                    "the same log gives the same state",
                    format!("pass the value in with the command instead of calling `{word}`"),
                ));
            }
        }
    }
    problems
}

/// Finds hash maps, whose order differs from node to node.
pub fn hash_order(path: &str, text: &str) -> Vec<Problem> {
    numbered(text)
        .filter(|(_, content)| {
            let code = content.split("//").next().unwrap_or_default();
            has_word(code, "HashMap") || has_word(code, "HashSet")
        })
        .map(|(line, _)| {
            Problem::new(
                path,
                line,
                "the rules know no hash order",
                "use `BTreeMap` or `BTreeSet`",
            )
        })
        .collect()
}

/// What follows the tables of Unicode in a library, in the compiler or in a crate of this
/// workspace.
const TABLES: [&str; 14] = [
    "unicode_",
    "conclave_text",
    "conclave_words",
    ".is_alphanumeric(",
    ".is_alphabetic(",
    ".is_numeric(",
    ".is_whitespace(",
    ".is_lowercase(",
    ".is_uppercase(",
    ".to_lowercase(",
    ".to_uppercase(",
    ".split_whitespace(",
    ".trim()",
    "is_whitespace)",
];

/// Finds questions to tables of Unicode, which differ between versions: nodes that were upgraded
/// would decide something else than the others.
pub fn unicode_tables(path: &str, text: &str) -> Vec<Problem> {
    numbered(text)
        .filter(|(_, content)| {
            let code = content.split("//").next().unwrap_or_default();
            TABLES.iter().any(|table| code.contains(table))
        })
        .map(|(line, _)| {
            Problem::new(
                path,
                line,
                "what the log decides asks no table of Unicode",
                "ask ASCII or fixed ranges, or prepare the text in `crates/text`",
            )
        })
        .collect()
}

/// Folders of the server that translate between gRPC and the rest of it.
const EDGES: [&str; 7] = [
    "api",
    "connections",
    "http",
    "node",
    "peer",
    "peer_api",
    "tls",
];

/// Finds files of the server that know gRPC although they are behind its edges: a call that comes
/// by another protocol could not use them.
pub fn grpc_inside(path: &str, text: &str) -> Vec<Problem> {
    let inside = path.strip_prefix("crates/server/src/");
    let folder = inside.and_then(|inside| inside.split('/').next());
    if folder.is_none_or(|folder| EDGES.contains(&folder)) {
        return Vec::new();
    }
    numbered(text)
        .filter(|(_, content)| {
            let code = content.split("//").next().unwrap_or_default();
            code.contains("tonic")
        })
        .map(|(line, _)| {
            Problem::new(
                path,
                line,
                "gRPC stays at the edges of the server",
                "take a `Call`, return a `Problem`, and translate in `api` or `peer_api`",
            )
        })
        .collect()
}

/// Returns the name that a line declares, if it declares a type, a trait or a module.
fn declared(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let keyword = words.find(|word| !word.starts_with("pub"))?;
    if !["struct", "enum", "trait", "mod", "type", "union"].contains(&keyword) {
        return None;
    }
    let rest = words.next()?;
    let end = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    Some(&rest[..end])
}

/// Returns the words of a name: `FeedManager` and `feed_manager` are the words feed and manager.
fn words_of(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for part in name.split('_') {
        let mut word = String::new();
        for letter in part.chars() {
            if letter.is_uppercase() && !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            word.push(letter);
        }
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_is_caught_in_every_declaration() {
        for bad in [
            "pub struct FeedManager {",
            "enum Helper {",
            "pub(crate) trait SessionUtil {",
            "mod common;",
            "mod utils {",
            "type HelperFn = fn();",
        ] {
            assert_eq!(forbidden_names("a.rs", bad).len(), 1, "{bad}");
        }
        for good in [
            "struct Commonwealth;",
            "let manager = 1;",
            "// struct Manager",
            "mod feed;",
        ] {
            assert!(forbidden_names("a.rs", good).is_empty(), "{good}");
        }
    }

    #[test]
    fn a_clock_or_randomness_is_caught_in_code_but_not_in_a_comment() {
        for word in NONDETERMINISTIC {
            assert_eq!(
                clocks("a.rs", &format!("let x = {word};"), false)[0].line,
                1,
                "{word}"
            );
            assert!(
                clocks("a.rs", &format!("// no {word} here"), false).is_empty(),
                "{word}"
            );
        }
        assert!(clocks("a.rs", "Instant::now()", true).is_empty());
        assert_eq!(clocks("a.rs", "SystemTime::now()", true).len(), 1);
    }

    #[test]
    fn a_hash_map_is_caught() {
        assert_eq!(
            hash_order("a.rs", "use std::collections::HashMap;").len(),
            1
        );
        assert_eq!(hash_order("a.rs", "let x: HashSet<u8>;").len(), 1);
        assert!(hash_order("a.rs", "let x: BTreeMap<u8, u8>; // no HashMap").is_empty());
    }

    #[test]
    fn the_use_of_a_unicode_table_is_caught() {
        let bad = [
            "use unicode_normalization::X;",
            "use conclave_words::Words;",
            "c.is_alphanumeric()",
            "text.trim().len()",
        ];
        for line in bad {
            assert_eq!(unicode_tables("a.rs", line).len(), 1, "{line}");
        }
        let good = [
            "c.is_ascii_alphanumeric()",
            "text.trim_ascii()",
            "x // unicode_x",
        ];
        for line in good {
            assert!(unicode_tables("a.rs", line).is_empty(), "{line}");
        }
    }

    #[test]
    fn grpc_behind_the_edges_of_the_server_is_caught() {
        let bad = "//! Says it.\nuse tonic::Status;\n";
        let lines = |path: &str| -> Vec<usize> {
            let found = grpc_inside(path, bad);
            found.iter().map(|problem| problem.line).collect()
        };
        for inside in ["context/access.rs", "live/hub/mod.rs", "shared.rs"] {
            assert_eq!(lines(&format!("crates/server/src/{inside}")), [2]);
        }
        for edge in ["crates/server/src/api/edge.rs", "crates/client/src/call.rs"] {
            assert!(lines(edge).is_empty(), "{edge}");
        }
        assert!(grpc_inside("crates/server/src/live/hub.rs", "// no tonic").is_empty());
    }
}
