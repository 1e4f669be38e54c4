//! Measures what senders notice of a machine that joins.
//!
//! Three nodes get a large state; then senders keep a pace while a fourth, empty machine joins and
//! receives a snapshot. The latencies are measured in three parts: before, while the snapshot is
//! made, and while it is sent.
//!
//! Always true: everything waits with a limit, and the nodes end with this command. All clients
//! run in this one process, on the same processors as the nodes: figures are upper bounds.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use conclave_client::{Client, v1};
use conclave_local_cluster::{self as local, Bootstrap, ClusterError, LocalCluster, Ports};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    Figures, Rows,
    error::{BenchError, failed},
    limits,
    live::{
        crowd::Board,
        load::{self, Load},
    },
    scratch,
    sends::stored,
};

/// Number of nodes that have the state.
const INITIAL_MEMBERS: u64 = 3;
/// Number of the node that joins.
const JOINER: u64 = INITIAL_MEMBERS + 1;
/// Entries of the log that the nodes keep: few, so that the joiner needs a snapshot.
const KEEP_ENTRIES: u64 = 1000;
/// Bytes of one message of the state: people do not write long ones.
const TEXT_BYTES: usize = 200;
/// Messages that are under way at once while the state is made.
const FILLING: usize = 512;
/// Time until the load is even.
const SETTLE: Duration = Duration::from_secs(1);
/// Limit for steps that usually take a moment.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest time for the snapshot.
const TRANSFER_LIMIT: Duration = Duration::from_secs(3600);
/// Interval between two looks at the transfer.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);
/// Lifetime of the token with which the machine joins.
const TOKEN_TTL: Duration = Duration::from_secs(3600);

/// What to measure, and how.
#[derive(Debug)]
pub struct Options {
    /// Path of the program `conclave`.
    pub program: PathBuf,
    /// Mebibytes of messages in the state before the measurement.
    pub state_mib: u64,
    /// Messages per second during the measurement; `None` for half of the cluster's maximal rate.
    pub rate: Option<u64>,
    /// Bytes of snapshots that a node sends per second, 0 for no limit; `None` for the default of
    /// the node.
    pub snapshot_bytes_per_second: Option<u64>,
    /// Number of senders.
    pub concurrency: u64,
    /// Bytes of one message during the measurement.
    pub payload: u64,
    /// Seconds to measure before the machine joins.
    pub seconds: u64,
}

/// Figures of the measurement. `streaming_p99_us / quiet_p99_us` is what other users notice.
#[derive(Debug, Serialize)]
pub struct Report {
    snapshot_bytes: u64,
    made_ms: u64,
    sent_ms: u64,
    rate_asked: f64,
    quiet_p50_us: u64,
    quiet_p99_us: u64,
    making_p50_us: u64,
    making_p99_us: u64,
    streaming_p50_us: u64,
    streaming_p99_us: u64,
    streaming_answers: u64,
    p99_factor: f64,
    messages_on_every_node: u64,
}

/// The parts of the run.
const QUIET: usize = 1;
const MAKING: usize = 2;
const STREAMING: usize = 3;

/// Starts a cluster, measures, and ends it.
///
/// # Errors
/// If the cluster does not come up, or the snapshot takes too long.
pub async fn measure(options: &Options) -> Result<Report, BenchError> {
    let directory = scratch::directory()?;
    let cluster = start(options, directory.path()).await?;
    let report = measure_at(options, &cluster).await?;
    cluster.stop_all().await?;
    Ok(report)
}

