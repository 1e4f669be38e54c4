//! Translates between gRPC and the calls of clients: the one place where a request of tonic becomes
//! a [`Call`] and what is asked, and a problem the status of a response.

use axum::http::HeaderValue;
use conclave_wire::{Problem, request::SessionRequest};
use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, metadata::MetadataValue};

use crate::{
    auth::cookie::Cookie,
    context::{call::Call, node_context::NodeContext},
    tls::Caller,
};

/// Response to a call, as gRPC knows it.
pub(crate) type Answer<T> = Result<Response<T>, Status>;

/// Serves a call: `serve` gets the call and what is asked, and its result becomes the response.
pub(crate) async fn answer<Q, A, F>(
    request: Request<Q>,
    serve: impl FnOnce(Call, Q) -> F,
) -> Answer<A>
where
    F: Future<Output = Result<A, Problem>>,
{
    let (call, request) = call_in(request);
    let result = serve(call, request).await;
    result.map(Response::new).map_err(|problem| {
        tracing::debug!(%problem, "a call was refused");
        problem.into()
    })
}

/// Serves a call after which a browser has no session any more.
pub(crate) async fn answer_last<Q, A, F>(
    request: Request<Q>,
    serve: impl FnOnce(Call, Q) -> F,
) -> Answer<A>
where
    F: Future<Output = Result<A, Problem>>,
{
    let cookie = cookie_of(&request);
    let mut response = answer(request, serve).await?;
    if let Some(cookie) = cookie {
        set_cookie(&mut response, &cookie.clear());
    }
    Ok(response)
}

/// Returns the cookie of the page that makes a call; `None` if a program makes it.
pub(crate) fn cookie_of<Q>(request: &Request<Q>) -> Option<Cookie> {
    request.extensions().get::<Cookie>().copied()
}

/// Gives the browser a cookie, or takes it, with the response to its call.
pub(crate) fn set_cookie<A>(response: &mut Response<A>, header: &HeaderValue) {
    if let Ok(mut value) = MetadataValue::try_from(header.as_bytes()) {
        value.set_sensitive(true);
        response.metadata_mut().insert("set-cookie", value);
    }
}

/// Serves a call that changes something and whose outcome is only that this was done; `tell` makes
/// the response of the log position of that outcome.
pub(crate) async fn done<Q: SessionRequest, A>(
    shared: &NodeContext,
    request: Request<Q>,
    tell: impl FnOnce(u64) -> A,
) -> Answer<A> {
    let serve = async |call: Call, request| {
        let position = shared.done_in_session(&call, request).await?;
        Ok(tell(position))
    };
    answer(request, serve).await
}

/// Returns the responses of a stream, as gRPC knows them.
pub(crate) fn stream<A>(
    responses: impl Stream<Item = Result<A, Problem>>,
) -> impl Stream<Item = Result<A, Status>> {
    responses.map(|response| response.map_err(Status::from))
}

