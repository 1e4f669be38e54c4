//! The commands of a document, read as a shell reads them: quotes, variables, continued lines, and
//! one idiom, `NAME=$(command | jq -r .path)`. Anything else fails.

use std::{collections::BTreeMap, iter::Peekable, str::Chars};

use serde_json::Value;

/// Prefix of a comment that shows the answer of a command.
const SHOWN: &str = "# → ";

/// One command.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) command: String,
    /// Variable that the command sets, and the path of the value in its answer.
    pub(super) variable: Option<(String, String)>,
    pub(super) expected: Vec<Expected>,
}

/// Answer that is shown below a command.
#[derive(Debug)]
pub(super) enum Expected {
    /// The call is refused with this reason.
    Reason(String),
    /// One of the answers has at least these fields.
    Message(Value),
}

/// Returns the commands of all shell blocks of a document.
pub(super) fn of(document: &str) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    for part in document.split("```sh\n").skip(1) {
        let block = part.split_once("```").expect("a block ends").0;
        for line in block.replace("\\\n", " ").lines().map(str::trim) {
            if let Some(shown) = line.strip_prefix(SHOWN) {
                let last = found.last_mut().expect("something is shown of a command");
                last.expected.push(expected(shown));
            } else if !line.is_empty() && !line.starts_with('#') {
                found.push(command(line));
            }
        }
    }
    found
}

fn expected(shown: &str) -> Expected {
    match shown.starts_with('{') {
        true => Expected::Message(serde_json::from_str(shown).expect("what is shown is JSON")),
        false => Expected::Reason(shown.to_owned()),
    }
}

fn command(line: &str) -> Line {
    let (command, variable) = match line.split_once("=$(") {
        Some((name, rest)) if !name.contains(' ') => {
            let rest = rest.strip_suffix(')').expect("it is closed");
            let (command, path) = rest.rsplit_once(" | jq -r .").expect("jq takes a value");
            (command, Some((name.to_owned(), path.to_owned())))
        }
        _ => (line, None),
    };
    assert!(command.starts_with("grpcurl "), "no test runs this: {line}");
    Line {
        command: command.to_owned(),
        variable,
        expected: Vec::new(),
    }
}

/// Returns the words of a command, with the values of its variables.
pub(super) fn words(command: &str, variables: &BTreeMap<String, String>) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = command.chars().peekable();
    while let Some(character) = rest.next() {
        match (character, quote) {
            (' ', None) => words.extend(word.take()),
            ('\'' | '"', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (end, Some(begun)) if end == begun => quote = None,
            ('$', None | Some('"')) => {
                let value = variable(&mut rest, variables);
                word.get_or_insert_default().push_str(value);
            }
            ('|' | '>' | '<' | ';' | '&' | '`' | '(' | '\\', None) | ('\\' | '`', Some('"')) => {
                panic!("{character} is too much of a shell: {command}")
            }
            (other, _) => word.get_or_insert_default().push(other),
        }
    }
    assert!(quote.is_none(), "a quote is open: {command}");
    words.extend(word);
    words
}

fn variable<'a>(
    rest: &mut Peekable<Chars<'_>>,
    variables: &'a BTreeMap<String, String>,
) -> &'a str {
    let mut name = String::new();
    while let Some(next) = rest.next_if(|next| next.is_ascii_alphanumeric() || *next == '_') {
        name.push(next);
    }
    let value = variables.get(&name);
    value.unwrap_or_else(|| panic!("${name} is not set"))
}

/// A parsed grpcurl command.
#[derive(Debug, Default)]
pub(super) struct Invocation {
    pub(super) headers: Vec<(String, String)>,
    pub(super) seconds: Option<u64>,
    pub(super) data: Option<String>,
    /// `list`, or `Service/Method`, or the argument of `describe`.
    pub(super) target: String,
    pub(super) describe: bool,
}

impl Invocation {
    pub(super) fn parse(words: &[String]) -> Self {
        let mut parsed = Self::default();
        let mut plain = Vec::new();
        let mut rest = words[1..].iter();
        while let Some(word) = rest.next() {
            let mut value = || rest.next().expect("the flag has a value").as_str();
            match word.as_str() {
                "-plaintext" => {}
                "-H" => {
                    let (name, value) = value().split_once(": ").expect("it is a header");
                    parsed.headers.push((name.to_owned(), value.to_owned()));
                }
                "-max-time" => parsed.seconds = Some(value().parse().unwrap()),
                "-d" => parsed.data = Some(value().to_owned()),
                flag if flag.starts_with('-') => panic!("unknown flag {flag}"),
                other => plain.push(other),
            }
        }
        match plain[..] {
            [_, "describe", what] => {
                parsed.describe = true;
                parsed.target = what.to_owned();
            }
            [_, what] => parsed.target = what.to_owned(),
            _ => panic!("unknown request: {words:?}"),
        }
        parsed
    }
}

/// Returns the value at a path like `a.b[0].c`.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let steps = path
        .split(['.', '['])
        .map(|step| step.trim_end_matches(']'));
    steps
        .into_iter()
        .try_fold(value, |value, step| match value {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            _ => value.get(step),
        })
}

/// Returns whether everything of `shown` is in `value`; in lists, at any index.
pub(super) fn has(value: &Value, shown: &Value) -> bool {
    match (value, shown) {
        (Value::Object(value), Value::Object(shown)) => shown
            .iter()
            .all(|(key, shown)| value.get(key).is_some_and(|value| has(value, shown))),
        (Value::Array(value), Value::Array(shown)) => shown
            .iter()
            .all(|shown| value.iter().any(|value| has(value, shown))),
        (value, shown) => value == shown,
    }
}

#[test]
fn lines_are_split_into_words_like_in_a_shell() {
    let variables = BTreeMap::from([("A".to_owned(), "x y".to_owned())]);
    let line = r#"grpcurl -d '{"a": "$A", "b": '"$A"'}' "h: $A""#;
    let expected = ["grpcurl", "-d", r#"{"a": "$A", "b": x y}"#, "h: x y"];
    assert_eq!(words(line, &variables), expected);
}

#[test]
fn answers_must_contain_only_the_documented_fields() {
    let value = serde_json::json!({"a": [{"b": 1, "c": 2}, {"b": 3}]});
    assert_eq!(at(&value, "a[1].b"), Some(&Value::from(3)));
    assert_eq!(at(&value, "a[2].b"), None);
    assert!(has(&value, &serde_json::json!({"a": [{"b": 3}]})));
    assert!(!has(&value, &serde_json::json!({"a": [{"b": 3, "c": 2}]})));
}
