//! The figures as one page of HTML: a table, and charts that are drawn into it.
//!
//! Always true: the page loads nothing from elsewhere and runs no script, and what a node has said
//! is text in it.

use std::fmt::Write as _;

use super::report::{Report, mebibytes, time};
use crate::{
    Figures,
    chart::{Chart, Line, Scale, bars, escaped, lines},
    html,
};

/// Makes the page of a report.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut body = String::new();
    let verdict = match report.verified {
        true => "<p class=\"good\">Every acknowledged message is stored on every node.</p>",
        false => "<p class=\"bad\">The nodes do not have what they acknowledged.</p>",
    };
    body.push_str(verdict);
    if let Some(first) = &report.checked.first {
        let _ = write!(body, "<p class=\"bad\">{}</p>", escaped(first));
    }
    body.push_str(&lines(&throughput(report)));
    body.push_str(&lines(&latencies(report)));
    let distribution = report.distribution.iter();
    let distribution: Vec<(f64, f64, f64)> = distribution
        .map(|bar| {
            let from = bar.from_us.max(1) as f64;
            (from, bar.to_us as f64, bar.count as f64)
        })
        .collect();
    let in_words = |us: f64| time(us as u64);
    body.push_str(&bars("Messages by latency", &distribution, in_words));
    if !report.node_figures.is_empty() {
        body.push_str(&lines(&memory(report)));
        body.push_str(&lines(&logs(report)));
    }
    body.push_str("<h2>Figures</h2><table>");
    for (name, value) in report.rows() {
        let (name, value) = (escaped(name), escaped(&value));
        let _ = write!(body, "<tr><td>{name}</td><td>{value}</td></tr>");
    }
    body.push_str("</table>");
    html::page("conclave bench", &body)
}

/// Returns the moments that explain a change in the lines.
fn marks(report: &Report) -> Vec<(f64, String)> {
    let mut marks = Vec::new();
    let mut ends = 0.0;
    for pair in report.parts.windows(2) {
        ends += pair[0].seconds;
        marks.push((ends, pair[1].name.to_owned()));
    }
    if let Some(killed) = &report.killed {
        marks.push((killed.at_s, format!("leader killed, {} ms", killed.gap_ms)));
        marks.push((killed.restarted_at_s, "started again".to_owned()));
    }
    marks
}

fn line(
    report: &Report,
    name: &str,
    value: impl Fn(&super::timeline::Second) -> Option<f64>,
) -> Line {
    let points = report.timeline.iter();
    Line {
        name: name.to_owned(),
        points: points.map(|second| (second.at_s, value(second))).collect(),
    }
}

fn throughput(report: &Report) -> Chart {
    let mut drawn = vec![line(report, "acknowledged", |second| {
        Some(second.acked_per_second)
    })];
    if report.rate.is_some() {
        drawn.push(line(report, "due", |second| second.due_per_second));
    }
    if report.not_sent > 0 {
        drawn.push(line(report, "not sent", |second| {
            Some(second.not_sent as f64)
        }));
    }
    if !report.failed.is_empty() {
        drawn.push(line(report, "not acknowledged", |second| {
            Some(second.failed.values().sum::<u64>() as f64)
        }));
    }
    Chart {
        title: "Messages per second",
        scale: Scale::Linear,
        words: |value| format!("{value:.0}"),
        lines: drawn,
        marks: marks(report),
    }
}

fn latencies(report: &Report) -> Chart {
    let us = |value: Option<u64>| value.map(|us| us as f64);
    Chart {
        title: "Latency",
        scale: Scale::Log,
        words: |us| time(us as u64),
        lines: vec![
            line(report, "median", |second| us(second.p50_us)),
            line(report, "p99", |second| us(second.p99_us)),
            line(report, "slowest", |second| us(second.max_us)),
        ],
        marks: marks(report),
    }
}

/// Returns a line for each node.
fn of_nodes(report: &Report, value: fn(&super::nodes::NodeUse) -> u64) -> Vec<Line> {
    let nodes = report.node_figures.iter();
    let lines = nodes.map(|figures| {
        let of_node = |second: &super::timeline::Second| {
            let mut nodes = second.nodes.iter();
            let found = nodes.find(|node| node.node == figures.node);
            found.map(|node| value(node) as f64)
        };
        line(report, &format!("node {}", figures.node), of_node)
    });
    lines.collect()
}

fn memory(report: &Report) -> Chart {
    Chart {
        title: "Memory of each node",
        scale: Scale::Linear,
        words: |bytes| mebibytes(bytes as u64),
        lines: of_nodes(report, |node| node.rss_kib * 1024),
        marks: marks(report),
    }
}

fn logs(report: &Report) -> Chart {
    Chart {
        title: "Write-ahead logs of each node",
        scale: Scale::Linear,
        words: |bytes| mebibytes(bytes as u64),
        lines: of_nodes(report, |node| node.wal_bytes),
        marks: marks(report),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::report::tests::report, *};

    #[test]
    fn the_page_stands_alone_and_has_all_charts() {
        let page = page(&report());
        for title in ["Messages per second", "Latency", "by latency", "Memory of"] {
            assert!(page.contains(title), "{title}");
        }
        assert_eq!(page.matches("<svg").count(), 5);
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        for foreign in ["<script", "http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn what_a_node_has_said_is_text() {
        let page = page(&report());
        assert!(page.contains("refused: &lt;BUSY&gt;"));
        assert!(!page.contains("<BUSY>"));
    }

    #[test]
    fn the_page_says_when_a_promise_was_broken() {
        let mut report = report();
        report.verified = false;
        report.checked.first = Some("lost: \"7\" is missing on node 2".to_owned());
        let page = page(&report);
        assert!(page.contains("do not have what they acknowledged"));
        assert!(page.contains("lost: &quot;7&quot; is missing on node 2"));
    }
}
