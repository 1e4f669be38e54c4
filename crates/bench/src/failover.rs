//! Measures how long sending pauses when the leader is killed, or nodes are restarted as planned.
//!
//! A throw-away cluster is under load; the leader is killed (SIGKILL) again and again, and comes
//! back each time. Or one node after another is asked to stop (SIGTERM) and started again. A gap is
//! the longest time around it in which no message of any sender was acknowledged; a wait is that of
//! one sender.

use std::{
    collections::BTreeSet,
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use conclave_client::{
    CallError, Client,
    core::{AccountName, Recipient},
};
use conclave_local_cluster::LocalCluster;
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    error::BenchError,
    scratch::{self, random_word},
};

/// Longest time until all nodes are back after a kill.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Longest time until a message is acknowledged after a kill. A longer gap ends the measurement.
const GAP_MAX: Duration = Duration::from_secs(20);
/// Number of acknowledgements after a kill at which the gap is over.
const ACKS_AFTER: usize = 50;
/// Interval between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Time for which the cluster is quiet before the next kill: elections have no memory of the last.
const CALM: Duration = Duration::from_millis(500);

/// What to measure, and how.
#[derive(Debug)]
pub struct Options {
    /// Path of the program `conclave`.
    pub program: PathBuf,
    /// Number of nodes.
    pub nodes: u64,
    /// What is done to the nodes.
    pub fault: Fault,
    /// How often.
    pub times: u64,
    /// Number of senders.
    pub senders: u64,
    /// Pause of each sender between two messages.
    pub pause: Duration,
    /// Whether the nodes talk to clients encrypted.
    pub tls: bool,
}

/// What is done to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The leader is killed.
    KilledLeader,
    /// One node after another is asked to stop and is started again, whether or not it leads.
    PlannedRestart,
}

/// Figures of the measurement.
#[derive(Debug, Serialize)]
pub struct Report {
    fault: Fault,
    times: u64,
    nodes: u64,
    senders: u64,
    gap_p50_ms: u64,
    gap_p90_ms: u64,
    gap_p99_ms: u64,
    gap_max_ms: u64,
    wait_p50_ms: u64,
    wait_p99_ms: u64,
    wait_max_ms: u64,
    acked: u64,
    failed: u64,
}

/// An acknowledgement: to which sender, and when.
type Ack = (usize, Instant);

/// State that the senders share.
#[derive(Default)]
struct RunState {
    stop: AtomicBool,
    acks: Mutex<Vec<Ack>>,
    acked: Mutex<(u64, u64)>,
}

impl RunState {
    fn acks(&self) -> std::sync::MutexGuard<'_, Vec<Ack>> {
        // The list is sound after every statement that changes it.
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, acked: bool) {
        let mut counts = self.acked.lock().unwrap_or_else(PoisonError::into_inner);
        match acked {
            true => counts.0 += 1,
            false => counts.1 += 1,
        }
    }
}

