//! Measures what happens when a node with a crowd dies: all its subscribers move to the other nodes
//! at the same instant.

use std::{sync::atomic::Ordering, time::Duration};

use serde::Serialize;
use tokio::time::sleep;

use super::{
    Options, Stage,
    crowd::{Board, Crowd, LowPriorityThreads},
    load::{self, Load},
    ms, until,
};
use crate::{Figures, Rows, error::BenchError, latencies};

/// Messages of the other senders per second, unless `--rate` sets another.
const RATE: f64 = 400.0;
/// Messages to the crowd per second: they show whether a stream misses any.
const ROOM_RATE: f64 = 10.0;

/// Figures that the head of this file describes.
#[derive(Debug, Serialize)]
pub struct Report {
    subscribers: u64,
    /// Time from the kill until the last stream had caught up.
    all_back_ms: f64,
    /// Time for which streams were gone, as their clients saw it.
    gone_p50_us: u64,
    gone_p99_us: u64,
    gone_max_us: u64,
    messages: u64,
    missed: u64,
    doubled: u64,
    ended: usize,
    send_p99_before_us: u64,
    send_p99_during_us: u64,
    send_p99_second_us: u64,
    send_ratio: f64,
    /// CPU time of all nodes that are alive, including the cost of the senders meanwhile.
    cpu_us_of_nodes_per_stream: f64,
}

pub(super) async fn measure(
    options: &Options,
    stage: &Stage,
    count: u64,
) -> Result<Report, BenchError> {
    let streams = usize::try_from(count).expect("it is bounded");
    let near = stage.endpoints(&[stage.leader]);
    let crowd = Crowd::gather(&near, streams).await?;
    let board = Board::new();
    let apart = LowPriorityThreads::start()?;
    let others = stage.cluster.nodes().into_iter();
    let others: Vec<u64> = others.filter(|node| *node != stage.host).collect();
    let nodes = |number: usize| stage.endpoints(&[stage.host, others[number % others.len()]]);
    let tasks = crowd
        .listen(streams, nodes, &board, apart.threads())
        .await?;
    let (sessions, each) = options.senders();
    let senders = load::pairs(&near, sessions, each).await?;
    let rate = options.rate.map_or(RATE, |rate| rate as f64);
    let load = Load::start(senders, Some(rate), options.payload(), &board);
    let talker = crowd.member(&near).await?;
    let room = Crowd::room();
    let talk = vec![(talker.clone(), room.clone())];
    let talk = Load::start(talk, Some(ROOM_RATE), options.payload(), &board);
    sleep(options.part()).await;
    load.begin_part(1);
    sleep(options.part()).await;
    load.begin_part(2);
    let killed_us = board.now_us();
    let cpu = others_cpu_us(stage, &others)?;
    stage.cluster.kill(stage.host).await?;
    until("all streams back", || {
        board.back.load(Ordering::Relaxed) >= count
    })
    .await?;
    let back_us = board.back_at_us.load(Ordering::Relaxed);
    let cpu = others_cpu_us(stage, &others)? - cpu;
    load.begin_part(3);
    sleep(Duration::from_secs(1)).await;
    load.begin_part(0);
    let took = load.stop().await;
    let said: u64 = talk
        .stop()
        .await
        .iter()
        .map(hdrhistogram::Histogram::len)
        .sum();
    let last = talker.send(&room, "last").await?.sequence.0;
    until("the last message for all", || board.heard(last).0 >= count).await?;
    board.stop();
    let heard = tasks.join_all().await;
    let mut gone = latencies();
    for us in heard.iter().flat_map(|heard| &heard.gone_us) {
        gone.saturating_record(*us);
    }
    let p99 = |part: usize| took[part].value_at_quantile(0.99);
    Ok(Report {
        subscribers: count,
        all_back_ms: (back_us - killed_us) as f64 / 1000.0,
        gone_p50_us: gone.value_at_quantile(0.5),
        gone_p99_us: gone.value_at_quantile(0.99),
        gone_max_us: gone.max(),
        messages: said + 1,
        missed: heard.iter().map(|heard| heard.missed).sum(),
        doubled: heard.iter().map(|heard| heard.doubled).sum(),
        ended: heard.iter().filter(|heard| heard.ended.is_some()).count(),
        send_p99_before_us: p99(1),
        send_p99_during_us: p99(2),
        send_p99_second_us: p99(3),
        cpu_us_of_nodes_per_stream: cpu as f64 / count as f64,
        send_ratio: p99(2) as f64 / p99(1).max(1) as f64,
    })
}

fn others_cpu_us(stage: &Stage, others: &[u64]) -> Result<u64, BenchError> {
    others.iter().map(|node| stage.cpu_us(*node)).sum()
}

impl Figures for Report {
    fn rows(&self) -> Rows {
        let (before, during) = (self.send_p99_before_us, self.send_p99_during_us);
        vec![
            (
                "subscribers of the killed node",
                self.subscribers.to_string(),
            ),
            (
                "all back and caught up after",
                format!("{:.0} ms", self.all_back_ms),
            ),
            ("time without a stream, median", ms(self.gone_p50_us)),
            ("time without a stream, p99", ms(self.gone_p99_us)),
            ("time without a stream, worst", ms(self.gone_max_us)),
            (
                "CPU of the other nodes for each",
                format!("{:.0} µs", self.cpu_us_of_nodes_per_stream),
            ),
            ("messages to all of them", self.messages.to_string()),
            ("missed", self.missed.to_string()),
            ("delivered twice", self.doubled.to_string()),
            (
                "sends of the others, p99",
                format!(
                    "{} before, {} during: {:.2}; {} in the second after",
                    ms(before),
                    ms(during),
                    self.send_ratio,
                    ms(self.send_p99_second_us)
                ),
            ),
        ]
    }

    fn holds(&self) -> bool {
        self.missed == 0 && self.doubled == 0 && self.ended == 0
    }
}
