//! The figures of a measurement of sends: as JSON for programs, as rows for people.
//!
//! The names of the fields are the keys of the JSON, which scripts read: a name stays, and
//! `docs/bench.md` says what each one means.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    check::Checked,
    kill::Killed,
    nodes::NodeUse,
    tally::Counts,
    timeline::{Measured, Second, value},
};
use crate::{Figures, Rows};

/// Steps of the distribution of latencies for each power of ten.
const STEPS: i32 = 8;
/// Powers of ten of the distribution: from 10 µs to 100 s.
const POWERS: std::ops::Range<i32> = 1..8;

/// Figures of the measurement.
#[derive(Debug, Serialize)]
pub struct Report {
    pub(super) mode: &'static str,
    /// `closed` or `open`.
    #[serde(rename = "loop")]
    pub(super) pace: &'static str,
    /// Messages per second that were asked for; absent in a closed loop.
    pub(super) rate: Option<f64>,
    pub(super) acked_per_second: f64,
    pub(super) p50_us: u64,
    pub(super) p90_us: u64,
    pub(super) p99_us: u64,
    pub(super) p999_us: u64,
    pub(super) max_us: u64,
    /// How much later than due 99 of 100 messages left, in an open loop.
    pub(super) left_late_p99_us: Option<u64>,
    pub(super) acked: u64,
    /// Messages that did not leave because too many were under way.
    pub(super) not_sent: u64,
    pub(super) failed: BTreeMap<String, u64>,
    pub(super) unknown: u64,
    /// Absent for nodes that this command did not start.
    pub(super) server_cpu_us_per_message: Option<f64>,
    pub(super) client_cpu_us_per_message: f64,
    pub(super) nodes: u64,
    pub(super) concurrency: u64,
    pub(super) sessions: u64,
    pub(super) rooms: u64,
    /// Mean size of a message.
    pub(super) payload_bytes: u64,
    pub(super) payload: String,
    pub(super) seconds: f64,
    pub(super) warm_up_s: f64,
    pub(super) fill: Option<Fill>,
    /// Messages per second of the closed loop before an overload.
    pub(super) saturation_per_second: Option<f64>,
    pub(super) parts: Vec<PartFigures>,
    /// Seconds from the end of an overload until all was as before; absent if it never was.
    pub(super) recovered_after_s: Option<u64>,
    pub(super) killed: Option<Killed>,
    pub(super) node_figures: Vec<NodeFigures>,
    /// Whether every node has as many messages as were acknowledged.
    pub(super) counts_agree: bool,
    pub(super) checked: Checked,
    pub(super) verified: bool,
    pub(super) distribution: Vec<Bar>,
    pub(super) timeline: Vec<Second>,
}

/// Messages that were stored before the measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Fill {
    pub(super) messages: u64,
    pub(super) seconds: f64,
    pub(super) per_second: f64,
}

/// Figures of a part of the measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct PartFigures {
    pub(super) name: &'static str,
    pub(super) seconds: f64,
    pub(super) due_per_second: Option<f64>,
    pub(super) acked_per_second: f64,
    pub(super) p50_us: Option<u64>,
    pub(super) p99_us: Option<u64>,
    pub(super) not_sent: u64,
    pub(super) failed: BTreeMap<String, u64>,
}

/// What a node has cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct NodeFigures {
    pub(super) node: u64,
    pub(super) cpu_us_per_message: f64,
    pub(super) rss_kib_before: u64,
    pub(super) rss_kib_after: u64,
    pub(super) rss_kib_max: u64,
    /// Growth of the memory for each acknowledged message.
    pub(super) rss_bytes_per_message: f64,
    pub(super) log_bytes: u64,
    pub(super) log_bytes_max: u64,
    pub(super) wal_bytes: u64,
    pub(super) wal_bytes_max: u64,
}

/// A bar of the distribution of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Bar {
    pub(super) from_us: u64,
    pub(super) to_us: u64,
    pub(super) count: u64,
}

