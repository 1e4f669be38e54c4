//! Measures one connection: its stage, and the bytes that wait in memory for it.
//!
//! Always true: what all connections of a port hold together is the sum of what each holds; a
//! connection that is cut no longer counts from that moment on.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::address::Address;
use crate::base::work_meter::WorkMeter;

/// How far a connection has come, in the order in which connections are displaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The connection has not sent a byte.
    Silent,
    /// It has no call.
    Idle,
    /// It has sent something and waits for its turn to begin the handshake.
    Waiting,
    /// Its handshake is going on.
    Handshaking,
    /// It has calls.
    Calling,
}

/// Reason why this node closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cut {
    /// Another caller needed its place.
    Displaced,
    /// Its caller was slow to send a request, or sent none.
    Slow,
    /// Its caller did not read its responses.
    Unread,
    /// It held most of the memory when that ran out.
    Memory,
    /// Its caller sent more than an honest client does.
    Flood,
    /// All places were taken by callers with calls under way.
    Full,
}

impl Cut {
    pub(crate) const ALL: [Self; 6] = [
        Self::Displaced,
        Self::Slow,
        Self::Unread,
        Self::Memory,
        Self::Flood,
        Self::Full,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Displaced => "displaced",
            Self::Slow => "slow",
            Self::Unread => "unread",
            Self::Memory => "memory",
            Self::Flood => "flood",
            Self::Full => "full",
        }
    }
}

/// Bytes of all connections of a port.
#[derive(Debug, Default)]
pub(crate) struct PortBytes {
    /// Bytes that wait in memory.
    pub(super) held: AtomicI64,
    /// Bytes that were read since the start, as HTTP has them.
    received: AtomicU64,
    /// Bytes that were written since the start.
    sent: AtomicU64,
}

impl PortBytes {
    /// Returns how many bytes were read and how many were written since the start.
    pub(super) fn moved(&self) -> (u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (load(&self.received), load(&self.sent))
    }
}

/// One connection.
pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) from: SocketAddr,
    pub(crate) address: Address,
    began: Instant,
    stage: AtomicU8,
    known: AtomicBool,
    calls: AtomicU32,
    /// Milliseconds after `began` at which the last call ended.
    last_call: AtomicU64,
    /// Milliseconds after `began`, and one, at which the first byte of a next request has arrived;
    /// 0: none has.
    asks_since: AtomicU64,
    held: Mutex<Held>,
    all: Arc<PortBytes>,
    cut: Mutex<Option<Cut>>,
    told: Notify,
    cancelled: Mutex<Bucket>,
    /// The account of its last call; `None` between nodes and on the connection of a proxy.
    works_for: Mutex<Option<Arc<WorkMeter>>>,
}

#[derive(Default)]
struct Held {
    bytes: i64,
    /// Bytes of responses, which are part of `bytes`.
    unsent: i64,
    moved: Option<Instant>,
    written_off: bool,
}

/// A token bucket: a number of things that may happen at once, and that becomes free again over
/// time.
pub(crate) struct Bucket {
    left: f64,
    max: f64,
    per_second: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(max: f64, per_second: f64) -> Self {
        Self {
            left: max,
            max,
            per_second,
            at: Instant::now(),
        }
    }

    /// Takes some tokens; returns for how long to wait before more are taken.
    pub(crate) fn take(&mut self, some: f64) -> Option<Duration> {
        let now = Instant::now();
        let gained = now.duration_since(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + gained).min(self.max) - some;
        self.at = now;
        (self.left < 0.0).then(|| Duration::from_secs_f64(-self.left / self.per_second))
    }
}

/// Maximum number of calls that a connection may cancel before they are answered: a burst, and a
/// rate per second. An honest client cancels calls whose result its user no longer waits for.
const CANCELLED_MAX: f64 = 1000.0;
const CANCELLED_PER_SECOND: f64 = 100.0;

