//! Each alert of `ops/prometheus/alerts.yml` fires on nodes that are really in the condition, and
//! has a row in the manual.
//!
//! A test is the watcher: it scrapes the nodes, a round for each minute of the watch, and hands the
//! rounds to Debian's `promtool`, which evaluates the rules themselves. Without `promtool` the
//! conditions are caused all the same, and what was to be seen is looked for in the metrics.

mod data;
pub(crate) mod watch;

use std::{fs, time::Duration};

use conclave_client::{
    Client,
    core::{AccountName, Recipient},
};
use tokio::net::TcpStream;

use crate::{
    command::{ANY_PORT, Home, Served},
    forger::{Forger, Use},
    readme::document,
    support::{Cluster, until},
};
use watch::{Watch, alerts, rules};

/// Entries that a follower lacks before it counts as late, and some more.
const LATE_ENTRIES: usize = 1100;

fn bob() -> Recipient {
    Recipient::Account(AccountName::new("bob").unwrap())
}

/// Returns a client of alice, who can send messages to bob.
async fn alice(client: &Client) -> Client {
    client.with_token(&token_of_alice(client).await).unwrap()
}

/// Creates the accounts of alice and bob and returns the token of a session of alice.
async fn token_of_alice(client: &Client) -> String {
    for name in ["alice", "bob"] {
        client.create_account(name, "open sesame").await.unwrap();
    }
    client.login("alice", "open sesame").await.unwrap().token
}

#[test]
fn the_manual_has_every_alert_and_every_metric_in_use() {
    let (rules, manual) = (rules(), document("docs/operations.md"));
    let metrics = document("docs/metrics.md");
    let alerts = alerts(&rules);
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in &alerts {
        assert!(
            manual.contains(&format!("| `{alert}` |")),
            "docs/operations.md lacks {alert}"
        );
    }
    let rows = manual
        .lines()
        .filter_map(|line| line.strip_prefix("| `Conclave"));
    let rows: Vec<String> = rows
        .map(|row| format!("Conclave{}", row.split('`').next().unwrap()))
        .collect();
    assert_eq!(rows, alerts, "the rows stand in the order of the rules");
    let dashboard = document("ops/grafana/conclave.json");
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let mut expressions: Vec<String> = vec![rules];
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    assert!(expressions.len() > 20);
    for name in expressions.iter().flat_map(|text| names(text)) {
        let base = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|part| name.strip_suffix(part))
            .unwrap_or(&name);
        assert!(
            metrics.contains(&format!("| `{base}` |")),
            "no metric is called {name}"
        );
    }
}