/// Measures fail-over.
///
/// # Errors
/// If the cluster does not come up, or acknowledges nothing for too long.
pub async fn measure(options: &Options) -> Result<Report, BenchError> {
    let (directory, program) = (scratch::directory()?, &options.program);
    let cluster = scratch::cluster(program, options.nodes, options.tls, directory.path()).await?;
    let shared = Arc::new(RunState::default());
    let mut tasks = JoinSet::new();
    let senders = senders(&cluster, options.senders).await?;
    let count = senders.len();
    for (number, (client, to)) in senders.into_iter().enumerate() {
        tasks.spawn(send(shared.clone(), number, client, to, options.pause));
    }
    let (mut gaps, mut waits) = (Vec::new(), Vec::new());
    for done in 0..options.times {
        cluster.wait_until_caught_up(READY_LIMIT).await?;
        sleep(CALM).await;
        let (began, acks) = match options.fault {
            Fault::KilledLeader => one_kill(&cluster, &shared, count).await?,
            Fault::PlannedRestart => {
                let node = 1 + done % options.nodes;
                one_restart(&cluster, &shared, count, node).await?
            }
        };
        gaps.push(longest(began, acks.iter().map(|(_, at)| *at)));
        waits.extend((0..count).map(|sender| {
            let own = acks.iter().filter(|(of, _)| *of == sender);
            longest(began, own.map(|(_, at)| *at))
        }));
    }
    shared.stop.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    cluster.stop_all().await?;
    gaps.sort_unstable();
    waits.sort_unstable();
    let (acked, failed) = *shared.acked.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Report {
        fault: options.fault,
        times: options.times,
        nodes: options.nodes,
        senders: options.senders,
        gap_p50_ms: quantile_ms(&gaps, 50),
        gap_p90_ms: quantile_ms(&gaps, 90),
        gap_p99_ms: quantile_ms(&gaps, 99),
        gap_max_ms: quantile_ms(&gaps, 100),
        wait_p50_ms: quantile_ms(&waits, 50),
        wait_p99_ms: quantile_ms(&waits, 99),
        wait_max_ms: quantile_ms(&waits, 100),
        acked,
        failed,
    })
}

/// Kills the leader and starts it again; returns when, and all acknowledgements from then on until
/// each sender had one.
async fn one_kill(
    cluster: &LocalCluster,
    shared: &RunState,
    senders: usize,
) -> Result<(Instant, Vec<Ack>), BenchError> {
    let leader = cluster.wait_for_leader(READY_LIMIT).await?;
    shared.acks().clear();
    let killed = Instant::now();
    cluster.kill(leader).await?;
    let acks = acks_until_over(shared, killed, senders).await?;
    cluster.start_all().await?;
    Ok((killed, acks))
}

/// Asks a node to stop, and starts it again; returns when, and all acknowledgements from then on
/// until the node takes part again.
async fn one_restart(
    cluster: &LocalCluster,
    shared: &RunState,
    senders: usize,
    node: u64,
) -> Result<(Instant, Vec<Ack>), BenchError> {
    shared.acks().clear();
    let began = Instant::now();
    cluster.stop(node).await?;
    cluster.start_node(node).await?;
    cluster.wait_until_caught_up(READY_LIMIT).await?;
    // The longest wait of a sender may go on: its next acknowledgement ends it.
    let back = Instant::now();
    let acks = acks_until_over(shared, back, senders).await?;
    Ok((began, acks))
}

/// Returns all acknowledgements so far as soon as the pause that began at `since` is over.
async fn acks_until_over(
    shared: &RunState,
    since: Instant,
    senders: usize,
) -> Result<Vec<Ack>, BenchError> {
    loop {
        sleep(LOOK_INTERVAL).await;
        let acks = shared.acks().clone();
        if is_over(since, &acks, senders) {
            return Ok(acks);
        }
        if since.elapsed() > GAP_MAX {
            return Err(BenchError::Stalled { limit: GAP_MAX });
        }
    }
}
/// Returns whether the pause that began at `since` is over: each sender was answered. Answers of a
/// dead leader, which may still have been on their way, do not count.
fn is_over(since: Instant, acks: &[Ack], senders: usize) -> bool {
    const ON_THEIR_WAY: Duration = Duration::from_millis(100);
    let after = acks.iter().filter(|(_, at)| *at >= since + ON_THEIR_WAY);
    let answered: BTreeSet<usize> = after.map(|(sender, _)| *sender).collect();
    answered.len() == senders && acks.len() >= ACKS_AFTER
}

/// Returns the longest time without an acknowledgement from `began` to the last one.
fn longest(began: Instant, acks: impl Iterator<Item = Instant>) -> Duration {
    let (mut before, mut longest) = (began, Duration::ZERO);
    for at in acks {
        longest = longest.max(at.saturating_duration_since(before));
        before = at;
    }
    longest
}

