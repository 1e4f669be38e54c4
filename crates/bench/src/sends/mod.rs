//! Measures how many messages a cluster acknowledges, and how fast.
//!
//! Accounts and rooms are made, then workers send: in a closed loop, or on a schedule. Every second
//! is measured by itself. Afterwards the stored messages are counted on every node and some
//! conversations are read and judged, so that no figure includes messages that were not stored.
//!
//! Begin reading with `drive.rs`, which sends, then `timeline.rs` and `check.rs`.

mod check;
mod drive;
mod kill;
mod mode;
mod nodes;
mod options;
mod page;
mod population;
mod record;
mod report;
mod schedule;
mod sizes;
mod tally;
mod timeline;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use conclave_client::{CallError, Client, OperatorCredential, v1};
use conclave_local_cluster::LocalCluster;
use futures::future::try_join;
use tokio::time::{Instant, sleep};

use crate::{
    error::{BenchError, failed},
    limits,
    process::cpu_us,
    scratch,
};
use check::Nodes;
use drive::{Load, Run};
use kill::{Killed, kill_leader};
use mode::{Sender, Streams, Unary};
use nodes::Watch;
use population::Population;
use record::Record;
use report::Fill;
use schedule::Schedule;
use tally::Counts;
use timeline::{Measured, Part, collect, recovery_s};

pub use options::{Happening, Mode, Options, Pace, Step, Target};
pub use page::page;
pub use population::{SESSIONS_WITH_PASSWORD_MAX, SESSIONS_WITH_STREAM_MAX, fits, sessions_for};
pub use report::Report;
pub use sizes::{NoSizes, Sizes};

/// Longest time that the nodes may take to agree at the end.
const VERIFY_LIMIT: Duration = Duration::from_secs(60);
/// Interval between two looks at the stored messages.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Messages under way at once while messages are stored before the measurement.
const FILLING: u64 = 1024;
/// Interval between two reports of progress.
const TELL_INTERVAL: Duration = Duration::from_millis(200);
/// Longest time without an acknowledgement before the measurement gives up.
const STALLED_LIMIT: Duration = Duration::from_secs(60);
/// Length of the closed loop that finds the maximum rate before an overload.
const SATURATION: Duration = Duration::from_secs(3);
/// Names of the parts of an overload.
const OVERLOAD_PARTS: [&str; 3] = ["before the overload", "overload", "after the overload"];

/// Measures how many messages the nodes acknowledge. Calls `tell` with what happens.
///
/// # Errors
/// If the cluster does not come up, or a node does not answer.
pub async fn measure(options: &Options, tell: &dyn Fn(Happening)) -> Result<Report, BenchError> {
    let (program, nodes, tls) = match &options.target {
        Target::Local {
            program,
            nodes,
            tls,
        } => (program, *nodes, *tls),
        Target::Running {
            endpoints,
            client,
            operator,
        } => {
            let place = Place {
                cluster: None,
                endpoints: endpoints.clone(),
                anonymous: client,
                root: None,
            };
            return place.measure(options, operator.as_ref(), tell).await;
        }
    };
    let directory = scratch::directory()?;
    tell(Happening::Starting { nodes });
    let cluster = scratch::cluster(program, nodes, tls, directory.path()).await?;
    let endpoints = cluster.endpoints();
    let client = cluster
        .client_builder()
        .endpoints(endpoints.clone())
        .build()?;
    let root = limits::lift(&cluster, &client).await?;
    let operator = cluster.operator();
    let place = Place {
        cluster: Some(&cluster),
        endpoints,
        anonymous: &client,
        root: Some(&root),
    };
    let report = place.measure(options, operator.as_ref(), tell).await?;
    cluster.stop_all().await?;
    Ok(report)
}

/// The nodes that are measured.
struct Place<'a> {
    cluster: Option<&'a LocalCluster>,
    endpoints: Vec<String>,
    anonymous: &'a Client,
    /// The administrator of nodes that were started here.
    root: Option<&'a Client>,
}

