//! Accepts connections and serves HTTP on them.
//!
//! Always true: a connection ends when its place is given to another, when its caller is slow, or
//! when its caller reads nothing; the listener ends only with the node.

use std::{sync::Arc, time::Duration};

use axum::{
    body::HttpBody,
    http::{Request, Response},
};
use bytes::Bytes;
use conclave_wire::Problem;
use futures::future::BoxFuture;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::service::Routes;
use tower::ServiceExt as _;

use crate::{
    base::{deadline::Deadline, log_once::LogOnce},
    connections::{
        bodies::{AnswerBody, ByteCounters, CallGuard, PROGRESS, Progress, RequestBody},
        descriptors,
        io::MeteredIo,
        limits::Limits,
        meter::{Connection, Cut, Stage},
        slots::{ConnectionSlot, ConnectionSlots},
        turns::Turns,
    },
    http::{
        classify::{self, Asked},
        gate::Gate,
        refusals::Refusals,
        webhooks,
    },
    tls::{Accept, Caller, Handshakes},
};

/// First bytes of HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pause after a connection could not be accepted: the missing resource becomes free by itself.
const TAKE_AGAIN: Duration = Duration::from_millis(50);
/// Interval of keep-alive pings on an idle connection, and how long the answer may take.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(5);
/// Pause between two looks at a connection that is served.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a connection may take to close in order.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Window of requests on the client port: a request is short.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;
/// Maximum number of bytes of responses that wait inside of HTTP/2 for one stream of a client.
const SEND_BUFFER: usize = 128 * 1024;
/// Maximum size of the headers of one request, in bytes.
const HEADERS_MAX: u32 = 16 * 1024;
/// Number of streams that this node resets for errors of the caller before it closes the
/// connection.
const ERRORS_MAX: usize = 128;
/// Maximum size of a header of HTTP/1.1, in bytes.
const HTTP1_BUFFER: usize = 16 * 1024;
/// Maximum number of streams of one peer connection: every call has one.
const PEER_STREAMS: u32 = 1024;

/// One port, and how it accepts callers.
pub(crate) struct PortConfig {
    pub(crate) places: Arc<ConnectionSlots>,
    pub(crate) limits: Arc<Limits>,
    /// TLS acceptor; `None` for plain text.
    pub(crate) accept: Option<Accept>,
    pub(crate) gate: Gate,
    pub(crate) routes: Routes,
    /// Name of the callers, for the log.
    pub(crate) callers: &'static str,
    /// Whether the port is for clients, which are accepted at a limited rate and may use HTTP/1.1.
    pub(crate) for_clients: bool,
}

struct PortState {
    port: PortConfig,
    handshakes: Handshakes,
    turns: Option<Arc<Turns>>,
    refusals: Refusals,
    logged: LogOnce<(crate::connections::address::Address, Cut)>,
}

/// Serves until the task is aborted or `end` says so; then waits until all connections have ended.
pub(crate) async fn serve(port: PortConfig, listener: TcpListener, mut end: watch::Receiver<bool>) {
    let turns = port.for_clients.then(Arc::<Turns>::default);
    let every = port.limits.between_handshakes();
    let giving = turns
        .clone()
        .map(|turns| OnDrop(tokio::spawn(turns.give(every))));
    let shared = Arc::new(PortState {
        handshakes: Handshakes::new(port.callers),
        turns,
        refusals: Refusals::default(),
        logged: LogOnce::default(),
        port,
    });
    let (open, mut all_ended) = mpsc::channel::<()>(1);
    let short = LogOnce::default();
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            () = ended(&mut end) => break,
        };
        let (stream, from) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                let ran_out = descriptors::ran_out(&error);
                if short.should_log(ran_out) {
                    let callers = shared.port.callers;
                    tracing::warn!(%error, "failed to accept a connection for {callers}");
                }
                sleep(TAKE_AGAIN).await;
                continue;
            }
        };
        let Some(place) = shared.port.places.take(from).await else {
            continue;
        };
        let one = one(shared.clone(), stream, place, end.clone(), open.clone());
        tokio::spawn(one);
    }
    drop((open, giving, listener));
    let _ = all_ended.recv().await;
}

