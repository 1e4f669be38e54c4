//! `conclave bench snapshot`: measures what senders notice of a machine that joins.
//!
//! Three nodes get a large state; then senders keep a pace while a fourth, empty machine joins and
//! receives a snapshot. The latencies are measured in three parts: before, while the snapshot is
//! made, and while it is sent.
//!
//! Always true: everything waits with a limit, and the nodes end with this command. All clients
//! run in this one process, on the same processors as the nodes: figures are upper bounds.

use std::{process::ExitCode, time::Duration};

use conclave_client::{Client, v1};
use conclave_core::limits::TEXT_BYTES_MAX;
use conclave_local_cluster::{Founding, LocalCluster, Options, Ports};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    limits,
    live::{
        crowd::Board,
        load::{self, Load},
    },
    stored,
};
use crate::{
    commands::up::words,
    errors::{CommandError, EXIT_FAILED},
    output::{self, Format},
};

/// Number of nodes that have the state.
const FOUNDERS: u64 = 3;
/// Number of the node that joins.
const JOINER: u64 = FOUNDERS + 1;
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

/// Arguments of `bench snapshot`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Mebibytes of messages in the state before the measurement
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u64).range(1..=16_384))]
    state_mib: u64,
    /// Messages per second during the measurement [default: half of the cluster's maximal rate]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: Option<u64>,
    /// Bytes of snapshots that a node sends per second, 0 for no limit [default: that of `conclave
    /// serve`]
    #[arg(long, value_name = "BYTES")]
    snapshot_bytes_per_second: Option<u64>,
    /// Number of senders
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u64).range(1..=1024))]
    concurrency: u64,
    /// Bytes of one message during the measurement
    #[arg(
        long,
        default_value = "100",
        value_parser = clap::value_parser!(u64).range(32..=TEXT_BYTES_MAX as u64)
    )]
    payload: u64,
    /// Seconds to measure before the machine joins
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Output format of the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Figures of the measurement. `streaming_p99_us / quiet_p99_us` is what other users notice.
#[derive(Debug, Serialize)]
struct Report {
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

/// Starts a cluster, measures, ends it, and shows the result.
pub(super) async fn bench(args: &Args) -> anyhow::Result<ExitCode> {
    let directory = tempfile::Builder::new()
        .prefix("conclave-bench-")
        .tempdir()?;
    let cluster = start(args, directory.path()).await?;
    let report = measure(args, &cluster).await?;
    cluster.stop_all().await.map_err(words)?;
    match args.output {
        Format::Json => output::json_line(&serde_json::to_value(&report)?)?,
        Format::Table => show(&report)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn start(args: &Args, directory: &std::path::Path) -> anyhow::Result<LocalCluster> {
    let variable = |name: &str, value: u64| (format!("CONCLAVE_{name}"), value.to_string());
    let mut variables = vec![variable("LOG_KEEP_ENTRIES", KEEP_ENTRIES)];
    if let Some(rate) = args.snapshot_bytes_per_second {
        variables.push(variable("SNAPSHOT_BYTES_PER_SECOND", rate));
    }
    let options = Options {
        program: std::env::current_exe()?,
        directory: directory.to_owned(),
        nodes: JOINER,
        founders: FOUNDERS,
        founding: Founding::Meeting,
        ports: Ports::free(JOINER).ok_or_else(|| failed("there are no free ports"))?,
        plain: true,
        environment: (1..=JOINER).map(|node| (node, variables.clone())).collect(),
    };
    let cluster = LocalCluster::prepare(options).map_err(words)?;
    let starting = (1..=FOUNDERS).map(|node| cluster.start_node(node));
    try_join_all(starting).await.map_err(words)?;
    cluster
        .wait_until_caught_up(PATIENCE)
        .await
        .map_err(words)?;
    Ok(cluster)
}

async fn measure(args: &Args, cluster: &LocalCluster) -> anyhow::Result<Report> {
    let leader = cluster.wait_for_leader(PATIENCE).await.map_err(words)?;
    let mut founders: Vec<u64> = (1..=FOUNDERS).collect();
    founders.sort_by_key(|node| *node != leader);
    let endpoints: Vec<String> = founders
        .iter()
        .map(|node| cluster.endpoint(*node))
        .collect();
    let nobody = Client::builder().endpoints(endpoints.clone()).build()?;
    let token = join_token(cluster, &nobody).await?;
    const SESSIONS: u64 = 8;
    let sessions = SESSIONS.min(args.concurrency);
    let each = args.concurrency.div_ceil(sessions);
    let senders = load::pairs(&endpoints, sessions, each).await?;
    fill(args, &senders).await?;
    let (board, payload) = (Board::new(), usize::try_from(args.payload)?);
    let rate = match args.rate {
        Some(rate) => rate as f64,
        None => load::rate_max(senders.clone(), payload, &board).await / 2.0,
    };
    let load = Load::start(senders, Some(rate), payload, &board);
    sleep(SETTLE).await;
    load.begin_part(QUIET);
    sleep(Duration::from_secs(args.seconds)).await;
    load.begin_part(MAKING);
    cluster.give_token(JOINER, &token);
    let began = Instant::now();
    cluster.start_node(JOINER).await.map_err(words)?;
    let first = next_transfer(cluster, leader, |sent| sent.is_some()).await?;
    load.begin_part(STREAMING);
    let made = began.elapsed();
    next_transfer(cluster, leader, |sent| sent.is_none()).await?;
    let sent = began.elapsed() - made;
    let took = load.stop().await;
    let all: Vec<String> = (1..=JOINER).map(|node| cluster.endpoint(node)).collect();
    let messages = stored(&cluster.operator_client(), &all, |count| count > 0).await?;
    if messages.iter().any(|count| *count != messages[0]) {
        return Err(failed("the nodes do not hold the same"));
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
async fn join_token(cluster: &LocalCluster, nobody: &Client) -> anyhow::Result<String> {
    let credential = cluster.operator().ok_or_else(|| failed("no operator"))?;
    let root = limits::lift(cluster, nobody).await?;
    let root = root.with_operator(&credential);
    let made = root.create_join_token(TOKEN_TTL, true).await?;
    Ok(made.token)
}

/// Sends messages until the state has its size.
async fn fill(args: &Args, senders: &[load::Sender]) -> anyhow::Result<()> {
    let messages = args.state_mib * 1024 * 1024 / TEXT_BYTES as u64;
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
        "somebody",
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
) -> anyhow::Result<Option<v1::SnapshotTransfer>> {
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
    Err(failed("waited too long for the snapshot"))
}

fn failed(sentence: &str) -> anyhow::Error {
    let hint = "run it again on a machine that does nothing else";
    CommandError::new(EXIT_FAILED, sentence, hint).into()
}

fn show(report: &Report) -> std::io::Result<()> {
    let ms = |us: u64| format!("{:.2} ms", us as f64 / 1000.0);
    let rows = [
        ("snapshot", crate::progress::bytes(report.snapshot_bytes)),
        ("made within", format!("{} ms", report.made_ms)),
        (
            "sent and installed within",
            format!("{} ms", report.sent_ms),
        ),
        ("load", format!("{:.0} messages/s", report.rate_asked)),
        ("before it, half answered within", ms(report.quiet_p50_us)),
        ("before it, 99 % answered within", ms(report.quiet_p99_us)),
        ("while it is made, half", ms(report.making_p50_us)),
        ("while it is made, 99 %", ms(report.making_p99_us)),
        ("while it is on its way, half", ms(report.streaming_p50_us)),
        ("while it is on its way, 99 %", ms(report.streaming_p99_us)),
        (
            "times as long as before",
            format!("{:.2}", report.p99_factor),
        ),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
    output::table(&["measured", "value"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_talk_is_words_and_no_two_texts_are_the_same() {
        let (one, other) = (small_talk(1), small_talk(2));
        assert_ne!(one, other);
        assert!((TEXT_BYTES..TEXT_BYTES + 12).contains(&one.len()));
    }

    #[test]
    fn the_factor_compares_the_slowest_hundredth() {
        let part = |us: u64| {
            let mut part = super::super::latencies();
            (0..100).for_each(|_| part.saturating_record(us));
            part
        };
        let took = [part(1), part(1000), part(1), part(1500)];
        let report = report(1.0, [Duration::ZERO; 2], &took, 7, 9);
        assert!((1.4..1.6).contains(&report.p99_factor), "{report:?}");
    }
}