impl Place<'_> {
    async fn measure(
        &self,
        options: &Options,
        operator: Option<&OperatorCredential>,
        tell: &dyn Fn(Happening),
    ) -> Result<Report, BenchError> {
        let judge = operator.ok_or(BenchError::NoOperator)?;
        let judge = self.anonymous.with_operator(judge);
        let endpoints = leader_first(self.anonymous, self.endpoints.clone()).await?;
        let population = Population::make(options, self.anonymous, self.root, &endpoints, tell);
        let ground = Ground {
            population: Arc::new(population.await?),
            before: stored(&judge, &endpoints, |_| true).await?[0],
            endpoints,
            judge,
        };
        let population = Arc::clone(&ground.population);
        match options.mode {
            Mode::Unary => {
                let sender = Unary(population);
                self.measure_by(sender, options, &ground, tell).await
            }
            Mode::Stream => {
                let sender = Streams::new(population);
                self.measure_by(sender, options, &ground, tell).await
            }
        }
    }

    /// Measures one way of sending.
    async fn measure_by<S: Sender>(
        &self,
        sender: S,
        options: &Options,
        ground: &Ground,
        tell: &dyn Fn(Happening),
    ) -> Result<Report, BenchError> {
        let (population, sizes) = (&ground.population, &options.sizes);
        let conversations = population.conversations.len();
        let record = Record::new(conversations, sizes.mean(), sizes.tell_apart());
        let run = Run::new(sender, sizes.clone(), record);
        let fill = fill(options, &run, tell).await?;
        run.record.restart();
        let begins = check::begin(population, &run.record).await?;
        let saturation = saturation(options, &run, tell).await?;
        let sent = self.send(options, &run, saturation, tell).await?;

        tell(Happening::Checking);
        let acked = run.tally.acked.load(Ordering::Relaxed);
        let most = acked + run.tally.unknown.load(Ordering::Relaxed);
        let right = |count: u64| (acked..=most).contains(&count.saturating_sub(ground.before));
        let after = stored(&ground.judge, &ground.endpoints, right).await?;
        let counts_agree = acked > 0 && after.iter().all(|count| right(*count));
        let nodes = Nodes {
            anonymous: self.anonymous,
            endpoints: &self.endpoints,
            position: run.tally.position.load(Ordering::Relaxed),
        };
        let of = (sizes, &begins);
        let checked = check::check(&nodes, population, &run.record, of, tell).await?;
        Ok(Report {
            nodes: ground.endpoints.len() as u64,
            fill,
            saturation_per_second: saturation,
            counts_agree,
            verified: counts_agree && (checked.conversations == 0 || checked.holds),
            checked,
            ..sent.report(options)
        })
    }

    /// Sends for as long as is to be measured; may kill the leader meanwhile.
    async fn send<S: Sender>(
        &self,
        options: &Options,
        run: &Arc<Run<S>>,
        saturation: Option<f64>,
        tell: &dyn Fn(Happening),
    ) -> Result<Sent, BenchError> {
        let parts = parts(options, saturation);
        let places = options.concurrency;
        let load = match schedule(options.warm_up, &parts) {
            None => Load::closed(run, places, None),
            Some(schedule) => Load::open(run, schedule, Instant::now(), places),
        };
        let lasts = options.warm_up;
        tell(Happening::WarmingUp { lasts });
        sleep(lasts).await;
        // What was counted while the load became even belongs to no second.
        run.tally.take();
        let (began, client_before) = (Instant::now(), cpu_us("self"));
        let collecting = collect(&run.tally, &parts, began, Watch::new(self.cluster), tell);
        let killing = async {
            let Some((after, cluster)) = options.kill_leader_after.zip(self.cluster) else {
                return Ok(None);
            };
            let at = (began, after);
            kill_leader(cluster, &run.tally, at, tell).await.map(Some)
        };
        let (measured, mut killed) = try_join(async { Ok(collecting.await) }, killing).await?;
        let client_after = cpu_us("self");
        load.stop(options.timeout).await?;
        if let Some(killed) = &mut killed {
            killed.gap_ms = u64::try_from(measured.gap.as_millis()).unwrap_or(u64::MAX);
        }
        Ok(Sent {
            measured,
            last: run.tally.take(),
            killed,
            rate: rate(&parts),
            client_cpu_us: client_after
                .zip(client_before)
                .map(|(after, before)| after - before),
        })
    }
}

