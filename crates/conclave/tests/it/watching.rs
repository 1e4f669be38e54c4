//! The admin port: probes follow the state of a node, metrics are those that the manual lists, and
//! no caller of the port does harm.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use conclave_client::core::{AccountName, Recipient};
use conclave_local_cluster::Ports;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    command::{Home, program},
    readme::document,
    support::{Cluster, PATIENCE, until},
};

/// Connections that a stranger opens and holds: more than the port has places.
const SILENT: usize = 200;

/// Sends a request and returns the status and the body, or `None` if there is no whole answer.
pub(crate) async fn ask(address: &str, request: &str) -> Option<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    };
    timeout(PATIENCE, exchange).await.ok()?
}

/// Gets a path from an admin port.
pub(crate) async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n");
    ask(address, &request).await
}

/// Returns the samples of an admin port, each with its labels as they are written.
pub(crate) async fn scrape(address: &str) -> Option<Vec<(String, f64)>> {
    let (status, text) = get(address, "/metrics").await?;
    assert_eq!(status, 200, "{text}");
    assert!(text.ends_with("# EOF\n"), "it is whole");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        (series.to_owned(), value.parse().expect("a number"))
    });
    Some(samples.collect())
}

/// Returns the value of a series of this node.
pub(crate) async fn value(cluster: &Cluster, node: u64, series: &str) -> Option<f64> {
    let samples = scrape(&cluster.admin_address(node)).await?;
    let mut found = samples.into_iter().filter(|(name, _)| name == series);
    found.next().map(|(_, value)| value)
}

