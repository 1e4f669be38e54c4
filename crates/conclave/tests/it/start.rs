//! A cluster starts and answers, and its demonstration proves what it says.

use std::process::Stdio;

use serde_json::Value;
use tokio::{process::Command, time::timeout};

use crate::support::{Cluster, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn five_nodes_start_and_answer() {
    let cluster = Cluster::start(5).await;
    let leader = cluster.leader().await;
    for node in cluster.nodes() {
        let status = cluster.status(node).await;
        assert_eq!((status.node_id, status.leader_id), (node, leader));
        assert_eq!((status.voters, status.nodes.len()), (5, 5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_loses_nothing() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_conclave"));
    demo.args([
        "demo",
        "--headless",
        "--seconds",
        "10",
        "--kill",
        "2",
        "-o",
        "json",
    ])
    .stdin(Stdio::null())
    .kill_on_drop(true);
    let ended = timeout(2 * PATIENCE, demo.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{}: {said}", ended.status);
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    for broken in ["lost", "duplicated", "reordered", "invented"] {
        assert_eq!(report[broken], 0, "{report}");
    }
    assert_eq!(report["nodes"], 5);
    assert_eq!(report["digests_equal"], true, "{report}");
    assert_eq!(report["failovers"].as_array().unwrap().len(), 2);
    assert!(report["acked"].as_u64().unwrap() > 100, "{report}");
}

/// Maximum pause after a killed leader on a busy machine: the client gives up an attempt and the
/// followers elect more than once.
const GAP_MS_MAX: u64 = 5000;

#[tokio::test(flavor = "multi_thread")]
async fn sending_goes_on_after_each_killed_leader() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_conclave"));
    bench
        .args(["bench", "failover", "--kills", "3", "-o", "json"])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = timeout(3 * PATIENCE, bench.output())
        .await
        .unwrap()
        .unwrap();
    let talk = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{talk}");
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(
        (&report["times"], &report["failed"]),
        (&3.into(), &0.into())
    );
    let longest = report["gap_max_ms"].as_u64().unwrap();
    // The lease of the dead leader has to run out first.
    assert!((100..GAP_MS_MAX).contains(&longest), "{report}");
}
