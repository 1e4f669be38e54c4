//! The nodes of a demonstration and what is done to them: each fault, and its end.
//!
//! A killed or paused node gets the signal. A node that is cut off is behind a relay that carries
//! nothing between it and the others. For a slow disk each sync of its log takes longer, and a
//! wrong clock is ahead; these two are settings that only nodes of a demonstration take.
//!
//! Always true: one thing at a time is done to a node, and all that was done is in the story.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_client::Client;
use conclave_local_cluster::{CAN_CUT_OFF, ClusterError, LocalCluster};
use futures::future::join_all;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::{
    pulse::Pulse,
    story::{Kind, Story},
};

/// How far ahead a wrong clock is.
const CLOCK_OFFSET_MS: i64 = 60 * 60 * 1000;
/// How much longer each sync of a slow disk takes.
const SYNC_DELAY_MS: u64 = 150;
/// Interval at which the leader is looked for, and how long a node may take to name it: it asks the
/// others for what else its answer says.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
const LOOK_LIMIT: Duration = Duration::from_millis(1500);

/// What can be done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Kill,
    Start,
    Pause,
    Resume,
    CutOff,
    Join,
    Slow,
    Fast,
    Skew,
    SetRight,
}

impl Act {
    /// Returns the act with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "kill" => Self::Kill,
            "start" => Self::Start,
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            "cut-off" => Self::CutOff,
            "join" => Self::Join,
            "slow" => Self::Slow,
            "fast" => Self::Fast,
            "skew" => Self::Skew,
            "set-right" => Self::SetRight,
            _ => return None,
        })
    }
}

/// Why something was not done to a node.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActError {
    #[error("there is no node {0}")]
    NoSuchNode(u64),
    #[error("node {0} {1}")]
    Already(u64, &'static str),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// The process of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Process {
    #[default]
    Running,
    Starting,
    Paused,
    Killed,
}

/// What was done to a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct State {
    pub(super) process: Process,
    pub(super) cut_off: bool,
    pub(super) slow: bool,
    pub(super) skewed: bool,
}

impl State {
    fn takes_part(self) -> bool {
        self.process == Process::Running && !self.cut_off
    }
}

/// The nodes of a demonstration.
pub(super) struct Stage {
    pub(super) cluster: LocalCluster,
    pub(super) story: Story,
    pulse: Arc<Pulse>,
    /// Origin of the panel, if there is one.
    panel: Option<String>,
    states: Mutex<BTreeMap<u64, State>>,
    busy: BTreeMap<u64, tokio::sync::Mutex<()>>,
    leader: AtomicU64,
}

/// Returns the settings of a node in a demonstration with this panel.
pub(super) fn settings(panel: &str, state: State) -> String {
    let clock = if state.skewed { CLOCK_OFFSET_MS } else { 0 };
    let delay = if state.slow { SYNC_DELAY_MS } else { 0 };
    format!("clock_offset_ms = {clock}\n[demo]\npanel = \"{panel}\"\nsync_delay_ms = {delay}\n")
}

impl Stage {
    pub(super) fn new(cluster: LocalCluster, pulse: Arc<Pulse>, panel: Option<String>) -> Self {
        let nodes = cluster.nodes();
        Self {
            cluster,
            story: Story::default(),
            pulse,
            panel,
            states: nodes
                .iter()
                .map(|node| (*node, State::default()))
                .collect::<BTreeMap<_, _>>()
                .into(),
            busy: nodes
                .into_iter()
                .map(|node| (node, Default::default()))
                .collect(),
            leader: AtomicU64::new(0),
        }
    }

    /// Returns what was done to each node.
    pub(super) fn states(&self) -> BTreeMap<u64, State> {
        self.states_mut().clone()
    }

    /// Returns the leader; 0 if a majority names none.
    pub(super) fn leader(&self) -> u64 {
        self.leader.load(Ordering::Relaxed)
    }

    /// Returns the number of nodes that do not take part, and whether the others are a majority.
    pub(super) fn majority(&self) -> (usize, bool) {
        majority(&self.states_mut())
    }

