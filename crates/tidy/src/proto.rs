//! Every part of the protocol is explained where it is defined.

use crate::{Problem, numbered};

/// Finds messages, fields, calls and values without a comment above them or behind them.
///
/// Goes by lines: it wants one declaration per line, which is how `buf format` writes them.
pub fn comments(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut explained = false;
    let mut continued = false;
    for (line, content) in numbered(text) {
        let content = content.trim();
        if content.starts_with("//") {
            explained = true;
            continue;
        }
        let needs = !continued && declares(content);
        if needs && !explained && !content.contains("//") {
            problems.push(Problem::new(
                path,
                line,
                "the protocol explains itself",
                format!("write a sentence above `{content}`"),
            ));
        }
        let code = content.split("//").next().unwrap_or_default().trim_end();
        // A declaration may run over several lines; only its first one needs the comment.
        continued = !code.is_empty() && !code.ends_with(['{', '}', ';']);
        explained = false;
    }
    problems
}

/// Finds calls that the page about the protocol does not name.
pub fn undocumented_calls(path: &str, text: &str, page: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, content) in numbered(text) {
        let Some(call) = content.trim().strip_prefix("rpc ") else {
            continue;
        };
        let call = call.split(['(', ' ']).next().unwrap_or_default();
        let named = ['`', '.'].map(|before| format!("{before}{call}`"));
        if !named.iter().any(|name| page.contains(name)) {
            let rule = "the page about the protocol names every call";
            let cure = format!("add `{call}` to the table of calls");
            problems.push(Problem::new(path, line, rule, cure));
        }
    }
    problems
}

fn declares(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    match first {
        "message" | "enum" | "service" | "rpc" | "oneof" => true,
        "" | "syntax" | "package" | "import" | "option" | "reserved" | "extensions" => false,
        // A field or a value: `string name = 1;`.
        _ => !line.starts_with(['}', ')', ']']) && line.contains('='),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proto_item_without_a_comment_is_caught() {
        let text = "\
syntax = \"proto3\";
package conclave.v1;
// A call.
service Chat {
  rpc Send(A) returns (B);
}
message A {
  // Explained.
  string name = 1;
  uint64 seq = 2;
  bool deleted = 3; // Explained as well.
  oneof what {
    // One.
    bool one = 4;
  }
}
// Of colours.
enum Colour {
  COLOUR_UNSPECIFIED = 0;
}
";
        let lines: Vec<usize> = comments("a.proto", text)
            .iter()
            .map(|problem| problem.line)
            .collect();
        assert_eq!(lines, [5, 7, 10, 12, 19]);
    }

    #[test]
    fn the_second_line_of_a_declaration_needs_no_comment() {
        let text = "// A call.\nrpc Send(A)\n    returns (B);\n";
        assert!(comments("a.proto", text).is_empty());
    }

    #[test]
    fn a_call_that_no_page_names_is_caught() {
        let text = "service Chat {\n  rpc Send(A) returns (B);\n  rpc SendAll(A) returns (B);\n}\n";
        let page = "| `Chat.Send`, `Read` |";
        let found = undocumented_calls("a.proto", text, page);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 3);
    }
}
