//! Accepts connections, takes each through its stages, and answers its requests.
//!
//! It decides nothing about a request (`gate.rs`) and does not drive HTTP itself (`drive.rs`).
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
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::service::Routes;
use tower::ServiceExt as _;

use crate::{
    base::{deadline::Deadline, log_once::LogOnce},
    connections::{
        bodies::{AnswerBody, ByteCounters, CallGuard, RequestBody},
        descriptors,
        io::MeteredIo,
        limits::Limits,
        meter::{Cut, Stage},
        slots::{ConnectionSlot, ConnectionSlots},
        turns::Turns,
    },
    http::{
        classify::{self, Asked},
        drive::{CLOSE_LIMIT, drive, ended, http1_of, http2_of},
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
        let served = http2_of(limits, shared.port.for_clients).serve_connection(io, service);
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
        let served = http1_of(limits).serve_connection(io, service);
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
