//! `conclave bench`: measures how many messages a cluster acknowledges.
//!
//! Closed loop: every worker waits for its answer before it sends again. Afterwards the stored
//! messages are counted on every node, so that no figure includes messages that were not stored.

mod failover;
mod limits;
mod live;
mod process;
mod snapshot;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_client::{
    CallError, Client, OperatorCredential,
    core::{AccountName, Recipient, limits::TEXT_BYTES_MAX},
    v1,
};
use conclave_local_cluster::{LocalCluster, NODES_MAX};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    commands::up::{interrupted, words},
    errors::{
        CommandError, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_PERMISSION, EXIT_UNAVAILABLE,
        OPERATOR_HINT,
    },
    operators,
    output::{self, Format},
    scratch::{self, random_bytes, random_word},
    trust,
};
use process::{cpu_us, server_cpu_us};

/// Time before the measurement begins.
const WARM_UP: Duration = Duration::from_secs(1);
/// Number of workers that share a session and its connection.
const WORKERS_PER_SESSION: u64 = 64;
/// Maximum latency that is told apart, in microseconds; a longer one counts as this one.
const LATENCY_US_MAX: u64 = 60_000_000;
/// Longest time that the nodes may take to agree at the end.
const VERIFY_LIMIT: Duration = Duration::from_secs(20);
/// Interval between two looks at the stored messages.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    sends: Sends,
}

/// Measurements other than sends.
#[derive(Debug, clap::Subcommand)]
enum Other {
    /// Measure how long sending pauses when the leader is killed
    Failover(failover::Args),
    /// Measure the streams: memory, delay, slow readers, a dead node
    Live(live::Args),
    /// Measure what senders notice of a machine that joins and receives a snapshot
    Snapshot(snapshot::Args),
}

/// Options for the measurement of sends.
#[derive(Debug, clap::Args)]
struct Sends {
    /// Number of nodes to start
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u64).range(1..=NODES_MAX))]
    nodes: u64,
    /// Number of messages under way at once
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u64).range(1..=16_384))]
    concurrency: u64,
    /// Seconds to measure
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Bytes of one message
    #[arg(
        long,
        default_value = "100",
        value_parser = clap::value_parser!(u64).range(1..=TEXT_BYTES_MAX as u64)
    )]
    payload: u64,
    /// Measure these nodes instead of starting some
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    endpoints: Vec<String>,
    /// File with an operator's credential for these nodes [default: the one that `conclave operator
    /// use` has kept]
    #[arg(long, env = "CONCLAVE_OPERATOR_FILE", value_name = "FILE")]
    operator_file: Option<PathBuf>,
    /// Start nodes that talk to clients encrypted
    #[arg(long, conflicts_with = "endpoints")]
    tls: bool,
    /// Send to all nodes instead of the leader alone
    #[arg(long)]
    spread: bool,
    /// Output format of the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Figures of the measurement.
#[derive(Debug, Serialize)]
struct Report {
    acked_per_second: f64,
    p50_us: u64,
    p99_us: u64,
    /// Absent for nodes that this command did not start.
    server_cpu_us_per_message: Option<f64>,
    client_cpu_us_per_message: f64,
    nodes: u64,
    concurrency: u64,
    payload_bytes: u64,
    seconds: f64,
    verified: bool,
}

/// State that the workers share.
#[derive(Default)]
struct Shared {
    measure: AtomicBool,
    stop: AtomicBool,
    acked: AtomicU64,
    acked_measured: AtomicU64,
    unknown: AtomicU64,
}

/// Measures a cluster.
///
/// # Errors
/// If the cluster does not come up, or does not hold what it acknowledged.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut signals = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    ];
    let measured = async {
        match &args.other {
            None => Box::pin(bench(&args.sends)).await,
            Some(Other::Failover(args)) => Box::pin(failover::bench(args)).await,
            Some(Other::Live(args)) => Box::pin(live::bench(args)).await,
            Some(Other::Snapshot(args)) => Box::pin(snapshot::bench(args)).await,
        }
    };
    tokio::select! {
        ended = measured => ended,
        () = interrupted(&mut signals) => Ok(ExitCode::from(EXIT_INTERRUPTED)),
    }
}

