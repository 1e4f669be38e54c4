//! The server behind the panel of a demonstration: what the page asks, and what a person does to
//! the nodes.
//!
//! It listens on the loopback address alone. Every request needs the secret that the program has
//! printed, and one that a page sends must come from a page of the demonstration: another site can
//! neither send the secret nor read an answer, whatever name it gives this machine.
//!
//! Always true: connections, their time and their bodies are bounded; what is asked for a second
//! time is refused and changes nothing.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderMap, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
    time::timeout,
};

use super::{
    pulse::{BEAT_MS, Pulse, RATE_MAX},
    rolling::Rolling,
    stage::{Act, ActError, Stage},
    story::Kind,
};

/// Maximum number of connections: some tabs with a few each.
const CONNECTIONS_MAX: usize = 32;
/// Maximum size of a body.
const BODY_BYTES_MAX: usize = 1024;
/// Maximum size of the head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest time until a request has arrived.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// Longest life of a connection. The page makes another one.
const CONNECTION_LIMIT: Duration = Duration::from_secs(300);
/// Maximum number of beats and of entries of the story in one answer.
const BEATS_MAX: usize = 900;
const ENTRIES_MAX: usize = 100;

/// What the server answers from.
pub(super) struct Desk {
    pub(super) stage: Arc<Stage>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) rolling: Arc<Rolling>,
    /// Name and password of the administrator that the person at the panel is.
    pub(super) account: (String, String),
    /// Secret that every request shows.
    pub(super) secret: String,
    /// Whether a person has opened the panel.
    pub(super) opened: AtomicBool,
    /// Whether a person has done something to a node.
    pub(super) taken_over: AtomicBool,
}

/// The running server. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Control(AbortHandle);

impl Drop for Control {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Takes a free port on the loopback address.
pub(super) async fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Begins to serve.
pub(super) fn serve(listener: TcpListener, address: SocketAddr, desk: Arc<Desk>) -> Control {
    Control(tokio::spawn(accept(listener, address, desk)).abort_handle())
}

async fn accept(listener: TcpListener, address: SocketAddr, desk: Arc<Desk>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Its tasks end with it.
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            connections.join_next().await;
            continue;
        };
        let desk = desk.clone();
        connections.spawn(async move {
            // A caller that goes away has no use for the reason.
            let _ = timeout(CONNECTION_LIMIT, talk(stream, address, desk)).await;
            drop(place);
        });
    }
}

