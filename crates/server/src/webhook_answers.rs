//! What programs that post by HTTP are told: a status, JSON, and when to ask again.
//!
//! Always true: whoever is told to ask again may do so without a message appearing twice.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use conclave_wire::Problem;
use serde_json::json;

/// When to ask a node again that could not serve, in seconds: longer than an election.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The message has its place.
pub(crate) fn posted(sequence: u64, position: u64) -> Response {
    let body = json!({"sequence": sequence, "position": position});
    respond(StatusCode::OK, &body)
}

/// It was refused. `keyed`: the post had an idempotency key.
pub(crate) fn refusal(problem: &Problem, keyed: bool) -> Response {
    let error = json!({"reason": problem.reason(), "sentence": problem.to_string()});
    let status = status_of(problem);
    let mut response = respond(status, &json!({"error": error}));
    let headers = response.headers_mut();
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
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

/// What is refused before the rules are asked.
pub(crate) fn refused(reason: &str, sentence: &str) -> Problem {
    Problem::Refused {
        reason: reason.to_owned(),
        sentence: sentence.to_owned(),
        request_last: None,
    }
}

fn respond(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn status_of(problem: &Problem) -> StatusCode {
    match problem {
        Problem::Refused { reason, .. } => match reason.as_str() {
            "NO_SUCH_WEBHOOK" | "NO_SUCH_CONVERSATION" => StatusCode::NOT_FOUND,
            "METHOD_NOT_ALLOWED" => StatusCode::METHOD_NOT_ALLOWED,
            "REQUEST_REUSED" => StatusCode::CONFLICT,
            "BODY_TOO_LONG" | "TEXT_TOO_LONG" => StatusCode::PAYLOAD_TOO_LARGE,
            "CONTENT_TYPE_INVALID" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "QUOTA_EXCEEDED" => StatusCode::INSUFFICIENT_STORAGE,
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
        // Without a key the message may be there already, and would be there twice.
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
            (refused("BODY_INVALID", "…"), (400, false)),
            (refused("IDEMPOTENCY_KEY_INVALID", "…"), (400, false)),
            (Rejection::NoSuchWebhook.into(), (404, false)),
            (Rejection::NoSuchConversation.into(), (404, false)),
            (refused("METHOD_NOT_ALLOWED", "…"), (405, false)),
            (Rejection::RequestReused { last: 0 }.into(), (409, false)),
            (
                Rejection::TextTooLong { bytes: 20_000 }.into(),
                (413, false),
            ),
            (refused("BODY_TOO_LONG", "…"), (413, false)),
            (refused("CONTENT_TYPE_INVALID", "…"), (415, false)),
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
    fn only_a_post_with_a_key_may_be_repeated_when_its_outcome_is_unknown() {
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
            body(posted(3, 4096)).await,
            json!({"sequence": 3, "position": 4096})
        );
        let refusal = refusal(&Rejection::NoSuchWebhook.into(), false);
        let error = json!({
            "reason": "NO_SUCH_WEBHOOK",
            "sentence": "there is no such webhook",
        });
        assert_eq!(body(refusal).await, json!({"error": error}));
    }
}