/// What is there before the first message is sent.
struct Ground {
    population: Arc<Population>,
    /// A client that may ask each node how many messages it holds.
    judge: Client,
    /// Addresses of the nodes, that of the leader first.
    endpoints: Vec<String>,
    /// Number of messages that the nodes hold.
    before: u64,
}

/// What was sent, and what it has cost.
struct Sent {
    measured: Measured,
    /// What was under way when the time was over.
    last: Counts,
    killed: Option<Killed>,
    rate: Option<f64>,
    client_cpu_us: Option<u64>,
}

impl Sent {
    /// Returns the figures of the measurement, without those of the check.
    fn report(self, options: &Options) -> Report {
        let measured = &self.measured;
        let total = report::total(measured, &self.last);
        let in_time = total.acked() - self.last.acked();
        let nodes = report::node_figures(measured, in_time);
        let server = nodes.iter().map(|node| node.cpu_us_per_message).sum();
        let client_cpu_us = self.client_cpu_us.unwrap_or_default();
        let at = |quantile| total.latencies.value_at_quantile(quantile);
        let [calm, _, after] = OVERLOAD_PARTS;
        Report {
            mode: options.mode.name(),
            pace: if self.rate.is_some() {
                "open"
            } else {
                "closed"
            },
            rate: self.rate,
            acked_per_second: in_time as f64 / measured.lasted.as_secs_f64(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: total.latencies.max(),
            left_late_p99_us: self.rate.map(|_| total.late.value_at_quantile(0.99)),
            acked: total.acked(),
            not_sent: total.not_sent,
            unknown: total.unknown,
            server_cpu_us_per_message: (!nodes.is_empty()).then_some(server),
            client_cpu_us_per_message: client_cpu_us as f64 / in_time.max(1) as f64,
            nodes: 0,
            concurrency: options.concurrency,
            sessions: options.sessions,
            rooms: options.rooms,
            payload_bytes: options.sizes.mean(),
            payload: options.sizes.to_string(),
            seconds: measured.lasted.as_secs_f64(),
            warm_up_s: options.warm_up.as_secs_f64(),
            fill: None,
            saturation_per_second: None,
            parts: report::parts(measured),
            recovered_after_s: recovery_s(&measured.seconds, calm, after),
            killed: self.killed,
            node_figures: nodes,
            counts_agree: false,
            checked: check::Checked::default(),
            verified: false,
            distribution: report::distribution(&total.latencies),
            failed: total.failed,
            timeline: self.measured.seconds,
        }
    }
}

/// Returns the parts of the measurement.
fn parts(options: &Options, saturation: Option<f64>) -> Vec<Part> {
    let part = |name, seconds, rate| Part {
        name,
        seconds,
        rate,
    };
    match options.pace {
        Pace::Closed => vec![part("measured", options.seconds, None)],
        Pace::Open(rate) => vec![part("measured", options.seconds, Some(rate))],
        Pace::Overload(factor) => {
            let saturation = saturation.unwrap_or(1.0).max(1.0);
            let [before, overload, after] = OVERLOAD_PARTS;
            let quarter = (options.seconds / 4).max(1);
            let half = options.seconds.saturating_sub(2 * quarter).max(1);
            vec![
                part(before, quarter, Some(saturation / 2.0)),
                part(overload, half, Some(saturation * factor)),
                part(after, quarter, Some(saturation / 2.0)),
            ]
        }
    }
}

/// Returns the schedule of these parts, with the time before them; `None` in a closed loop.
fn schedule(warm_up: Duration, parts: &[Part]) -> Option<Schedule> {
    let first = schedule::Pace {
        rate: parts.first()?.rate?,
        lasts: warm_up,
    };
    let pace = |part: &Part| {
        let (rate, lasts) = (part.rate?, Duration::from_secs(part.seconds));
        Some(schedule::Pace { rate, lasts })
    };
    let paces: Option<Vec<_>> = parts.iter().map(pace).collect();
    Some(Schedule::new(std::iter::once(first).chain(paces?)))
}

/// Returns the mean rate of these parts; `None` in a closed loop.
fn rate(parts: &[Part]) -> Option<f64> {
    let seconds: u64 = parts.iter().map(|part| part.seconds).sum();
    let due = parts
        .iter()
        .map(|part| Some(part.rate? * part.seconds as f64));
    let due: Option<f64> = due.sum();
    Some(due? / seconds as f64)
}

/// Stores messages before the measurement, many at once.
async fn fill<S: Sender>(
    options: &Options,
    run: &Arc<Run<S>>,
    tell: &dyn Fn(Happening),
) -> Result<Option<Fill>, BenchError> {
    if options.fill == 0 {
        return Ok(None);
    }
    let (total, began) = (options.fill, Instant::now());
    let mut load = Load::closed(run, options.concurrency.max(FILLING), Some(total));
    let mut last = (0, began);
    while !load.is_done() {
        sleep(TELL_INTERVAL).await;
        let done = run.tally.acked.load(Ordering::Relaxed);
        let step = Step::Fill;
        tell(Happening::Step { step, done, total });
        if done > last.0 {
            last = (done, Instant::now());
        } else if last.1.elapsed() > STALLED_LIMIT {
            return Err(failed("the nodes acknowledge nothing any more"));
        }
    }
    load.stop(options.timeout).await?;
    run.tally.take();
    let seconds = began.elapsed().as_secs_f64();
    Ok(Some(Fill {
        messages: total,
        seconds,
        per_second: total as f64 / seconds,
    }))
}

/// Measures the maximum rate before an overload, after the time for warming up.
async fn saturation<S: Sender>(
    options: &Options,
    run: &Arc<Run<S>>,
    tell: &dyn Fn(Happening),
) -> Result<Option<f64>, BenchError> {
    if !matches!(options.pace, Pace::Overload(_)) {
        return Ok(None);
    }
    let lasts = options.warm_up + SATURATION;
    tell(Happening::WarmingUp { lasts });
    let load = Load::closed(run, options.concurrency, None);
    sleep(options.warm_up).await;
    run.tally.take();
    let began = Instant::now();
    sleep(SATURATION).await;
    let rate = run.tally.take().acked() as f64 / began.elapsed().as_secs_f64();
    load.stop(options.timeout).await?;
    tell(Happening::Saturated { rate });
    Ok(Some(rate))
}

/// Returns the same addresses, that of the leader first.
async fn leader_first(
    anonymous: &Client,
    endpoints: Vec<String>,
) -> Result<Vec<String>, BenchError> {
    let statuses = anonymous.cluster_statuses().await;
    let told = |(at, status): (String, Result<_, CallError>)| Some((at, status.ok()?));
    let known: Vec<(String, v1::GetClusterStatusResponse)> =
        statuses.into_iter().filter_map(told).collect();
    let with_leader = known.iter().find(|(_, status)| status.leader_id != 0);
    let (_, status) = with_leader.ok_or(BenchError::NoLeader)?;
    let leader = status.leader_id;
    let its = known.iter().find(|(_, status)| status.node_id == leader);
    let mut endpoints = endpoints;
    let is_leader = |endpoint: &String| its.is_some_and(|(at, _)| at == endpoint);
    endpoints.sort_by_key(|endpoint| !is_leader(endpoint));
    Ok(endpoints)
}

/// Returns how many messages every node holds, once all counts are right or the time is over.
pub(crate) async fn stored(
    client: &Client,
    endpoints: &[String],
    right: impl Fn(u64) -> bool,
) -> Result<Vec<u64>, BenchError> {
    let deadline = Instant::now() + VERIFY_LIMIT;
    loop {
        let mut counts = Vec::new();
        for endpoint in endpoints {
            counts.push(client.state_counts(endpoint).await?.messages);
        }
        let agreed = counts
            .iter()
            .all(|count| *count == counts[0] && right(*count));
        if agreed || Instant::now() >= deadline {
            return Ok(counts);
        }
        sleep(LOOK_INTERVAL).await;
    }
}
