//! Tells a service manager (systemd, `Type=notify`) when the node serves, that it is alive, and
//! that it stops.
//!
//! Always true: the node never waits for the service manager. What it does not take in time is
//! dropped, and without one nothing is sent.

use std::{
    convert::Infallible,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use conclave_server::Node;
use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

/// Number of signs of life in the time that the service manager waits for one.
const SIGNS: u32 = 3;
/// Sign of life.
const ALIVE: &str = "WATCHDOG=1";
/// Maximum number of messages that wait for the service manager.
const WAITING_MAX: usize = 8;

/// Way to the service manager, if there is one.
pub(super) struct Notify(Option<SyncSender<String>>);

impl Notify {
    /// Starts the thread that sends, if a service manager has started this process.
    pub(super) fn start() -> Self {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self(None);
        }
        let (messages, waiting) = sync_channel(WAITING_MAX);
        let sending = thread::Builder::new().name("notify".to_owned());
        match sending.spawn(|| send(waiting)) {
            Ok(_) => Self(Some(messages)),
            Err(error) => {
                tracing::warn!(%error, "failed to start the thread for the service manager");
                Self(None)
            }
        }
    }

    /// Reports that the node serves.
    pub(super) fn serves(&self, node: u64, leader: u64) {
        self.tell(format!(
            "READY=1\nSTATUS=node {node} serves; node {leader} leads"
        ));
    }

    /// Reports that the node stops.
    pub(super) fn stops(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping".to_owned());
    }

    /// Gives signs of life while the consensus engine of the node answers, if the service manager
    /// waits for them.
    pub(super) async fn keep_alive(&self, node: &Node) -> Infallible {
        let mut usec = 0;
        if !sd_notify::watchdog_enabled(false, &mut usec) || usec == 0 {
            return std::future::pending().await;
        }
        let mut signs = interval(Duration::from_micros(usec) / SIGNS);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            signs.tick().await;
            if node.is_responsive().await {
                self.tell(ALIVE.to_owned());
            }
        }
    }

    /// Gives signs of life until the result is dropped, if the service manager waits for them:
    /// while the node does not run yet. After a restart of the program in the same process the
    /// service manager still counts the time, as for a node that serves.
    pub(super) fn starts(&self) -> Starting {
        let mut usec = 0;
        let waits = sd_notify::watchdog_enabled(false, &mut usec) && usec != 0;
        let every = Duration::from_micros(usec) / SIGNS;
        Starting {
            _ends: self
                .0
                .clone()
                .filter(|_| waits)
                .and_then(|to| signs(to, every)),
        }
    }

    fn tell(&self, message: String) {
        if let Some(messages) = &self.0 {
            // A full queue means that the service manager takes nothing.
            let _ = messages.try_send(message);
        }
    }
}

/// Signs of life of a process whose node does not run yet: they end when this is dropped.
pub(super) struct Starting {
    _ends: Option<SyncSender<()>>,
}

/// Gives signs of life until the result is dropped, from a thread: a start may block its own.
fn signs(to: SyncSender<String>, every: Duration) -> Option<SyncSender<()>> {
    let (ends, ended) = sync_channel::<()>(1);
    let give = move || {
        loop {
            let _ = to.try_send(ALIVE.to_owned());
            // Nothing is ever sent: the other end is there, or it is gone.
            if ended.recv_timeout(every) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("starting".to_owned());
    match thread.spawn(give) {
        Ok(_) => Some(ends),
        Err(error) => {
            tracing::warn!(%error, "failed to start the thread for signs of life");
            None
        }
    }
}

/// Sends until the way is dropped. A send waits for as long as the service manager takes nothing.
fn send(waiting: Receiver<String>) {
    for message in waiting {
        if let Err(error) = sd_notify::notify(false, &[NotifyState::Custom(&message)]) {
            tracing::warn!(%error, "failed to notify the service manager");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_gives_signs_of_life_until_it_ends() {
        let (to, waiting) = sync_channel(WAITING_MAX);
        let ends = signs(to, Duration::from_millis(1)).unwrap();
        for _ in 0..3 {
            assert_eq!(waiting.recv().unwrap(), ALIVE);
        }
        drop(ends);
        // The thread drops its end of the way.
        while let Ok(sign) = waiting.recv() {
            assert_eq!(sign, ALIVE);
        }
    }
}
