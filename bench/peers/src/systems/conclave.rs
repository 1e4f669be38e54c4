//! Conclave: its own command makes the cluster and the load; this file runs and watches it.
//!
//! `conclave bench -o json` reports messages per second, times and CPU. Memory, disk, network and
//! the work of others are read from the system meanwhile: of that part of the run, as long as the
//! measurement, in which the servers' CPU fits the report.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use conclave_figures::results::Run;
use serde_json::Value;
use tokio::process::Command;

use crate::machine::{self, Sample};

/// Longest time for what `conclave bench` does besides the measurement, and besides half of it: it
/// reads what it has sent.
const EXTRA_LIMIT: Duration = Duration::from_secs(120);
/// Longest time in which it stops its nodes after it was asked to.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Looks at the machine during the measured time.
const LOOKS: u32 = 20;
/// Longest time between two looks.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// How Conclave is measured.
pub(crate) struct Setup<'a> {
    pub(crate) program: &'a Path,
    pub(crate) nodes: usize,
    pub(crate) callers: u64,
    pub(crate) payload: u64,
    pub(crate) seconds: u64,
    pub(crate) directory: &'a Path,
    /// Further arguments of `conclave bench`.
    pub(crate) more: &'a [String],
}

pub(super) fn promises(program: &Path) -> anyhow::Result<[String; 5]> {
    let version = std::process::Command::new(program)
        .arg("--version")
        .output();
    let version = version.with_context(|| format!("failed to run {}", program.display()))?;
    let version = String::from_utf8_lossy(&version.stdout)
        .trim()
        .replace("conclave ", "");
    Ok([
        version,
        "a message of a session to an account through the leader, sessions of 64 callers; checked \
         rights and limits; default settings"
            .to_owned(),
        "the log, synced on a majority".to_owned(),
        "in the logs of a majority".to_owned(),
        "gets the first answer: **exactly once**, on every node".to_owned(),
    ])
}

/// One look at the run.
struct Look {
    sample: Sample,
    servers: Vec<u32>,
    disk_bytes: u64,
}

/// Measures one run. The round is 0.
pub(crate) async fn measure(setup: &Setup<'_>) -> anyhow::Result<Run> {
    let mut command = bench(setup.program, setup.directory);
    command.args(["--nodes", &setup.nodes.to_string()]);
    command.args(["--concurrency", &setup.callers.to_string()]);
    command.args(["--seconds", &setup.seconds.to_string()]);
    command.args(["--payload", &setup.payload.to_string(), "-o", "json"]);
    command.args(setup.more);
    let measured = Duration::from_secs(setup.seconds);
    let every = (measured / LOOKS).min(LOOK_MAX);
    let mut looks: Vec<Look> = Vec::new();
    let json = watched(
        command,
        measured + measured / 2 + EXTRA_LIMIT,
        every,
        |bench| {
            let sample = Sample::take()?;
            let servers = sample.children(bench);
            // While the cluster starts and stops there are fewer.
            if servers.len() == setup.nodes {
                let disk_bytes = servers
                    .iter()
                    .map(|id| machine::disk_bytes(&sample, *id))
                    .sum();
                looks.push(Look {
                    sample,
                    servers,
                    disk_bytes,
                });
            }
            Ok(())
        },
    );
    let json = json.await?;
    let cores =
        figure(&json, "server_cpu_us_per_message")? * figure(&json, "acked_per_second")? / 1e6;
    let part = measured_part(&looks, measured, cores)?;
    run_of(&json, setup.callers, part)
}

/// Kills the leader of a new cluster once, and returns the gap in milliseconds.
pub(crate) async fn gap(
    program: &Path,
    directory: &Path,
    (nodes, senders, pause_ms): (usize, u64, u64),
) -> anyhow::Result<f64> {
    let mut command = bench(program, directory);
    command.args(["failover", "--kills", "1", "--nodes", &nodes.to_string()]);
    command.args(["--senders", &senders.to_string()]);
    command.args(["--pause-ms", &pause_ms.to_string(), "-o", "json"]);
    let json = watched(command, EXTRA_LIMIT, LOOK_MAX, |_| Ok(())).await?;
    figure(&json, "gap_max_ms")
}

