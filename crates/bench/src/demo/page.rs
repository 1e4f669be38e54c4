//! The report of a demonstration as one page of HTML: the verdict, when which fault lasted, and how
//! the messages fared meanwhile.
//!
//! Always true: the page loads nothing from elsewhere and runs no script.

use std::fmt::Write as _;

use super::{
    pulse::{BEAT_MS, Beat},
    report::Report,
    story::{Entry, Kind},
};
use crate::{
    chart::{Bar, Chart, Line, Row, Scale, escaped, lines, rows},
    html,
};

/// Maximum number of marks with a name in a chart: more would lie on each other.
const MARKS_MAX: usize = 12;

/// Kinds of faults: how each begins and ends, its class of colour, and its name.
const FAULTS: [(&[Kind], &[Kind], usize, &str); 5] = [
    (&[Kind::Killed, Kind::Ended], &[Kind::Started], 1, "killed"),
    (&[Kind::Paused], &[Kind::Resumed, Kind::Killed], 5, "paused"),
    (&[Kind::CutOff], &[Kind::Joined], 3, "cut off"),
    (&[Kind::Slow], &[Kind::Fast], 4, "slow disk"),
    (&[Kind::Skewed], &[Kind::SetRight], 0, "wrong clock"),
];

/// Makes the page of a report.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut body = verdict(report);
    let end_s = seconds(report.course.lasted_ms);
    body.push_str(&rows("Faults and pauses", end_s, &timeline(report)));
    body.push_str(&lines(&latencies(report)));
    body.push_str(&lines(&rates(report)));
    body.push_str("<h2>Figures</h2><table>");
    for (name, value) in figures(report) {
        let _ = write!(body, "<tr><td>{name}</td><td>{value}</td></tr>");
    }
    body.push_str("</table><h2>What happened</h2><table>");
    for entry in &report.course.story {
        let (at, text) = (clock(entry.at_ms), escaped(&entry.text));
        let _ = write!(body, "<tr><td>{at}</td><td>{text}</td></tr>");
    }
    body.push_str("</table>");
    html::page("conclave demo", &body)
}