async fn start(options: &Options, directory: &Path) -> Result<LocalCluster, BenchError> {
    let variable = |name: &str, value: u64| (format!("CONCLAVE_{name}"), value.to_string());
    let mut variables = vec![variable("LOG_KEEP_ENTRIES", KEEP_ENTRIES)];
    if let Some(rate) = options.snapshot_bytes_per_second {
        variables.push(variable("SNAPSHOT_BYTES_PER_SECOND", rate));
    }
    let nodes = JOINER;
    let options = local::Options {
        program: options.program.clone(),
        directory: directory.to_owned(),
        nodes,
        initial_members: INITIAL_MEMBERS,
        bootstrap: Bootstrap::Discovery,
        ports: Ports::free(nodes).ok_or(ClusterError::NoPorts { nodes })?,
        plain: true,
        relays: false,
        settings: None,
        environment: (1..=JOINER).map(|node| (node, variables.clone())).collect(),
    };
    let cluster = LocalCluster::prepare(options)?;
    let starting = (1..=INITIAL_MEMBERS).map(|node| cluster.start_node(node));
    try_join_all(starting).await?;
    cluster.wait_until_caught_up(PATIENCE).await?;
    Ok(cluster)
}

async fn measure_at(options: &Options, cluster: &LocalCluster) -> Result<Report, BenchError> {
    let leader = cluster.wait_for_leader(PATIENCE).await?;
    let mut initial_members: Vec<u64> = (1..=INITIAL_MEMBERS).collect();
    initial_members.sort_by_key(|node| *node != leader);
    let endpoints: Vec<String> = initial_members
        .iter()
        .map(|node| cluster.endpoint(*node))
        .collect();
    let anonymous = Client::builder().endpoints(endpoints.clone()).build()?;
    let token = join_token(cluster, &anonymous).await?;
    const SESSIONS: u64 = 8;
    let sessions = SESSIONS.min(options.concurrency);
    let each = options.concurrency.div_ceil(sessions);
    let senders = load::pairs(&endpoints, sessions, each).await?;
    fill(options, &senders).await?;
    let (board, payload) = (
        Board::new(),
        usize::try_from(options.payload).expect("a text is short"),
    );
    let rate = match options.rate {
        Some(rate) => rate as f64,
        None => load::rate_max(senders.clone(), payload, &board).await / 2.0,
    };
    let load = Load::start(senders, Some(rate), payload, &board);
    sleep(SETTLE).await;
    load.begin_part(QUIET);
    sleep(Duration::from_secs(options.seconds)).await;
    load.begin_part(MAKING);
    cluster.give_token(JOINER, &token);
    let began = Instant::now();
    cluster.start_node(JOINER).await?;
    let first = next_transfer(cluster, leader, |sent| sent.is_some()).await?;
    load.begin_part(STREAMING);
    let made = began.elapsed();
    next_transfer(cluster, leader, |sent| sent.is_none()).await?;
    let sent = began.elapsed() - made;
    let took = load.stop().await;
    let all: Vec<String> = (1..=JOINER).map(|node| cluster.endpoint(node)).collect();
    let messages = stored(&cluster.operator_client(), &all, |count| count > 0).await?;
    if messages.iter().any(|count| *count != messages[0]) {
        return Err(failed("the nodes have different numbers of messages"));
    }
    let bytes = first.map_or(0, |transfer| transfer.bytes_total);
    Ok(report(rate, [made, sent], &took, bytes, messages[0]))
}

fn report(
    rate: f64,
    [made, sent]: [Duration; 2],
    took: &[Histogram<u64>],
    bytes: u64,
    messages: u64,
) -> Report {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let half = |part: usize| took[part].value_at_quantile(0.5);
    let most = |part: usize| took[part].value_at_quantile(0.99);
    Report {
        snapshot_bytes: bytes,
        made_ms: millis(made),
        sent_ms: millis(sent),
        rate_asked: rate,
        quiet_p50_us: half(QUIET),
        quiet_p99_us: most(QUIET),
        making_p50_us: half(MAKING),
        making_p99_us: most(MAKING),
        streaming_p50_us: half(STREAMING),
        streaming_p99_us: most(STREAMING),
        streaming_answers: took[STREAMING].len(),
        p99_factor: most(STREAMING) as f64 / most(QUIET).max(1) as f64,
        messages_on_every_node: messages,
    }
}

/// Makes the first administrator, and a token with which one machine joins.
async fn join_token(cluster: &LocalCluster, anonymous: &Client) -> Result<String, BenchError> {
    let credential = cluster.operator().ok_or_else(|| failed("no operator"))?;
    let root = limits::lift(cluster, anonymous).await?;
    let root = root.with_operator(&credential);
    let made = root.create_join_token(TOKEN_TTL, true).await?;
    Ok(made.token)
}

