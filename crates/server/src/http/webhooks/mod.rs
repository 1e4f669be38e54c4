//! Webhooks: programs post messages to a room by plain HTTP, with a secret address.
//!
//! Always true: a caller that does not know a secret costs one look at the database: no body is
//! read for it and nothing is proposed. The secret is in no log and in no answer. A post with an
//! idempotency key is in the room once, however often and to whichever node it is sent. People can
//! read every posted message, whichever of the known programs has sent it.

mod alerts;
mod answers;
mod body;
#[cfg(test)]
mod corpus_tests;
mod github;
mod slack;
mod text;

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody as _},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method},
    response::Response,
    routing::{any, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::{Accepted, OnceId, Rejection, TokenHash, allowance::price};
use conclave_storage::state::Reader;
use conclave_wire::{
    Problem, Reason,
    request::{self, TOKEN_BYTES},
};
use futures::future::poll_fn;
use serde_json::Value;

use answers::{not_posted, posted};
use body::Shape;

use crate::{
    auth::credential::Credential,
    base::{deadline::Deadline, random},
    context::{access::accepted, call::Call, node_context::NodeContext},
    http::classify,
    protocol::client_port::HOOKS,
    tls::Caller,
};

pub(crate) use answers::refusal;

/// Header that tells a retry from another post.
const KEY_HEADER: &str = "idempotency-key";
/// Maximum length of an idempotency key in bytes: far more than a UUID. A longer key is refused.
const KEY_BYTES_MAX: usize = 128;
/// Header in which GitHub names the event.
const GITHUB_HEADER: &str = "x-github-event";
/// Maximum number of bytes of a body that are read and dropped after it was refused, so that its
/// sender gets the reason instead of losing its connection.
const DROPPED_BYTES_MAX: usize = 512 * 1024;
/// Maximum number of posts under way on one node, and so of bodies in memory. At the bound a post
/// is refused as busy.
const POSTS_MAX: usize = 256;
/// Maximum number of posts of one webhook under way on one node. At the bound a post is refused as
/// busy.
const POSTS_OF_ONE_MAX: usize = 16;

/// Result of formatting a post.
#[derive(Debug, PartialEq, Eq)]
enum Rendered {
    /// A message with this text.
    Message(String),
    /// No message, with the reason.
    Nothing(&'static str),
}

/// Outcome of a post.
enum Outcome {
    /// The message has a sequence in its room and a position in the log; its text may have been
    /// cut.
    Posted(u64, u64, bool),
    /// The post makes no message.
    NotPosted(&'static str),
}

/// Serves everything below [`HOOKS`].
pub(crate) fn router(shared: Arc<NodeContext>) -> Router {
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
        Ok(Outcome::Posted(sequence, position, was_cut)) => posted(sequence, position, was_cut),
        Ok(Outcome::NotPosted(why)) => not_posted(why),
        Err(problem) => {
            tracing::debug!(%problem, "a webhook's post was refused");
            refusal(&problem, keyed)
        }
    }
}

async fn only_post(method: Method) -> Response {
    if method == Method::OPTIONS {
        return classify::options();
    }
    let sentence = r#"this is the address of a webhook: POST {"text": "…"} to it as JSON"#;
    refusal(&Problem::refused(Reason::MethodNotAllowed, sentence), false)
}

async fn nowhere() -> Response {
    refusal(&Rejection::NoSuchWebhook.into(), false)
}

#[derive(Clone)]
struct Hooks {
    shared: Arc<NodeContext>,
    places: Arc<Mutex<PostPermits>>,
}

impl Hooks {
    /// Posts a message, if the body makes one.
    async fn post(&self, request: Request) -> Result<Outcome, Problem> {
        self.shared.refuse_if_away()?;
        self.shared.only_where_trusted()?;
        let call = call_in(&request)?;
        let (token, deadline) = (call.credential.webhook()?, call.deadline);
        let once = match &call.key {
            Some(key) => request::once_of_webhook(&token, key),
            None => OnceId(random::bytes()?),
        };
        let find = move |reader: &Reader| reader.webhook_by_token(&token);
        let found = self.shared.find(&call, find).await?;
        let (_, _, account) = found.ok_or(Rejection::NoSuchWebhook)?;
        let place = PostPermit::take(&self.places, token).ok_or(Problem::Busy)?;
        let (parts, mut body) = request.into_parts();
        let shape = Shape::of(&parts.headers);
        let body = body_of(&mut body, deadline).await;
        let (shape, body) = (shape?, body?);
        let body = shape.unpack(&body)?;
        let told = told_by(&parts.headers, &shape.read(&body)?)?;
        let (text, was_cut) = match told {
            Rendered::Message(message) => text::fit(&text::clean(&message)),
            Rendered::Nothing(why) => return Ok(Outcome::NotPosted(why)),
        };
        let text = conclave_text::message(text)?;
        // A retry may be packed in another way.
        let event = parts.headers.get(GITHUB_HEADER);
        let event = event.map_or(&b""[..], HeaderValue::as_bytes);
        let received = [&body[..], &shape.mark(), event];
        let command = request::post_by_webhook(once, token, text, &received, call.key.is_some());
        // The body is read: a post that waits for its rate takes no place from other posts.
        drop(place);
        let (of, price) = (
            self.shared.sessions.account_limiters.of(account),
            price(&command.operation),
        );
        let _fair = self.shared.command_permit(&of, &price, deadline).await?;
        let outcome = self.shared.propose(command, deadline).await?;
        if let Err(rejection) = &outcome.answer {
            of.note_refused(&price, rejection);
        }
        if let Err(Rejection::RequestReused { .. }) = outcome.answer {
            let sentence = "the idempotency key was used for another body";
            return Err(Problem::refused(Reason::RequestReused, sentence));
        }
        accepted(&outcome, |accepted| match accepted {
            Accepted::MessageSent {
                sequence, position, ..
            } => Some(Outcome::Posted(sequence.0, position.0, was_cut)),
            _ => None,
        })
    }
}

/// Posts under way.
#[derive(Default)]
struct PostPermits {
    all: usize,
    of: HashMap<TokenHash, usize>,
}

/// One post under way, until dropped.
struct PostPermit {
    places: Arc<Mutex<PostPermits>>,
    token: TokenHash,
}

impl PostPermit {
    /// Takes a place, if there is one left.
    fn take(places: &Arc<Mutex<PostPermits>>, token: TokenHash) -> Option<Self> {
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

impl Drop for PostPermit {
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

/// Returns the call of a post: its path shows the webhook, and a header tells a retry.
fn call_in(request: &Request) -> Result<Call, Problem> {
    let caller = request.extensions().get::<Caller>();
    Ok(Call {
        deadline: Deadline::usual(),
        address: caller.and_then(|caller| caller.address),
        credential: Credential::Webhook(token_of(request.uri().path())?),
        key: key_of(request.headers())?,
    })
}

/// Returns the hash of the secret in a path.
fn token_of(path: &str) -> Result<TokenHash, Problem> {
    let secret = path.strip_prefix(HOOKS).unwrap_or_default();
    let secret = secret.strip_suffix('/').unwrap_or(secret);
    match URL_SAFE_NO_PAD.decode(secret) {
        Ok(secret) if secret.len() == TOKEN_BYTES => Ok(request::token_hash(&secret)),
        // No webhook has an address like this.
        _ => Err(Rejection::NoSuchWebhook.into()),
    }
}

/// Returns the idempotency key, if there is one.
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
        Problem::refused(Reason::IdempotencyKeyInvalid, sentence)
    };
    key.map(|key| Some(key.to_owned())).ok_or_else(bad)
}

/// Reads the whole body, unless it is too long or too slow.
async fn body_of(body: &mut Body, deadline: Deadline) -> Result<Bytes, Problem> {
    let whole = tokio::time::timeout(deadline.left(), read(body)).await;
    whole.map_err(|_| Problem::refused(Reason::BodyInvalid, "the body did not arrive in time"))?
}

async fn read(body: &mut Body) -> Result<Bytes, Problem> {
    let mut whole = Vec::new();
    let mut dropped = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        let broken =
            |_| Problem::refused(Reason::BodyInvalid, "the body did not arrive as a whole");
        let Ok(data) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        match whole.len() + data.len() > body::BYTES_MAX {
            false if dropped == 0 => whole.extend_from_slice(&data),
            _ => dropped += data.len(),
        }
        if dropped > DROPPED_BYTES_MAX {
            break;
        }
    }
    match dropped {
        0 => Ok(whole.into()),
        _ => Err(Problem::refused(
            Reason::BodyTooLong,
            "the body has more than 256 KiB",
        )),
    }
}

/// Formats a body for people.
fn told_by(headers: &HeaderMap, body: &Value) -> Result<Rendered, Problem> {
    if let Some(event) = headers.get(GITHUB_HEADER) {
        let event = event.to_str().unwrap_or("event");
        return Ok(github::rendered(event, body));
    }
    if alerts::is_notification(body) {
        return Ok(Rendered::Message(alerts::notification(body)));
    }
    if alerts::is_old_grafana(body) {
        return Ok(Rendered::Message(alerts::old_grafana(body)));
    }
    let bad = |sentence: &str| Problem::refused(Reason::BodyInvalid, sentence);
    if !(body["text"].is_string() || body["text"].is_null()) {
        return Err(bad("the field `text` of the body is not text"));
    }
    match slack::text_of(body) {
        Some(text) if text.trim().is_empty() && !body["text"].is_string() => {
            Err(bad("nothing in the body is text"))
        }
        Some(text) => Ok(Rendered::Message(text)),
        None => Err(bad(
            "the body has none of the fields `text`, `blocks` and `attachments`, and is neither \
             of Alertmanager nor of Grafana; events of GitHub have the header X-GitHub-Event",
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reason<T: std::fmt::Debug>(result: Result<T, Problem>) -> Reason {
        result.unwrap_err().reason()
    }

    fn headers(name: &'static str, values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_webhook_path_holds_only_its_secret() {
        let secret = [7; TOKEN_BYTES];
        let path = format!("{HOOKS}{}", URL_SAFE_NO_PAD.encode(secret));
        assert_eq!(token_of(&path), Ok(request::token_hash(&secret)));
        assert_eq!(token_of(&format!("{path}/")), token_of(&path));
        for bad in [
            "/hooks/",
            "/hooks/YWJj",
            "/hooks/!",
            "/other",
            &format!("{path}/x"),
            &format!("{path}//"),
        ] {
            assert_eq!(reason(token_of(bad)), Reason::NoSuchWebhook, "{bad}");
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
            assert_eq!(reason(key(bad)), Reason::IdempotencyKeyInvalid, "{bad:?}");
        }
    }

    #[test]
    fn the_text_is_the_whole_post() {
        let told = |body: Value| told_by(&HeaderMap::new(), &body);
        let message = |text: &str| Ok(Rendered::Message(text.to_owned()));
        assert_eq!(told(json!({"text": "hi\n", "icon": 1})), message("hi"));
        assert_eq!(told(json!({"text": ""})), message(""));
        for bad in [
            json!({}),
            json!({"text": 1}),
            json!({"content": "x"}),
            json!({"blocks": []}),
            json!({"blocks": [{"type": "divider"}]}),
        ] {
            assert_eq!(reason(told(bad.clone())), Reason::BodyInvalid, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_body_over_256_kib_is_refused_and_read_to_its_end() {
        let read = async |bytes| {
            let mut body = Body::from(vec![b' '; bytes]);
            body_of(&mut body, Deadline::usual()).await
        };
        let most = body::BYTES_MAX;
        assert_eq!(read(most).await.unwrap().len(), most);
        assert_eq!(reason(read(most + 1).await), Reason::BodyTooLong);
        assert_eq!(reason(read(4 * most).await), Reason::BodyTooLong);
        let parts = (0..2000).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1000]));
        let mut body = Body::from_stream(futures::stream::iter(parts));
        let refused = body_of(&mut body, Deadline::usual()).await;
        assert_eq!(reason(refused), Reason::BodyTooLong);
        // The handler does not wait for the rest of it.
        assert!(!body.is_end_stream());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_ends_with_the_deadline() {
        let never = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        let mut body = Body::from_stream(never);
        let body = body_of(&mut body, Deadline::usual()).await;
        assert_eq!(reason(body), Reason::BodyInvalid);
    }

    #[test]
    fn one_webhook_gets_only_a_share_of_slots_and_returns_them() {
        let places = Arc::default();
        let take = |hook| PostPermit::take(&places, TokenHash([hook; 32]));
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