/// Serves the peer port while there is no cluster yet.
pub(crate) struct BootstrapListener {
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl BootstrapListener {
    pub(crate) fn start(port: PortConfig, listener: TcpListener) -> Self {
        let (end, ended) = watch::channel(false);
        let task = tokio::spawn(serve(port, listener, ended));
        Self { end, task }
    }

    /// Closes every connection, so that its caller connects again and reaches the node.
    pub(crate) async fn end(self) {
        self.end.send_replace(true);
        if timeout(CLOSE_LIMIT, self.task).await.is_err() {
            tracing::warn!("failed to end all connections from before the bootstrap");
        }
    }
}

/// A task that is aborted when this is dropped.
struct OnDrop(JoinHandle<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until the listener is to end; for ever if nothing ends it.
async fn ended(end: &mut watch::Receiver<bool>) {
    if end.wait_for(|end| *end).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Serves one connection, from its first byte to its last.
async fn one(
    shared: Arc<PortState>,
    stream: TcpStream,
    place: ConnectionSlot,
    end: watch::Receiver<bool>,
    _open: mpsc::Sender<()>,
) {
    let connection = place.connection.clone();
    let mut ends = end.clone();
    let served = Box::pin(through(&shared, stream, &place, end));
    let last_moment = async {
        ended(&mut ends).await;
        sleep(CLOSE_LIMIT / 2).await;
    };
    let cut = tokio::select! {
        why = connection.is_to_end() => Some(why),
        cut = served => cut,
        () = last_moment => None,
    };
    let Some(why) = cut else { return };
    connection.cut(why);
    shared.port.places.count(why);
    let worth_a_line = matches!(why, Cut::Unread | Cut::Memory | Cut::Flood);
    if worth_a_line && shared.logged.should_log((connection.address, why)) {
        let (from, callers) = (connection.from, shared.port.callers);
        tracing::warn!(%from, reason = why.name(), "a connection for {callers} was cut");
    }
}

/// Takes a connection through its stages; returns why it was cut, if it was.
async fn through(
    shared: &Arc<PortState>,
    stream: TcpStream,
    place: &ConnectionSlot,
    end: watch::Receiver<bool>,
) -> Option<Cut> {
    let (connection, limits) = (&place.connection, &shared.port.limits);
    // Nothing else depends on this option.
    let _ = stream.set_nodelay(true);
    match timeout(limits.handshake(), stream.peek(&mut [0])).await {
        Ok(Ok(1..)) => {}
        Ok(Ok(0) | Err(_)) => return None,
        Err(_) => return Some(Cut::Slow),
    }
    if let Some(turns) = &shared.turns {
        connection.enter(Stage::Waiting);
        turns.wait(connection.address).await;
    }
    connection.enter(Stage::Idle);
    let accept = shared.port.accept.clone();
    let handshake = shared.handshakes.shake(stream, accept, limits.handshake());
    let arrival = handshake.await?;
    let caller = arrival.caller();
    let rate = limits.unauthenticated_bytes_per_second;
    let mut io = MeteredIo::new(arrival, connection.clone(), rate, limits.stalled());
    let speaks_http2 = match timeout(limits.header(), first_bytes(&mut io)).await {
        Ok(Ok(Some(speaks_http2))) => speaks_http2,
        Ok(Ok(None) | Err(_)) => return None,
        Err(_) => return Some(Cut::Slow),
    };
    let service = Calls(Arc::new(Session {
        shared: shared.clone(),
        caller,
        books: ByteCounters {
            connection: connection.clone(),
            places: place.places().clone(),
            of_one: limits.connection_held_bytes,
        },
    }));
    let io = TokioIo::new(io);
    if speaks_http2 {
        let served = http2_of(shared).serve_connection(io, service);
        let served = std::pin::pin!(served);
        drive(
            served,
            http2::Connection::graceful_shutdown,
            connection,
            limits,
            end,
        )
        .await
    } else if shared.port.for_clients {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header())
            .max_buf_size(HTTP1_BUFFER);
        let served = builder.serve_connection(io, service);
        let served = std::pin::pin!(served);
        drive(
            served,
            http1::Connection::graceful_shutdown,
            connection,
            limits,
            end,
        )
        .await
    } else {
        None
    }
}

/// Reads until it is clear whether this is HTTP/2; returns `None` if the caller has closed the
/// connection.
async fn first_bytes<T>(io: &mut MeteredIo<T>) -> std::io::Result<Option<bool>>
where
    T: tokio::io::AsyncRead + Unpin,
{
    let mut first = [0; PREFACE.len()];
    let mut count = 0;
    while count < first.len() && PREFACE.starts_with(&first[..count]) {
        match io.read(&mut first[count..]).await? {
            0 => return Ok(None),
            more => count += more,
        }
    }
    io.rewind(Bytes::copy_from_slice(&first[..count]));
    Ok(Some(first == PREFACE))
}

fn http2_of(shared: &PortState) -> http2::Builder<Streams> {
    let limits = &shared.port.limits;
    let mut builder = http2::Builder::new(Streams {
        stalled: limits.stalled(),
    });
    let streams = match shared.port.for_clients {
        true => limits.streams_per_connection,
        false => PEER_STREAMS,
    };
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(HEADERS_MAX)
        // Calls that are cancelled at once are counted in `meter.rs`, by what they cost.
        .max_pending_accept_reset_streams(2 * usize::try_from(streams).unwrap_or(usize::MAX))
        .max_local_error_reset_streams(ERRORS_MAX)
        .keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_LIMIT);
    if shared.port.for_clients {
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER);
    }
    builder
}

