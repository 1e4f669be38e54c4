//! Answers GET on the admin port: `/livez`, `/readyz`, `/startupz` and `/metrics`.
//!
//! A connection carries one request and is closed after it, so nothing can be held open.
//!
//! Always true: at most [`CONNECTIONS_MAX`] connections are open, each for at most
//! [`CONNECTION_LIMIT`]; a newcomer displaces the oldest of the address that has most. Metrics are
//! made for one caller at a time.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, Response, StatusCode, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use crate::{
    base::log_once::LogOnce,
    connections::{
        ConnectionSlots, descriptors, limits::Capacity, meter::Stage, slots::ConnectionSlot,
    },
    observe::{
        Observed,
        health::{self, Probe},
        metrics::Metrics,
    },
};

/// Maximum number of connections: a few watchers, each with a few probes.
const CONNECTIONS_MAX: usize = 64;
/// Maximum time of a connection, from its first byte to its last.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// Maximum time for the header of its request.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// Maximum size of this header, in bytes; hyper takes no less.
const HEADER_BYTES_MAX: usize = 8 * 1024;
/// Pause after a connection could not be accepted: the missing resource becomes free by itself.
const TAKE_AGAIN: Duration = Duration::from_millis(50);

/// Type of plain text.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// Type of the metrics.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// Methods that the port answers.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");
/// What is at `/`.
const INDEX: &str = "conclave: admin port of a node
/livez     whether the process works; a restart cures what fails here
/startupz  whether the node has started
/readyz    whether the node can serve clients
/metrics   metrics, in the format of OpenMetrics
?verbose shows each check of the first three; ?exclude=NAME leaves one out
";

/// Serves until the task is aborted.
pub(super) async fn serve(listener: TcpListener, observed: Arc<Observed>, metrics: Arc<Metrics>) {
    let capacity = Capacity {
        // Those that were displaced count until they are closed.
        all: 2 * CONNECTIONS_MAX,
        unauthenticated: CONNECTIONS_MAX,
        kept: 0,
    };
    let slots = ConnectionSlots::new(capacity, u64::MAX);
    let short = LogOnce::default();
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(taken) => taken,
            Err(error) => {
                if short.should_log(descriptors::ran_out(&error)) {
                    tracing::warn!(%error, "failed to accept a connection for admin");
                }
                sleep(TAKE_AGAIN).await;
                continue;
            }
        };
        if let Some(slot) = slots.take(from).await {
            tokio::spawn(one(stream, slot, observed.clone(), metrics.clone()));
        }
    }
}

/// Serves one connection.
async fn one(
    stream: TcpStream,
    slot: ConnectionSlot,
    observed: Arc<Observed>,
    metrics: Arc<Metrics>,
) {
    slot.connection.enter(Stage::Idle);
    let answer = service_fn(move |request: Request<Incoming>| {
        let (observed, metrics) = (observed.clone(), metrics.clone());
        async move { Ok::<_, Infallible>(answer(&request, &observed, &metrics).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    // What a caller has done wrong is no concern of the node.
    tokio::select! {
        _ = timeout(CONNECTION_LIMIT, served) => {}
        _ = slot.connection.is_to_end() => {}
    }
}

async fn answer(
    request: &Request<Incoming>,
    observed: &Arc<Observed>,
    metrics: &Arc<Metrics>,
) -> Response<Body> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = with_text(StatusCode::METHOD_NOT_ALLOWED, "this port answers GET\n");
        response.headers_mut().insert(header::ALLOW, METHODS);
        return response;
    }
    let query = request.uri().query().unwrap_or_default();
    let mut response = match request.uri().path() {
        "/" => with_text(StatusCode::OK, INDEX),
        "/livez" => probe(observed, Probe::Live, query).await,
        "/readyz" => probe(observed, Probe::Ready, query).await,
        "/startupz" => probe(observed, Probe::Started, query).await,
        "/metrics" => match metrics.text().await {
            Some(text) => {
                let mut response = with_text(StatusCode::OK, text);
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, OPEN_METRICS);
                response
            }
            None => with_text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "failed to write metrics\n",
            ),
        },
        _ => with_text(StatusCode::NOT_FOUND, INDEX),
    };
    if request.method() == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    response
}

async fn probe(observed: &Observed, probe: Probe, query: &str) -> Response<Body> {
    let report = health::report(observed, probe, query).await;
    let status = match report.is_ok {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    with_text(status, report.text)
}

fn with_text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let text = text.into();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, TEXT);
    // What is true now need not be true at the next look.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
