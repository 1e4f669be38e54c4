//! Measures what an idle subscriber costs, and when the last of a crowd has a message.

use std::time::Duration;

use serde::Serialize;
use tokio::{runtime::Handle, time::sleep};

use super::{
    Options, Stage,
    crowd::{Board, Crowd},
    ms, until,
};
use crate::{Figures, Rows, error::BenchError, latencies};

/// Number of messages before the measurement: they fill buffers that are filled only once.
const WARM_UP_MESSAGES: usize = 50;
/// Time until a node has finished its work after a change.
const SETTLE: Duration = Duration::from_secs(3);

/// Figures that the head of this file describes.
#[derive(Debug, Serialize)]
pub struct Report {
    subscribers: u64,
    memory_before_kib: u64,
    memory_idle_kib: u64,
    memory_after_messages_kib: u64,
    kib_per_subscriber: f64,
    kib_per_subscriber_after_messages: f64,
    idle_cpu_percent: f64,
    connect_seconds: f64,
    messages: u64,
    /// Time from sending until the last subscriber has the message.
    last_p50_us: u64,
    last_p99_us: u64,
    last_max_us: u64,
    /// CPU time of the node for one message to all subscribers.
    cpu_us_per_message: f64,
}

pub(super) async fn measure(
    options: &Options,
    stage: &Stage,
    count: u64,
) -> Result<Report, BenchError> {
    let streams = usize::try_from(count).expect("it is bounded");
    let host = stage.host;
    let endpoints = stage.endpoints(&[stage.leader]);
    let crowd = Crowd::gather(&endpoints, streams).await?;
    let board = Board::new();
    let sender = crowd.member(&endpoints).await?;
    let room = Crowd::room();
    let threads = Handle::current();
    for _ in 0..WARM_UP_MESSAGES {
        sender.send(&room, "x".repeat(options.payload())).await?;
    }
    // The code paths of streams, too, are warmed up.
    let some = crowd
        .listen(
            8.min(streams),
            |_| stage.endpoints(&[host]),
            &board,
            &threads,
        )
        .await?;
    drop(some);
    sleep(SETTLE).await;
    let memory_before = stage.memory_kib(host)?;
    let began = board.now_us();
    let only = vec![stage.cluster.endpoint(host)];
    let tasks = crowd
        .listen(streams, |_| only.clone(), &board, &threads)
        .await?;
    let connected = board.now_us() - began;
    sleep(SETTLE).await;
    let memory_idle = stage.memory_kib(host)?;
    let (began, cpu) = (board.now_us(), stage.cpu_us(host)?);
    sleep(options.part()).await;
    let idle_cpu = (stage.cpu_us(host)? - cpu) as f64 / (board.now_us() - began) as f64;
    let mut last = latencies();
    let mut cpu_messages = 0;
    for _ in 0..options.messages {
        let (began, cpu) = (board.now_us(), stage.cpu_us(host)?);
        let sent = sender.send(&room, "x".repeat(options.payload())).await?;
        let sequence = sent.sequence.0;
        until("a message for all", || board.heard(sequence).0 == count).await?;
        last.saturating_record(board.heard(sequence).1 - began);
        cpu_messages += stage.cpu_us(host)? - cpu;
    }
    sleep(SETTLE).await;
    let memory_after = stage.memory_kib(host)?;
    board.stop();
    drop(tasks);
    let each = |kib: u64| kib.saturating_sub(memory_before) as f64 / count as f64;
    Ok(Report {
        subscribers: count,
        memory_before_kib: memory_before,
        memory_idle_kib: memory_idle,
        memory_after_messages_kib: memory_after,
        kib_per_subscriber: each(memory_idle),
        kib_per_subscriber_after_messages: each(memory_after),
        idle_cpu_percent: idle_cpu * 100.0,
        connect_seconds: connected as f64 / 1e6,
        messages: options.messages,
        last_p50_us: last.value_at_quantile(0.5),
        last_p99_us: last.value_at_quantile(0.99),
        last_max_us: last.max(),
        cpu_us_per_message: cpu_messages as f64 / options.messages as f64,
    })
}

impl Figures for Report {
    fn rows(&self) -> Rows {
        let kib = |kib: f64| format!("{kib:.1} KiB");
        vec![
            ("idle subscribers on one node", self.subscribers.to_string()),
            ("memory for each", kib(self.kib_per_subscriber)),
            (
                "memory for each, after messages",
                kib(self.kib_per_subscriber_after_messages),
            ),
            (
                "CPU of the idle node",
                format!("{:.1} % of a core", self.idle_cpu_percent),
            ),
            (
                "all connected after",
                format!("{:.1} s", self.connect_seconds),
            ),
            ("the last has a message after, median", ms(self.last_p50_us)),
            ("the last has a message after, p99", ms(self.last_p99_us)),
            ("the last has a message after, worst", ms(self.last_max_us)),
            (
                "CPU of the node for a message to all",
                format!("{:.0} µs", self.cpu_us_per_message),
            ),
        ]
    }
}
