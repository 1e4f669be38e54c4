//! Webhooks: programs post messages to a room by plain HTTP, with a secret address.
//!
//! Always true: who does not know a secret costs a look at the database and no more: no body is
//! read for it and nothing is proposed. The secret is in no log and in no answer. A post with an
//! idempotency key is in the room once, however often and to whichever node it is sent.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest as _, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::{any, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::{Accepted, MessageText, OnceId, Rejection, TokenHash};
use conclave_wire::{
    Problem,
    request::{self, TOKEN_BYTES},
};
use serde::Deserialize;

use crate::{
    access::{Deadline, accepted},
    random,
    shared::Shared,
    webhook_answers::{posted, refusal, refused},
};

/// What comes before the secret in the path of a webhook.
pub(crate) const PATH: &str = "/hooks/";
/// The header that tells a retry from another post.
const KEY_HEADER: &str = "idempotency-key";
/// Longest idempotency key in bytes: far more than a UUID. Longer: refused.
const KEY_BYTES_MAX: usize = 128;
/// Longest body in bytes: the longest text, even if most of it is escaped. Longer: refused.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Posts under way on one node, and so bodies in memory. At the bound: refused as busy.
const POSTS_MAX: usize = 256;
/// Posts of one webhook under way on one node. At the bound: refused as busy.
const POSTS_OF_ONE_MAX: usize = 16;

/// Answers everything below [`PATH`].
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let hooks = Hooks {
        shared,
        places: Arc::default(),
    };
    Router::new()
        .route("/hooks/{*secret}", post(answer).fallback(only_post))
        .route("/hooks/", any(nowhere))
        .route("/hooks", any(nowhere))
        .with_state(hooks)
}

async fn answer(State(hooks): State<Hooks>, request: Request) -> Response {
    let keyed = request.headers().contains_key(KEY_HEADER);
    match hooks.post(request).await {
        Ok((sequence, position)) => posted(sequence, position),
        Err(problem) => {
            tracing::debug!(%problem, "a webhook's post was refused");
            refusal(&problem, keyed)
        }
    }
}

async fn only_post() -> Response {
    let sentence = r#"this is the address of a webhook: POST {"text": "…"} to it as JSON"#;
    refusal(&refused("METHOD_NOT_ALLOWED", sentence), false)
}

async fn nowhere() -> Response {
    refusal(&Rejection::NoSuchWebhook.into(), false)
}

#[derive(Clone)]
struct Hooks {
    shared: Arc<Shared>,
    places: Arc<Mutex<Places>>,
}

impl Hooks {
    /// Posts a message; gives its place in the room and in the log.
    async fn post(&self, request: Request) -> Result<(u64, u64), Problem> {
        self.shared.door()?;
        self.shared.only_where_believed()?;
        let deadline = Deadline::usual();
        let token = token_of(request.uri().path())?;
        let key = key_of(request.headers())?;
        let keyed = key.is_some();
        let once = match key {
            Some(key) => request::once_of_webhook(&token, &key),
            None => OnceId(random::bytes()?),
        };
        check_content_type(request.headers())?;
        self.look(token, deadline).await?;
        let _place = Place::take(&self.places, token).ok_or(Problem::Busy)?;
        let body = body_of(request, deadline).await?;
        let command = request::post_by_webhook(once, token, text_of(&body)?, keyed);
        let outcome = self.shared.propose(command, deadline).await?;
        if let Err(Rejection::RequestReused { .. }) = outcome.answer {
            let sentence = "the idempotency key was used for another text";
            return Err(refused("REQUEST_REUSED", sentence));
        }
        accepted(&outcome, |accepted| match accepted {
            Accepted::MessageSent {
                sequence, position, ..
            } => Some((sequence.0, position.0)),
            _ => None,
        })
    }

