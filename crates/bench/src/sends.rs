//! Measures how many messages a cluster acknowledges.
//!
//! Closed loop: every worker waits for its answer before it sends again. Afterwards the stored
//! messages are counted on every node, so that no figure includes messages that were not stored.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_client::{
    CallError, Client, OperatorCredential,
    core::{AccountName, Recipient},
    v1,
};
use conclave_local_cluster::LocalCluster;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    Figures, Rows,
    error::BenchError,
    latencies, limits,
    process::{cpu_us, server_cpu_us},
    scratch::{self, random_bytes, random_word},
};

/// Time before the measurement begins.
const WARM_UP: Duration = Duration::from_secs(1);
/// Number of workers that share a session and its connection.
const WORKERS_PER_SESSION: u64 = 64;
/// Longest time that the nodes may take to agree at the end.
const VERIFY_LIMIT: Duration = Duration::from_secs(20);
/// Interval between two looks at the stored messages.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What to measure, and how.
#[derive(Debug)]
pub struct Options {
    /// The measured nodes.
    pub target: Target,
    /// Number of messages under way at once.
    pub concurrency: u64,
    /// Seconds to measure.
    pub seconds: u64,
    /// Bytes of one message.
    pub payload: u64,
    /// Whether messages go to all nodes instead of the leader alone.
    pub spread: bool,
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

/// Figures of the measurement.
#[derive(Debug, Serialize)]
pub struct Report {
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
struct RunState {
    measure: AtomicBool,
    stop: AtomicBool,
    acked: AtomicU64,
    acked_measured: AtomicU64,
    unknown: AtomicU64,
}

/// Measures how many messages the nodes acknowledge.
///
/// # Errors
/// If the cluster does not come up, or a node does not answer.
pub async fn measure(options: &Options) -> Result<Report, BenchError> {
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
        } => return measure_at(options, None, endpoints.clone(), client, operator.as_ref()).await,
    };
    let directory = scratch::directory()?;
    let cluster = scratch::cluster(program, nodes, tls, directory.path()).await?;
    let endpoints = cluster.endpoints();
    let client = cluster
        .client_builder()
        .endpoints(endpoints.clone())
        .build()?;
    limits::lift(&cluster, &client).await?;
    let operator = cluster.operator();
    let operator = operator.as_ref();
    let report = measure_at(options, Some(&cluster), endpoints, &client, operator).await?;
    cluster.stop_all().await?;
    Ok(report)
}

async fn measure_at(
    options: &Options,
    cluster: Option<&LocalCluster>,
    endpoints: Vec<String>,
    anonymous: &Client,
    operator: Option<&OperatorCredential>,
) -> Result<Report, BenchError> {
    let endpoints = leader_first(anonymous, endpoints).await?;
    let judge = anonymous.with_operator(operator.ok_or(BenchError::NoOperator)?);
    let workers = workers(options, anonymous, &endpoints).await?;
    let before = stored(&judge, &endpoints, |_| true).await?;
    let shared = Arc::new(RunState::default());
    let mut tasks = JoinSet::new();
    for (client, to) in workers {
        let payload = usize::try_from(options.payload).expect("a text is short");
        tasks.spawn(work(shared.clone(), client, to, "x".repeat(payload)));
    }
    sleep(WARM_UP).await;
    let (began, server_before, client_before) =
        (Instant::now(), server_cpu_us(cluster), cpu_us("self"));
    shared.measure.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(options.seconds)).await;
    shared.measure.store(false, Ordering::Relaxed);
    let (measured, server_after, client_after) =
        (began.elapsed(), server_cpu_us(cluster), cpu_us("self"));
    shared.stop.store(true, Ordering::Relaxed);
    let mut latencies = latencies();
    for part in tasks.join_all().await {
        latencies.add(part).expect("all have the same bounds");
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
        concurrency: options.concurrency,
        payload_bytes: options.payload,
        seconds: measured.as_secs_f64(),
        verified: acked > 0 && after.iter().all(|count| right(*count)),
    })
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

/// Returns the client and the recipient of every worker.
async fn workers(
    options: &Options,
    anonymous: &Client,
    endpoints: &[String],
) -> Result<Vec<(Client, Recipient)>, BenchError> {
    let sessions = options.concurrency.div_ceil(WORKERS_PER_SESSION);
    let (run, password) = (std::process::id(), random_word()?);
    let unique = u32::from_ne_bytes(random_bytes()?);
    let name = |number: u64| format!("bench-{run}-{unique:x}-{number}");
    // One account more, so that every session has a recipient.
    for number in 0..=sessions {
        anonymous.create_account(&name(number), &password).await?;
    }
    let mut workers = Vec::new();
    for session in 0..sessions {
        let mut own = endpoints.to_vec();
        if options.spread {
            own.rotate_left(session as usize % endpoints.len());
        }
        let token = anonymous.login(&name(session), &password).await?.token;
        let builder = Client::builder().trusting_like(anonymous);
        let client = builder.endpoints(own).token(token).build()?;
        let peer = AccountName::new(name(session + 1)).map_err(CallError::from)?;
        let left = options.concurrency - session * WORKERS_PER_SESSION;
        for _ in 0..left.min(WORKERS_PER_SESSION) {
            workers.push((client.clone(), Recipient::Account(peer.clone())));
        }
    }
    Ok(workers)
}

async fn work(
    shared: Arc<RunState>,
    client: Client,
    to: Recipient,
    text: String,
) -> Histogram<u64> {
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

impl Figures for Report {
    fn rows(&self) -> Rows {
        let server = match self.server_cpu_us_per_message {
            Some(us) => format!("{us:.0} µs"),
            None => "not known".to_owned(),
        };
        vec![
            (
                "acknowledged per second",
                format!("{:.0}", self.acked_per_second),
            ),
            ("answered within, median", format!("{} µs", self.p50_us)),
            ("answered within, p99", format!("{} µs", self.p99_us)),
            ("server CPU per message", server),
            (
                "client CPU per message",
                format!("{:.0} µs", self.client_cpu_us_per_message),
            ),
            (
                "every message stored on every node",
                self.verified.to_string(),
            ),
        ]
    }

    fn holds(&self) -> bool {
        self.verified
    }
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
