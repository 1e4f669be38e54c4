//! People for a measurement: few accounts, many sessions, all in one room, and their streams.
//!
//! Passwords are slow to check on purpose, so sixteen streams share a session and thirty-two
//! sessions an account: as many as a node allows. Each stream has a connection of its own, as
//! that of a real client has.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use conclave_client::{
    CallError, Client, Events, Item, StartAt, SubscribeOptions,
    core::{Recipient, RoomName},
    v1::event::Event as Kind,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hdrhistogram::Histogram;
use rustix::process::setpriority_process;
use tokio::{
    runtime::{self, Handle, Runtime},
    sync::{Mutex, watch},
    task::JoinSet,
    time::Instant,
};

use crate::{error::BenchError, latencies, scratch::random_word};

/// Number of streams that share a session on one node.
const STREAMS_PER_SESSION: usize = 16;
/// Number of sessions that share an account; one fewer than allowed.
const SESSIONS_PER_ACCOUNT: usize = 31;
/// Maximum number of streams that are opened at once.
const OPENING_MAX: usize = 64;
/// Maximum number of log-ins that are under way at once.
const LOGGING_IN_MAX: usize = 4;
/// Maximum number of messages of a room that are counted one by one.
const MESSAGES_MAX: usize = 1 << 18;
/// Name of the room.
const ROOM: &str = "crowd";

/// Accounts that are in one room.
pub(super) struct Crowd {
    /// Tokens of the sessions, each enough for sixteen streams.
    tokens: Vec<String>,
    /// A client without a session.
    anonymous: Client,
    names: Vec<String>,
    password: String,
}

impl Crowd {
    /// Creates enough people for this number of streams.
    pub(super) async fn gather(endpoints: &[String], streams: usize) -> Result<Self, BenchError> {
        let anonymous = Client::builder().endpoints(endpoints).build()?;
        let password = random_word()?;
        let sessions = streams.div_ceil(STREAMS_PER_SESSION).max(1);
        let accounts = sessions.div_ceil(SESSIONS_PER_ACCOUNT);
        let names: Vec<String> = (0..accounts).map(|n| format!("listener{n}")).collect();
        let mut owners = Vec::new();
        for name in &names {
            anonymous.create_account(name, &password).await?;
            let token = anonymous.login(name, &password).await?.token;
            let member = anonymous.with_token(&token)?;
            match owners.is_empty() {
                true => member.create_room(ROOM, "", false).await?,
                false => member.join_room(ROOM).await?,
            };
            owners.push(token);
        }
        let missing = (owners.len()..sessions).map(|n| names[n % names.len()].clone());
        let logins = missing.map(|name| {
            let (anonymous, password) = (&anonymous, &password);
            async move { Ok::<_, CallError>(anonymous.login(&name, password).await?.token) }
        });
        let logins = stream::iter(logins).buffer_unordered(LOGGING_IN_MAX);
        let mut tokens = owners;
        tokens.extend(logins.try_collect::<Vec<_>>().await?);
        Ok(Self {
            tokens,
            anonymous,
            names,
            password,
        })
    }

    /// Returns the room of the crowd.
    pub(super) fn room() -> Recipient {
        Recipient::Room(RoomName::new(ROOM.to_owned()).expect("it is a name"))
    }

    /// Returns the session token of a stream.
    pub(super) fn token(&self, stream: usize) -> &str {
        &self.tokens[stream % self.tokens.len()]
    }

    /// Logs in a member of the room with a session and connections of its own.
    pub(super) async fn member(&self, endpoints: &[String]) -> Result<Client, BenchError> {
        let token = self
            .anonymous
            .login(&self.names[0], &self.password)
            .await?
            .token;
        client(endpoints, &token)
    }

    /// Opens this number of streams; each records what it receives on the board. `endpoints`
    /// returns the nodes of a stream in the order in which it asks them; the streams run on
    /// `threads`.
    pub(super) async fn listen(
        &self,
        streams: usize,
        endpoints: impl Fn(usize) -> Vec<String>,
        board: &Arc<Board>,
        threads: &Handle,
    ) -> Result<JoinSet<Heard>, BenchError> {
        let opening = (0..streams).map(|number| {
            let (endpoints, token) = (endpoints(number), self.token(number).to_owned());
            let opened = threads.spawn(async move { open(client(&endpoints, &token)?).await });
            async move {
                opened
                    .await
                    .expect("a stream is not cancelled, and does not panic")
            }
        });
        let mut opening = stream::iter(opening).buffer_unordered(OPENING_MAX);
        let mut tasks = JoinSet::new();
        while let Some(events) = opening.try_next().await? {
            tasks.spawn_on(hear(events, board.clone()), threads);
        }
        Ok(tasks)
    }
}

/// Threads of their own for streams, with a lower priority than everything else: in real life
/// clients do not compute on the processors of the nodes.
pub(super) struct LowPriorityThreads(Option<Runtime>);