/// Returns the distribution of latencies over steps of equal width on a logarithmic scale, without
/// the empty ones at both ends.
pub(super) fn distribution(latencies: &Histogram<u64>) -> Vec<Bar> {
    let edge = |step: i32| 10_f64.powf(f64::from(step) / f64::from(STEPS)).round() as u64;
    let steps = POWERS.start * STEPS..POWERS.end * STEPS;
    let bars = steps.map(|step| {
        let (from_us, to_us) = (edge(step), edge(step + 1));
        // The first bar has all shorter latencies as well.
        let from_us = if step == POWERS.start * STEPS {
            0
        } else {
            from_us
        };
        (from_us, to_us)
    });
    let mut bars: Vec<Bar> = bars
        .map(|(from_us, to_us)| Bar {
            from_us,
            to_us,
            count: 0,
        })
        .collect();
    for value in latencies.iter_recorded() {
        let us = value.value_iterated_to();
        let place = bars
            .partition_point(|bar| bar.to_us <= us)
            .min(bars.len() - 1);
        bars[place].count += value.count_since_last_iteration();
    }
    let first = bars.iter().position(|bar| bar.count > 0).unwrap_or(0);
    let last = bars
        .iter()
        .rposition(|bar| bar.count > 0)
        .map_or(0, |last| last + 1);
    bars[first.min(last)..last].to_vec()
}

/// Returns the figures of each part.
pub(super) fn parts(measured: &Measured) -> Vec<PartFigures> {
    let figures = measured
        .parts
        .iter()
        .map(|(part, counts, lasted)| PartFigures {
            name: part.name,
            seconds: lasted.as_secs_f64(),
            due_per_second: part.rate,
            acked_per_second: counts.acked() as f64 / lasted.as_secs_f64().max(1e-9),
            p50_us: value(&counts.latencies, 0.5),
            p99_us: value(&counts.latencies, 0.99),
            not_sent: counts.not_sent,
            failed: counts.failed.clone(),
        });
    figures.collect()
}

/// Returns what each node has cost.
pub(super) fn node_figures(measured: &Measured, acked: u64) -> Vec<NodeFigures> {
    let per_message = |amount: f64| amount / acked.max(1) as f64;
    let of_node = |before: &NodeUse| {
        let seconds = measured.seconds.iter();
        let looks = seconds.flat_map(|second| &second.nodes);
        let looks: Vec<&NodeUse> = looks.filter(|look| look.node == before.node).collect();
        let max = |figure: fn(&NodeUse) -> u64| looks.iter().map(|look| figure(look)).max();
        let last = *looks.last()?;
        let grown = last.rss_kib.saturating_sub(before.rss_kib) * 1024;
        Some(NodeFigures {
            node: before.node,
            cpu_us_per_message: per_message((last.cpu_us - before.cpu_us) as f64),
            rss_kib_before: before.rss_kib,
            rss_kib_after: last.rss_kib,
            rss_kib_max: max(|look| look.rss_kib)?,
            rss_bytes_per_message: per_message(grown as f64),
            log_bytes: last.log_bytes,
            log_bytes_max: max(|look| look.log_bytes)?,
            wal_bytes: last.wal_bytes,
            wal_bytes_max: max(|look| look.wal_bytes)?,
        })
    };
    measured.nodes_before.iter().filter_map(of_node).collect()
}

/// Returns everything that was counted in the measurement, with the last answers.
pub(super) fn total(measured: &Measured, last: &Counts) -> Counts {
    let mut total = last.clone();
    for (_, counts, _) in &measured.parts {
        total.add(counts);
    }
    total
}

