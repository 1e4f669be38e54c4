//! Tests with bodies of five senders, from `tests/webhook_bodies`: one JSON object a line. `body`
//! is what is sent, as JSON or, if it is a string, as it stands; `type` the content type if it is
//! not `application/json`, `event` the event of GitHub; `says` what must be in the text, `refused`
//! the reason of a refusal, `nothing` that no message is made of it.

use std::io::Write as _;

use axum::http::{HeaderValue, header};
use conclave_core::limits::TEXT_BYTES_MAX;
use conclave_text::{BYTE_ORDER_MARK, breaks_line, turns_direction};
use flate2::{Compression, write::GzEncoder};

use super::*;

const SENDERS: [(&str, &str); 5] = [
    (
        "slack",
        include_str!("../../../tests/webhook_bodies/slack.jsonl"),
    ),
    (
        "mattermost",
        include_str!("../../../tests/webhook_bodies/mattermost.jsonl"),
    ),
    (
        "grafana",
        include_str!("../../../tests/webhook_bodies/grafana.jsonl"),
    ),
    (
        "alertmanager",
        include_str!("../../../tests/webhook_bodies/alertmanager.jsonl"),
    ),
    (
        "github",
        include_str!("../../../tests/webhook_bodies/github.jsonl"),
    ),
];

fn told(headers: &HeaderMap, body: &[u8]) -> Result<Rendered, Problem> {
    let shape = Shape::of(headers)?;
    let told = told_by(headers, &shape.read(&shape.unpack(body)?)?)?;
    Ok(match told {
        Rendered::Message(message) => {
            let (text, _) = text::fit(&text::clean(&message));
            Rendered::Message(conclave_text::message(text)?.as_str().to_owned())
        }
        nothing => nothing,
    })
}

fn headers_of(case: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: &'static str, value: &str| {
        if !value.is_empty() {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
    };
    add(
        "content-type",
        case["type"].as_str().unwrap_or("application/json"),
    );
    add(GITHUB_HEADER, case["event"].as_str().unwrap_or_default());
    headers
}

fn bytes_of(case: &Value) -> Vec<u8> {
    match &case["body"] {
        Value::String(body) => body.clone().into_bytes(),
        body => body.to_string().into_bytes(),
    }
}

/// Fails unless people can read a text.
#[track_caller]
fn is_readable(name: &str, text: &str) {
    assert!(!text.trim().is_empty(), "{name}");
    assert!(text.len() <= TEXT_BYTES_MAX, "{name}: {} bytes", text.len());
    let steers = |c: char| (c.is_control() && c != '\n') || turns_direction(c);
    assert!(!text.contains(steers), "{name}: {text:?}");
    for of_json in ["{\"", "\":", "\\n", "\\u", "null", "[object", "()", "[]"] {
        assert!(!text.contains(of_json), "{name} has {of_json}: {text}");
    }
    let is_bare = |line: &str| line.trim_end() == line && line.trim() != "-";
    assert!(
        text.lines().all(is_bare) || text.len() > 1000,
        "{name}: {text:?}"
    );
}

#[test]
fn corpus_bodies_are_rendered_or_refused_with_the_cause() {
    let (mut read, mut refused, mut nothing) = (0, 0, 0);
    for (sender, lines) in SENDERS {
        for line in lines.lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let name = format!("{sender}: {}", case["name"].as_str().unwrap());
            match told(&headers_of(&case), &bytes_of(&case)) {
                Ok(Rendered::Message(text)) => {
                    assert!(
                        case["refused"].is_null() && case["nothing"].is_null(),
                        "{name}"
                    );
                    is_readable(&name, &text);
                    let says = case["says"].as_array().expect("it says what it says");
                    for part in says {
                        let part = part.as_str().unwrap();
                        assert!(text.contains(part), "{name} lacks {part:?}: {text}");
                    }
                    read += 1;
                }
                Ok(Rendered::Nothing(why)) => {
                    assert_eq!(case["nothing"], true, "{name}");
                    assert!(!why.is_empty());
                    nothing += 1;
                }
                Err(problem) => {
                    assert_eq!(
                        case["refused"],
                        problem.reason().name(),
                        "{name}: {problem}"
                    );
                    assert!(problem.to_string().len() > 10, "{name}: {problem}");
                    refused += 1;
                }
            }
        }
    }
    assert!(
        read >= 190 && refused >= 10 && nothing >= 3,
        "{read} {refused} {nothing}"
    );
    assert!(read + refused + nothing >= 200);
}

