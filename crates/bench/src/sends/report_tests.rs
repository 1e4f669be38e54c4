//! The keys that scripts read, the rows, and the distribution.

use std::time::Duration;

use super::{super::timeline::Part, *};
use crate::latencies;

/// Returns five seconds in which something goes wrong.
fn measured() -> Measured {
    let node = |rss_kib| NodeUse {
        node: 1,
        cpu_us: rss_kib * 100,
        rss_kib,
        log_bytes: 64 << 20,
        wal_bytes: 4 << 20,
    };
    let second = |at: u64| Second {
        at_s: at as f64,
        part: "measured",
        due_per_second: Some(1000.0),
        acked: 900 + at,
        acked_per_second: 900.0,
        p50_us: Some(2000),
        p99_us: (at != 3).then_some(9000 + at),
        max_us: Some(20_000),
        not_sent: at,
        failed: BTreeMap::from([("refused: <BUSY>".to_owned(), at)]),
        nodes: vec![node(50_000 + at)],
    };
    let mut counts = Counts::default();
    for us in 1..2000 {
        counts.latencies.saturating_record(us * 10);
    }
    let part = Part {
        name: "measured",
        seconds: 5,
        rate: Some(1000.0),
    };
    Measured {
        seconds: (1..=5).map(second).collect(),
        parts: vec![(part, counts, Duration::from_secs(5))],
        nodes_before: vec![node(49_000)],
        lasted: Duration::from_secs(5),
        gap: Duration::ZERO,
    }
}

/// Returns a report with every part.
pub(crate) fn report() -> Report {
    let measured = measured();
    let total = total(&measured, &Counts::default());
    Report {
        mode: "unary",
        pace: "open",
        rate: Some(1000.0),
        acked_per_second: 900.5,
        p50_us: 2000,
        p90_us: 5000,
        p99_us: 9000,
        p999_us: 10_000,
        max_us: 20_000,
        left_late_p99_us: Some(900),
        acked: total.acked(),
        not_sent: 15,
        failed: BTreeMap::from([("refused: <BUSY>".to_owned(), 15)]),
        unknown: 0,
        server_cpu_us_per_message: Some(3.0),
        client_cpu_us_per_message: 4.0,
        nodes: 3,
        concurrency: 64,
        sessions: 10,
        rooms: 100,
        payload_bytes: 100,
        payload: "100".to_owned(),
        seconds: 5.0,
        warm_up_s: 1.0,
        fill: Some(Fill {
            messages: 1000,
            seconds: 2.0,
            per_second: 500.0,
        }),
        saturation_per_second: None,
        parts: parts(&measured),
        recovered_after_s: None,
        killed: Some(Killed {
            node: 1,
            at_s: 2.0,
            gap_ms: 400,
            restarted_at_s: 5.0,
        }),
        node_figures: node_figures(&measured, total.acked()),
        counts_agree: true,
        checked: Checked {
            conversations: 64,
            of_conversations: 100,
            acked: 1900,
            holds: true,
            ..Checked::default()
        },
        verified: true,
        distribution: distribution(&total.latencies),
        timeline: measured.seconds,
    }
}

#[test]
fn the_json_has_the_keys_that_scripts_read() {
    let value = serde_json::to_value(report()).unwrap();
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
    assert_eq!(value["loop"], "open");
}

#[test]
fn every_key_of_the_json_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/bench.md");
    let page = std::fs::read_to_string(path).unwrap();
    let value = serde_json::to_value(report()).unwrap();
    let inner = [
        "",
        "/timeline/0",
        "/timeline/0/nodes/0",
        "/parts/0",
        "/node_figures/0",
    ];
    let more = ["/fill", "/killed", "/checked", "/distribution/0"];
    for pointer in inner.into_iter().chain(more) {
        let object = value.pointer(pointer).and_then(|value| value.as_object());
        for key in object.unwrap_or_else(|| panic!("{pointer}")).keys() {
            assert!(page.contains(&format!("`{key}`")), "{pointer}/{key}");
        }
    }
}

#[test]
fn the_rows_say_what_went_wrong() {
    let rows = report().rows();
    let row = |name: &str| {
        rows.iter()
            .find(|row| row.0 == name)
            .map(|row| row.1.as_str())
    };
    assert_eq!(row("not acknowledged"), Some("15 refused: <BUSY>"));
    assert_eq!(
        row("due and not sent"),
        Some("15 (too many were under way)")
    );
    let killed = row("no acknowledgement after the kill");
    assert_eq!(killed, Some("400 ms (node 1, killed after 2 s)"));
    let checked = row("how it was checked").unwrap();
    assert!(
        checked.contains("1900 messages of 64 of 100 conversations"),
        "{checked}"
    );
}

#[test]
fn the_distribution_has_every_latency_once() {
    let mut latencies = latencies();
    for us in [1, 9, 10, 99, 1000, 1_000_000, 59_000_000, 59_000_000] {
        latencies.saturating_record(us);
    }
    let bars = distribution(&latencies);
    assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), 8);
    assert_eq!((bars[0].from_us, bars[0].count), (0, 3));
    assert!(bars.windows(2).all(|pair| pair[0].to_us == pair[1].from_us));
    assert_eq!(bars.last().map(|bar| bar.count), Some(2));
    assert_eq!(distribution(&crate::latencies()), Vec::new());
}

#[test]
fn the_cost_of_a_node_is_per_message() {
    let figures = &report().node_figures[0];
    assert_eq!(
        (figures.rss_kib_before, figures.rss_kib_after),
        (49_000, 50_005)
    );
    let cpu_us = (50_005 - 49_000) as f64 * 100.0;
    assert!((figures.cpu_us_per_message - cpu_us / 1999.0).abs() < 1e-6);
}