/// Returns senders with a session and connections of their own, and the recipient of each.
async fn senders(
    cluster: &LocalCluster,
    count: u64,
) -> Result<Vec<(Client, Recipient)>, BenchError> {
    let anonymous = cluster
        .client_builder()
        .endpoints(cluster.endpoints())
        .build()?;
    let password = random_word()?;
    let name = |number: u64| format!("sender{number}");
    for number in 0..count {
        anonymous.create_account(&name(number), &password).await?;
    }
    let mut senders = Vec::new();
    for number in 0..count {
        let token = anonymous.login(&name(number), &password).await?.token;
        let builder = cluster.client_builder().endpoints(cluster.endpoints());
        let client = builder.token(token).total_timeout(GAP_MAX).build()?;
        let peer = AccountName::new(name((number + 1) % count)).map_err(CallError::from)?;
        senders.push((client, Recipient::Account(peer)));
    }
    Ok(senders)
}

async fn send(
    shared: Arc<RunState>,
    number: usize,
    client: Client,
    to: Recipient,
    pause: Duration,
) {
    while !shared.stop.load(Ordering::Relaxed) {
        let sent = client.send(&to, "x").await.is_ok();
        shared.count(sent);
        if sent {
            shared.acks().push((number, Instant::now()));
        }
        sleep(pause).await;
    }
}

/// Returns the gap below which `percent` of all gaps lie, in milliseconds.
fn quantile_ms(sorted: &[Duration], percent: usize) -> u64 {
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    let gap = sorted.get(place).copied().unwrap_or_default();
    u64::try_from(gap.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {} {} nodes: sending pauses for {} ms (median), {} ms (p99), {} ms (longest), \
             each of {} senders waits for {} ms (median), {} ms (p99), {} ms (longest); \
             {} acknowledged, {} failed",
            self.times,
            match self.fault {
                Fault::KilledLeader => "kills of the leader of",
                Fault::PlannedRestart => "planned restarts, in turn, of",
            },
            self.nodes,
            self.gap_p50_ms,
            self.gap_p99_ms,
            self.gap_max_ms,
            self.senders,
            self.wait_p50_ms,
            self.wait_p99_ms,
            self.wait_max_ms,
            self.acked,
            self.failed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gap_is_the_longest_time_without_an_acknowledgement() {
        let start = Instant::now();
        let gap = |acks: &[u64]| {
            let acks = acks.iter().map(|ms| start + Duration::from_millis(*ms));
            longest(start, acks).as_millis()
        };
        assert_eq!(gap(&[2, 3, 400, 405]), 397);
        assert_eq!(gap(&[350, 351]), 350);
        assert_eq!(gap(&[]), 0);
    }

    #[tokio::test]
    async fn a_pause_is_over_when_each_sender_was_answered_since() {
        let start = Instant::now();
        let acks = |of: &[(usize, u64)]| -> Vec<Ack> {
            let early = (0..ACKS_AFTER as u64).map(|ms| (0, start + Duration::from_millis(ms)));
            let late = of
                .iter()
                .map(|(sender, ms)| (*sender, start + Duration::from_millis(*ms)));
            early.chain(late).collect()
        };
        assert!(
            !is_over(start, &acks(&[]), 1),
            "the dead leader's last answers"
        );
        assert!(!is_over(start, &acks(&[(0, 400), (0, 405)]), 2));
        assert!(is_over(start, &acks(&[(0, 400), (1, 900)]), 2));
        assert!(
            !is_over(start, &acks(&[(0, 400)])[ACKS_AFTER..], 1),
            "too few"
        );
    }

    #[test]
    fn quantiles_are_gaps_that_were_measured() {
        let gaps: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        let of = |percent| quantile_ms(&gaps, percent);
        assert_eq!((of(50), of(99), of(100)), (100, 198, 200));
        assert_eq!(quantile_ms(&gaps[..1], 50), 1);
        assert_eq!(quantile_ms(&[], 50), 0);
    }
}
