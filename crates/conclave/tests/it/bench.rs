//! `conclave bench` on real clusters: what it measures is verified, and what it writes can be read.

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::{process::Command, time::timeout};

use crate::support::PATIENCE;

async fn bench(arguments: &[&str]) -> Output {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_conclave"));
    bench
        .arg("bench")
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    timeout(3 * PATIENCE, bench.output())
        .await
        .unwrap()
        .unwrap()
}

fn report(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Maximum time without an acknowledgement after a killed leader on a busy machine.
const GAP_MS_MAX: u64 = 6000;

#[tokio::test(flavor = "multi_thread")]
async fn an_open_loop_survives_a_killed_leader_and_is_verified() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("report.html");
    let load = "--rate 100 --rooms 20 --sessions 30 --bytes 20-200 --fill 300";
    let run = "--seconds 9 --kill-leader-after 2 -o json";
    let mut arguments: Vec<&str> = load.split(' ').chain(run.split(' ')).collect();
    arguments.extend(["--report", page.to_str().unwrap()]);
    let report = report(&bench(&arguments).await);
    assert_eq!(report["verified"], true, "{report}");
    assert_eq!(report["fill"]["messages"], 300);
    assert_eq!(report["timeline"].as_array().unwrap().len(), 9);
    let killed = &report["killed"];
    let gap = killed["gap_ms"].as_u64().unwrap();
    // The lease of the dead leader has to run out first.
    assert!((100..GAP_MS_MAX).contains(&gap), "{killed}");
    // What was due in the gap waited for its end: an open loop cannot hide it.
    let slowest = report["max_us"].as_u64().unwrap();
    assert!(slowest / 1000 > gap / 2, "{slowest} µs, {killed}");
    let checked = &report["checked"];
    assert_eq!(checked["conversations"], 20);
    let acked = report["acked"].as_u64().unwrap();
    let judged = checked["acked"].as_u64().unwrap();
    // Also what was sent in the second before the measurement is judged.
    assert!(
        (acked..=acked + 150).contains(&judged),
        "{acked}, {checked}"
    );
    for node in report["node_figures"].as_array().unwrap() {
        assert!(node["rss_kib_after"].as_u64().unwrap() > 1000, "{node}");
        assert!(node["log_bytes"].as_u64().unwrap() > 0, "{node}");
    }
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.ends_with("</html>\n") && page.matches("<svg").count() == 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overload_is_told_apart_from_what_nodes_acknowledge() {
    let load = "--nodes 1 --overload 5 --concurrency 256 --sessions 8 --seconds 8 -o json";
    let arguments: Vec<&str> = load.split(' ').collect();
    let report = report(&bench(&arguments).await);
    assert_eq!(report["verified"], true, "{report}");
    let parts = report["parts"].as_array().unwrap();
    let due = |part: usize| parts[part]["due_per_second"].as_f64().unwrap();
    assert!((due(1) / due(0) - 10.0).abs() < 0.1, "{parts:?}");
    let overload = &parts[1];
    let acked = overload["acked_per_second"].as_f64().unwrap();
    assert!(acked > 0.0 && acked < due(1), "{overload}");
    assert!(overload["not_sent"].as_u64().unwrap() > 0, "{overload}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_send_the_same_messages_as_calls() {
    let load =
        "--mode stream --nodes 1 --sessions 4 --rooms 4 --concurrency 32 --seconds 2 -o json";
    let arguments: Vec<&str> = load.split(' ').collect();
    let report = report(&bench(&arguments).await);
    assert_eq!(
        (&report["mode"], &report["verified"]),
        (&"stream".into(), &true.into())
    );
    assert!(
        report["checked"]["acked"].as_u64().unwrap() > 32,
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_of_bench_that_do_not_fit_are_refused_in_words() {
    for (arguments, said) in [
        (&["--rooms", "1000", "--sessions", "2"][..], "do not fit"),
        (&["--kill-leader-after", "9"], "too late"),
        (&["--report", "/nowhere/page.html"], "cannot be written"),
        (&["--bytes", "many"], "a size is a number"),
    ] {
        let output = bench(arguments).await;
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(words.starts_with("error: ") && words.contains("\nhint: "));
        assert!(words.contains(said), "{words}");
    }
}
