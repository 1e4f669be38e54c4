//! The log of a node: lines as JSON for programs, and a filter that an operator changes while the
//! node runs.

use conclave_client::{Client, Reason};
use serde_json::Value;

use crate::{
    command::{Home, Person, Served},
    support::{Cluster, until},
};

/// Text that only lines of the level `debug` have, each of a refused call.
const OF_DEBUG: &str = "a call was refused";

/// Makes a call that a node refuses, and says so only at the level `debug`.
async fn refused(client: &Client) {
    assert!(
        client
            .session(conclave_client::Freshness::Linearizable)
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_json_has_one_object_for_each_line() {
    let home = Home::new().await;
    let node = home.try_alone("json", &["--log-format", "json"], &[]).await;
    let node = node.unwrap();
    let lines = until("the node logs its leader", async || {
        let log = node.log();
        log.contains("leader changed").then_some(log)
    })
    .await;
    let whole = lines.lines().take(lines.matches('\n').count());
    let mut changes = 0;
    for line in whole {
        let line: Value = serde_json::from_str(line).expect("each line is an object");
        for field in ["timestamp", "level", "message", "target"] {
            assert!(line[field].is_string(), "{line}");
        }
        if line["message"] == "leader changed" {
            assert_eq!(
                (line["node"].as_u64(), line["leader"].as_u64()),
                (Some(1), Some(1))
            );
            changes += 1;
        }
    }
    assert_eq!(changes, 1, "{lines}");
    node.stop().await;
    let wrong = home.try_alone("wrong", &["--log-format", "xml"], &[]).await;
    wrong.unwrap_err().failed(2, "xml");
    let variable = [("CONCLAVE_LOG_FORMAT", "json")];
    let node = home.try_alone("variable", &[], &variable).await.unwrap();
    assert!(node.log().starts_with('{'), "{}", node.log());
    node.stop().await;
}

async fn has_debug(node: &Served, client: &Client) -> bool {
    let before = node.log().matches(OF_DEBUG).count();
    for _ in 0..10 {
        refused(client).await;
    }
    node.log().matches(OF_DEBUG).count() > before
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_changes_the_log_of_a_node_that_runs() {
    let home = Home::new().await;
    let node = home.alone("data").await;
    let stranger = node.client().with_token(&"A".repeat(43)).unwrap();
    let operator = node.client().with_operator(&home.operator().await);
    let at = &node.client_address;
    assert_eq!(operator.change_log_filter(at, "").await.unwrap(), "info");
    assert!(!has_debug(&node, &stranger).await);
    let more = "info,conclave_server=debug";
    assert_eq!(operator.change_log_filter(at, more).await.unwrap(), more);
    assert!(has_debug(&node, &stranger).await);
    assert!(
        node.log()
            .contains("the log filter was changed by an operator")
    );
    for wrong in ["loud", "info,[span{a=.*}]=trace", &"info,".repeat(60)] {
        let error = operator.change_log_filter(at, wrong).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::LogFilterInvalid), "{wrong}");
    }
    assert_eq!(operator.change_log_filter(at, "").await.unwrap(), more);
    let error = stranger.change_log_filter(at, "trace").await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::NotAnOperator));
    // The settings count again when they are read again.
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(node.pid()).unwrap()).unwrap(),
        rustix::process::Signal::HUP,
    )
    .unwrap();
    until("the filter is that of the settings", async || {
        let filter = operator.change_log_filter(at, "").await.unwrap();
        (filter == "info").then_some(())
    })
    .await;
    assert!(!has_debug(&node, &stranger).await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_changes_the_logs_of_all_nodes_or_of_one() {
    let cluster = Cluster::start(3).await;
    let endpoints: Vec<String> = cluster
        .nodes()
        .into_iter()
        .map(|n| cluster.endpoint(n))
        .collect();
    let desk = Person::new(&endpoints);
    let file = cluster.operator_file().await;
    let run = async |words: &[&str]| {
        let operator = ["--operator-file", file.to_str().unwrap()];
        let args = [&["node", "log-level"], words, &operator, &["-o", "json"]].concat();
        desk.run(&args).await
    };
    let filters = async |words: &[&str]| {
        let told = run(words).await.json();
        let filter = |line: &Value| line["filter"].as_str().unwrap().to_owned();
        told.iter().map(filter).collect::<Vec<_>>()
    };
    assert_eq!(filters(&[]).await, ["info", "info", "info"]);
    assert_eq!(filters(&["warn"]).await, ["warn", "warn", "warn"]);
    assert_eq!(filters(&["debug", "--node", "2"]).await, ["debug"]);
    assert_eq!(filters(&[]).await, ["warn", "debug", "warn"]);
    run(&["loud"])
        .await
        .failed(2, "error: loud: a log filter reads");
    run(&["--node", "9"]).await.failed(3, "there is no node 9");
    cluster.kill(3).await;
    run(&["info"])
        .await
        .failed(69, "these nodes do not answer: 3");
    assert_eq!(filters(&["--node", "2"]).await, ["info"]);
}