    /// Whether there is such a webhook. One that this node has not heard of may have been made
    /// elsewhere a moment ago: then everything that was acknowledged is waited for, once.
    async fn look(&self, token: TokenHash, deadline: Deadline) -> Result<(), Problem> {
        for fresh in [false, true] {
            if fresh {
                self.shared.barrier(deadline).await?;
            }
            let found = self
                .shared
                .read(move |reader| reader.webhook_by_token(&token))
                .await?;
            if found.is_some() {
                return Ok(());
            }
        }
        Err(Rejection::NoSuchWebhook.into())
    }
}

/// The posts under way.
#[derive(Default)]
struct Places {
    all: usize,
    of: HashMap<TokenHash, usize>,
}

/// One post under way; over when dropped.
struct Place {
    places: Arc<Mutex<Places>>,
    token: TokenHash,
}

impl Place {
    /// A place, if there is one left.
    fn take(places: &Arc<Mutex<Places>>, token: TokenHash) -> Option<Self> {
        let mut now = places.lock().unwrap_or_else(|error| error.into_inner());
        let own = now.of.get(&token).copied().unwrap_or(0);
        if now.all >= POSTS_MAX || own >= POSTS_OF_ONE_MAX {
            return None;
        }
        now.all += 1;
        now.of.insert(token, own + 1);
        Some(Self {
            places: places.clone(),
            token,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut now = self
            .places
            .lock()
            .unwrap_or_else(|error| error.into_inner());
        now.all -= 1;
        let own = now.of.remove(&self.token).unwrap_or(0);
        if own > 1 {
            now.of.insert(self.token, own - 1);
        }
    }
}

/// The hash of the secret in a path.
fn token_of(path: &str) -> Result<TokenHash, Problem> {
    let secret = path.strip_prefix(PATH).unwrap_or_default();
    match URL_SAFE_NO_PAD.decode(secret) {
        Ok(secret) if secret.len() == TOKEN_BYTES => Ok(request::token_hash(&secret)),
        // Nobody has an address like this.
        _ => Err(Rejection::NoSuchWebhook.into()),
    }
}

/// The idempotency key, if there is one.
fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all(KEY_HEADER).iter();
    let key = match (keys.next(), keys.next()) {
        (None, _) => return Ok(None),
        (Some(key), None) => key.to_str().ok(),
        (Some(_), Some(_)) => None,
    };
    let key = key.filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
    let bad = || {
        let sentence = "one idempotency key of 1 to 128 printable ASCII characters, or none";
        refused("IDEMPOTENCY_KEY_INVALID", sentence)
    };
    key.map(|key| Some(key.to_owned())).ok_or_else(bad)
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    match kind.eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => Err(refused(
            "CONTENT_TYPE_INVALID",
            "the body must be JSON, with the header `content-type: application/json`",
        )),
    }
}

/// The whole body, unless it is too long or too slow.
async fn body_of(mut request: Request, deadline: Deadline) -> Result<Bytes, Problem> {
    DefaultBodyLimit::max(BODY_BYTES_MAX).apply(&mut request);
    let body = tokio::time::timeout(deadline.left(), Bytes::from_request(request, &())).await;
    let body = body.map_err(|_| refused("BODY_INVALID", "the body did not arrive in time"))?;
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => refused("BODY_TOO_LONG", "the body has more than 64 KiB"),
        _ => refused("BODY_INVALID", "the body did not arrive as a whole"),
    })
}

/// What a body asks to post. What else is in it is for other servers.
#[derive(Deserialize)]
struct Post {
    text: String,
}

