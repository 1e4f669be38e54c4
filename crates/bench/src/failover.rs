//! Measures how long sending pauses when the leader is killed.
//!
//! A throw-away cluster is under load; the leader is killed (SIGKILL) again and again, and comes
//! back each time. A gap is the longest time around a kill in which no message of any sender was
//! acknowledged.

use std::{
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
    /// Number of times that the leader is killed.
    pub kills: u64,
    /// Number of senders.
    pub senders: u64,
    /// Pause of each sender between two messages.
    pub pause: Duration,
    /// Whether the nodes talk to clients encrypted.
    pub tls: bool,
}

/// Figures of the measurement.
#[derive(Debug, Serialize)]
pub struct Report {
    kills: u64,
    nodes: u64,
    senders: u64,
    gap_p50_ms: u64,
    gap_p90_ms: u64,
    gap_p99_ms: u64,
    gap_max_ms: u64,
    acked: u64,
    failed: u64,
}

/// State that the senders share.
#[derive(Default)]
struct RunState {
    stop: AtomicBool,
    acks: Mutex<Vec<Instant>>,
    acked: Mutex<(u64, u64)>,
}

impl RunState {
    fn acks(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
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
    for (client, to) in senders(&cluster, options.senders).await? {
        tasks.spawn(send(shared.clone(), client, to, options.pause));
    }
    let mut gaps = Vec::new();
    for _ in 0..options.kills {
        gaps.push(one_kill(&cluster, &shared).await?);
        cluster.start_all().await?;
    }
    shared.stop.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    cluster.stop_all().await?;
    gaps.sort_unstable();
    let (acked, failed) = *shared.acked.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Report {
        kills: options.kills,
        nodes: options.nodes,
        senders: options.senders,
        gap_p50_ms: quantile_ms(&gaps, 50),
        gap_p90_ms: quantile_ms(&gaps, 90),
        gap_p99_ms: quantile_ms(&gaps, 99),
        gap_max_ms: quantile_ms(&gaps, 100),
        acked,
        failed,
    })
}

/// Kills the leader of a cluster that is whole and calm; returns the gap.
async fn one_kill(cluster: &LocalCluster, shared: &RunState) -> Result<Duration, BenchError> {
    cluster.wait_until_caught_up(READY_LIMIT).await?;
    sleep(CALM).await;
    let leader = cluster.wait_for_leader(READY_LIMIT).await?;
    shared.acks().clear();
    let killed = Instant::now();
    cluster.kill(leader).await?;
    loop {
        sleep(LOOK_INTERVAL).await;
        let acks = shared.acks().clone();
        let gap = longest_gap(killed, &acks);
        if let Some(gap) = gap.filter(|_| acks.len() >= ACKS_AFTER) {
            return Ok(gap);
        }
        if killed.elapsed() > GAP_MAX {
            return Err(BenchError::Stalled { limit: GAP_MAX });
        }
    }
}

/// Returns the longest time without an acknowledgement after `killed`. `None` if the last one came
/// before any election can have ended: answers of the dead leader may still be on their way.
fn longest_gap(killed: Instant, acks: &[Instant]) -> Option<Duration> {
    const ON_THEIR_WAY: Duration = Duration::from_millis(50);
    let last = acks.last()?;
    if last.duration_since(killed) < 2 * ON_THEIR_WAY {
        return None;
    }
    let times = std::iter::once(killed).chain(acks.iter().copied());
    let pairs = times.zip(acks.iter());
    pairs
        .map(|(before, after)| after.duration_since(before))
        .max()
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

async fn send(shared: Arc<RunState>, client: Client, to: Recipient, pause: Duration) {
    while !shared.stop.load(Ordering::Relaxed) {
        let sent = client.send(&to, "x").await.is_ok();
        shared.count(sent);
        if sent {
            shared.acks().push(Instant::now());
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
            "{} kills of the leader of {} nodes: sending pauses for {} ms (median), {} ms (p99), \
             {} ms (longest); {} acknowledged, {} failed",
            self.kills,
            self.nodes,
            self.gap_p50_ms,
            self.gap_p99_ms,
            self.gap_max_ms,
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
        let at = |ms| start + Duration::from_millis(ms);
        let gap = |acks: &[u64]| {
            let acks: Vec<Instant> = acks.iter().map(|ms| at(*ms)).collect();
            longest_gap(start, &acks).map(|gap| gap.as_millis())
        };
        assert_eq!(gap(&[]), None);
        assert_eq!(gap(&[2, 3, 5]), None, "the dead leader's last answers");
        assert_eq!(gap(&[2, 3, 400, 405]), Some(397));
        assert_eq!(gap(&[350, 351]), Some(350));
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