fn verdict(report: &Report) -> String {
    let mut said = match report.holds() {
        true => "<p class=\"good\">Every acknowledged message is on every node, once and in \
                 order.</p>"
            .to_owned(),
        false => "<p class=\"bad\">A promise was broken.</p>".to_owned(),
    };
    for sentence in report.broken() {
        let _ = write!(said, "<p class=\"bad\">{}</p>", escaped(&sentence));
    }
    said
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn clock(at_ms: u64) -> String {
    let (seconds, tenths) = (at_ms / 1000, at_ms % 1000 / 100);
    format!("{:02}:{:02}.{tenths}", seconds / 60, seconds % 60)
}

/// Returns a row for each node with its faults, and one for the pauses.
fn timeline(report: &Report) -> Vec<Row> {
    let course = &report.course;
    let mut rows: Vec<Row> = (1..=report.nodes)
        .map(|node| faults(report, node))
        .collect();
    let pauses = course.pauses.iter().map(|pause| Bar {
        from: seconds(pause.from_ms),
        to: seconds(pause.to_ms),
        class: 1,
        name: format!(
            "nothing was acknowledged for {} ms",
            pause.to_ms - pause.from_ms
        ),
    });
    rows.push(Row {
        name: "pauses".to_owned(),
        bars: pauses.collect(),
    });
    rows
}

fn faults(report: &Report, node: u64) -> Row {
    let course = &report.course;
    let of_node = || course.story.iter().filter(|entry| entry.node == Some(node));
    let mut bars = Vec::new();
    for (begins, ends, class, name) in FAULTS {
        let mut since: Option<&Entry> = None;
        let mut bar = |from: &Entry, to_ms: u64| {
            bars.push(Bar {
                from: seconds(from.at_ms),
                to: seconds(to_ms),
                class,
                name: format!("{name} at {}", clock(from.at_ms)),
            });
        };
        for entry in of_node() {
            if begins.contains(&entry.kind) {
                since.get_or_insert(entry);
            } else if ends.contains(&entry.kind)
                && let Some(from) = since.take()
            {
                bar(from, entry.at_ms);
            }
        }
        if let Some(from) = since {
            bar(from, course.lasted_ms);
        }
    }
    Row {
        name: format!("node {node}"),
        bars,
    }
}

/// Returns the moments that explain a change in the lines.
fn marks(report: &Report) -> Vec<(f64, String)> {
    let named = report.course.story.iter().filter_map(|entry| {
        let node = entry.node.unwrap_or_default();
        let name = match entry.kind {
            Kind::Killed => format!("kill {node}"),
            Kind::Paused => format!("pause {node}"),
            Kind::CutOff => format!("cut off {node}"),
            Kind::Slow => format!("slow {node}"),
            Kind::NoMajority => "no majority".to_owned(),
            Kind::Majority => "majority".to_owned(),
            _ => return None,
        };
        Some((seconds(entry.at_ms), name))
    });
    // A name that would lie on the one before is left out; the list below has them all.
    let apart = seconds(report.course.lasted_ms) / MARKS_MAX as f64;
    let mut free = 0.0;
    let marks = named.filter(|(at, _)| {
        let is_free = *at >= free;
        if is_free {
            free = *at + apart;
        }
        is_free
    });
    marks.collect()
}

fn line(report: &Report, name: &str, value: impl Fn(&Beat) -> Option<f64>) -> Line {
    let course = &report.course;
    let points = (course.first..).zip(&course.beats).map(|(number, beat)| {
        let end_s = seconds((number + 1) * BEAT_MS);
        (end_s, value(beat))
    });
    Line {
        name: name.to_owned(),
        points: points.collect(),
    }
}

fn latencies(report: &Report) -> Chart {
    let us = |us: u64| (us > 0).then_some(us as f64);
    Chart {
        title: "Latency: longest, and median of each fifth of a second",
        scale: Scale::Log,
        words: |us| match us {
            us if us < 1000.0 => format!("{us:.0} µs"),
            us if us < 1e6 => format!("{:.0} ms", us / 1e3),
            us => format!("{:.0} s", us / 1e6),
        },
        lines: vec![
            line(report, "median", |beat| us(beat.1)),
            line(
                report,
                "longest, also of those that wait",
                |beat| us(beat.2),
            ),
        ],
        marks: marks(report),
    }
}

fn rates(report: &Report) -> Chart {
    let per_second = 1000.0 / BEAT_MS as f64;
    Chart {
        title: "Acknowledged messages per second",
        scale: Scale::Linear,
        words: |value| format!("{value:.0}"),
        lines: vec![line(report, "acknowledged", |beat| {
            Some(beat.0 as f64 * per_second)
        })],
        marks: marks(report),
    }
}

fn figures(report: &Report) -> Vec<(&'static str, String)> {
    let pauses = report.course.pauses.iter();
    let longest = pauses.map(|pause| pause.to_ms - pause.from_ms).max();
    let mut figures = vec![
        ("nodes", report.nodes.to_string()),
        ("duration", format!("{} s", report.course.lasted_ms / 1000)),
        ("sent", report.sent.to_string()),
        ("acknowledged", report.acked.to_string()),
        ("outcome unknown", report.unknown.to_string()),
        ("lost", report.lost.to_string()),
        ("twice", report.duplicated.to_string()),
        ("out of order", report.reordered.to_string()),
    ];
    if let Some(longest) = longest {
        figures.push(("longest pause", format!("{longest} ms")));
    }
    let same = if report.digests_equal { "yes" } else { "NO" };
    figures.push(("same state on every node", same.to_owned()));
    figures
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            pulse::Pause,
            report::{Course, tests::report},
        },
        *,
    };

    fn shown() -> Report {
        let mut report = report();
        let entry = |number, at_ms, kind, node, text: &str| Entry {
            number,
            at_ms,
            kind,
            node,
            text: text.to_owned(),
        };
        report.course = Course {
            lasted_ms: 12_000,
            first: 0,
            beats: (0..60).map(|number| Beat(20, 900, 1000 * number)).collect(),
            pauses: vec![Pause {
                from_ms: 4100,
                to_ms: 4800,
            }],
            story: vec![
                entry(1, 4000, Kind::Killed, Some(3), "kill -9 node 3, the leader"),
                entry(2, 4800, Kind::Leader, Some(5), "node 5 leads"),
                entry(3, 6000, Kind::Slow, Some(2), "node 2: <slow>"),
                entry(4, 9000, Kind::Started, Some(3), "node 3 was started again"),
            ],
        };
        report
    }

    #[test]
    fn the_page_stands_alone_and_is_well_formed() {
        let page = page(&shown());
        for foreign in ["<script", "http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("prefers-color-scheme:dark"));
        assert!(!page.contains("<slow>") && page.contains("node 2: &lt;slow&gt;"));
        for element in [
            "svg", "table", "tr", "td", "figure", "text", "title", "p", "h2",
        ] {
            let open = page.matches(&format!("<{element}>")).count()
                + page.matches(&format!("<{element} ")).count();
            let closed = page.matches(&format!("</{element}>")).count();
            assert_eq!(open, closed, "{element}");
        }
        assert_eq!(page.matches("<svg").count(), 3);
    }

    #[test]
    fn the_page_shows_faults_pauses_and_the_verdict() {
        let page = page(&shown());
        assert!(page.contains("once and in order"));
        for said in [
            "killed at 00:04.0",
            "slow disk at 00:06.0",
            "nothing was acknowledged for 700 ms",
            "kill -9 node 3, the leader",
            "<td>longest pause</td><td>700 ms</td>",
            ">kill 3</text>",
        ] {
            assert!(page.contains(said), "{said}");
        }
    }

    #[test]
    fn a_fault_lasts_until_it_ends_or_to_the_end() {
        let report = shown();
        let bars = |node| faults(&report, node).bars;
        let killed = &bars(3)[0];
        assert_eq!((killed.from, killed.to), (4.0, 9.0));
        assert_eq!((bars(2)[0].from, bars(2)[0].to), (6.0, 12.0));
        assert!(bars(1).is_empty());
    }

    #[test]
    fn a_broken_promise_is_said_first() {
        let mut report = shown();
        report.digests_equal = false;
        assert!(page(&report).contains("A promise was broken."));
        report.course = Course::default();
        assert!(!page(&report).contains("NaN"));
    }
}