/// Formats a time in microseconds for people.
pub(crate) fn time(us: u64) -> String {
    match us {
        0..10_000 => format!("{us} µs"),
        10_000..10_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// Formats an amount of bytes for people.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
}

/// Formats reasons with their numbers for people.
pub(crate) fn reasons(failed: &BTreeMap<String, u64>) -> String {
    let mut by_count: Vec<(&String, &u64)> = failed.iter().collect();
    by_count.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let words = by_count
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"));
    words.collect::<Vec<_>>().join("; ")
}

impl Report {
    fn load(&self) -> String {
        let Self { sessions, .. } = self;
        let to = match self.rooms {
            0 => "direct conversations".to_owned(),
            rooms => format!("{rooms} rooms"),
        };
        let pace = match self.rate {
            None => format!("{} messages under way", self.concurrency),
            Some(rate) => format!("{rate:.0} messages per second"),
        };
        let count = match sessions {
            1 => "1 session".to_owned(),
            sessions => format!("{sessions} sessions"),
        };
        format!("{} loop, {pace}, {count}, {to}", self.pace)
    }

    fn check(&self) -> String {
        let Checked {
            conversations,
            of_conversations,
            acked,
            ..
        } = &self.checked;
        let counts = match self.counts_agree {
            true => "counts agree",
            false => "COUNTS DIFFER",
        };
        if *conversations == 0 {
            return format!("{counts}; texts are too short to be told apart");
        }
        let order = match self.checked.holds {
            true => "once and in order",
            false => "NOT AS ACKNOWLEDGED",
        };
        format!(
            "{counts}; {acked} messages of {conversations} of {of_conversations} conversations \
             read: {order}"
        )
    }

    fn cost_rows(&self, rows: &mut Rows) {
        let server = match self.server_cpu_us_per_message {
            Some(us) => format!("{us:.0} µs"),
            None => "not known".to_owned(),
        };
        rows.push(("server CPU per message", server));
        let client = format!("{:.0} µs", self.client_cpu_us_per_message);
        rows.push(("client CPU per message", client));
        for node in &self.node_figures {
            let memory = |kib: u64| mebibytes(kib * 1024);
            let (before, after) = (memory(node.rss_kib_before), memory(node.rss_kib_after));
            let (log, wal) = (mebibytes(node.log_bytes), mebibytes(node.wal_bytes));
            let text = format!(
                "node {}: {:.0} µs CPU per message; memory {before} to {after}; log {log}; \
                 write-ahead log {wal}",
                node.node, node.cpu_us_per_message
            );
            rows.push(("each node", text));
        }
    }

    fn trouble_rows(&self, rows: &mut Rows) {
        if self.not_sent > 0 {
            let text = format!("{} (too many were under way)", self.not_sent);
            rows.push(("due and not sent", text));
        }
        if !self.failed.is_empty() {
            rows.push(("not acknowledged", reasons(&self.failed)));
        }
        if let Some(killed) = &self.killed {
            let text = format!(
                "{} ms (node {}, killed after {:.0} s)",
                killed.gap_ms, killed.node, killed.at_s
            );
            rows.push(("no acknowledgement after the kill", text));
        }
    }

    fn part_rows(&self, rows: &mut Rows) {
        if let Some(rate) = self.saturation_per_second {
            rows.push(("maximum rate", format!("{rate:.0} per second")));
        }
        if self.parts.len() < 2 {
            return;
        }
        for part in &self.parts {
            let due = part.due_per_second.unwrap_or_default();
            let p99 = part.p99_us.map_or("-".to_owned(), time);
            let text = format!(
                "{due:.0} due, {:.0} acknowledged per second, p99 {p99}, {} not sent",
                part.acked_per_second, part.not_sent
            );
            rows.push((part.name, text));
        }
        let recovered = match self.recovered_after_s {
            Some(seconds) => format!("after {seconds} s"),
            None => "not within the measurement".to_owned(),
        };
        rows.push(("all as before the overload", recovered));
    }
}

impl Figures for Report {
    fn rows(&self) -> Rows {
        let mut rows = vec![
            ("load", self.load()),
            (
                "acknowledged per second",
                format!("{:.0}", self.acked_per_second),
            ),
            ("answered within, median", format!("{} µs", self.p50_us)),
            ("answered within, p99", format!("{} µs", self.p99_us)),
            ("answered within, p99.9", format!("{} µs", self.p999_us)),
            ("slowest answer", format!("{} µs", self.max_us)),
        ];
        if let Some(us) = self.left_late_p99_us {
            rows.push(("left later than due, p99", format!("{us} µs")));
        }
        if let Some(fill) = &self.fill {
            let text = format!("{} in {:.0} s", fill.messages, fill.seconds);
            rows.push(("stored before", text));
        }
        self.part_rows(&mut rows);
        self.trouble_rows(&mut rows);
        self.cost_rows(&mut rows);
        rows.push((
            "every message stored on every node",
            self.verified.to_string(),
        ));
        rows.push(("how it was checked", self.check()));
        rows
    }

    fn holds(&self) -> bool {
        self.verified
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
pub(super) mod tests;