fn text_of(body: &[u8]) -> Result<MessageText, Problem> {
    let bad = || refused("BODY_INVALID", r#"the body is not JSON like {"text": "…"}"#);
    // A list would be taken for an object without the names of its parts.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(bad());
    }
    let post: Post = serde_json::from_slice(body).map_err(|_| bad())?;
    Ok(conclave_text::message(post.text)?)
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::HeaderValue};
    use conclave_core::limits::TEXT_BYTES_MAX;

    use super::*;

    fn reason<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
        result.unwrap_err().reason().to_owned()
    }

    fn headers(name: &'static str, values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn an_address_holds_a_secret_and_nothing_else() {
        let secret = [7; TOKEN_BYTES];
        let path = format!("{PATH}{}", URL_SAFE_NO_PAD.encode(secret));
        assert_eq!(token_of(&path), Ok(request::token_hash(&secret)));
        for bad in [
            "/hooks/",
            "/hooks/YWJj",
            "/hooks/!",
            "/other",
            &format!("{path}/x"),
        ] {
            assert_eq!(reason(token_of(bad)), "NO_SUCH_WEBHOOK", "{bad}");
        }
    }

    #[test]
    fn an_idempotency_key_has_1_to_128_bytes() {
        let key = |values: &[&[u8]]| key_of(&headers(KEY_HEADER, values));
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&[b"build-7"]), Ok(Some("build-7".to_owned())));
        assert!(key(&[&[b'k'; KEY_BYTES_MAX]]).is_ok());
        let long = [b'k'; KEY_BYTES_MAX + 1];
        for bad in [
            &[&b""[..]][..],
            &[&long[..]],
            &[&b"a"[..], b"b"],
            &[&b"\xff"[..]],
        ] {
            assert_eq!(reason(key(bad)), "IDEMPOTENCY_KEY_INVALID", "{bad:?}");
        }
    }

    #[test]
    fn a_post_is_json_and_says_so() {
        let check = |kind: &[u8]| check_content_type(&headers("content-type", &[kind]));
        assert_eq!(check(b"application/json"), Ok(()));
        assert_eq!(check(b"Application/JSON; charset=utf-8"), Ok(()));
        assert_eq!(reason(check(b"text/plain")), "CONTENT_TYPE_INVALID");
        assert_eq!(
            reason(check_content_type(&HeaderMap::new())),
            "CONTENT_TYPE_INVALID"
        );
    }

    #[test]
    fn the_text_is_the_whole_post() {
        let text = |body: &str| text_of(body.as_bytes()).map(|text| text.as_str().to_owned());
        assert_eq!(
            text(r#"{"text": "hi\n", "icon": 1}"#),
            Ok("hi\n".to_owned())
        );
        for bad in ["", "hi", "{}", r#"{"text": 1}"#, r#"["text"]"#] {
            assert_eq!(reason(text(bad)), "BODY_INVALID", "{bad}");
        }
        assert_eq!(reason(text(r#"{"text": ""}"#)), "TEXT_EMPTY");
        let long = format!(r#"{{"text": "{}"}}"#, "x".repeat(TEXT_BYTES_MAX + 1));
        assert_eq!(reason(text(&long)), "TEXT_TOO_LONG");
    }

    #[tokio::test]
    async fn a_body_of_more_than_64_kib_is_refused() {
        let read = async |bytes| {
            let request = Request::new(Body::from(vec![b' '; bytes]));
            body_of(request, Deadline::usual()).await
        };
        assert_eq!(read(BODY_BYTES_MAX).await.unwrap().len(), BODY_BYTES_MAX);
        assert_eq!(reason(read(BODY_BYTES_MAX + 1).await), "BODY_TOO_LONG");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_ends_with_the_deadline() {
        let never = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        let request = Request::new(Body::from_stream(never));
        assert_eq!(
            reason(body_of(request, Deadline::usual()).await),
            "BODY_INVALID"
        );
    }

    #[test]
    fn one_webhook_takes_a_part_of_the_places_and_gives_them_back() {
        let places = Arc::default();
        let take = |hook| Place::take(&places, TokenHash([hook; 32]));
        let own: Vec<_> = (0..POSTS_OF_ONE_MAX).map(|_| take(0).unwrap()).collect();
        assert!(take(0).is_none());
        let mut others = Vec::new();
        for hook in 1..=u8::MAX {
            others.extend((0..POSTS_OF_ONE_MAX).map_while(|_| take(hook)));
        }
        assert_eq!(own.len() + others.len(), POSTS_MAX);
        drop(own);
        assert!(take(0).is_some());
        drop(others);
        let places = places.lock().unwrap();
        assert_eq!((places.all, places.of.len()), (0, 0));
    }
}
