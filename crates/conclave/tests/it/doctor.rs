//! `conclave doctor` finds on real nodes what is wrong, and exits as monitors expect it.

use serde_json::Value;

use crate::{
    command::{Person, Ran},
    support::{Cluster, until},
};

async fn operator_of(cluster: &Cluster) -> Person {
    let nodes = cluster.nodes().into_iter();
    let endpoints: Vec<String> = nodes.map(|node| cluster.endpoint(node)).collect();
    let person = Person::new(&endpoints);
    let file = cluster.operator_file().await;
    let file = file.to_str().unwrap();
    person.run(&["operator", "use", file]).await.succeeded();
    person
}

/// Returns the checks with findings of this level.
fn checks<'v>(examined: &'v Value, level: &str) -> Vec<&'v str> {
    let findings = examined["findings"].as_array().unwrap().iter();
    let of_level = findings.filter(|finding| finding["level"] == level);
    let mut checks: Vec<&str> = of_level.map(|f| f["check"].as_str().unwrap()).collect();
    checks.sort_unstable();
    checks.dedup();
    checks
}

fn examined(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_cluster_is_well_and_a_dead_node_is_not() {
    let cluster = Cluster::start(3).await;
    let person = operator_of(&cluster).await;
    let doctor = ["doctor", "--format", "json"];
    // A cluster without a backup has one warning, however well it is otherwise.
    until("only a backup is missing", async || {
        let ran = person.run(&doctor).await;
        (ran.code == Some(1) && checks(&examined(&ran), "warning") == ["backup"]).then_some(())
    })
    .await;
    let files = tempfile::tempdir().unwrap();
    let backup = files.path().join("state.backup");
    let made = person.run(&["backup", backup.to_str().unwrap()]).await;
    made.succeeded();
    // A node knows the clocks of the others a moment after it has started.
    let found = until("all is well", async || {
        let ran = person.run(&doctor).await;
        let found = examined(&ran);
        (ran.code == Some(0)).then_some(found)
    })
    .await;
    let mut well = checks(&found, "ok");
    // Only if the leader has proposed an entry lately.
    well.retain(|check| *check != "speed");
    assert_eq!(
        well,
        [
            "backup",
            "certificates",
            "clock",
            "connections",
            "descriptors",
            "disk",
            "elections",
            "lag",
            "member",
            "ports",
            "quorum",
            "states",
            "versions"
        ]
    );

    let stranger = Person::new(&[cluster.endpoint(1)]);
    let ran = stranger.run(&doctor).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(checks(&examined(&ran), "unknown"), ["details"]);

    let directory = cluster.directory(1);
    let directory = directory.to_str().unwrap();
    let ran = person
        .run(&["doctor", "-o", "json", "--data", directory])
        .await;
    let here = examined(&ran);
    let subjects = here["findings"].as_array().unwrap().iter();
    let mut here: Vec<&str> = subjects
        .filter(|finding| finding["subject"] == "this machine")
        .map(|finding| finding["check"].as_str().unwrap())
        .collect();
    here.sort_unstable();
    assert_eq!(here, ["database", "files", "space", "sync"]);

    let dead = cluster.a_follower().await;
    cluster.kill(dead).await;
    let found = until("the dead node is missed", async || {
        let ran = person.run(&doctor).await;
        (ran.code == Some(2)).then(|| examined(&ran))
    })
    .await;
    assert_eq!(checks(&found, "critical"), ["quorum"], "{found}");
    assert_eq!(checks(&found, "warning"), ["member", "ports"], "{found}");

    cluster.kill_all().await;
    let ran = person.run(&["doctor", "--format", "nagios"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let first = ran.stdout.lines().next().unwrap();
    assert_eq!(
        first,
        "CONCLAVE CRITICAL - 1 critical finding; cluster: none of 3 nodes answered"
    );
}