async fn talk(stream: TcpStream, address: SocketAddr, desk: Arc<Desk>) -> hyper::Result<()> {
    let answer = service_fn(move |request: Request<Incoming>| {
        let desk = desk.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = timeout(REQUEST_LIMIT, Limited::new(body, BODY_BYTES_MAX).collect());
            let Ok(Ok(body)) = body.await else {
                let sentence = "the body is larger or slower than any that the panel sends";
                return Ok::<_, Infallible>(refusal(StatusCode::PAYLOAD_TOO_LARGE, sentence));
            };
            let request = Request::from_parts(parts, body.to_bytes());
            Ok(respond(&desk, address, &request).await)
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_LIMIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

type Answer = Response<Full<Bytes>>;

/// Returns the answer to a request that has reached `address`.
async fn respond(desk: &Arc<Desk>, address: SocketAddr, request: &Request<Bytes>) -> Answer {
    let headers = request.headers();
    // Whatever name another site gives this machine, the browser sends that name.
    let port = address.port();
    let is_host = |host: &str| host == format!("127.0.0.1:{port}");
    if !one(headers, header::HOST).is_some_and(|host| host.to_str().is_ok_and(is_host)) {
        return refusal(StatusCode::FORBIDDEN, "the panel has another address");
    }
    let origin = match headers.get(header::ORIGIN) {
        None => None,
        Some(_) => match one(headers, header::ORIGIN).filter(|origin| desk.is_own(origin)) {
            Some(origin) => Some(origin.clone()),
            None => return refusal(StatusCode::FORBIDDEN, "this page is none of the cluster"),
        },
    };
    let mut answer = if request.method() == Method::OPTIONS {
        preflight()
    } else if desk.is_known(headers) {
        desk.opened.store(true, Ordering::Relaxed);
        route(desk, request).await
    } else {
        refusal(
            StatusCode::UNAUTHORIZED,
            "open the address that the demo has printed",
        )
    };
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    headers.extend(origin.map(|origin| (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)));
    answer
}

/// Returns the value of a header that must be there once.
fn one(headers: &HeaderMap, name: header::HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

impl Desk {
    /// Returns whether this is the origin of a page that a node of the demonstration has served.
    fn is_own(&self, origin: &HeaderValue) -> bool {
        let endpoints = self.stage.cluster.endpoints().into_iter();
        let own = endpoints.flat_map(|endpoint| {
            let by_name = endpoint.replace("127.0.0.1", "localhost");
            [format!("http://{endpoint}"), format!("http://{by_name}")]
        });
        own.into_iter().any(|own| origin == &*own)
    }

    /// Returns whether the caller shows the secret.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let shown = one(headers, header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer "));
        shown.is_some_and(|shown| is_same(shown.as_bytes(), self.secret.as_bytes()))
    }
}

/// Compares in a time that does not depend on where the difference is.
fn is_same(shown: &[u8], secret: &[u8]) -> bool {
    let pairs = shown.iter().zip(secret);
    shown.len() == secret.len() && pairs.fold(0, |all, (one, other)| all | (one ^ other)) == 0
}

fn preflight() -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    let methods = HeaderValue::from_static("GET, POST");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let allowed = HeaderValue::from_static("authorization, content-type");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    let remembered = HeaderValue::from_static("600");
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, remembered);
    answer
}

async fn route(desk: &Arc<Desk>, request: &Request<Bytes>) -> Answer {
    let path: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    match (request.method(), &path[..]) {
        (&Method::GET, ["state"]) => {
            let asked = request.uri().query().unwrap_or_default();
            with_json(StatusCode::OK, &state(desk, asked))
        }
        (&Method::GET, ["account"]) => {
            let (name, password) = &desk.account;
            let account = json!({"name": name, "password": password});
            with_json(StatusCode::OK, &account)
        }
        (&Method::POST, ["load"]) => set_load(desk, request.body()),
        (&Method::POST, ["heal"]) => {
            done(desk, |desk| async move { desk.stage.heal().await }).await
        }
        (&Method::POST, ["nodes", node, act]) => {
            let (Ok(node), Some(act)) = (node.parse::<u64>(), Act::named(act)) else {
                return refusal(StatusCode::NOT_FOUND, "there is no such node or act");
            };
            done(
                desk,
                move |desk| async move { desk.stage.act(node, act).await },
            )
            .await
        }
        _ => refusal(StatusCode::NOT_FOUND, "there is nothing at this path"),
    }
}

/// Does something to the nodes. It goes on if the caller goes away: half of it may be done.
async fn done<F>(desk: &Arc<Desk>, act: impl FnOnce(Arc<Desk>) -> F) -> Answer
where
    F: Future<Output = Result<(), ActError>> + Send + 'static,
{
    desk.taken_over.store(true, Ordering::Relaxed);
    match tokio::spawn(act(desk.clone())).await {
        Ok(Ok(())) => with_json(StatusCode::OK, &json!({})),
        Ok(Err(error)) => {
            let status = match &error {
                ActError::NoSuchNode(_) => StatusCode::NOT_FOUND,
                ActError::Already(..) => StatusCode::CONFLICT,
                ActError::Cluster(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            refusal(status, &error.to_string())
        }
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the demo is ending"),
    }
}

/// The load that the page asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Load {
    on: bool,
    rate: u64,
}

fn set_load(desk: &Desk, body: &[u8]) -> Answer {
    let load: Load = match serde_json::from_slice(body) {
        Ok(load) => load,
        Err(_) => {
            return refusal(
                StatusCode::BAD_REQUEST,
                "a load reads {\"on\":…,\"rate\":…}",
            );
        }
    };
    if load.rate == 0 || load.rate > RATE_MAX {
        let sentence = format!("the rate is 1 to {RATE_MAX} messages per second");
        return refusal(StatusCode::BAD_REQUEST, &sentence);
    }
    let before = (desk.pulse.is_on(), desk.pulse.rate());
    desk.pulse.set_load(load.on, load.rate);
    if before != (load.on, load.rate) {
        let text = match load.on {
            true => format!("load: up to {} messages per second", load.rate),
            false => "load: off".to_owned(),
        };
        let at_ms = desk.pulse.now_ms();
        desk.stage.story.tell(at_ms, Kind::Load, None, text);
    }
    with_json(StatusCode::OK, &json!({}))
}

/// Returns everything that the panel shows; of beats and of the story only what is asked for.
fn state(desk: &Desk, asked: &str) -> Value {
    let number = |name: &str| {
        let mut fields = asked.split('&').filter_map(|field| field.split_once('='));
        let found = fields.find(|(key, _)| *key == name);
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    };
    let stage = &desk.stage;
    let leader = stage.leader();
    let nodes = stage.states().into_iter().map(|(node, state)| {
        let mut node_json = json!(state);
        node_json["node"] = node.into();
        node_json["leader"] = (node == leader).into();
        node_json["url"] = format!("http://{}", stage.cluster.endpoint(node)).into();
        node_json
    });
    let (down, majority) = stage.majority();
    let (first, beats) = desk.pulse.beats(number("beats"), BEATS_MAX);
    json!({
        "at_ms": desk.pulse.now_ms(),
        "nodes": nodes.collect::<Vec<Value>>(),
        "down": down,
        "majority": majority,
        "load": {
            "on": desk.pulse.is_on(),
            "rate": desk.pulse.rate(),
            "rate_max": RATE_MAX,
            "full": desk.pulse.is_full(),
        },
        "counts": desk.pulse.counts(),
        "found": desk.rolling.found(),
        "beat_ms": BEAT_MS,
        "beats_first": first,
        "beats": beats,
        "pauses": desk.pulse.pauses(),
        "story": stage.story.after(number("story"), ENTRIES_MAX),
    })
}

fn with_json(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(Full::from(value.to_string()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let kind = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, kind);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    answer
}

fn refusal(status: StatusCode, sentence: &str) -> Answer {
    with_json(status, &json!({"error": sentence}))
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
