//! What to demonstrate, and what is told of it while it runs.

use std::{path::PathBuf, time::Duration};

/// What to demonstrate, and how.
#[derive(Debug)]
pub struct Options {
    /// Path of the program `conclave`.
    pub program: PathBuf,
    /// Directory in which the nodes keep their data.
    pub directory: PathBuf,
    /// Number of nodes.
    pub nodes: u64,
    /// Number of nodes to kill, the leader first: fewer than half.
    pub kill: u64,
    /// Seconds during which messages are sent.
    pub seconds: u64,
    /// Whether people take part.
    pub show: Show,
}

/// How people take part in a demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// They watch at most.
    Alone,
    /// There is a panel on the page of the cluster. The demonstration ends when it is stopped, if
    /// it is `held` open or a person has opened the panel.
    Panel {
        /// Whether it goes on until it is stopped, even if no person opens the panel.
        held: bool,
    },
}

/// What happens in a demonstration, for people that watch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The nodes are being started.
    Starting {
        /// Number of nodes.
        nodes: u64,
    },
    /// The panel can be opened.
    Panel {
        /// Address of the page with the panel; the secret is behind `#`.
        url: String,
    },
    /// The first messages are sent.
    Sending {
        /// Number of people that send.
        people: usize,
    },
    /// Messages are sent: reported many times in a second.
    Progress {
        /// Number of acknowledged messages.
        acked: u64,
        /// Time that is left; `None` if it goes on until it is stopped.
        left: Option<Duration>,
    },
    /// A person has opened the panel: the demonstration goes on until it is stopped.
    Opened,
    /// A person has done something to a node: nothing is killed by itself any more.
    TakenOver,
    /// Something happened to the nodes, in words.
    Told(String),
    /// Every fault is being ended.
    Healing,
    /// The leader was killed.
    Killed {
        /// Number of the node.
        leader: u64,
    },
    /// Dead nodes are being started again.
    Restarting {
        /// Numbers of the nodes.
        nodes: Vec<u64>,
    },
    /// The last message was sent; every node is being read.
    Reading,
}
