//! The corpus of searches: texts and queries in many scripts, and the texts that are found.
//!
//! `search_corpus.tsv` is the table; each further line is a further test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod search_support;
mod state_support;

use std::collections::{BTreeMap, BTreeSet};

use search_support::{ALICE, BOB, World, find, texts, to_lobby};

const CORPUS: &str = include_str!("search_corpus.tsv");

/// Minimum number of pairs in the corpus.
const PAIRS_MIN: usize = 300;
/// Minimum number of scripts in the corpus.
const SCRIPTS_MIN: usize = 12;
/// Minimum number of pairs of each kind in each script.
const PAIRS_OF_KIND_MIN: usize = 2;

struct Pair {
    line: usize,
    script: &'static str,
    text: String,
    query: String,
    found: bool,
}

fn pairs() -> Vec<Pair> {
    let lines = CORPUS.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|(at, line)| {
        let line_number = at + 1;
        let columns: Vec<&str> = line.split('\t').collect();
        let [script, text, query, found] = columns[..] else {
            panic!("line {line_number} has {} columns", columns.len());
        };
        Pair {
            line: line_number,
            script,
            text: unescaped(text),
            query: unescaped(query),
            found: match found {
                "found" => true,
                "not" => false,
                other => panic!("line {line_number}: {other}"),
            },
        }
    });
    pairs.collect()
}

/// Replaces `\u{200b}` and `\\` by the characters that they stand for.
fn unescaped(column: &str) -> String {
    let (mut text, mut rest) = (String::new(), column);
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        rest = match escape.strip_prefix("u{") {
            Some(escape) => {
                let (number, rest) = escape.split_once('}').unwrap();
                let number = u32::from_str_radix(number, 16).unwrap();
                text.push(char::from_u32(number).unwrap());
                rest
            }
            None => {
                text.push('\\');
                escape.strip_prefix('\\').unwrap()
            }
        };
    }
    text + rest
}

#[test]
fn the_corpus_is_large_and_of_many_scripts() {
    let pairs = pairs();
    assert!(pairs.len() >= PAIRS_MIN, "{} pairs", pairs.len());
    let mut scripts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for pair in &pairs {
        scripts.entry(pair.script).or_default()[usize::from(pair.found)] += 1;
    }
    assert!(scripts.len() >= SCRIPTS_MIN, "{scripts:?}");
    for (script, kinds) in scripts {
        let is_enough = kinds.iter().all(|count| *count >= PAIRS_OF_KIND_MIN);
        assert!(is_enough, "{script}: {kinds:?}");
    }
    let mut seen = BTreeSet::new();
    for pair in &pairs {
        assert!(
            seen.insert((&pair.text, &pair.query)),
            "line {} again",
            pair.line
        );
    }
}

#[test]
fn every_query_of_the_corpus_has_its_expected_result() {
    let pairs = pairs();
    let all: BTreeSet<&str> = pairs.iter().map(|pair| pair.text.as_str()).collect();
    let mut world = World::with_lobby();
    let messages = all.iter().map(|text| to_lobby(text)).collect();
    world.ask_all(ALICE, messages);
    world.settle();
    let mut wrong = Vec::new();
    for pair in &pairs {
        let found = texts(&find(&world.search, BOB, &pair.query, None, 1000));
        if found.contains(&pair.text) != pair.found {
            let Pair {
                line, text, query, ..
            } = pair;
            wrong.push(format!("line {line}: {query} in {text}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
