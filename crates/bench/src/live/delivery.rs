//! Measures how long after its acknowledgement a message arrives at a subscriber of another node.
//!
//! Sender and subscriber share this process and its clock. The difference may be negative: the
//! subscriber's node need not wait for the answer to the sender.

use std::{collections::HashMap, time::Duration};

use conclave_client::{Events, Item, core::Recipient, v1::event::Event as Kind};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::{
    Options, PATIENCE, Stage,
    crowd::{Board, client, open},
    load::{self, Load},
};
use crate::{
    Figures, Rows,
    error::{BenchError, failed},
    scratch::random_word,
};

/// Interval between two measured messages.
const PROBE_EVERY: Duration = Duration::from_millis(3);
/// Time until the load is even.
const SETTLE: Duration = Duration::from_secs(1);

/// Figures that the head of this file describes. Times are from the acknowledgement to the arrival.
#[derive(Debug, Serialize)]
pub struct Report {
    nodes: u64,
    rate_max: f64,
    rate_asked: f64,
    rate_kept: f64,
    probes: usize,
    p50_us: i64,
    p90_us: i64,
    p99_us: i64,
    max_us: i64,
    /// Time from sending to the acknowledgement, of the same messages.
    acked_p50_us: i64,
    acked_p99_us: i64,
}

pub(super) async fn measure(options: &Options, stage: &Stage) -> Result<Report, BenchError> {
    let board = Board::new();
    let near = stage.endpoints(&[stage.leader]);
    let (sessions, each) = options.senders();
    let senders = load::pairs(&near, sessions, each).await?;
    let rate_max = load::rate_max(senders.clone(), options.payload(), &board).await;
    let rate = options.rate.map_or(rate_max / 2.0, |rate| rate as f64);
    let (probe, to, events) = pair(stage, &near).await?;
    let load = Load::start(senders, Some(rate), options.payload(), &board);
    sleep(SETTLE).await;
    load.begin_part(1);
    let began = Instant::now();
    let hearing = tokio::spawn(hear(events));
    let mut sent: Vec<(u64, Instant, Instant)> = Vec::new();
    while began.elapsed() < options.part() {
        let asked = Instant::now();
        let text = load::text(board.now_us(), options.payload());
        let answer = probe.send(&to, text).await?;
        sent.push((answer.sequence.0, asked, Instant::now()));
        sleep(PROBE_EVERY).await;
    }
    load.begin_part(2);
    let measured = began.elapsed();
    // The last message ends the reader's loop.
    probe.send(&to, LAST).await?;
    let heard = match timeout(PATIENCE, hearing).await {
        Ok(heard) => heard.expect("the reader is not cancelled, and does not panic"),
        Err(_) => return Err(failed("waited too long: the last message")),
    };
    let took = load.stop().await;
    let mut delays = Vec::new();
    for (sequence, _, acked) in &sent {
        let arrived = heard.get(sequence);
        let arrived = arrived.ok_or_else(|| failed("a message never arrived"))?;
        delays.push(difference_us(*acked, *arrived));
    }
    delays.sort_unstable();
    let mut answers: Vec<i64> = sent.iter().map(|(_, a, b)| difference_us(*a, *b)).collect();
    answers.sort_unstable();
    Ok(Report {
        nodes: options.nodes,
        rate_max,
        rate_asked: rate,
        rate_kept: took[1].len() as f64 / measured.as_secs_f64(),
        probes: delays.len(),
        p50_us: quantile(&delays, 50),
        p90_us: quantile(&delays, 90),
        p99_us: quantile(&delays, 99),
        max_us: quantile(&delays, 100),
        acked_p50_us: quantile(&answers, 50),
        acked_p99_us: quantile(&answers, 99),
    })
}

/// The text that ends the reader's loop.
const LAST: &str = "last";

/// Makes a sender at the leader, and the stream of its reader on another node.
async fn pair(
    stage: &Stage,
    near: &[String],
) -> Result<(conclave_client::Client, Recipient, Events), BenchError> {
    let anonymous = conclave_client::Client::builder().endpoints(near).build()?;
    let password = random_word()?;
    let mut tokens = Vec::new();
    for name in ["prober", "reader"] {
        anonymous.create_account(name, &password).await?;
        tokens.push(anonymous.login(name, &password).await?.token);
    }
    let reader = conclave_client::core::AccountName::new("reader".to_owned());
    let reader = Recipient::Account(reader.expect("it is a name"));
    let probe = client(near, &tokens[0])?;
    // The first message opens the conversation.
    probe.send(&reader, "first").await?;
    let far = stage.endpoints(&[stage.host]);
    let events = open(client(&far, &tokens[1])?).await?;
    Ok((probe, reader, events))
}

/// Returns when each message arrived, once the last one has.
async fn hear(mut events: Events) -> HashMap<u64, Instant> {
    let mut heard = HashMap::new();
    while let Ok(item) = events.next().await {
        let Item::Event(event) = item else { continue };
        if let Some(Kind::MessageSent(message)) = event.event {
            heard.insert(message.sequence, Instant::now());
            if message.text == LAST {
                break;
            }
        }
    }
    heard
}

fn difference_us(from: Instant, to: Instant) -> i64 {
    let us = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    match to.checked_duration_since(from) {
        Some(later) => us(later),
        None => -us(from - to),
    }
}

/// Returns a quantile of sorted values.
fn quantile(values: &[i64], percent: usize) -> i64 {
    let place = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(place).copied().unwrap_or_default()
}

impl Figures for Report {
    fn rows(&self) -> Rows {
        let ms = |us: i64| format!("{:.2} ms", us as f64 / 1000.0);
        let rate = |rate: f64| format!("{rate:.0} messages/s");
        vec![
            ("the cluster takes at most", rate(self.rate_max)),
            ("load while measuring", rate(self.rate_kept)),
            ("acknowledged within, median", ms(self.acked_p50_us)),
            ("acknowledged within, p99", ms(self.acked_p99_us)),
            ("acknowledgement to arrival, median", ms(self.p50_us)),
            ("acknowledgement to arrival, p90", ms(self.p90_us)),
            ("acknowledgement to arrival, p99", ms(self.p99_us)),
            ("acknowledgement to arrival, worst", ms(self.max_us)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_before_the_acknowledgement_is_negative() {
        let now = Instant::now();
        let later = now + Duration::from_micros(7);
        assert_eq!(difference_us(now, later), 7);
        assert_eq!(difference_us(later, now), -7);
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<i64> = (1..=200).collect();
        assert_eq!(quantile(&values, 50), 101);
        assert_eq!(quantile(&values, 99), 199);
        assert_eq!(quantile(&values, 100), 200);
        assert_eq!(quantile(&[], 50), 0);
    }
}
