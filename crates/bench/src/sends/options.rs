//! What to measure, and how; and what happens meanwhile, for people who watch.

use std::{path::PathBuf, time::Duration};

use conclave_client::{Client, OperatorCredential};

use super::sizes::Sizes;

/// What to measure, and how.
#[derive(Debug)]
pub struct Options {
    /// The measured nodes.
    pub target: Target,
    /// The call that sends.
    pub mode: Mode,
    /// The loop that sends.
    pub pace: Pace,
    /// Maximum number of messages under way at once.
    pub concurrency: u64,
    /// Number of sessions that send, each of an account of its own.
    pub sessions: u64,
    /// Number of rooms; 0: each session sends to the account of the next one.
    pub rooms: u64,
    /// Sizes of messages.
    pub sizes: Sizes,
    /// Number of messages that are stored before the measurement.
    pub fill: u64,
    /// Time under load before the measurement.
    pub warm_up: Duration,
    /// Seconds to measure.
    pub seconds: u64,
    /// Time after which the leader is killed; only for nodes that are started here.
    pub kill_leader_after: Option<Duration>,
    /// Longest time for one message with all its attempts.
    pub timeout: Duration,
    /// Whether messages go to all nodes instead of the leader alone.
    pub spread: bool,
}

/// The call that sends messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A call for each message.
    Unary,
    /// A stream for each session.
    Stream,
}

impl Mode {
    /// Returns its name in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Stream => "stream",
        }
    }
}

/// When messages leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// A message leaves when another one was answered: as many as the nodes take.
    Closed,
    /// Messages leave at this rate per second, whether or not others were answered.
    Open(f64),
    /// The maximum rate is measured first; then messages leave at half of it, at a multiple of it,
    /// and at half of it again.
    Overload(f64),
}

/// The nodes that are measured.
#[derive(Debug)]
pub enum Target {
    /// A throw-away cluster on this machine.
    Local {
        /// Path of the program `conclave`.
        program: PathBuf,
        /// Number of nodes to start.
        nodes: u64,
        /// Whether the nodes talk to clients encrypted.
        tls: bool,
    },
    /// Nodes that run already.
    Running {
        /// Addresses of the nodes.
        endpoints: Vec<String>,
        /// A client of these nodes, without a session.
        client: Client,
        /// Credential without which nodes do not report what they hold.
        operator: Option<OperatorCredential>,
    },
}

/// What happens during a measurement.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// The nodes are being started.
    Starting {
        /// Number of nodes.
        nodes: u64,
    },
    /// A step of known length is under way: reported often.
    Step {
        /// The step.
        step: Step,
        /// What is done of it.
        done: u64,
        /// All of it.
        total: u64,
    },
    /// The nodes are under load before the measurement.
    WarmingUp {
        /// Length of this time.
        lasts: Duration,
    },
    /// A second of the measurement is over.
    Measured {
        /// Messages that were acknowledged in this second.
        acked: u64,
        /// Messages that were not, or did not leave.
        failed: u64,
        /// 99 of 100 were acknowledged within this time in microseconds.
        p99_us: Option<u64>,
        /// Seconds that are over.
        done: u64,
        /// Seconds of the measurement.
        total: u64,
    },
    /// The maximum rate was measured.
    Saturated {
        /// Messages per second.
        rate: f64,
    },
    /// The leader was killed.
    Killed {
        /// Number of the node.
        node: u64,
    },
    /// The killed node is being started again.
    Restarting {
        /// Number of the node.
        node: u64,
    },
    /// The nodes are read and compared with what was acknowledged.
    Checking,
}

/// A step before or after the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Accounts with their sessions are made.
    Sessions,
    /// Rooms are made.
    Rooms,
    /// Sessions join rooms.
    Members,
    /// Messages are stored.
    Fill,
    /// Conversations are read from each node.
    Reads,
}
