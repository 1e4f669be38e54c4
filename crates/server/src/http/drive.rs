//! Drives HTTP on one connection until it ends or must be cut.
//!
//! It accepts no connection and answers no request (`serve.rs`).
//!
//! Always true: what one connection holds inside of HTTP has a bound. A connection ends when it is
//! idle for too long without a known caller, when a header of HTTP/1.1 takes too long (a request of
//! a known caller may be long in coming), when its caller reads nothing, and when the listener
//! ends; a stream ends when its caller reads nothing of its response.

use std::{sync::Arc, time::Duration};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use crate::connections::{
    bodies::{PROGRESS, Progress},
    limits::Limits,
    meter::{Connection, Cut},
};

/// Interval of keep-alive pings on an idle connection, and how long the answer may take.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(5);
/// Pause between two looks at a connection that is served.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a connection may take to close in order.
pub(crate) const CLOSE_LIMIT: Duration = Duration::from_secs(2);
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

/// Returns how a port speaks HTTP/2.
pub(super) fn http2_of(
    limits: &Limits,
    for_clients: bool,
    connection: &Arc<Connection>,
) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams {
        stalled: limits.stalled(),
        connection: connection.clone(),
    });
    let streams = match for_clients {
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
    if for_clients {
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER);
    }
    builder
}

/// Returns how the client port speaks HTTP/1.1.
pub(super) fn http1_of(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // It counts from the end of the response before; a header that has begun has less time.
        .header_read_timeout(limits.keep_alive())
        .max_buf_size(HTTP1_BUFFER);
    builder
}

/// Serves a connection until it ends or must be cut. `header_limit` is the time for a header that
/// has begun, where HTTP itself has no such limit.
pub(super) async fn drive<C>(
    mut served: std::pin::Pin<&mut C>,
    goodbye: impl Fn(std::pin::Pin<&mut C>),
    connection: &Connection,
    limits: &Limits,
    header_limit: Option<Duration>,
    mut end: watch::Receiver<bool>,
) -> Option<Cut>
where
    C: Future<Output = hyper::Result<()>>,
{
    let look_every = LOOK_EVERY.min(limits.idle());
    let look_every = header_limit.map_or(look_every, |limit| look_every.min(limit));
    let mut look = Instant::now() + look_every;
    let mut ends_at = None;
    loop {
        tokio::select! {
            outcome = counted(served.as_mut(), connection) => {
                let calm = outcome.err().and_then(|error| is_flood(&error).then_some(Cut::Flood));
                return calm.or_else(|| ends_at.map(|_| Cut::Slow).filter(|_| !*end.borrow()));
            }
            () = sleep_until(look) => {
                if ends_at.is_some_and(|at| at <= Instant::now()) {
                    return Some(Cut::Slow);
                }
                let asks_for = header_limit.and(connection.asks_for());
                if asks_for.is_some() && asks_for >= header_limit {
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
                    None => look_every,
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

/// Runs work for a connection, and counts the time that it takes.
async fn counted<W: Future>(mut work: std::pin::Pin<&mut W>, connection: &Connection) -> W::Output {
    std::future::poll_fn(|context| {
        let began = Instant::now();
        let polled = work.as_mut().poll(context);
        connection.worked(began.elapsed());
        polled
    })
    .await
}

/// Waits until the listener is to end; for ever if nothing ends it.
pub(super) async fn ended(end: &mut watch::Receiver<bool>) {
    if end.wait_for(|end| *end).await.is_err() {
        std::future::pending::<()>().await;
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
pub(super) struct Streams {
    stalled: Duration,
    connection: Arc<Connection>,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (stalled, connection) = (self.stalled, self.connection.clone());
        tokio::spawn(async move {
            let progress = Arc::new(Progress::default());
            let stream = std::pin::pin!(PROGRESS.scope(progress.clone(), stream));
            let mut stream = std::pin::pin!(counted(stream, &connection));
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
