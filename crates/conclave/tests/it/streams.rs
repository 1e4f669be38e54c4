//! Listeners: people with a stream each, and the events that it delivered.
//!
//! Always true: a listener ends with its test, and an error of its stream fails the test.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use conclave_client::{Client, Item, StartAt, v1};
use tokio::task::JoinHandle;

use crate::support::{Cluster, until};

/// A person who listens to a stream.
pub(crate) struct Listener {
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

/// Events that a stream has delivered so far.
#[derive(Default)]
pub(crate) struct Heard {
    /// Messages by their conversations, in the order in which they arrived.
    pub(crate) messages: BTreeMap<u64, Vec<v1::Message>>,
    /// All other events of the log.
    pub(crate) others: Vec<v1::Event>,
    /// Position of the last event.
    pub(crate) position: u64,
    /// Address of the node that streams now.
    pub(crate) node: Option<String>,
    /// Number of times that the stream has moved to another node.
    pub(crate) moves: u64,
    /// First event that was delivered out of order, if there was one.
    pub(crate) out_of_order: Option<String>,
    ended: Option<String>,
}

impl Listener {
    /// Opens a stream from the beginning, and waits until a node serves it.
    pub(crate) async fn start(cluster: &Cluster, client: &Client) -> Self {
        let heard: Arc<Mutex<Heard>> = Arc::default();
        let mut events = client.subscribe(StartAt::Beginning);
        let endpoints: BTreeMap<u64, String> = cluster
            .nodes()
            .into_iter()
            .map(|node| (node, cluster.endpoint(node)))
            .collect();
        let shared = heard.clone();
        let task = tokio::spawn(async move {
            loop {
                let next = events.next().await;
                let mut heard = shared.lock().unwrap();
                match next {
                    Ok(item) => heard.take(item, &endpoints),
                    Err(error) => {
                        heard.ended = Some(error.to_string());
                        return;
                    }
                }
            }
        });
        let listener = Self { heard, task };
        until("a node streams", async || listener.node()).await;
        listener
    }

    /// Calls `look` with the events so far.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Heard) -> T) -> T {
        let heard = self.heard.lock().unwrap();
        assert_eq!(heard.ended, None, "the stream has ended");
        look(&heard)
    }

    /// Returns the address of the node that streams now.
    pub(crate) fn node(&self) -> Option<String> {
        self.look(|heard| heard.node.clone())
    }

    /// Returns the number of messages of a conversation that were delivered.
    pub(crate) fn count(&self, conversation: u64) -> usize {
        self.look(|heard| heard.messages.get(&conversation).map_or(0, Vec::len))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Heard {
    fn take(&mut self, item: Item, endpoints: &BTreeMap<u64, String>) {
        use v1::event::Event as Kind;
        let event = match item {
            Item::Event(event) => event,
            Item::Disconnected(_) => {
                self.node = None;
                return;
            }
            Item::Reconnected(back) => {
                self.node = Some(back.node);
                self.moves += 1;
                return;
            }
        };
        if let Some(Kind::Started(started)) = &event.event {
            self.node = endpoints.get(&started.node_id).cloned();
            return;
        }
        if event.position == 0 {
            return;
        }
        if event.position <= self.position {
            let (before, now) = (self.position, event.position);
            self.out_of_order
                .get_or_insert(format!("{now} came after {before}"));
        }
        self.position = event.position;
        match event.event {
            Some(Kind::MessageSent(message)) => {
                let of = self.messages.entry(message.conversation_id).or_default();
                of.push(message);
            }
            _ => self.others.push(event),
        }
    }
}
