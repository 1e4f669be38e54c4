//! A well-behaved client beside an attack: it logs in, sends, and listens to its own messages.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use conclave_client::{
    Client, Item, StartAt,
    core::{Recipient, RoomName},
    v1::event::Event,
};
use futures::future::join_all;
use hdrhistogram::Histogram;
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::Target;

/// Between two messages.
const SEND_EVERY: Duration = Duration::from_millis(20);
/// Between two log-ins: one account may not log in more often for long.
const LOG_IN_EVERY: Duration = Duration::from_secs(1);
/// The password of the honest account, which lives as long as the cluster under test.
const PASSWORD: &str = "an honest password";

/// What a client noticed in one part of a run.
#[derive(Clone, Debug)]
pub struct Noticed {
    /// Microseconds of each log-in.
    pub log_in_us: Histogram<u64>,
    /// Microseconds until each message was acknowledged.
    pub send_us: Histogram<u64>,
    /// Microseconds until each message was back by the stream.
    pub stream_us: Histogram<u64>,
    /// Calls that failed, each with its sentence; only the first few.
    pub failures: Vec<String>,
    /// Calls that failed.
    pub failed: u64,
}

/// The longest time that is distinguished, in microseconds.
const WORST_US: u64 = 60_000_000;
/// Sentences of failures that are kept.
const FAILURES_MAX: usize = 10;

impl Noticed {
    fn new() -> Self {
        let latencies = || Histogram::new_with_bounds(1, WORST_US, 3).expect("it has bounds");
        Self {
            log_in_us: latencies(),
            send_us: latencies(),
            stream_us: latencies(),
            failures: Vec::new(),
            failed: 0,
        }
    }

    fn fail(&mut self, what: &str, error: &dyn std::fmt::Display) {
        self.failed += 1;
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(format!("{what}: {error}"));
        }
    }
}

/// A client at work.
pub struct Honest {
    noticed: Arc<Mutex<Noticed>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    client: Client,
}

impl Honest {
    /// Creates an account of its own and begins to work.
    ///
    /// # Errors
    /// If the cluster does not let it.
    pub async fn start(target: &Target) -> anyhow::Result<Self> {
        let mut word = [0; 8];
        getrandom::fill(&mut word).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
        let name = format!("honest{:016x}", u64::from_ne_bytes(word));
        let anonymous = target.client().build()?;
        anonymous.create_account(&name, PASSWORD).await?;
        let client = anonymous.with_token(&anonymous.login(&name, PASSWORD).await?.token)?;
        client.create_room(&name, "", false).await?;
        let room = Recipient::Room(RoomName::new(name.clone())?);
        let noticed = Arc::new(Mutex::new(Noticed::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let began = Instant::now();
        tasks.spawn(listen(client.clone(), began, noticed.clone()));
        tasks.spawn(send(
            client.clone(),
            room,
            began,
            noticed.clone(),
            stop.clone(),
        ));
        tasks.spawn(log_in(target.client(), name, noticed.clone(), stop.clone()));
        Ok(Self {
            noticed,
            stop,
            tasks,
            client,
        })
    }

    /// Returns what was noticed since the last call, and begins another part.
    pub async fn take(&self) -> Noticed {
        std::mem::replace(&mut *self.noticed.lock().await, Noticed::new())
    }

    /// Returns the highest term that any node reports, which every election raises.
    pub async fn term(&self, target: &Target) -> u64 {
        let nodes = target.addresses(crate::Port::Client).iter();
        let asked = nodes.map(async |node| self.client.cluster_status(&node.to_string()).await);
        let told = join_all(asked).await.into_iter().flatten();
        let terms = told.flat_map(|status| status.nodes.into_iter().map(|node| node.term));
        terms.max().unwrap_or(0)
    }

    /// Returns the client, which is logged in.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Ends its work.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.shutdown().await;
    }
}

async fn send(
    client: Client,
    room: Recipient,
    began: Instant,
    noticed: Arc<Mutex<Noticed>>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let sent = client
            .send(&room, micros(began.elapsed()).to_string())
            .await;
        let took = micros(start.elapsed());
        let mut noticed = noticed.lock().await;
        match sent {
            Ok(_) => noticed.send_us.saturating_record(took),
            Err(error) => noticed.fail("send", &error),
        }
        drop(noticed);
        sleep(SEND_EVERY).await;
    }
}

async fn listen(client: Client, began: Instant, noticed: Arc<Mutex<Noticed>>) {
    let mut events = client.subscribe(StartAt::Now);
    loop {
        match events.next().await {
            Ok(Item::Event(event)) => {
                if let Some(Event::MessageSent(message)) = event.event
                    && let Ok(sent) = message.text.parse::<u64>()
                {
                    let took = micros(began.elapsed()).saturating_sub(sent);
                    noticed.lock().await.stream_us.saturating_record(took);
                }
            }
            Ok(Item::Disconnected(lost)) => noticed.lock().await.fail("stream", &lost.sentence),
            Ok(Item::Reconnected(_)) => {}
            Err(error) => {
                noticed.lock().await.fail("stream", &error);
                return;
            }
        }
    }
}

/// Logs in over a new connection each time, like a person that opens the program.
async fn log_in(
    builder: conclave_client::Builder,
    name: String,
    noticed: Arc<Mutex<Noticed>>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let logged_in = async {
            let anonymous = builder.clone().build().map_err(|error| error.to_string())?;
            let login = anonymous.login(&name, PASSWORD).await;
            let login = login.map_err(|error| error.to_string())?;
            Ok::<_, String>((anonymous, login))
        };
        let logged_in = logged_in.await;
        let took = micros(start.elapsed());
        let mut noticed = noticed.lock().await;
        match &logged_in {
            Ok(_) => noticed.log_in_us.saturating_record(took),
            Err(error) => noticed.fail("log-in", error),
        }
        drop(noticed);
        if let Ok((anonymous, login)) = logged_in
            && let Ok(member) = anonymous.with_token(&login.token)
        {
            // A session that stays open costs a place of the account, and nothing else.
            let _ = member.logout().await;
        }
        sleep(LOG_IN_EVERY).await;
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