async fn bench(args: &Sends) -> anyhow::Result<ExitCode> {
    let directory = tempfile::Builder::new()
        .prefix("conclave-bench-")
        .tempdir()?;
    let cluster = match args.endpoints.is_empty() {
        true => Some(
            scratch::cluster(args.nodes, args.tls, directory.path())
                .await
                .map_err(words)?,
        ),
        false => None,
    };
    let endpoints = match &cluster {
        Some(cluster) => cluster.endpoints(),
        None => args.endpoints.clone(),
    };
    let report = measure(args, cluster.as_ref(), endpoints).await?;
    if let Some(cluster) = &cluster {
        cluster.stop_all().await.map_err(words)?;
    }
    match args.output {
        Format::Json => output::json_line(&serde_json::to_value(&report)?)?,
        Format::Table => show(&report)?,
    }
    if report.verified {
        return Ok(ExitCode::SUCCESS);
    }
    let sentence = "the nodes do not hold what they acknowledged";
    let hint = "was somebody else sending? measure a cluster that nobody uses";
    Err(CommandError::new(EXIT_FAILED, sentence, hint).into())
}

async fn measure(
    args: &Sends,
    cluster: Option<&LocalCluster>,
    endpoints: Vec<String>,
) -> anyhow::Result<Report> {
    let builder = match cluster {
        Some(cluster) => cluster.client_builder(),
        None => match trust::find(&endpoints, None).await? {
            Some(authority) => Client::builder().pinned(&authority),
            None => Client::builder(),
        },
    };
    let nobody = builder.endpoints(endpoints.clone()).build()?;
    if let Some(cluster) = cluster {
        limits::lift(cluster, &nobody).await?;
    }
    let endpoints = leader_first(&nobody, endpoints).await?;
    let workers = workers(args, &nobody, &endpoints).await?;
    let judge = nobody.with_operator(&credential(args, cluster, &endpoints)?);
    let before = stored(&judge, &endpoints, |_| true).await?;
    let shared = Arc::new(Shared::default());
    let mut tasks = JoinSet::new();
    for (client, to) in workers {
        let payload = usize::try_from(args.payload).expect("a text is short");
        tasks.spawn(work(shared.clone(), client, to, "x".repeat(payload)));
    }
    sleep(WARM_UP).await;
    let (began, server_before, client_before) =
        (Instant::now(), server_cpu_us(cluster), cpu_us("self"));
    shared.measure.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(args.seconds)).await;
    shared.measure.store(false, Ordering::Relaxed);
    let (measured, server_after, client_after) =
        (began.elapsed(), server_cpu_us(cluster), cpu_us("self"));
    shared.stop.store(true, Ordering::Relaxed);
    let mut latencies = latencies();
    for part in tasks.join_all().await {
        latencies.add(part)?;
    }
    let acked = shared.acked.load(Ordering::Relaxed);
    let most = acked + shared.unknown.load(Ordering::Relaxed);
    let right = |count: u64| (acked..=most).contains(&count.saturating_sub(before[0]));
    let after = stored(&judge, &endpoints, right).await?;
    let acked_measured = shared.acked_measured.load(Ordering::Relaxed);
    let each = |spent_us: Option<u64>| Some(spent_us? as f64 / acked_measured.max(1) as f64);
    let spent = |after: Option<u64>, before: Option<u64>| Some(after?.saturating_sub(before?));
    Ok(Report {
        acked_per_second: acked_measured as f64 / measured.as_secs_f64(),
        p50_us: latencies.value_at_quantile(0.5),
        p99_us: latencies.value_at_quantile(0.99),
        server_cpu_us_per_message: each(spent(server_after, server_before)),
        client_cpu_us_per_message: each(spent(client_after, client_before)).unwrap_or_default(),
        nodes: endpoints.len() as u64,
        concurrency: args.concurrency,
        payload_bytes: args.payload,
        seconds: measured.as_secs_f64(),
        verified: acked > 0 && after.iter().all(|count| right(*count)),
    })
}

/// Finds the credential that nodes require before they report what they hold.
fn credential(
    args: &Sends,
    cluster: Option<&LocalCluster>,
    endpoints: &[String],
) -> Result<OperatorCredential, CommandError> {
    let found = match (cluster, &args.operator_file) {
        (Some(cluster), _) => cluster.operator(),
        (None, Some(file)) => Some(operators::read(file)?),
        (None, None) => operators::find(endpoints)?,
    };
    found.ok_or_else(|| {
        let sentence = "only an operator is told what the nodes hold in the end";
        CommandError::new(EXIT_PERMISSION, sentence, OPERATOR_HINT)
    })
}

/// Returns the same addresses, that of the leader first.
async fn leader_first(nobody: &Client, endpoints: Vec<String>) -> anyhow::Result<Vec<String>> {
    let statuses = nobody.cluster_statuses().await;
    let told = |(at, status): (String, Result<_, CallError>)| Some((at, status.ok()?));
    let known: Vec<(String, v1::GetClusterStatusResponse)> =
        statuses.into_iter().filter_map(told).collect();
    let with_leader = known.iter().find(|(_, status)| status.leader_id != 0);
    let (_, status) = with_leader.ok_or_else(|| {
        let hint = "look at it with: conclave cluster status";
        CommandError::new(EXIT_UNAVAILABLE, "no node knows a leader", hint)
    })?;
    let leader = status.leader_id;
    let its = known.iter().find(|(_, status)| status.node_id == leader);
    let mut endpoints = endpoints;
    let is_leader = |endpoint: &String| its.is_some_and(|(at, _)| at == endpoint);
    endpoints.sort_by_key(|endpoint| !is_leader(endpoint));
    Ok(endpoints)
}