    /// Does this to a node.
    pub(super) async fn act(&self, node: u64, act: Act) -> Result<(), ActError> {
        let busy = self.busy.get(&node).ok_or(ActError::NoSuchNode(node))?;
        let Ok(_turn) = busy.try_lock() else {
            return Err(ActError::Already(
                node,
                "is busy: something is being done to it",
            ));
        };
        let state = self.state(node);
        check(node, act, state)?;
        let cluster = &self.cluster;
        match act {
            Act::Kill => {
                cluster.kill(node).await?;
                let leads = if self.leader() == node {
                    ", the leader"
                } else {
                    ""
                };
                let text = format!("kill -9 node {node}{leads}");
                self.set(node, Kind::Killed, text, |state| {
                    state.process = Process::Killed;
                });
            }
            Act::Start => return self.start(node).await,
            Act::Pause => {
                cluster.pause(node)?;
                let text = format!("node {node} is paused: it hangs (SIGSTOP)");
                self.set(node, Kind::Paused, text, |state| {
                    state.process = Process::Paused
                });
            }
            Act::Resume => {
                cluster.resume(node)?;
                let text = format!("node {node} continues (SIGCONT)");
                self.set(node, Kind::Resumed, text, |state| {
                    state.process = Process::Running
                });
            }
            Act::CutOff => {
                cluster.set_cut_off(node, true);
                let text = format!("node {node} is cut off from all other nodes");
                self.set(node, Kind::CutOff, text, |state| state.cut_off = true);
            }
            Act::Join => {
                cluster.set_cut_off(node, false);
                let text = format!("node {node} reaches the others again");
                self.set(node, Kind::Joined, text, |state| state.cut_off = false);
            }
            Act::Slow | Act::Fast | Act::Skew | Act::SetRight => return self.adjust(node, act),
        }
        Ok(())
    }

    /// Starts a dead node.
    async fn start(&self, node: u64) -> Result<(), ActError> {
        self.states_mut().entry(node).or_default().process = Process::Starting;
        let started = self.cluster.start_node(node).await;
        if let Err(error) = started {
            let text = format!("{error}");
            self.set(node, Kind::Ended, text, |state| {
                state.process = Process::Killed
            });
            return Err(error.into());
        }
        let text = format!("node {node} was started again");
        self.set(node, Kind::Started, text, |state| {
            state.process = Process::Running
        });
        Ok(())
    }

    /// Makes the disk slow or the clock wrong, or ends that.
    fn adjust(&self, node: u64, act: Act) -> Result<(), ActError> {
        let Some(panel) = &self.panel else {
            return Err(ActError::Already(node, "takes no such settings"));
        };
        let mut state = self.state(node);
        match act {
            Act::Slow => state.slow = true,
            Act::Fast => state.slow = false,
            Act::Skew => state.skewed = true,
            _ => state.skewed = false,
        }
        self.cluster.write_settings(node, &settings(panel, state))?;
        let (kind, text) = match act {
            Act::Slow => (
                Kind::Slow,
                format!("each sync takes {SYNC_DELAY_MS} ms longer"),
            ),
            Act::Fast => (Kind::Fast, "its disk is as fast as before".to_owned()),
            Act::Skew => (Kind::Skewed, "its clock is an hour ahead".to_owned()),
            _ => (Kind::SetRight, "its clock is right again".to_owned()),
        };
        self.set(node, kind, format!("node {node}: {text}"), |old| {
            (old.slow, old.skewed) = (state.slow, state.skewed);
        });
        Ok(())
    }

    /// Ends every fault, and starts every dead node.
    ///
    /// # Errors
    /// The first that an end of a fault gives; the others are tried all the same.
    pub(super) async fn heal(&self) -> Result<(), ActError> {
        let healed = join_all(self.states().into_keys().map(|node| self.heal_one(node))).await;
        let healed: Result<(), ActError> = healed.into_iter().collect();
        if healed.is_ok() {
            let at_ms = self.pulse.now_ms();
            let text = "everything is healed".to_owned();
            self.story.tell(at_ms, Kind::Healed, None, text);
        }
        healed
    }