#[test]
fn a_body_gives_the_same_text_in_every_encoding() {
    for (sender, lines) in SENDERS {
        for line in lines.lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            if case["body"].is_string() {
                continue;
            }
            let plain = headers_of(&case);
            let body = bytes_of(&case);
            let expected = told(&plain, &body);
            let with = |kind: &'static str, encoding: &'static str| {
                let mut headers = plain.clone();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
                if kind.is_empty() {
                    headers.remove(header::CONTENT_TYPE);
                }
                if !encoding.is_empty() {
                    let encoding = HeaderValue::from_static(encoding);
                    headers.insert(header::CONTENT_ENCODING, encoding);
                }
                headers
            };
            let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
            packer.write_all(&body).unwrap();
            let escaped: String = body.iter().map(|byte| format!("%{byte:02x}")).collect();
            let form = format!("a=b&payload={escaped}").into_bytes();
            let marked = [&b"\xef\xbb\xbf"[..], &body].concat();
            let form_kind = "application/x-www-form-urlencoded";
            for (headers, body) in [
                (
                    with("application/json; charset=UTF-8", "gzip"),
                    packer.finish().unwrap(),
                ),
                (with(form_kind, ""), form),
                (with(form_kind, ""), body.clone()),
                (with("application/cloudevents+json", ""), marked),
                (with("", ""), body),
            ] {
                let told = told(&headers, &body);
                assert_eq!(told, expected, "{sender}: {} {headers:?}", case["name"]);
            }
        }
    }
}

#[test]
fn a_body_that_is_cut_or_changed_anywhere_makes_no_panic() {
    for (_, lines) in SENDERS {
        for line in lines.lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let headers = headers_of(&case);
            let body = bytes_of(&case);
            let step = (body.len() / 40).max(1);
            for at in (0..body.len()).step_by(step) {
                let _ = told(&headers, &body[..at]);
                for byte in [b'0', b'"', b'}', b'<', b'\xff'] {
                    let mut changed = body.clone();
                    changed[at] = byte;
                    let _ = told(&headers, &changed);
                }
            }
            // Each value replaced by one of another kind.
            if let Value::Object(fields) = &case["body"] {
                for name in fields.keys() {
                    for other in [
                        Value::Null,
                        7.into(),
                        "x".into(),
                        Value::Array(vec![Value::Null, "y".into()]),
                        serde_json::json!({"type": "text", "text": [1], "elements": {}}),
                    ] {
                        let mut changed = fields.clone();
                        changed.insert(name.clone(), other);
                        let changed = Value::Object(changed).to_string();
                        let _ = told(&headers, changed.as_bytes());
                    }
                }
            }
        }
    }
}

#[test]
fn no_unicode_character_controls_the_shown_text() {
    let steers = |c: char| {
        let is_break = c != '\n' && (c.is_control() || breaks_line(c));
        is_break || turns_direction(c) || c == BYTE_ORDER_MARK
    };
    let all: Vec<char> = ('\0'..=char::MAX).collect();
    for some in all.chunks(997) {
        let written: String = some.iter().collect();
        let label = serde_json::json!({"alertname": written, written.clone(): written});
        let part = serde_json::json!({"type": "text", "text": written});
        let section = serde_json::json!({"type": "rich_text_section", "elements": [part]});
        for (event, body) in [
            ("", serde_json::json!({"text": written})),
            (
                "",
                serde_json::json!({"attachments": [{"title": written, "footer": written}]}),
            ),
            (
                "",
                serde_json::json!({"blocks": [{"type": "rich_text", "elements": [section]}]}),
            ),
            (
                "",
                serde_json::json!({"status": written, "alerts": [{"labels": label}]}),
            ),
            (
                "issues",
                serde_json::json!({"action": written, "issue": {"title": written}}),
            ),
            ("unknown", serde_json::json!({"sender": {"login": written}})),
        ] {
            let case = serde_json::json!({"event": event, "body": body});
            let told = told(&headers_of(&case), &bytes_of(&case));
            if let Ok(Rendered::Message(text)) = told {
                assert!(!text.contains(steers), "{text:?}");
            }
        }
    }
}