/// Returns the client and the recipient of every worker.
async fn workers(
    args: &Sends,
    nobody: &Client,
    endpoints: &[String],
) -> anyhow::Result<Vec<(Client, Recipient)>> {
    let sessions = args.concurrency.div_ceil(WORKERS_PER_SESSION);
    let (run, password) = (std::process::id(), random_word()?);
    let unique = u32::from_ne_bytes(random_bytes()?);
    let name = |number: u64| format!("bench-{run}-{unique:x}-{number}");
    // One account more, so that every session has a recipient.
    for number in 0..=sessions {
        nobody.create_account(&name(number), &password).await?;
    }
    let mut workers = Vec::new();
    for session in 0..sessions {
        let mut own = endpoints.to_vec();
        if args.spread {
            own.rotate_left(session as usize % endpoints.len());
        }
        let token = nobody.login(&name(session), &password).await?.token;
        let builder = Client::builder().trusting_like(nobody);
        let client = builder.endpoints(own).token(token).build()?;
        let peer = AccountName::new(name(session + 1)).map_err(CallError::from)?;
        let left = args.concurrency - session * WORKERS_PER_SESSION;
        for _ in 0..left.min(WORKERS_PER_SESSION) {
            workers.push((client.clone(), Recipient::Account(peer.clone())));
        }
    }
    Ok(workers)
}

async fn work(shared: Arc<Shared>, client: Client, to: Recipient, text: String) -> Histogram<u64> {
    let mut latencies = latencies();
    while !shared.stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let sent = client.send(&to, text.as_str()).await;
        match sent {
            Ok(_) => {
                shared.acked.fetch_add(1, Ordering::Relaxed);
                if shared.measure.load(Ordering::Relaxed) {
                    shared.acked_measured.fetch_add(1, Ordering::Relaxed);
                    let us = began.elapsed().as_micros();
                    latencies.saturating_record(u64::try_from(us).unwrap_or(u64::MAX));
                }
            }
            Err(CallError::Unknown { .. }) => {
                shared.unknown.fetch_add(1, Ordering::Relaxed);
            }
            // The message was not sent; the count at the end stays right.
            Err(CallError::NotDone { .. }) => {}
            // The next message would fail in the same way.
            Err(CallError::Refused { .. } | CallError::SessionExpired { .. }) => break,
        }
    }
    latencies
}

fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("these bounds are sound")
}

/// Returns how many messages every node holds, once all counts are right or the time is over.
async fn stored(
    client: &Client,
    endpoints: &[String],
    right: impl Fn(u64) -> bool,
) -> anyhow::Result<Vec<u64>> {
    let deadline = Instant::now() + VERIFY_LIMIT;
    loop {
        let mut counts = Vec::new();
        for endpoint in endpoints {
            counts.push(client.state_digest(endpoint, 0).await?.messages);
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

fn show(report: &Report) -> std::io::Result<()> {
    let server = match report.server_cpu_us_per_message {
        Some(us) => format!("{us:.0} µs"),
        None => "not known".to_owned(),
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row(
            "acknowledged per second",
            format!("{:.0}", report.acked_per_second),
        ),
        row("half answered within", format!("{} µs", report.p50_us)),
        row("99 % answered within", format!("{} µs", report.p99_us)),
        row("server CPU per message", server),
        row(
            "client CPU per message",
            format!("{:.0} µs", report.client_cpu_us_per_message),
        ),
        row(
            "every message stored on every node",
            report.verified.to_string(),
        ),
    ];
    output::table(&["measured", "value"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_keys_that_scripts_read() {
        let report = Report {
            acked_per_second: 1.5,
            p50_us: 1,
            p99_us: 2,
            server_cpu_us_per_message: Some(3.0),
            client_cpu_us_per_message: 4.0,
            nodes: 3,
            concurrency: 64,
            payload_bytes: 100,
            seconds: 10.0,
            verified: true,
        };
        let value = serde_json::to_value(report).unwrap();
        for key in [
            "acked_per_second",
            "server_cpu_us_per_message",
            "client_cpu_us_per_message",
        ] {
            assert!(value[key].is_f64(), "{key}");
        }
        for key in ["p50_us", "p99_us", "nodes", "concurrency", "payload_bytes"] {
            assert!(value[key].is_u64(), "{key}");
        }
        assert_eq!(value["verified"], true);
    }
}