/// Serves a connection until it ends or must be cut.
async fn drive<C>(
    mut served: std::pin::Pin<&mut C>,
    goodbye: impl Fn(std::pin::Pin<&mut C>),
    connection: &Connection,
    limits: &Limits,
    mut end: watch::Receiver<bool>,
) -> Option<Cut>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut look = Instant::now() + LOOK_EVERY.min(limits.idle());
    let mut ends_at = None;
    loop {
        tokio::select! {
            outcome = served.as_mut() => {
                let calm = outcome.err().and_then(|error| is_flood(&error).then_some(Cut::Flood));
                return calm.or_else(|| ends_at.map(|_| Cut::Slow).filter(|_| !*end.borrow()));
            }
            () = sleep_until(look) => {
                if ends_at.is_some_and(|at| at <= Instant::now()) {
                    return Some(Cut::Slow);
                }
                if connection.stalled().is_some_and(|stalled| stalled > 2 * limits.stalled()) {
                    return Some(Cut::Unread);
                }
                let idle = connection.idle().filter(|_| !connection.is_known());
                if idle.is_some_and(|idle| idle >= limits.idle()) && ends_at.is_none() {
                    goodbye(served.as_mut());
                    ends_at = Some(Instant::now() + CLOSE_LIMIT);
                }
                look = Instant::now() + match ends_at {
                    Some(_) => CLOSE_LIMIT,
                    None => LOOK_EVERY.min(limits.idle()),
                };
            }
            () = ended(&mut end), if ends_at.is_none() => {
                goodbye(served.as_mut());
                ends_at = Some(Instant::now() + CLOSE_LIMIT);
                look = Instant::now() + CLOSE_LIMIT;
            }
        }
    }
}

/// Returns whether HTTP/2 itself has closed the connection because of a flood.
fn is_flood(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
        }
        source = error.source();
    }
    false
}