fn bench(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM"])
        .arg(program)
        .arg("bench");
    // On the same disk as the data of the others.
    command.env("TMPDIR", directory);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

/// Runs a command that prints one JSON object, and looks at it again and again.
async fn watched(
    mut command: Command,
    limit: Duration,
    every: Duration,
    mut look: impl FnMut(u32) -> anyhow::Result<()>,
) -> anyhow::Result<Value> {
    let child = command
        .spawn()
        .context("failed to start `setpriv` (util-linux)")?;
    let id = child.id().context("the command has ended")?;
    let ended = child.wait_with_output();
    tokio::pin!(ended);
    let deadline = Instant::now() + limit;
    let output = loop {
        let next = tokio::time::timeout(every, &mut ended).await;
        if let Ok(output) = next {
            break output?;
        }
        if Instant::now() > deadline {
            stop(id);
            // It stops its nodes; if it does not, it is killed with what waits for it.
            let _ = tokio::time::timeout(STOP_LIMIT, &mut ended).await;
            bail!("`conclave bench` took longer than {limit:?}");
        }
        look(id)?;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("`conclave bench` failed: {text}{errors}");
    }
    let line = text.lines().rev().find(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("no JSON in: {text}"))?;
    Ok(serde_json::from_str(line)?)
}

fn stop(id: u32) {
    let id = i32::try_from(id)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(id) = id {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
}

/// Returns the looks of the measured part of the run: of all parts that are as long, the one in
/// which the servers' CPU was nearest to what was reported, in cores.
fn measured_part(looks: &[Look], measured: Duration, cores: f64) -> anyhow::Result<&[Look]> {
    let cpu = |look: &Look| -> f64 {
        look.servers
            .iter()
            .map(|id| look.sample.cpu_seconds(*id))
            .sum()
    };
    let mut best: Option<(f64, &[Look])> = None;
    for begin in 0..looks.len() {
        let first = &looks[begin];
        let since = |look: &Look| look.sample.at.duration_since(first.sample.at);
        let count = looks[begin..]
            .iter()
            .take_while(|look| since(look) <= measured)
            .count();
        let part = &looks[begin..begin + count];
        let Some(last) = part.last().filter(|_| count > 1) else {
            continue;
        };
        let seconds = since(last).as_secs_f64();
        // A shorter part is no measurement, unless there is no longer one.
        let missing = 1.0 - seconds / measured.as_secs_f64();
        let far = ((cpu(last) - cpu(first)) / seconds - cores).abs() + missing.max(0.0);
        if best.is_none_or(|(nearest, _)| far < nearest) {
            best = Some((far, part));
        }
    }
    let (_, part) = best.context("the servers of `conclave bench` were not seen")?;
    Ok(part)
}

fn run_of(json: &Value, callers: u64, looks: &[Look]) -> anyhow::Result<Run> {
    let [first, .., last] = looks else {
        bail!("the servers of `conclave bench` were not seen twice");
    };
    let per_second = figure(json, "acked_per_second")?;
    let messages = per_second * last.sample.seconds_since(&first.sample);
    let each = |total: u64| total as f64 / messages.max(1.0);
    let spent = last
        .servers
        .iter()
        .map(|id| last.sample.cpu_seconds(*id) - first.sample.cpu_seconds(*id));
    let spent: Vec<f64> = spent.collect();
    let samples: Vec<Sample> = looks.iter().map(|look| look.sample.clone()).collect();
    Ok(Run {
        system: "Conclave".to_owned(),
        round: 0,
        callers,
        per_second,
        p50_us: figure(json, "p50_us")? as u64,
        p99_us: figure(json, "p99_us")? as u64,
        server_cpu_us: figure(json, "server_cpu_us_per_message")?,
        client_cpu_us: figure(json, "client_cpu_us_per_message")?,
        busiest_server_share: crate::run::share_of_greatest(&spent),
        disk_bytes: each(last.disk_bytes.saturating_sub(first.disk_bytes)),
        network_bytes: each(last.sample.network.saturating_sub(first.sample.network)),
        memory_mib: crate::run::memory_course(&samples, &last.servers),
        other_cpu_percent: machine::others_percent(&samples),
        errors: failures(json),
        verified: json.get("verified").and_then(Value::as_bool),
    })
}

/// Sums up what failed, or had no answer, as far as it is reported.
fn failures(json: &Value) -> u64 {
    let failed = json.get("failed").and_then(Value::as_object);
    let failed = failed.into_iter().flat_map(|failed| failed.values());
    let all = failed.chain(json.get("unknown"));
    all.filter_map(Value::as_u64).sum()
}

fn figure(json: &Value, key: &str) -> anyhow::Result<f64> {
    let value = json.get(key).and_then(Value::as_f64);
    value.with_context(|| format!("`conclave bench` reported no `{key}`: {json}"))
}

/// Finds the program: as named, or the release build of this repository.
pub(crate) fn program(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/conclave");
    let path = named.unwrap_or_else(|| built.into());
    let path = path.canonicalize();
    path.context("there is no `conclave`: build it (`cargo build --release`), or set CONCLAVE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_counted_where_it_is_reported() {
        let old = serde_json::json!({ "acked_per_second": 1.5 });
        assert_eq!(failures(&old), 0);
        let new = serde_json::json!({ "failed": { "busy": 2, "refused": 3 }, "unknown": 4 });
        assert_eq!(failures(&new), 9);
        assert_eq!(figure(&old, "acked_per_second").unwrap(), 1.5);
        assert!(figure(&new, "acked_per_second").is_err());
    }
}