fn call_in<Q>(request: Request<Q>) -> (Call, Q) {
    let caller = request.extensions().get::<Caller>();
    let address = caller.and_then(|caller| caller.address);
    let call = Call::in_headers(request.metadata().as_ref(), address);
    (call, request.into_inner())
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use conclave_core::Rejection;
    use conclave_wire::{OperatorCredential, Reason, request::token_hash};
    use tonic::Code;

    use super::*;
    use crate::{
        auth::{credential::Credential, sessions::show_token},
        tls::Presented,
    };

    /// Returns the call of a request with these headers.
    fn call(headers: &[(&'static str, &[u8])]) -> Call {
        let mut request = Request::new(());
        for (name, value) in headers {
            let value = MetadataValue::try_from(*value).unwrap();
            request.metadata_mut().append(*name, value);
        }
        call_in(request).0
    }

    fn left(timeout: &[u8]) -> Duration {
        call(&[("grpc-timeout", timeout)]).deadline.left()
    }

    #[test]
    fn a_call_has_the_credential_of_its_request() {
        let header = format!("Bearer {}", show_token(&[7; 32]));
        let session = call(&[("authorization", header.as_bytes())]).credential;
        assert_eq!(session.session(), Ok(token_hash(&[7; 32])));

        let operator = OperatorCredential::from_bytes([9; 32]);
        let header = operator.to_header();
        let shown = call(&[("authorization", header.as_bytes())]).credential;
        assert_eq!(shown.operator(), Some(operator.hash()));
        assert!(call(&[]).credential == Credential::Nothing);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_with_the_time_of_its_client_and_within_bounds() {
        assert_eq!(left(b"2S"), Duration::from_millis(1900));
        assert_eq!(left(b"200m"), Duration::from_millis(150));
        assert_eq!(left(b"0n"), Duration::ZERO);
        let (usual, most) = (call(&[]).deadline.left(), left(b"10S"));
        assert_eq!(usual, Duration::from_millis(4900));
        for hostile in [&b"99999999H"[..], b"99999999S"] {
            assert_eq!(left(hostile), most);
        }
        for hostile in [&b""[..], b"-1S", b"1e9S", b"\xff\xfeS", b"999999999S", b"5"] {
            assert_eq!(left(hostile), usual, "{hostile:?}");
        }
        let twice: [(_, &[u8]); 2] = [("grpc-timeout", b"2S"), ("grpc-timeout", b"9S")];
        assert_eq!(call(&twice).deadline.left(), left(b"2S"));
    }

    #[test]
    fn the_address_of_a_call_is_that_of_its_connection() {
        let from: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        let mut request = Request::new("asked");
        for header in ["forwarded", "x-forwarded-for", "x-real-ip"] {
            let forged = MetadataValue::from_static("203.0.113.1");
            request.metadata_mut().insert(header, forged);
        }
        request.extensions_mut().insert(Caller {
            shown: Presented::Plain,
            address: Some(from),
        });
        let (call, asked) = call_in(request);
        assert_eq!((call.address, asked), (Some(from), "asked"));
        assert_eq!(call_in(Request::new(())).0.address, None);
    }

    #[test]
    fn hostile_headers_make_a_call_that_shows_nothing_usable() {
        let long = [b'A'; 60_000];
        let token = format!("Bearer {}", show_token(&[7; 32]));
        for shown in [
            &b"Bearer \xff\xff"[..],
            b"Bearer",
            b"Bearer \t",
            b"Operator conclave-operator-1.",
            &long,
        ] {
            // Only the first header counts.
            let both: [(_, &[u8]); 2] = [
                ("authorization", shown),
                ("authorization", token.as_bytes()),
            ];
            let call = call(&both);
            let refused = call.credential.session().unwrap_err();
            assert_eq!(refused.reason(), Reason::SessionExpired, "{shown:?}");
            assert_eq!(call.credential.operator(), None, "{shown:?}");
        }
        // A call of gRPC has its key inside.
        assert_eq!(call(&[("idempotency-key", b"build-7")]).key, None);
    }

    /// Returns the status with which a call ends that is refused for this reason.
    async fn status_of(problem: &Problem) -> Status {
        let refuse = async |_: Call, ()| Err::<(), _>(problem.clone());
        answer(Request::new(()), refuse).await.unwrap_err()
    }

    #[tokio::test]
    async fn every_refusal_has_its_code_sentence_and_reason() {
        let text = || "a sentence".to_owned();
        let unknown = Problem::OutcomeUnknown { waited_ms: 12 };
        let no_leader = Problem::NoLeader {
            nodes_reachable: Some((1, 3)),
        };
        let limited = Problem::RateLimited {
            sentence: text(),
            wait_ms: 70,
        };
        let wrong = Problem::WrongAddressee {
            reason: Reason::WrongPort,
            sentence: text(),
        };
        let too_old = Rejection::RequestTooOld { last: 7 };
        let throttled = Problem::LoginThrottled { wait_ms: 2000 };
        let broken = Problem::Broken { sentence: text() };
        let cases = [
            (
                Rejection::NameTaken.into(),
                Code::AlreadyExists,
                "NAME_TAKEN",
            ),
            (
                Rejection::NotAllowed.into(),
                Code::PermissionDenied,
                "NOT_ALLOWED",
            ),
            (too_old.into(), Code::OutOfRange, "REQUEST_TOO_OLD"),
            (
                Rejection::TextEmpty.into(),
                Code::InvalidArgument,
                "TEXT_EMPTY",
            ),
            (
                Rejection::SessionExpired.into(),
                Code::Unauthenticated,
                "SESSION_EXPIRED",
            ),
            (Problem::Busy, Code::ResourceExhausted, "BUSY"),
            (no_leader, Code::Unavailable, "NO_LEADER"),
            (unknown, Code::DeadlineExceeded, "OUTCOME_UNKNOWN"),
            (throttled, Code::ResourceExhausted, "LOGIN_THROTTLED"),
            (limited, Code::ResourceExhausted, "RATE_LIMITED"),
            (Problem::NoSpace, Code::ResourceExhausted, "NO_SPACE"),
            (Problem::Behind, Code::Unavailable, "BEHIND"),
            (Problem::CutOff, Code::Unavailable, "CUT_OFF"),
            (Problem::GoingAway, Code::Unavailable, "GOING_AWAY"),
            (broken, Code::Unavailable, "NODE_BROKEN"),
            (wrong, Code::FailedPrecondition, "WRONG_PORT"),
        ];
        for (problem, code, reason) in cases {
            let status = status_of(&problem).await;
            assert_eq!(status.code(), code, "{reason}");
            assert_eq!(status.message(), problem.to_string());
            let seen = Problem::from_status(&status);
            assert_eq!(seen.as_ref().map(|seen| seen.reason().name()), Some(reason));
        }
    }
}