impl Connection {
    pub(crate) fn new(number: u64, from: SocketAddr, all: Arc<PortBytes>) -> Self {
        Self {
            number,
            from,
            address: Address::of(from.ip()),
            began: Instant::now(),
            stage: AtomicU8::new(Stage::Silent as u8),
            known: AtomicBool::new(false),
            calls: AtomicU32::new(0),
            last_call: AtomicU64::new(0),
            asks_since: AtomicU64::new(0),
            held: Mutex::default(),
            all,
            cut: Mutex::new(None),
            told: Notify::new(),
            cancelled: Mutex::new(Bucket::new(CANCELLED_MAX, CANCELLED_PER_SECOND)),
            works_for: Mutex::default(),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        if self.calls.load(Ordering::Relaxed) > 0 {
            return Stage::Calling;
        }
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Silent,
            1 => Stage::Idle,
            2 => Stage::Waiting,
            _ => Stage::Handshaking,
        }
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Records that the caller is known; returns whether that is new.
    pub(crate) fn know(&self) -> bool {
        !self.is_known() && !self.known.swap(true, Ordering::Relaxed)
    }

    /// Records for which account the last call was: what the connection costs is counted for it.
    pub(crate) fn works_for(&self, account: &Arc<WorkMeter>) {
        let mut works_for = lock(&self.works_for);
        if works_for
            .as_ref()
            .is_none_or(|now| !Arc::ptr_eq(now, account))
        {
            *works_for = Some(account.clone());
        }
    }

    /// Returns what tells the account of the last call from those of other connections, if there
    /// is one: the address in memory of its meter.
    pub(super) fn account(&self) -> Option<usize> {
        let works_for = lock(&self.works_for);
        Some(Arc::as_ptr(works_for.as_ref()?).addr())
    }

    /// Counts the time that was worked for this connection.
    pub(crate) fn worked(&self, time: Duration) {
        if let Some(meter) = &*lock(&self.works_for) {
            meter.worked(time);
        }
    }

    /// Returns for how long not to read from the connection, if its account uses more than its
    /// share of this node. What it sends meanwhile waits on its own machine.
    pub(super) fn rest(&self) -> Option<Duration> {
        lock(&self.works_for).as_ref()?.turn()
    }

    /// Returns for how long the connection has had no call.
    pub(crate) fn idle(&self) -> Option<Duration> {
        if self.calls.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let last = Duration::from_millis(self.last_call.load(Ordering::Relaxed));
        Some(self.began.elapsed().saturating_sub(last))
    }

    /// Counts bytes that were read from the connection.
    pub(super) fn received(&self, bytes: usize) {
        self.all.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes that were written to it.
    pub(super) fn sent(&self, bytes: usize) {
        self.all.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Records that bytes have arrived: outside of a call they are the beginning of one.
    pub(crate) fn bytes_arrive(&self) {
        let is_new = self.asks_since.load(Ordering::Relaxed) == 0;
        if is_new && self.calls.load(Ordering::Relaxed) == 0 {
            let now = self.age_ms().saturating_add(1);
            self.asks_since.store(now, Ordering::Relaxed);
        }
    }

    /// Returns for how long the caller of an HTTP/1.1 connection has been sending the header of its
    /// next request.
    pub(crate) fn asks_for(&self) -> Option<Duration> {
        let since = self.asks_since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.age_ms().saturating_sub(since)))
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn call_begins(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.asks_since.store(0, Ordering::Relaxed);
    }

    pub(crate) fn call_ends(&self) {
        self.last_call.store(self.age_ms(), Ordering::Relaxed);
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    /// Records that a call was cancelled before it was answered.
    pub(crate) fn call_is_cancelled(&self) {
        let mut cancelled = lock(&self.cancelled);
        if cancelled.take(1.0).is_some() {
            drop(cancelled);
            self.cut(Cut::Flood);
        }
    }

    /// Counts bytes that wait in memory, as part of a response or of a request.
    pub(crate) fn hold(&self, bytes: usize, answer: bool) {
        self.change(signed(bytes), answer);
    }

    /// Subtracts bytes that no longer wait.
    pub(crate) fn release(&self, bytes: usize, answer: bool) {
        self.change(-signed(bytes), answer);
    }

    fn change(&self, bytes: i64, answer: bool) {
        let mut held = lock(&self.held);
        if held.written_off || bytes == 0 {
            return;
        }
        held.bytes += bytes;
        if answer {
            if bytes < 0 || held.unsent == 0 {
                held.moved = Some(Instant::now());
            }
            held.unsent += bytes;
        }
        self.all.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the number of bytes that wait in memory.
    pub(crate) fn held(&self) -> i64 {
        lock(&self.held).bytes
    }

    /// Returns for how long none of the bytes that wait to be sent have moved.
    pub(crate) fn stalled(&self) -> Option<Duration> {
        let held = lock(&self.held);
        let moved = held.moved.filter(|_| held.unsent > 0)?;
        Some(moved.elapsed())
    }

    /// Requests that the connection is closed.
    pub(crate) fn cut(&self, why: Cut) {
        self.write_off();
        let mut cut = lock(&self.cut);
        if cut.is_none() {
            *cut = Some(why);
            self.told.notify_one();
        }
    }

    pub(crate) fn is_cut(&self) -> bool {
        lock(&self.cut).is_some()
    }

    /// Waits until the connection is to be closed.
    pub(crate) async fn is_to_end(&self) -> Cut {
        loop {
            let cut = *lock(&self.cut);
            if let Some(why) = cut {
                return why;
            }
            self.told.notified().await;
        }
    }

    fn write_off(&self) {
        let mut held = lock(&self.held);
        if !held.written_off {
            held.written_off = true;
            self.all.held.fetch_sub(held.bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.write_off();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Valid after every statement that changes it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> (Connection, Arc<PortBytes>) {
        let all = Arc::<PortBytes>::default();
        let from = "10.0.0.1:1".parse().unwrap();
        (Connection::new(1, from, all.clone()), all)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_stalled_while_none_of_its_bytes_move() {
        let (connection, all) = connection();
        connection.hold(10, true);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(connection.stalled(), Some(Duration::from_secs(3)));
        connection.release(4, true);
        assert_eq!(connection.stalled(), Some(Duration::ZERO));
        connection.release(6, true);
        assert_eq!(connection.stalled(), None);
        assert_eq!(all.held.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_header_that_has_begun_has_a_time() {
        let (connection, _) = connection();
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(connection.asks_for(), None, "it is idle");
        connection.bytes_arrive();
        tokio::time::advance(Duration::from_secs(2)).await;
        connection.bytes_arrive();
        assert_eq!(connection.asks_for(), Some(Duration::from_secs(2)));
        connection.call_begins();
        connection.bytes_arrive();
        assert_eq!(connection.asks_for(), None, "this is a body");
        connection.call_ends();
        assert_eq!(connection.asks_for(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_connection_holds_no_memory() {
        let (connection, all) = connection();
        connection.hold(10, false);
        assert_eq!(all.held.load(Ordering::Relaxed), 10);
        connection.cut(Cut::Memory);
        connection.hold(5, false);
        connection.release(10, false);
        drop(connection);
        assert_eq!(all.held.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_honest_client_cancels_a_hundred_calls_and_a_flood_is_cut() {
        let (connection, _) = connection();
        for _ in 0..10 {
            (0..100).for_each(|_| connection.call_is_cancelled());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(!connection.is_cut());
        (0..2000).for_each(|_| connection.call_is_cancelled());
        assert_eq!(connection.is_to_end().await, Cut::Flood);
    }
}
