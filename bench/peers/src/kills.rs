//! The write gap: how long no message is acknowledged after SIGKILL of the leader.
//!
//! etcd and Conclave take turns, each kill in a cluster of its own. A caller of etcd goes on at the
//! next server after an error or 100 ms without an answer; Conclave's client has its own rules.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use conclave_figures::results::Kill;
use tokio::task::JoinSet;

use crate::{
    machine,
    run::IDLE_LIMIT,
    systems::{Kind, Shape, conclave},
};

/// Time under load before the kill.
const BEFORE: Duration = Duration::from_secs(3);
/// Longest time until a message is acknowledged after the kill.
const GAP_MAX: Duration = Duration::from_secs(20);
/// Time after the kill in which the load goes on at least: the leader's end may be noticed late.
const AFTER_MIN: Duration = Duration::from_secs(2);
/// Longest time that a caller waits for one server.
const OPERATION_LIMIT: Duration = Duration::from_millis(100);
/// Interval between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What to measure, and how.
pub(crate) struct Plan<'a> {
    pub(crate) kills: u64,
    pub(crate) callers: u64,
    pub(crate) pause: Duration,
    pub(crate) nodes: usize,
    pub(crate) payload: u64,
    pub(crate) other_cpu_percent: f64,
    pub(crate) directory: &'a Path,
    pub(crate) conclave: &'a Path,
}

/// Kills leaders, of both systems in turns.
pub(crate) async fn measure(plan: &Plan<'_>) -> anyhow::Result<Vec<Kill>> {
    let mut kills = Vec::new();
    for number in 1..=plan.kills {
        for quick_timers in [None, Some(true), Some(false)] {
            machine::wait_idle(plan.other_cpu_percent, IDLE_LIMIT).await?;
            let (system, gap_ms) = match quick_timers {
                None => {
                    let pause_ms = plan.pause.as_millis() as u64;
                    let how = (plan.nodes, plan.callers, pause_ms);
                    let gap = conclave::gap(plan.conclave, plan.directory, how).await?;
                    ("Conclave", gap)
                }
                Some(true) => ("etcd, timers 50/500 ms", etcd(plan, true).await?),
                Some(false) => ("etcd, default timers", etcd(plan, false).await?),
            };
            eprintln!("kill {number}: {system}: {gap_ms:.0} ms");
            kills.push(Kill {
                system: system.to_owned(),
                number,
                gap_ms,
            });
        }
    }
    Ok(kills)
}

/// When messages were acknowledged, in microseconds since the begin.
#[derive(Default)]
struct Acks {
    last: u64,
    longest: u64,
    count: u64,
}

async fn etcd(plan: &Plan<'_>, quick_timers: bool) -> anyhow::Result<f64> {
    let shape = Shape {
        nodes: plan.nodes,
        callers: plan.callers,
        payload: plan.payload,
        directory: plan.directory,
        quick_timers,
    };
    let mut cluster = Kind::Etcd.start(shape).await?;
    let servers = Arc::new(cluster.caller.one_for_each_server()?);
    let (stop, next) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let acks = Arc::new(Mutex::new(Acks::default()));
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..plan.callers {
        let (servers, stop, next, acks) =
            (servers.clone(), stop.clone(), next.clone(), acks.clone());
        let (pause, mut at) = (plan.pause, cluster.leader);
        tasks.spawn(async move {
            while !stop.load(Relaxed) {
                let put = servers[at].send(caller, next.fetch_add(1, Relaxed));
                let sent = tokio::time::timeout(OPERATION_LIMIT, put).await;
                if matches!(sent, Ok(Ok(()))) {
                    let now = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                    let mut acks = acks.lock().unwrap_or_else(PoisonError::into_inner);
                    acks.longest = acks.longest.max(now.saturating_sub(acks.last));
                    acks.last = acks.last.max(now);
                    acks.count += 1;
                } else {
                    at = (at + 1) % servers.len();
                }
                tokio::time::sleep(pause).await;
            }
        });
    }
    let read = |change: fn(&mut Acks)| {
        let mut acks = acks.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut acks);
        (acks.last, acks.longest, acks.count)
    };
    tokio::time::sleep(BEFORE).await;
    // From here on, so that the first connections do not count.
    let (_, _, before) = read(|acks| acks.longest = 0);
    cluster.servers.kill(cluster.leader)?;
    let killed = Instant::now();
    let calm = u64::try_from(AFTER_MIN.as_micros()).unwrap_or(u64::MAX);
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let (last, longest, count) = read(|_| ());
        let now = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let flows = now.saturating_sub(last) < calm / 20;
        if killed.elapsed() > AFTER_MIN && flows && count > before {
            stop.store(true, Relaxed);
            tasks.join_all().await;
            return Ok(longest as f64 / 1000.0);
        }
        if killed.elapsed() > GAP_MAX {
            bail!("nothing was acknowledged for {GAP_MAX:?} after a kill");
        }
    }
}

impl Plan<'_> {
    /// Checks what cannot be measured.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let quorum_survives = (self.nodes > 2).then_some(());
        quorum_survives.context("with fewer than three nodes no leader may be killed")
    }
}