/// Returns the names of metrics in expressions.
fn names(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names = words.filter(|word| word.starts_with("conclave_") || word.starts_with("process_"));
    names.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_about_leaders_and_machines_that_fail() {
    let cluster = Cluster::start(3).await;
    let alice = alice(&cluster.client()).await;
    let mut healthy = Watch::default();
    let settled = until("all nodes reach each other", async || {
        let mut watch = Watch::default();
        watch.look_at(&cluster).await;
        (watch.last("conclave_failures_tolerated", "") == Some(1.0)).then_some(watch)
    });
    healthy.rounds.extend(settled.await.rounds);
    healthy.fires(&[], false);

    // The leader changes five times within some minutes.
    let root = cluster.operator_client().await;
    let mut changes = Watch::default();
    changes.look_at(&cluster).await;
    for _ in 0..6 {
        let follower = cluster.a_follower().await;
        until("another node leads", async || {
            root.transfer_leader(follower).await.ok()
        })
        .await;
    }
    cluster.all_rejoined().await;
    changes.look_at(&cluster).await;
    changes.fires(&["ConclaveLeaderChanges"], true);

    // A follower hangs while people talk.
    let follower = cluster.a_follower().await;
    cluster.pause(follower).await;
    for _ in 0..LATE_ENTRIES {
        alice.send(&bob(), "more").await.unwrap();
    }
    let hanging: Vec<String> = cluster
        .nodes()
        .into_iter()
        .map(|node| match node == follower {
            // A watcher waits for it in vain.
            true => "127.0.0.1:1".to_owned(),
            false => cluster.admin_address(node),
        })
        .collect();
    let late = until("the leader knows that the follower is late", async || {
        let mut late = Watch::default();
        late.look(&hanging).await;
        let lag = late.last(
            "conclave_replication_lag_entries",
            &format!("peer=\"{follower}\""),
        );
        let spare = late.last("conclave_failures_tolerated", "");
        (lag > Some(1000.0) && spare == Some(0.0)).then_some(late)
    })
    .await;
    late.fires(
        &[
            "ConclaveNodeDown",
            "ConclaveNoFailureTolerated",
            "ConclaveReplicationLag",
        ],
        false,
    );
    cluster.resume(follower).await;

    // One node is killed again and again.
    let mut restarts = Watch::default();
    cluster.all_rejoined().await;
    restarts.look_at(&cluster).await;
    for _ in 0..3 {
        cluster.kill(follower).await;
        cluster.start_node(follower).await;
        cluster.all_rejoined().await;
        restarts.look_at(&cluster).await;
    }
    restarts.fires(&["ConclaveRestartLoop"], true);

    // Two of three are gone.
    let mut nodes = cluster.nodes();
    let survivor = nodes.remove(0);
    for node in nodes {
        cluster.kill(node).await;
    }
    let alone = until("the survivor knows that it is alone", async || {
        let mut alone = Watch::default();
        alone.look_at(&cluster).await;
        let serves = alone.last("conclave_serving", "");
        let led = alone.last("conclave_raft_leader_known", "");
        (serves == Some(0.0) && led == Some(0.0)).then_some(alone)
    })
    .await;
    assert_eq!(survivor, 1);
    alone.fires(
        &[
            "ConclaveNodeDown",
            "ConclaveNodeNotServing",
            "ConclaveNoLeader",
        ],
        true,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_about_a_clock_that_is_off() {
    let cluster = Cluster::start_with_clocks(&[(1, 0), (2, 0), (3, -60_000)]).await;
    let off = until("the clocks are compared", async || {
        let mut watch = Watch::default();
        watch.look_at(&cluster).await;
        (watch.last("conclave_clock_offset_seconds", "n3")? < -10.0).then_some(watch)
    })
    .await;
    off.fires(&["ConclaveClockOff"], true);
    assert!(
        off.last("conclave_clock_offset_seconds", "n1")
            .unwrap()
            .abs()
            < 10.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_about_disks_that_are_nearly_full() {
    let mut cluster = Cluster::start(3).await;
    let token = token_of_alice(&cluster.client()).await;
    // No disk has this much room.
    for node in cluster.nodes() {
        cluster.set_variable(node, "CONCLAVE_MIN_FREE_BYTES", &(1_u64 << 60).to_string());
        cluster.kill(node).await;
    }
    cluster.start_all().await;
    until("all nodes know that there is no room", async || {
        let mut watch = Watch::default();
        watch.look_at(&cluster).await;
        let full = watch.last("conclave_growth_refused", "") == Some(1.0);
        full.then_some(())
    })
    .await;
    let impatient = Client::builder()
        .endpoints(
            cluster
                .nodes()
                .into_iter()
                .map(|node| cluster.endpoint(node)),
        )
        .token(token)
        .total_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let mut watch = Watch::default();
    // A counter that is new says nothing yet; one that goes on growing does.
    for _ in 0..2 {
        for _ in 0..30 {
            assert!(impatient.send(&bob(), "more").await.is_err());
        }
        watch.look_at(&cluster).await;
    }
    watch.fires(
        &[
            "ConclaveDiskNearlyFull",
            "ConclaveGrowthRefused",
            "ConclaveManyRefusals",
        ],
        true,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_about_a_slow_disk() {
    let home = Home::new().await;
    let settings = home.path("slow.toml");
    fs::write(
        &settings,
        "[demo]\npanel = \"http://127.0.0.1:1\"\nsync_delay_ms = 200\n",
    )
    .unwrap();
    let more = ["--config", settings.to_str().unwrap()];
    let node = home.try_alone("slow", &more, &[]).await.unwrap();
    let admins = [node.admin_address.clone()];
    let alice = alice(&node.client()).await;
    let mut watch = Watch::default();
    watch.look(&admins).await;
    for _ in 0..10 {
        alice.send(&bob(), "slow").await.unwrap();
    }
    watch.look(&admins).await;
    assert!(
        watch
            .last("conclave_log_sync_duration_seconds_bucket", "le=\"0.1\"")
            .is_some()
    );
    watch.fires(&["ConclaveSlowSyncs"], false);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_about_a_certificate_that_expires_soon() {
    let home = Home::new().await;
    let authority = Forger::stranger("a web authority");
    let pair = authority.issue_for(&["localhost"], Use::Answer, [-80, 9]);
    let (chain, key) = (home.path("chain.pem"), home.path("key.pem"));
    fs::write(&chain, &pair.chain_pem).unwrap();
    fs::write(&key, pair.key.serialize_pem()).unwrap();
    let (data, log) = (home.path("data"), home.path("log"));
    let args = [
        ["--data", data.to_str().unwrap()],
        ["--client-address", ANY_PORT],
        ["--peer-address", ANY_PORT],
        ["--tls-certificate", chain.to_str().unwrap()],
        ["--tls-key", key.to_str().unwrap()],
    ];
    let node = Served::start_encrypted(&log, &args.concat()).await.unwrap();
    let watch = serving(&node).await;
    let name = "conclave_certificate_expiry_timestamp_seconds";
    let left = |which: &str| {
        watch
            .last(name, &format!("certificate=\"{which}\""))
            .unwrap()
    };
    let day = 86_400.0;
    assert!((8.0 * day..9.1 * day).contains(&left("operator")));
    for own in ["peer", "client"] {
        assert!(
            (80.0 * day..91.0 * day).contains(&left(own)),
            "{}",
            left(own)
        );
    }
    watch.fires(&["ConclaveCertificateExpiry"], false);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_about_a_node_that_had_damaged_data() {
    let home = Home::new().await;
    let node = home.alone("data").await;
    alice(&node.client()).await;
    node.stop().await;
    // Not a byte of the database is what was written there; the log has everything.
    fs::write(home.path("data/state.db"), vec![b'x'; 8192]).unwrap();
    let node = home.alone("data").await;
    let watch = serving(&node).await;
    assert_eq!(
        watch.last("conclave_quarantined_directories", ""),
        Some(1.0)
    );
    watch.fires(&["ConclaveNodeQuarantined"], false);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_about_connections_that_find_no_place() {
    const CONNECTIONS: usize = 100;
    let home = Home::new().await;
    let settings = home.path("narrow.toml");
    fs::write(&settings, "[limits]\nclient_connections = 16\n").unwrap();
    let more = ["--config", settings.to_str().unwrap()];
    let node = home.try_alone("narrow", &more, &[]).await.unwrap();
    let admins = [node.admin_address.clone()];
    let mut watch = Watch::default();
    watch.look(&admins).await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(TcpStream::connect(&node.client_address).await.unwrap());
    }
    let name = "conclave_connections_closed_total";
    until("most connections have given way", async || {
        let mut now = Watch::default();
        now.look(&admins).await;
        (now.last(name, "reason=\"displaced\"")? > 50.0).then_some(())
    })
    .await;
    watch.look(&admins).await;
    watch.fires(&["ConclaveConnectionsRefused"], true);
    node.stop().await;
}

/// Waits until a node serves, and looks at it once.
async fn serving(node: &Served) -> Watch {
    until("the node serves", async || {
        let mut watch = Watch::default();
        watch.look(std::slice::from_ref(&node.admin_address)).await;
        (watch.last("conclave_serving", "") == Some(1.0)).then_some(watch)
    })
    .await
}
