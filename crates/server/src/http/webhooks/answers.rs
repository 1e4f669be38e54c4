//! Responses to programs that post by HTTP: a status, JSON, and when to try again.
//!
//! Always true: a sender that is asked to try again may do so without a message appearing twice.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use conclave_wire::{Problem, Reason};
use serde_json::json;

use crate::http::classify;

/// Seconds after which a sender tries again at a node that could not serve: longer than an
/// election.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Returns the response to a post whose message is in its room; its text may have been cut.
pub(super) fn posted(sequence: u64, position: u64, was_cut: bool) -> Response {
    let mut body = json!({"sequence": sequence, "position": position});
    if was_cut {
        body["cut"] = true.into();
    }
    classify::with_json(StatusCode::OK, &body)
}

/// Returns the response to a post that was understood but makes no message.
pub(super) fn not_posted(why: &str) -> Response {
    classify::with_json(StatusCode::OK, &json!({"posted": false, "sentence": why}))
}

/// Returns the response to a refused post. `keyed`: the post had an idempotency key.
pub(crate) fn refusal(problem: &Problem, keyed: bool) -> Response {
    let (reason, sentence) = (problem.reason(), problem.to_string());
    let hint = hint_of(reason);
    let mut response = classify::refusal(status_of(problem), reason, &sentence, hint);
    let headers = response.headers_mut();
    match problem {
        Problem::RateLimited { wait_ms, .. } => {
            let seconds = wait_ms.div_ceil(1000).max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        _ if may_repeat(problem, keyed) => {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        _ => {}
    }
    response
}

/// Returns what the sender can do, where the sentence does not say it.
fn hint_of(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::NoSuchWebhook => {
            "the path is /hooks/SECRET as it was shown when the webhook was made; it ends with the \
             rights of its maker: a moderator of the room makes another one"
        }
        Reason::BodyInvalid => r#"send {"text": "…"} as JSON in UTF-8"#,
        Reason::BodyTooLong => "send less: the first 256 KiB would hold more than a message shows",
        Reason::MethodNotAllowed => "use POST",
        _ => return None,
    })
}

fn status_of(problem: &Problem) -> StatusCode {
    match problem {
        Problem::Refused { reason, .. } => match reason {
            Reason::NoSuchWebhook | Reason::NoSuchConversation => StatusCode::NOT_FOUND,
            Reason::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Reason::RequestReused => StatusCode::CONFLICT,
            Reason::BodyTooLong | Reason::TextTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Reason::ContentTypeInvalid
            | Reason::CharsetInvalid
            | Reason::ContentEncodingInvalid => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Reason::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::BAD_REQUEST,
        },
        Problem::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        Problem::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        Problem::Busy => StatusCode::TOO_MANY_REQUESTS,
        Problem::NoLeader { .. }
        | Problem::OutcomeUnknown { .. }
        | Problem::GoingAway
        | Problem::CutOff
        | Problem::Behind
        | Problem::Broken { .. } => StatusCode::SERVICE_UNAVAILABLE,
        // A webhook has no session and no addressee but its room.
        _ => StatusCode::BAD_REQUEST,
    }
}

fn may_repeat(problem: &Problem, keyed: bool) -> bool {
    match problem {
        Problem::Busy
        | Problem::NoSpace
        | Problem::NoLeader { .. }
        | Problem::GoingAway
        | Problem::Behind => true,
        // Without a key a retry could post a message twice, because it may be there already.
        Problem::OutcomeUnknown { .. } => keyed,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use conclave_core::Rejection;

    use super::*;

    fn told(problem: &Problem, keyed: bool) -> (u16, bool) {
        let response = refusal(problem, keyed);
        let retry = response.headers().contains_key(header::RETRY_AFTER);
        (response.status().as_u16(), retry)
    }

    #[test]
    fn every_problem_has_its_status() {
        let no_leader = Problem::NoLeader {
            nodes_reachable: None,
        };
        let broken = Problem::Broken {
            sentence: "the state cannot be read".to_owned(),
        };
        let limited = Problem::RateLimited {
            sentence: "…".to_owned(),
            wait_ms: 1,
        };
        let full = Rejection::QuotaExceeded {
            what: "stored bytes".to_owned(),
        };
        let cases = [
            (Rejection::TextEmpty.into(), (400, false)),
            (Problem::refused(Reason::BodyInvalid, "…"), (400, false)),
            (
                Problem::refused(Reason::IdempotencyKeyInvalid, "…"),
                (400, false),
            ),
            (Rejection::NoSuchWebhook.into(), (404, false)),
            (Rejection::NoSuchConversation.into(), (404, false)),
            (
                Problem::refused(Reason::MethodNotAllowed, "…"),
                (405, false),
            ),
            (Rejection::RequestReused { last: 0 }.into(), (409, false)),
            (
                Rejection::TextTooLong { bytes: 20_000 }.into(),
                (413, false),
            ),
            (Problem::refused(Reason::BodyTooLong, "…"), (413, false)),
            (
                Problem::refused(Reason::ContentTypeInvalid, "…"),
                (415, false),
            ),
            (Problem::refused(Reason::CharsetInvalid, "…"), (415, false)),
            (
                Problem::refused(Reason::ContentEncodingInvalid, "…"),
                (415, false),
            ),
            (Problem::Busy, (429, true)),
            (Problem::NoSpace, (507, true)),
            (limited, (429, true)),
            (full.into(), (507, false)),
            (no_leader, (503, true)),
            (Problem::GoingAway, (503, true)),
            (Problem::Behind, (503, true)),
            (broken, (503, false)),
        ];
        for (problem, expected) in cases {
            assert_eq!(told(&problem, false), expected, "{problem:?}");
        }
    }

    #[test]
    fn only_a_keyed_post_is_retryable_after_an_unknown_outcome() {
        let unknown = Problem::OutcomeUnknown { waited_ms: 5000 };
        assert_eq!(told(&unknown, true), (503, true));
        assert_eq!(told(&unknown, false), (503, false));
    }

    #[tokio::test]
    async fn answers_are_json() {
        let body = async |response: Response| {
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            let bytes = to_bytes(response.into_body(), 1000).await.unwrap();
            serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()
        };
        assert_eq!(
            body(posted(3, 4096, false)).await,
            json!({"sequence": 3, "position": 4096})
        );
        assert_eq!(body(posted(3, 4096, true)).await["cut"], json!(true));
        let sentence = "the webhook works";
        let expected = json!({"posted": false, "sentence": sentence});
        assert_eq!(body(not_posted(sentence)).await, expected);
        let refusal = body(refusal(&Rejection::NoSuchWebhook.into(), false)).await;
        let error = json!({
            "reason": "NO_SUCH_WEBHOOK",
            "sentence": "there is no such webhook",
        });
        assert_eq!(refusal["error"], error);
        assert!(refusal["hint"].as_str().unwrap().contains("/hooks/"));
    }
}