/// Runs the streams of a connection, each until its caller reads nothing of its response.
#[derive(Clone)]
struct Streams {
    stalled: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let stalled = self.stalled;
        tokio::spawn(async move {
            let progress = Arc::new(Progress::default());
            let mut stream = std::pin::pin!(PROGRESS.scope(progress.clone(), stream));
            let mut look = std::pin::pin!(sleep(stalled));
            let mut looks = false;
            std::future::poll_fn(|context| {
                if stream.as_mut().poll(context).is_ready() {
                    return std::task::Poll::Ready(());
                }
                // No event wakes a stream that has nothing to send.
                while looks || progress.stalled().is_some() {
                    if !looks {
                        look.as_mut().reset(Instant::now() + stalled);
                        looks = true;
                    }
                    std::task::ready!(look.as_mut().poll(context));
                    looks = false;
                    if progress.stalled().is_some_and(|since| since >= stalled) {
                        return std::task::Poll::Ready(());
                    }
                }
                std::task::Poll::Pending
            })
            .await;
        });
    }
}

/// What all calls of a connection share.
struct Session {
    shared: Arc<PortState>,
    caller: Caller,
    books: ByteCounters,
}

#[derive(Clone)]
struct Calls(Arc<Session>);

impl Service<Request<Incoming>> for Calls {
    type Response = Response<AnswerBody>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let call = CallGuard::begin(&self.0.books.connection);
        let session = self.0.clone();
        Box::pin(async move { Ok(session.answer(request, call).await) })
    }
}

impl Session {
    async fn answer(
        &self,
        request: Request<Incoming>,
        mut call: CallGuard,
    ) -> Response<AnswerBody> {
        let port = &self.shared.port;
        let (mut parts, body) = request.into_parts();
        let deadline = Deadline::in_headers(&parts.headers);
        let is_call = match classify::asked(&parts, port.for_clients) {
            Asked::Call => true,
            Asked::Webhook => false,
            Asked::Neither(response) => {
                drop(body);
                return self.counted(response, call, deadline).await;
            }
        };
        let is_hinted = is_call && port.gate.is_hinted(&parts);
        let decided = match self.books.are_full() {
            true if !is_call => {
                drop(body);
                return self
                    .counted(webhooks::refusal(&Problem::Busy, false), call, deadline)
                    .await;
            }
            true => Err(tonic::Status::resource_exhausted(
                "too many unread answers of this connection",
            )),
            false => {
                let decided = port.gate.decide(&parts, &self.caller, &port.limits).await;
                decided.map_err(tonic::Status::from)
            }
        };
        let entry = match decided {
            Ok(entry) => entry,
            Err(status) => {
                drop(body);
                let mut response = status.into_http::<tonic::body::Body>();
                if is_hinted {
                    port.gate.name_leader(&mut response);
                }
                return self.counted(response, call, deadline).await;
            }
        };
        if entry.known {
            self.books.places.know(&self.books.connection);
        }
        let counted = entry.allowance.within.map(|_| self.books.clone());
        parts.extensions.insert(self.caller.clone());
        let body = RequestBody::new(body, entry.allowance, self.books.clone());
        let request = Request::from_parts(parts, tonic::body::Body::new(body));
        let Ok(mut response) = port.routes.clone().oneshot(request).await;
        if is_hinted {
            port.gate.name_leader(&mut response);
        }
        call.is_answered();
        self.hold(&response, deadline).await;
        response.map(|body| AnswerBody::new(body, counted, call))
    }

    /// Returns a response that was made before the services were asked; its bytes count.
    async fn counted<B>(
        &self,
        response: Response<B>,
        mut call: CallGuard,
        deadline: Deadline,
    ) -> Response<AnswerBody>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        call.is_answered();
        self.hold(&response, deadline).await;
        let counted = Some(self.books.clone());
        response.map(|body| AnswerBody::new(tonic::body::Body::new(body), counted, call))
    }

    /// Waits if this response is one refusal too many, but no longer than the caller does.
    fn hold<T>(
        &self,
        response: &Response<T>,
        deadline: Deadline,
    ) -> impl Future<Output = ()> + use<T> {
        let hold = match self.shared.port.for_clients {
            true => {
                let address = self.books.connection.address;
                let hold = self.shared.refusals.hold(address, response);
                hold.min(deadline.left())
            }
            false => Duration::ZERO,
        };
        async move {
            if !hold.is_zero() {
                sleep(hold).await;
            }
        }
    }
}