/// Waits until a probe of a node answers with this status and has this part in its text.
async fn says(cluster: &Cluster, node: u64, path: &str, status: u16, part: &str) {
    let what = format!("node {node}: {path} is {status} with `{part}`");
    until(&what, async || {
        let (found, text) = get(&cluster.admin_address(node), path).await?;
        (found == status && text.contains(part)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_follow_the_state_of_a_node() {
    let cluster = Cluster::prepare(3).await;
    cluster.start_node(1).await;
    says(&cluster, 1, "/livez?verbose", 200, "[+]engine ok").await;
    says(&cluster, 1, "/startupz", 200, "ok").await;
    says(&cluster, 1, "/readyz", 503, "[-]member failed: it waits").await;
    cluster.start_all().await;
    for node in cluster.nodes() {
        says(&cluster, node, "/readyz", 200, "ok").await;
        says(&cluster, node, "/readyz?verbose", 200, "[+]state ok").await;
    }
    // A node that is left alone is alive and not ready, whatever it was before.
    cluster.kill(1).await;
    cluster.kill(2).await;
    says(
        &cluster,
        3,
        "/readyz",
        503,
        "[-]state failed: no leader with a majority",
    )
    .await;
    says(&cluster, 3, "/livez", 200, "ok").await;
    says(&cluster, 3, "/startupz", 200, "ok").await;
    until("its metrics say the same", async || {
        let quorum = value(&cluster, 3, "conclave_quorum_reachable").await;
        (quorum == Some(0.0)).then_some(())
    })
    .await;
    cluster.start_all().await;
    says(&cluster, 3, "/readyz", 200, "ok").await;
    until("its metrics say the same", async || {
        let serves = value(&cluster, 3, "conclave_serving").await;
        (serves == Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_waits_to_join_is_alive_and_has_not_started() {
    let home = Home::new().await;
    let ports = Ports::free(3).expect("there are free ports");
    let (admin, data) = (ports.admin(1), home.path("data"));
    let peers = format!("{},{},{}", ports.peer(1), ports.peer(2), ports.peer(3));
    let (client, peer, secret) = (ports.client(1), ports.peer(1), home.secret_file());
    let mut alone = program(&[
        "serve",
        "--plain",
        "--data",
        data.to_str().unwrap(),
        "--secret-file",
        secret.to_str().unwrap(),
        "--bootstrap-expect",
        "3",
        "--join",
        &peers,
        "--client-address",
        &client,
        "--peer-address",
        &peer,
        "--admin-address",
        &admin,
    ]);
    let mut alone = alone
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("it says that it waits", async || {
        let (status, text) = get(&admin, "/startupz").await?;
        assert_eq!(status, 503);
        text.contains("[-]started failed: the node reads its data, or waits")
            .then_some(())
    })
    .await;
    assert_eq!(get(&admin, "/livez").await.unwrap().0, 200);
    assert_eq!(get(&admin, "/readyz").await.unwrap().0, 503);
    let samples = scrape(&admin).await.unwrap();
    assert!(samples.contains(&("conclave_started".to_owned(), 0.0)));
    alone.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_is_on_loopback_and_can_be_moved_or_left_out() {
    let home = Home::new().await;
    let node = home.alone("default").await;
    let admin = &node.admin_address;
    assert!(admin.starts_with("127.0.0.1:"), "{}", node.line);
    assert_eq!(get(admin, "/livez").await.unwrap().0, 200);
    node.stop().await;
    let off = home
        .try_alone("off", &["--admin-address", "off"], &[])
        .await;
    let off = off.unwrap();
    assert_eq!(off.admin_address, "off");
    off.stop().await;
    let wrong = home.try_alone("wrong", &["--admin-address", "nowhere"], &[]);
    wrong
        .await
        .unwrap_err()
        .failed(2, "admin_address `nowhere`");
    // An address that the operator gives must be free.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = home
        .try_alone("taken", &["--admin-address", &address], &[])
        .await;
    let refused = refused.unwrap_err();
    assert!(refused.stderr.contains("probes and metrics"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_caller_of_the_admin_port_does_harm() {
    let cluster = Cluster::start(1).await;
    let admin = cluster.admin_address(1);
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(TcpStream::connect(&admin).await.unwrap());
    }
    // The silent ones give way.
    assert_eq!(get(&admin, "/livez").await.unwrap().0, 200);
    let post = "POST /readyz HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(ask(&admin, post).await.unwrap().0, 405);
    assert_eq!(get(&admin, "/nothing").await.unwrap().0, 404);
    assert_eq!(get(&admin, "/").await.unwrap().0, 200);
    let head = ask(&admin, "HEAD /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(head.unwrap(), (200, String::new()));
    let long = format!("/{}", "x".repeat(20_000));
    for rubbish in [
        "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("GET {long} HTTP/1.1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\na: {long}\r\n\r\n"),
    ] {
        let answer = ask(&admin, &rubbish).await;
        assert!(
            answer.is_none_or(|(status, _)| status >= 400),
            "{rubbish:?}"
        );
    }
    let many = format!("/readyz?verbose&{}", "exclude=leader&".repeat(100));
    assert_eq!(get(&admin, &many).await.unwrap().0, 200);
    assert_eq!(get(&admin, "/readyz").await.unwrap().0, 200);
}

/// Returns the names and kinds of the families in a text of metrics.
fn families(text: &str) -> BTreeSet<(String, String)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let types = types.map(|line| {
        let (name, kind) = line.split_once(' ').unwrap();
        let name = match kind {
            "counter" => format!("{name}_total"),
            _ => name.to_owned(),
        };
        (name, kind.to_owned())
    });
    types.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manual_lists_every_metric_and_no_other() {
    let cluster = Cluster::start(1).await;
    let (_, text) = get(&cluster.admin_address(1), "/metrics").await.unwrap();
    let manual = document("docs/metrics.md");
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed = rows.map(|row| {
        let mut cells = row
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned());
        (cells.next().unwrap(), cells.next().unwrap())
    });
    let listed: BTreeSet<(String, String)> = listed.collect();
    let served = families(&text);
    let missing: Vec<_> = served.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&served).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "docs/metrics.md lacks {missing:?} and has {gone:?}, which are not served"
    );
    // No name of an account, no text, no address of a caller.
    for word in ["alice", "127.0.0.1"] {
        assert!(!text.contains(word), "{word}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_has_happened() {
    const MESSAGES: usize = 20;
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    for name in ["alice", "bob"] {
        client.create_account(name, "open sesame").await.unwrap();
    }
    let login = client.login("alice", "open sesame").await.unwrap();
    let alice = client.with_token(&login.token).unwrap();
    let bob = Recipient::Account(AccountName::new("bob").unwrap());
    for _ in 0..MESSAGES {
        alice.send(&bob, "hello").await.unwrap();
    }
    assert!(client.login("alice", "wrong").await.is_err());
    let mut sum = std::collections::BTreeMap::<String, f64>::new();
    for node in cluster.nodes() {
        for (series, value) in scrape(&cluster.admin_address(node)).await.unwrap() {
            *sum.entry(series).or_default() += value;
        }
    }
    let method = "method=\"conclave.v1.ChatService/SendMessage\"";
    let sent = sum[&format!("conclave_calls_total{{{method},code=\"OK\"}}")];
    assert_eq!(sent, MESSAGES as f64);
    let timed = sum[&format!("conclave_call_duration_seconds_count{{{method}}}")];
    assert_eq!(timed, MESSAGES as f64);
    let login = "method=\"conclave.v1.SessionService/OpenSession\"";
    let refused = format!("conclave_calls_total{{{login},code=\"UNAUTHENTICATED\"}}");
    assert_eq!(sum.get(&refused), Some(&1.0), "{refused}");
    for (series, least) in [
        ("conclave_raft_elections_won_total", 1.0),
        ("conclave_proposal_duration_seconds_count", MESSAGES as f64),
        ("conclave_log_sync_duration_seconds_count", MESSAGES as f64),
        ("conclave_log_written_bytes_total", 1000.0),
        ("conclave_commands_decided_total", 3.0 * MESSAGES as f64),
        ("conclave_state_database_bytes", 3.0 * 4096.0),
        ("conclave_sessions_cached", 1.0),
        ("conclave_members{role=\"voter\"}", 9.0),
        (
            "conclave_network_bytes_total{port=\"client\",direction=\"in\"}",
            1000.0,
        ),
        ("conclave_connections_accepted_total{port=\"client\"}", 1.0),
        ("process_resident_memory_bytes", 3e6),
    ] {
        assert!(sum[series] >= least, "{series}: {} < {least}", sum[series]);
    }
    // The leader knows its followers.
    let lags: Vec<_> = sum
        .keys()
        .filter(|series| series.starts_with("conclave_replication_lag_entries{"))
        .collect();
    assert_eq!(lags.len(), 2, "{lags:?}");
}

/// Processor time that a scrape may cost on a node with few callers, in a build that is not
/// optimised: far above what it takes, and far below what would be noticed.
const SCRAPE_CPU_MAX: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_costs_little() {
    const SCRAPES: u32 = 50;
    let cluster = Cluster::start_undisturbed(1).await;
    let admin = cluster.admin_address(1);
    let cpu = async || {
        let samples = scrape(&admin).await.unwrap();
        let mut found = samples.into_iter();
        let (_, seconds) = found
            .find(|(series, _)| series == "process_cpu_seconds_total")
            .unwrap();
        Duration::from_secs_f64(seconds)
    };
    let before = cpu().await;
    for _ in 0..SCRAPES {
        scrape(&admin).await.unwrap();
    }
    let cost = (cpu().await - before) / (SCRAPES + 1);
    assert!(
        cost < SCRAPE_CPU_MAX,
        "a scrape takes {cost:?} of a processor"
    );
}
