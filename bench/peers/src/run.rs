//! Rounds: each system has its turn with each number of callers, on a machine that is idle.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Context;
use conclave_figures::results::Run;

use crate::{
    load,
    machine::{self, Sample},
    systems::{Kind, Shape, conclave},
};

/// Longest time until the machine is idle.
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(300);
/// Times that a run is repeated while others used too much of the machine.
const REPEATS_MAX: u32 = 2;
/// Seconds before a measurement in which the same load runs, as in `conclave bench`.
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);
/// Longest time in which a cluster counts what it holds.
const COUNT_LIMIT: Duration = Duration::from_secs(120);
/// Looks at the memory that are kept.
const TENTHS: usize = 10;

/// What to measure, and how.
pub(crate) struct Plan<'a> {
    pub(crate) systems: &'a [Kind],
    pub(crate) callers: &'a [u64],
    pub(crate) rounds: u64,
    pub(crate) seconds: u64,
    pub(crate) payload: u64,
    pub(crate) nodes: usize,
    pub(crate) other_cpu_percent: f64,
    pub(crate) directory: &'a Path,
    pub(crate) conclave: &'a Path,
    pub(crate) conclave_arguments: &'a [String],
}

/// Measures all rounds.
pub(crate) async fn rounds(plan: &Plan<'_>) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for round in 1..=plan.rounds {
        for callers in plan.callers {
            // The first of a turn changes: what it leaves behind hurts each of them as often.
            let first = usize::try_from(round).unwrap_or(0) % plan.systems.len().max(1);
            let order = plan
                .systems
                .iter()
                .cycle()
                .skip(first)
                .take(plan.systems.len());
            for system in order {
                let mut run = undisturbed(plan, *system, *callers).await?;
                run.round = round;
                eprintln!(
                    "round {round}: {}, {callers} callers: {:.0} messages/s, p50 {} µs, p99 {} µs, \
                     {:.0} µs of server CPU, others {:.0} %",
                    run.system,
                    run.per_second,
                    run.p50_us,
                    run.p99_us,
                    run.server_cpu_us,
                    run.other_cpu_percent,
                );
                runs.push(run);
            }
        }
    }
    Ok(runs)
}

/// Measures one run while others leave the machine alone; of several disturbed ones the calmest.
async fn undisturbed(plan: &Plan<'_>, system: Kind, callers: u64) -> anyhow::Result<Run> {
    let mut calmest: Option<Run> = None;
    for _ in 0..=REPEATS_MAX {
        machine::wait_idle(plan.other_cpu_percent, IDLE_LIMIT).await?;
        let run = one(plan, system, callers).await;
        let run = run.with_context(|| format!("{}, {callers} callers", system.name()))?;
        let percent = run.other_cpu_percent;
        let calmer = calmest
            .as_ref()
            .is_none_or(|it| percent < it.other_cpu_percent);
        if calmer {
            calmest = Some(run);
        }
        if percent < plan.other_cpu_percent {
            break;
        }
        eprintln!("others used {percent:.0} % of a core during a run: once more");
    }
    calmest.context("there was a run")
}

async fn one(plan: &Plan<'_>, system: Kind, callers: u64) -> anyhow::Result<Run> {
    if system == Kind::Conclave {
        let setup = conclave::Setup {
            program: plan.conclave,
            nodes: plan.nodes,
            callers,
            payload: plan.payload,
            seconds: plan.seconds,
            directory: plan.directory,
            more: plan.conclave_arguments,
        };
        return conclave::measure(&setup).await;
    }
    let shape = Shape {
        nodes: plan.nodes,
        callers,
        payload: plan.payload,
        directory: plan.directory,
        quick_timers: false,
    };
    let cluster = system.start(shape).await?;
    // Starting a cluster is work that goes on for a while.
    tokio::time::sleep(WARM_UP).await;
    let measured = Duration::from_secs(plan.seconds);
    let load = load::run(&cluster.caller, callers, (WARM_UP, measured), &cluster.ids).await?;
    let stored = tokio::time::timeout(COUNT_LIMIT, cluster.caller.stored()).await;
    let stored = stored.context("the cluster did not count what it holds")??;
    let (first, last) = match load.samples.as_slice() {
        [first, .., last] => (first, last),
        _ => anyhow::bail!("the run was too short"),
    };
    let cpu = |id: u32| last.cpu_seconds(id) - first.cpu_seconds(id);
    let spent: Vec<f64> = cluster.ids.iter().map(|id| cpu(*id)).collect();
    let servers: f64 = spent.iter().sum();
    // This process and all servers are one tree.
    let callers_cpu =
        cpu(std::process::id()) - cluster.servers.ids().into_iter().map(cpu).sum::<f64>();
    let acked = load.acked.max(1) as f64;
    let network = last.network.saturating_sub(first.network);
    Ok(Run {
        system: system.name().to_owned(),
        round: 0,
        callers,
        per_second: load.acked as f64 / last.seconds_since(first),
        p50_us: load.latencies.value_at_quantile(0.5),
        p99_us: load.latencies.value_at_quantile(0.99),
        server_cpu_us: servers * 1e6 / acked,
        client_cpu_us: callers_cpu * 1e6 / acked,
        busiest_server_share: share_of_greatest(&spent),
        disk_bytes: load.disk_bytes as f64 / acked,
        network_bytes: network as f64 / acked,
        memory_mib: memory_course(&load.samples, &cluster.ids),
        other_cpu_percent: machine::others_percent(&load.samples),
        errors: load.errors,
        verified: stored.map(|stored| stored >= load.acked_all),
    })
}

/// Returns which part of a sum its greatest summand is.
pub(crate) fn share_of_greatest(parts: &[f64]) -> f64 {
    let sum: f64 = parts.iter().sum();
    let greatest = parts.iter().copied().fold(0.0, f64::max);
    if sum > 0.0 { greatest / sum } else { 0.0 }
}

/// Returns the memory of each server at each tenth of a run, the last at its end.
pub(crate) fn memory_course(samples: &[Sample], servers: &[u32]) -> Vec<Vec<f64>> {
    let last = samples.len().saturating_sub(1);
    let at: BTreeMap<usize, ()> = (1..=TENTHS)
        .map(|tenth| (last * tenth / TENTHS, ()))
        .collect();
    let looks = at.keys().filter_map(|at| samples.get(*at));
    let round = |mib: f64| (mib * 10.0).round() / 10.0;
    looks
        .map(|sample| {
            servers
                .iter()
                .map(|id| round(sample.memory_mib(*id)))
                .collect()
        })
        .collect()
}
