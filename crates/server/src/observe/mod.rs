//! The admin listener: whether the node lives, has started and is ready, and its metrics.
//!
//! It serves machines that watch the node, over plain HTTP and on loopback unless the operator says
//! otherwise. It changes nothing, and shows no name of an account, no text and no secret. The floor
//! `node` starts it before anything else of the node; it asks the floors below.

mod health;
mod listener;
mod metrics;
mod page;
mod process;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use tokio::{net::TcpListener, task::JoinHandle};

use crate::context::node_context::NodeContext;
use metrics::Metrics;

/// What is watched: the process, and the node once it has started.
pub(crate) struct Observed {
    /// Weak, so that no connection of a watcher keeps the data of a stopped node open.
    node: OnceLock<Weak<NodeContext>>,
    state_behind: health::StateBehind,
}

impl fmt::Debug for Observed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Observed")
    }
}

impl Observed {
    /// Returns the node, from when it has started until it is gone.
    fn node(&self) -> Option<Arc<NodeContext>> {
        self.node.get().and_then(Weak::upgrade)
    }
}

/// The admin listener; it ends when this is dropped.
pub(crate) struct AdminListener {
    observed: Arc<Observed>,
    address: SocketAddr,
    /// `None` once it has ended.
    task: Mutex<Option<JoinHandle<()>>>,
}

impl AdminListener {
    /// Serves on this listener from now on, for a node that is starting.
    pub(crate) fn start(listener: TcpListener, address: SocketAddr) -> Self {
        let observed = Arc::new(Observed {
            node: OnceLock::new(),
            state_behind: health::StateBehind::default(),
        });
        let metrics = Arc::new(Metrics::new(observed.clone()));
        let served = listener::serve(listener, observed.clone(), metrics);
        Self {
            observed,
            address,
            task: Mutex::new(Some(tokio::spawn(served))),
        }
    }

    /// Watches this node from now on: it has started.
    pub(crate) fn watch(&self, node: &Arc<NodeContext>) {
        // A node starts once; a second one is that of a later attempt, with a listener of its own.
        let _ = self.observed.node.set(Arc::downgrade(node));
    }

    /// Ends a listener, if there is one, and returns when its port is free: the node may be started
    /// again at once.
    pub(crate) async fn end(listener: Option<&Self>) {
        if let Some(task) = listener.and_then(Self::take) {
            task.abort();
            let _ = task.await;
        }
    }

    fn take(&self) -> Option<JoinHandle<()>> {
        // A task is taken or it is not.
        let task = self.task.lock();
        task.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the address on which it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminListener {
    fn drop(&mut self) {
        if let Some(task) = self.take() {
            task.abort();
        }
    }
}
