//! Measures what readers that read too little do to the others, and to the memory of their node.
//!
//! All are in one room and on one node: readers that read, readers that stop, and readers that take
//! a byte per second. The measurement runs without the slow readers, with them, and without them
//! again.

use serde::Serialize;
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    LOOK_INTERVAL, Options, Stage,
    crowd::{Board, Crowd},
    load::Load,
    ms,
    raw::{Pace, read_badly},
};
use crate::{Figures, Rows, error::BenchError};

/// Number of readers that read.
const GOOD: usize = 8;
/// Messages per second to the room, unless `--rate` sets another.
const ROOM_RATE: f64 = 400.0;

/// Figures that the head of this file describes.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Number of slow readers of each of the two kinds.
    slow_readers: u64,
    rate_kept: f64,
    send_p99_without_us: u64,
    send_p99_with_us: u64,
    send_ratio: f64,
    /// Time from sending to receiving.
    delivery_p99_without_us: u64,
    delivery_p99_with_us: u64,
    delivery_ratio: f64,
    memory_before_kib: u64,
    memory_most_kib: u64,
    memory_growth_kib_per_slow_reader: f64,
    missed: u64,
    doubled: u64,
}

pub(super) async fn measure(
    options: &Options,
    stage: &Stage,
    count: u64,
) -> Result<Report, BenchError> {
    let bad = usize::try_from(count).expect("it is bounded");
    let near = stage.endpoints(&[stage.leader]);
    let crowd = Crowd::gather(&near, GOOD + 2 * bad).await?;
    let board = Board::new();
    let readers = crowd
        .listen(
            GOOD,
            |_| stage.endpoints(&[stage.host]),
            &board,
            &Handle::current(),
        )
        .await?;
    let mut senders = Vec::new();
    let (sessions, each) = options.senders();
    for _ in 0..sessions {
        let sender = crowd.member(&near).await?;
        let copies = usize::try_from(each).expect("it is bounded");
        senders.extend(std::iter::repeat_n((sender, Crowd::room()), copies));
    }
    let rate = options.rate.map_or(ROOM_RATE, |rate| rate as f64);
    let load = Load::start(senders, Some(rate), options.payload(), &board);
    sleep(options.part()).await;
    board
        .times_delays
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let began = Instant::now();
    load.begin_part(1);
    let memory_before = most_memory(options, stage).await?;
    let mut without = board.take_delays().await;
    load.begin_part(2);
    let mut tasks = JoinSet::new();
    for number in 0..2 * bad {
        let pace = match number < bad {
            true => Pace::Never,
            false => Pace::BytePerSecond,
        };
        let token = crowd.token(GOOD + number).to_owned();
        tasks.spawn(read_badly(stage.cluster.endpoint(stage.host), token, pace));
    }
    let mut memory_most = most_memory(options, stage).await?;
    // This part is longer than the others: it shows whether memory goes on growing.
    memory_most = memory_most.max(most_memory(options, stage).await?);
    let with = board.take_delays().await;
    load.begin_part(0);
    tasks.shutdown().await;
    let _ = most_memory(options, stage).await?;
    board.take_delays().await;
    load.begin_part(1);
    most_memory(options, stage).await?;
    let rest = board.take_delays().await;
    without.add(rest).expect("all have the same bounds");
    let measured = began.elapsed();
    let took = load.stop().await;
    board.stop();
    let heard = readers.join_all().await;
    let p99 = |histogram: &hdrhistogram::Histogram<u64>| histogram.value_at_quantile(0.99);
    let sent: u64 = took.iter().map(hdrhistogram::Histogram::len).sum();
    let all = measured + options.part();
    let ratio = |with: u64, without: u64| with as f64 / without.max(1) as f64;
    let growth = memory_most.saturating_sub(memory_before) as f64;
    Ok(Report {
        slow_readers: count,
        rate_kept: sent as f64 / all.as_secs_f64(),
        send_p99_without_us: p99(&took[1]),
        send_p99_with_us: p99(&took[2]),
        send_ratio: ratio(p99(&took[2]), p99(&took[1])),
        delivery_p99_without_us: p99(&without),
        delivery_p99_with_us: p99(&with),
        delivery_ratio: ratio(p99(&with), p99(&without)),
        memory_before_kib: memory_before,
        memory_most_kib: memory_most,
        memory_growth_kib_per_slow_reader: growth / (2 * count) as f64,
        missed: heard.iter().map(|heard| heard.missed).sum(),
        doubled: heard.iter().map(|heard| heard.doubled).sum(),
    })
}

/// Returns the maximum memory of the node in one part of the measurement.
async fn most_memory(options: &Options, stage: &Stage) -> Result<u64, BenchError> {
    let began = Instant::now();
    let mut most = 0;
    while began.elapsed() < options.part() {
        most = most.max(stage.memory_kib(stage.host)?);
        sleep(LOOK_INTERVAL * 100).await;
    }
    Ok(most)
}

impl Figures for Report {
    fn rows(&self) -> Rows {
        let pair = |without, with, ratio: f64| {
            let (without, with) = (ms(without), ms(with));
            format!("{without} without, {with} with: {ratio:.2}")
        };
        let (send_without, send_with) = (self.send_p99_without_us, self.send_p99_with_us);
        let (heard_without, heard_with) = (self.delivery_p99_without_us, self.delivery_p99_with_us);
        let most = self.memory_most_kib / 1024;
        vec![
            (
                "readers that stop, and slow readers",
                self.slow_readers.to_string(),
            ),
            (
                "messages to their room",
                format!("{:.0} per second", self.rate_kept),
            ),
            (
                "sends of the others, p99",
                pair(send_without, send_with, self.send_ratio),
            ),
            (
                "deliveries to the others, p99",
                pair(heard_without, heard_with, self.delivery_ratio),
            ),
            (
                "memory of the node",
                format!(
                    "{} MiB before, {most} MiB at most",
                    self.memory_before_kib / 1024
                ),
            ),
            (
                "memory for each such reader",
                format!("{:.0} KiB", self.memory_growth_kib_per_slow_reader),
            ),
            ("missed by the others", self.missed.to_string()),
            ("delivered twice to the others", self.doubled.to_string()),
        ]
    }

    fn holds(&self) -> bool {
        self.missed == 0 && self.doubled == 0
    }
}