impl LowPriorityThreads {
    pub(super) fn start() -> Result<Self, BenchError> {
        const NICE: i32 = 15;
        let give_way = || {
            // Without the lower priority the measurement is rougher; nothing else depends on it.
            let _ = setpriority_process(None, NICE);
        };
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(give_way)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    pub(super) fn threads(&self) -> &Handle {
        let runtime = self.0.as_ref();
        runtime.expect("it is there until it is dropped").handle()
    }
}

impl Drop for LowPriorityThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Makes a client with connections of its own.
pub(super) fn client(endpoints: &[String], token: &str) -> Result<Client, BenchError> {
    Ok(Client::builder()
        .endpoints(endpoints)
        .token(token)
        .build()?)
}

/// Opens a stream and waits until it has begun. It is what clients ask for, but without
/// acknowledgements, which are a load of their own.
pub(super) async fn open(client: Client) -> Result<Events, BenchError> {
    let options = SubscribeOptions {
        acknowledge_delivery: false,
        ..SubscribeOptions::default()
    };
    let mut events = client.subscribe_with(StartAt::Now, options);
    loop {
        if let Item::Event(event) = events.next().await?
            && matches!(event.event, Some(Kind::Started(_)))
        {
            return Ok(events);
        }
    }
}

/// Record of what all streams have received.
pub(crate) struct Board {
    pub(super) began: Instant,
    /// For each message of the room by its sequence: how many streams have received it, and when
    /// the last of them did.
    messages: Vec<(AtomicU64, AtomicU64)>,
    /// Number of streams that are back after they were lost.
    pub(super) back: AtomicU64,
    /// When the last of them was back, in microseconds.
    pub(super) back_at_us: AtomicU64,
    pub(super) lost: AtomicU64,
    /// Times from sending to receiving, of messages that carry their time of sending.
    delays: Mutex<Histogram<u64>>,
    pub(super) times_delays: AtomicBool,
    stop: watch::Sender<bool>,
}

/// Record of what one stream has received.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) missed: u64,
    pub(super) doubled: u64,
    /// Times for which the stream was gone, in microseconds.
    pub(super) gone_us: Vec<u64>,
    pub(super) ended: Option<CallError>,
    last: u64,
}

impl Board {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            messages: (0..MESSAGES_MAX).map(|_| Default::default()).collect(),
            back: AtomicU64::new(0),
            back_at_us: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            delays: Mutex::new(latencies()),
            times_delays: AtomicBool::new(false),
            stop: watch::Sender::new(false),
        })
    }

    /// Returns the time on the clock of this board, in microseconds.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).expect("a run is short")
    }

    /// Ends all streams.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns how many streams have received a message, and when the last one did.
    pub(super) fn heard(&self, sequence: u64) -> (u64, u64) {
        let (count, at) = self.slot(sequence);
        (count.load(Ordering::Acquire), at.load(Ordering::Acquire))
    }

    /// Takes the delays that were measured since the last call.
    pub(super) async fn take_delays(&self) -> Histogram<u64> {
        std::mem::replace(&mut *self.delays.lock().await, latencies())
    }

    fn slot(&self, sequence: u64) -> &(AtomicU64, AtomicU64) {
        let place = usize::try_from(sequence).expect("a run is short");
        &self.messages[place % MESSAGES_MAX]
    }

    fn note(&self, sequence: u64) {
        let (count, at) = self.slot(sequence);
        at.fetch_max(self.now_us(), Ordering::AcqRel);
        count.fetch_add(1, Ordering::AcqRel);
    }
}

/// Records the events of a stream until all streams are asked to end.
async fn hear(mut events: Events, board: Arc<Board>) -> Heard {
    let mut heard = Heard::default();
    let mut stop = board.stop.subscribe();
    loop {
        let item = tokio::select! {
            item = events.next() => item,
            _ = stop.changed() => return heard,
        };
        match item {
            Ok(Item::Event(event)) => {
                let Some(Kind::MessageSent(message)) = event.event else {
                    continue;
                };
                if message.room_name != ROOM {
                    continue;
                }
                heard.count(message.sequence);
                board.note(message.sequence);
                if board.times_delays.load(Ordering::Relaxed)
                    && let Some(sent_us) = sent_us(&message.text)
                {
                    let us = board.now_us().saturating_sub(sent_us);
                    board.delays.lock().await.saturating_record(us);
                }
            }
            Ok(Item::Disconnected(_)) => {
                board.lost.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Item::Reconnected(back)) => {
                let gone = back.gone_for.as_micros();
                heard.gone_us.push(u64::try_from(gone).unwrap_or(u64::MAX));
                board
                    .back_at_us
                    .fetch_max(board.now_us(), Ordering::Relaxed);
                board.back.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                heard.ended = Some(error);
                return heard;
            }
        }
    }
}

impl Heard {
    /// Counts a message of the room.
    fn count(&mut self, sequence: u64) {
        if self.last == 0 {
            self.last = sequence;
            return;
        }
        match sequence > self.last {
            true => {
                self.missed += sequence - self.last - 1;
                self.last = sequence;
            }
            false => self.doubled += 1,
        }
    }
}

/// Parses the time at which a message was sent: its first word.
fn sent_us(text: &str) -> Option<u64> {
    text.split_once(' ')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_duplicate_messages_are_counted() {
        let mut heard = Heard::default();
        for sequence in [5, 6, 9, 9, 7, 10] {
            heard.count(sequence);
        }
        assert_eq!((heard.missed, heard.doubled), (2, 2));
    }

    #[test]
    fn a_text_carries_its_send_time() {
        assert_eq!(sent_us("12 xxx"), Some(12));
        assert_eq!(sent_us("hello you"), None);
    }
}
