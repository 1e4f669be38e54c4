//! Accepts connections and takes each through its stages.
//!
//! It answers no request (`answer.rs`) and does not drive HTTP itself (`drive.rs`).
//!
//! Always true: a connection ends when its place is given to another, when its caller is slow, or
//! when its caller reads nothing; the listener ends only with the node.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    base::log_once::LogOnce,
    connections::{
        bodies::ByteCounters,
        descriptors,
        io::MeteredIo,
        limits::Limits,
        meter::{Cut, Stage},
        slots::{ConnectionSlot, ConnectionSlots},
        turns::HandshakeTurns,
    },
    http::{
        answer::{Answers, Calls},
        drive::{CLOSE_LIMIT, drive, ended, http1_of, http2_of},
    },
    tls::{Accept, Handshakes},
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
    pub(crate) answers: Arc<Answers>,
    /// Name of the callers, for the log.
    pub(crate) callers: &'static str,
}

impl PortConfig {
    /// Returns whether the port is for clients, which may use HTTP/1.1.
    fn for_clients(&self) -> bool {
        self.answers.for_clients()
    }
}

struct PortState {
    port: PortConfig,
    handshakes: Handshakes,
    turns: HandshakeTurns,
    logged: LogOnce<(crate::connections::address::Address, Cut)>,
}

/// Serves until the task is aborted or `end` says so; then waits until all connections have ended.
pub(crate) async fn serve(port: PortConfig, listener: TcpListener, mut end: watch::Receiver<bool>) {
    let every = port.limits.between_handshakes(port.for_clients());
    let shared = Arc::new(PortState {
        handshakes: Handshakes::new(port.callers),
        turns: HandshakeTurns::start(every),
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
    drop((open, listener));
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
    // A peer that waits goes as early as one that says nothing: so a crowd of strangers displaces
    // itself before it gets a turn.
    connection.enter(match shared.port.for_clients() {
        true => Stage::Waiting,
        false => Stage::Idle,
    });
    let turn = shared.turns.wait(connection.address, place.is_of_member());
    turn.await;
    connection.enter(Stage::Handshaking);
    let accept = shared.port.accept.clone();
    let handshake = shared.handshakes.shake(stream, accept, limits.handshake());
    let arrival = handshake.await?;
    connection.enter(Stage::Idle);
    let caller = arrival.caller();
    let rate = limits.unauthenticated_bytes_per_second;
    let mut io = MeteredIo::new(arrival, connection.clone(), rate, limits.stalled());
    let speaks_http2 = match timeout(limits.header(), first_bytes(&mut io)).await {
        Ok(Ok(Some(speaks_http2))) => speaks_http2,
        Ok(Ok(None) | Err(_)) => return None,
        Err(_) => return Some(Cut::Slow),
    };
    let books = ByteCounters {
        connection: connection.clone(),
        places: place.places().clone(),
        of_one: limits.connection_held_bytes,
    };
    let service = Calls::new(shared.port.answers.clone(), caller, books);
    let io = TokioIo::new(io);
    if speaks_http2 {
        let served =
            http2_of(limits, shared.port.for_clients(), connection).serve_connection(io, service);
        let served = std::pin::pin!(served);
        drive(
            served,
            http2::Connection::graceful_shutdown,
            connection,
            limits,
            None,
            end,
        )
        .await
    } else if shared.port.for_clients() {
        let served = http1_of(limits).serve_connection(io, service);
        let served = std::pin::pin!(served);
        drive(
            served,
            http1::Connection::graceful_shutdown,
            connection,
            limits,
            Some(limits.header()),
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
