//! People who send and read all the time, and note how long each request takes.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use conclave_client::{
    Client, Freshness, Page,
    core::{AccountName, Recipient},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{HOSTS, PASSWORD, Story, client, mixed::WAIT_MAX};

/// Number of people: as many as hosts, so that each host is the first choice of one person.
const PEOPLE: usize = 5;
/// Time between two requests of one person.
const PACE: Duration = Duration::from_millis(15);
/// One of this many requests is a linearizable read.
const READ_EVERY: usize = 4;
/// Account to which the people write.
const PEER: &str = "bob";

/// Duration of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waited {
    pub(crate) wait: Duration,
    what: String,
    /// Time since the people began.
    pub(crate) at: Duration,
}

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wait, what, at } = self;
        write!(f, "{wait:.3?}, {what} at {at:.3?}")
    }
}

/// Result of everything that the people sent.
pub(crate) struct Heard {
    pub(crate) requests: usize,
    pub(crate) longest: Waited,
    /// Requests that took too long.
    pub(crate) slow: Vec<Waited>,
    /// Token, recipient and acknowledged messages of each person, in order.
    pub(crate) acknowledged: Vec<(String, String, Vec<String>)>,
}

/// The people of one run, each with a task that sends and reads.
pub(crate) struct People {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Person>>,
}

struct Person {
    name: String,
    token: String,
    client: Client,
    began: Instant,
    waits: Vec<Waited>,
    acknowledged: Vec<String>,
}

impl People {
    /// Creates the people; from now on they talk.
    pub(crate) async fn start(story: &Story) -> Self {
        let (stop, mut tasks) = (Arc::<AtomicBool>::default(), Vec::new());
        let stranger = client(&story.authority, &HOSTS, None);
        let mut people = Vec::new();
        for number in 0..PEOPLE {
            let name = format!("person{number}");
            stranger.create_account(&name, PASSWORD).await.unwrap();
            let token = stranger.login(&name, PASSWORD).await.unwrap().token;
            let mut hosts = HOSTS;
            hosts.rotate_left(number);
            let client = client(&story.authority, &hosts, Some(&token));
            people.push((name, token, client));
        }
        let began = Instant::now();
        for (name, token, client) in people {
            let person = Person {
                name,
                token,
                client,
                began,
                waits: Vec::new(),
                acknowledged: Vec::new(),
            };
            tasks.push(tokio::spawn(person.talk(stop.clone())));
        }
        Self { stop, tasks }
    }

    /// Stops the people. No request may have failed.
    pub(crate) async fn finish(self) -> Heard {
        self.stop.store(true, Ordering::Relaxed);
        let mut heard = Heard {
            requests: 0,
            longest: Waited::default(),
            slow: Vec::new(),
            acknowledged: Vec::new(),
        };
        for task in self.tasks {
            let person = task.await.unwrap();
            heard.requests += person.waits.len();
            for waited in person.waits {
                if waited.wait > WAIT_MAX {
                    heard.slow.push(waited.clone());
                }
                if waited.wait > heard.longest.wait {
                    heard.longest = waited;
                }
            }
            let acknowledged = (person.token, PEER.to_owned(), person.acknowledged);
            heard.acknowledged.push(acknowledged);
        }
        heard
    }
}

impl Person {
    async fn talk(mut self, stop: Arc<AtomicBool>) -> Self {
        let peer = Recipient::Account(AccountName::new(PEER).unwrap());
        for number in 1.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let began = Instant::now();
            let is_read = number % READ_EVERY == 0;
            let what = match is_read {
                true => format!("{} reads", self.name),
                false => format!("{} says {number}", self.name),
            };
            if is_read {
                let fresh = Freshness::Linearizable;
                let page = self.client.messages(&peer, Page::Newest, 1, fresh).await;
                let page = page.unwrap_or_else(|error| panic!("{what}: {error}"));
                let newest = page.messages.last().map(|message| &message.text);
                assert_eq!(newest, self.acknowledged.last(), "{what}");
            } else {
                let sent = self.client.send(&peer, what.clone()).await;
                sent.unwrap_or_else(|error| panic!("{what}: {error}"));
                self.acknowledged.push(what.clone());
            }
            self.waits.push(Waited {
                wait: began.elapsed(),
                what,
                at: began.duration_since(self.began),
            });
            sleep(PACE).await;
        }
        self
    }
}