/// Sends messages until the state has its size.
async fn fill(options: &Options, senders: &[load::Sender]) -> Result<(), BenchError> {
    let messages = options.state_mib * 1024 * 1024 / TEXT_BYTES as u64;
    let sends = (0..messages).zip(senders.iter().cycle());
    let sends = sends
        .map(|(number, (client, to))| async move { client.send(to, small_talk(number)).await });
    let all = stream::iter(sends).buffer_unordered(FILLING);
    all.try_for_each(|_| async { Ok(()) }).await?;
    Ok(())
}

/// Makes a text of words, each text different from the others, so that it compresses like real
/// messages.
fn small_talk(number: u64) -> String {
    const WORDS: [&str; 32] = [
        "the",
        "meeting",
        "is",
        "at",
        "noon",
        "tomorrow",
        "can",
        "everyone",
        "look",
        "into",
        "build",
        "again",
        "please",
        "I",
        "think",
        "we",
        "should",
        "wait",
        "for",
        "release",
        "lunch",
        "anyone",
        "thanks",
        "done",
        "not",
        "yet",
        "server",
        "was",
        "restarted",
        "by",
        "who",
        "knows",
    ];
    let mut state = number.wrapping_add(1);
    let mut text = String::new();
    while text.len() < TEXT_BYTES {
        // This is a linear congruential generator, of which the upper bits are good enough.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        text.push_str(WORDS[(state >> 59) as usize]);
        text.push(' ');
    }
    text
}

/// Waits until the transfer that the leader reports meets the condition.
async fn next_transfer(
    cluster: &LocalCluster,
    leader: u64,
    holds: impl Fn(&Option<v1::SnapshotTransfer>) -> bool,
) -> Result<Option<v1::SnapshotTransfer>, BenchError> {
    let deadline = Instant::now() + TRANSFER_LIMIT;
    while Instant::now() < deadline {
        if let Ok(status) = cluster.status(leader).await {
            let nodes = status.nodes.iter();
            let transfer = nodes
                .flat_map(|node| node.transfers.first())
                .next()
                .copied();
            if holds(&transfer) {
                return Ok(transfer);
            }
        }
        sleep(LOOK_INTERVAL).await;
    }
    Err(failed("the snapshot did not arrive in time"))
}

impl Figures for Report {
    fn rows(&self) -> Rows {
        let ms = |us: u64| format!("{:.2} ms", us as f64 / 1000.0);
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0));
        vec![
            ("snapshot", mib(self.snapshot_bytes)),
            ("made within", format!("{} ms", self.made_ms)),
            ("sent and installed within", format!("{} ms", self.sent_ms)),
            ("load", format!("{:.0} messages/s", self.rate_asked)),
            ("before it, median", ms(self.quiet_p50_us)),
            ("before it, p99", ms(self.quiet_p99_us)),
            ("while it is made, median", ms(self.making_p50_us)),
            ("while it is made, p99", ms(self.making_p99_us)),
            ("while it is sent, median", ms(self.streaming_p50_us)),
            ("while it is sent, p99", ms(self.streaming_p99_us)),
            ("times as long as before", format!("{:.2}", self.p99_factor)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_talk_texts_differ_and_have_their_length() {
        let (one, other) = (small_talk(1), small_talk(2));
        assert_ne!(one, other);
        assert!((TEXT_BYTES..TEXT_BYTES + 12).contains(&one.len()));
    }

    #[test]
    fn the_factor_compares_the_99th_percentiles() {
        let part = |us: u64| {
            let mut part = crate::latencies();
            (0..100).for_each(|_| part.saturating_record(us));
            part
        };
        let took = [part(1), part(1000), part(1), part(1500)];
        let report = report(1.0, [Duration::ZERO; 2], &took, 7, 9);
        assert!((1.4..1.6).contains(&report.p99_factor), "{report:?}");
    }
}