    async fn heal_one(&self, node: u64) -> Result<(), ActError> {
        let state = self.state(node);
        let faults = [
            (state.process == Process::Paused, Act::Resume),
            (state.cut_off, Act::Join),
            (state.slow, Act::Fast),
            (state.skewed, Act::SetRight),
            (state.process == Process::Killed, Act::Start),
        ];
        for (is_there, end) in faults {
            if is_there {
                self.act(node, end).await?;
            }
        }
        Ok(())
    }

    /// Follows who leads, and which nodes have ended by themselves. Never ends.
    pub(super) async fn watch(&self) {
        let anonymous = self
            .cluster
            .client_builder()
            .endpoints(self.cluster.endpoints());
        // The addresses were good enough for the cluster itself.
        let Ok(anonymous) = anonymous.total_timeout(LOOK_LIMIT).build() else {
            return;
        };
        let named = Mutex::default();
        let nodes = self.cluster.nodes().into_iter();
        let followed = join_all(nodes.map(|node| self.follow(node, &anonymous, &named)));
        let looked = async {
            loop {
                self.look_for_ended();
                sleep(LOOK_INTERVAL).await;
            }
        };
        let ((), _) = tokio::join!(looked, followed);
    }

    /// Asks a node again and again who leads. A node that waits for another one keeps no others
    /// waiting here.
    async fn follow(&self, node: u64, anonymous: &Client, named: &Mutex<BTreeMap<u64, u64>>) {
        let endpoint = self.cluster.endpoint(node);
        loop {
            let leader = match self.state(node).process {
                Process::Running => {
                    let status = timeout(LOOK_LIMIT, anonymous.cluster_status(&endpoint)).await;
                    status.map_or(0, |status| status.map_or(0, |status| status.leader_id))
                }
                Process::Starting | Process::Paused | Process::Killed => 0,
            };
            let chosen = {
                // The map is sound after every statement that changes it.
                let mut named = named.lock().unwrap_or_else(PoisonError::into_inner);
                named.insert(node, leader);
                most_named(&named)
            };
            if let Some(leader) = chosen {
                self.has_seen_leader(leader);
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Remembers who leads, and tells it if it is another one.
    pub(super) fn has_seen_leader(&self, leader: u64) {
        // The others still name a leader that is gone until they have noticed.
        if self.state(leader).takes_part() && self.leader.swap(leader, Ordering::Relaxed) != leader
        {
            let text = format!("node {leader} leads");
            let at_ms = self.pulse.now_ms();
            self.story.tell(at_ms, Kind::Leader, Some(leader), text);
        }
    }

    fn look_for_ended(&self) {
        for (node, status) in self.cluster.take_ended().unwrap_or_default() {
            let text = format!("node {node} has ended by itself ({status}): see its node.log");
            self.set(node, Kind::Ended, text, |state| {
                state.process = Process::Killed
            });
        }
    }

    fn state(&self, node: u64) -> State {
        self.states_mut().get(&node).copied().unwrap_or_default()
    }

    /// Changes the state of a node, and tells it; also that a majority is gone, or back.
    fn set(&self, node: u64, kind: Kind, text: String, change: impl FnOnce(&mut State)) {
        let at_ms = self.pulse.now_ms();
        let (before, (down, after), nodes) = {
            let mut states = self.states_mut();
            let (_, before) = majority(&states);
            change(states.entry(node).or_default());
            (before, majority(&states), states.len())
        };
        if self.leader() == node && !self.state(node).takes_part() {
            self.leader.store(0, Ordering::Relaxed);
        }
        self.story.tell(at_ms, kind, Some(node), text);
        if before && !after {
            let text = format!("{down} of {nodes} down: no majority: sending waits");
            self.story.tell(at_ms, Kind::NoMajority, None, text);
        } else if !before && after {
            let text = "a majority is up again".to_owned();
            self.story.tell(at_ms, Kind::Majority, None, text);
        }
    }

    fn states_mut(&self) -> MutexGuard<'_, BTreeMap<u64, State>> {
        // The value is sound after every statement that changes it.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the leader that a majority of all nodes names.
fn most_named(named: &BTreeMap<u64, u64>) -> Option<u64> {
    let votes = |leader: &u64| named.values().filter(|other| *other == leader).count();
    let mut leaders = named.values().filter(|leader| **leader != 0);
    leaders
        .find(|leader| votes(leader) > named.len() / 2)
        .copied()
}

fn majority(states: &BTreeMap<u64, State>) -> (usize, bool) {
    let down = states.values().filter(|state| !state.takes_part()).count();
    (down, states.len() - down > states.len() / 2)
}

/// Checks that this can be done to a node in this state.
fn check(node: u64, act: Act, state: State) -> Result<(), ActError> {
    let is_dead = state.process == Process::Killed;
    let why = match act {
        Act::Kill if is_dead => "does not run",
        Act::Start if !is_dead => "runs already",
        Act::Pause | Act::Resume if is_dead => "does not run",
        Act::Pause if state.process == Process::Paused => "is paused already",
        Act::Resume if state.process != Process::Paused => "is not paused",
        Act::CutOff if !CAN_CUT_OFF => "cannot be cut off on this system",
        Act::CutOff if state.cut_off => "is cut off already",
        Act::Join if !state.cut_off => "is not cut off",
        Act::Slow if state.slow => "has a slow disk already",
        Act::Fast if !state.slow => "has no slow disk",
        Act::Skew if state.skewed => "has a wrong clock already",
        Act::SetRight if !state.skewed => "has no wrong clock",
        _ => return Ok(()),
    };
    Err(ActError::Already(node, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_already_is_refused() {
        let state = State::default();
        for act in [Act::Kill, Act::Pause, Act::CutOff, Act::Slow, Act::Skew] {
            assert!(check(1, act, state).is_ok(), "{act:?}");
        }
        for act in [Act::Start, Act::Resume, Act::Join, Act::Fast, Act::SetRight] {
            assert!(check(1, act, state).is_err(), "{act:?}");
        }
        let dead = State {
            process: Process::Killed,
            ..state
        };
        let said = check(3, Act::Kill, dead).unwrap_err().to_string();
        assert_eq!(said, "node 3 does not run");
        assert!(check(3, Act::Pause, dead).is_err() && check(3, Act::Start, dead).is_ok());
    }

    #[test]
    fn a_node_that_hangs_or_is_cut_off_is_none_of_the_majority() {
        let states = |all: [State; 3]| (1..).zip(all).collect::<BTreeMap<u64, State>>();
        let cut_off = State {
            cut_off: true,
            ..State::default()
        };
        let paused = State {
            process: Process::Paused,
            ..State::default()
        };
        let slow = State {
            slow: true,
            skewed: true,
            ..State::default()
        };
        assert_eq!(majority(&states([slow, slow, paused])), (1, true));
        assert_eq!(majority(&states([cut_off, slow, paused])), (2, false));
    }

    #[test]
    fn a_leader_is_the_one_that_most_of_all_nodes_name() {
        let named = |all: [u64; 5]| most_named(&(1..).zip(all).collect());
        assert_eq!(named([2, 2, 0, 2, 3]), Some(2));
        assert_eq!(named([3, 2, 0, 2, 3]), None);
        assert_eq!(named([0, 0, 0, 0, 1]), None);
    }

    #[test]
    fn the_settings_are_those_of_a_node_in_a_demonstration() {
        let state = State {
            slow: true,
            ..State::default()
        };
        let text = settings("http://127.0.0.1:7777", state);
        assert!(text.contains("sync_delay_ms = 150\n") && text.contains("clock_offset_ms = 0\n"));
        assert!(settings("x", State::default()).contains("sync_delay_ms = 0"));
    }
}
