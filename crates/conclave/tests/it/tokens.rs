//! Machines join with a token, find each other with a secret, and replace others; a machine with
//! neither token nor secret stays out.

use std::{fs, path::Path, process::Command, time::Duration};

use conclave_client::{Client, v1};
use conclave_wire::{
    Problem,
    peer::{self, join_service_client::JoinServiceClient},
};
use futures::future::join_all;
use tokio::time::sleep;

use crate::{
    command::{Person, run},
    forger::{self, ANY_PEER},
    support::{Cluster, ROOT_PASSWORD, until},
    witness::Witness,
};

/// Messages that must get through after each change.
const MESSAGES_PER_CHANGE: u64 = 3;
const HOUR: Duration = Duration::from_secs(3600);
/// Pause of a machine that a node has asked to try again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Waits until exactly these nodes vote.
async fn voters_are(cluster: &Cluster, asked: u64, voters: u32, members: &[u64]) {
    until("they are the only voters", async || {
        let status = cluster.status(asked).await;
        let nodes: Vec<u64> = status.nodes.iter().map(|node| node.node_id).collect();
        (status.voters == voters && nodes == members).then_some(())
    })
    .await;
}

/// Waits until the cluster tolerates this many failures: until a node has been given its vote for
/// good, the others cannot do without each other.
async fn tolerates(cluster: &Cluster, asked: u64, failures: u32) {
    until("so many may fail", async || {
        let status = cluster.status(asked).await;
        (status.tolerates_failures == failures).then_some(())
    })
    .await;
}

async fn join(cluster: &Cluster, root: &Client, node: u64) {
    let made = root.create_join_token(HOUR, false).await.unwrap();
    cluster.give_token(node, &made.token);
    cluster.start_node(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_grows_to_five_by_join_tokens_under_load() {
    let cluster = Cluster::prepare_growing(5).await;
    cluster.start_node(1).await;
    let (root, _) = cluster.administrator().await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    for node in 2..=5 {
        join(&cluster, &root, node).await;
        let members: Vec<u64> = (1..=node).collect();
        voters_are(&cluster, node, u32::try_from(node).unwrap(), &members).await;
        talking.go_on(MESSAGES_PER_CHANGE).await;
    }
    tolerates(&cluster, 3, 2).await;
    cluster.kill(cluster.leader().await).await;
    cluster.kill(cluster.a_follower().await).await;
    talking.go_on(MESSAGES_PER_CHANGE).await;
    // The token that is used up is still in their environment: the data directory has precedence.
    cluster.start_all().await;
    talking.finish_without_error().await;
    witness.judge(&cluster, &[&alice]).await;
}

/// Runs a `conclave serve` that joins with this token; returns its exit code and output.
fn serve(cluster: &Cluster, data: &Path, token: &str, address: u64) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_conclave"))
        .args([
            "serve",
            "--plain",
            "--join",
            &cluster.peer_address(1),
            "--token",
            token,
        ])
        .arg("--data")
        .arg(data)
        .args(["--client-address", &cluster.endpoint(address)])
        .args(["--peer-address", &cluster.peer_address(address)])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_works_once_before_its_expiry_and_is_not_logged() {
    let cluster = Cluster::prepare_growing(2).await;
    cluster.start_node(1).await;
    let (root, _) = cluster.administrator().await;
    let used = root.create_join_token(HOUR, true).await.unwrap().token;
    cluster.give_token(2, &used);
    cluster.start_node(2).await;
    voters_are(&cluster, 1, 1, &[1, 2]).await;

    let directory = tempfile::tempdir().unwrap();
    let short = Duration::from_secs(1);
    let late = root.create_join_token(short, false).await.unwrap();
    // Tokens expire by the cluster's own clock.
    until("it has run out", async || {
        let now = root.create_join_token(HOUR, false).await.ok()?;
        (now.expires_at_ms > late.expires_at_ms + 3_600_000).then_some(())
    })
    .await;
    let never = format!("{}AAAA", &late.token[..late.token.len() - 4]);
    for (kind, token) in [("used", &used), ("late", &late.token), ("never", &never)] {
        cluster.stop(2).await;
        let (code, said) = serve(&cluster, &directory.path().join(kind), token, 2);
        assert_eq!(code, Some(4), "{kind}: {said}");
        assert!(said.contains("the join token cannot be used"), "{said}");
        let secret = &token[token.len() - 20..];
        let told = [said, cluster.log(1), cluster.log(2)].concat();
        assert!(!told.contains(secret), "{kind}: a token is in a log");
        cluster.start_node(2).await;
    }
    cluster.stop(2).await;
    let (code, said) = serve(&cluster, &directory.path().join("no"), "CANARY", 2);
    assert_ne!(code, Some(0));
    assert!(
        said.contains("not a join token") && !said.contains("CANARY"),
        "{said}"
    );
    let log = cluster.log(1);
    assert!(log.contains("a machine was refused"), "{log}");
    assert!(log.contains("JOIN_TOKEN_INVALID"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_arguments_of_a_process_show_no_token() {
    let cluster = Cluster::prepare_growing(2).await;
    cluster.start_node(1).await;
    let (root, _) = cluster.administrator().await;
    let token = root.create_join_token(HOUR, false).await.unwrap().token;
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_conclave"))
        .args([
            "serve",
            "--plain",
            "--join",
            &cluster.peer_address(1),
            "--token",
            &token,
        ])
        .arg("--data")
        .arg(directory.path())
        .args(["--client-address", &cluster.endpoint(2)])
        .args(["--peer-address", &cluster.peer_address(2)])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let told = until("it has begun again without", async || {
        let told = fs::read(format!("/proc/{}/cmdline", child.id())).ok()?;
        let told = String::from_utf8_lossy(&told).into_owned();
        (told.contains("--join") && !told.contains("--token")).then_some(told)
    })
    .await;
    assert!(!told.contains(&token), "{told}");
    voters_are(&cluster, 1, 2, &[1, 2]).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_bootstrap_together_and_a_wiped_node_gets_a_new_number() {
    let cluster = Cluster::prepare_meeting(3).await;
    cluster.start_all().await;
    let (root, _) = cluster.administrator().await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    talking.go_on(MESSAGES_PER_CHANGE).await;
    let wiped = cluster.a_follower().await;
    cluster.kill(wiped).await;
    cluster.wipe(wiped);
    cluster.start_node(wiped).await;
    let others = (1..=3).filter(|node| *node != wiped);
    let members: Vec<u64> = others.chain([4]).collect();
    let asked = members[0];
    voters_are(&cluster, asked, 3, &members).await;
    talking.go_on(MESSAGES_PER_CHANGE).await;
    // The old number of the node is used up for good.
    let add = v1::AddNode {
        node_id: wiped,
        peer_address: "127.0.0.1:1".to_owned(),
        client_address: "127.0.0.1:2".to_owned(),
        replaces_node_id: 0,
    };
    let change = v1::ChangeMembersRequest {
        change: Some(v1::change_members_request::Change::Add(add)),
        ..Default::default()
    };
    let refused = root.change_members(change).await.unwrap_err().to_string();
    assert!(
        refused.contains("no other node may have its number"),
        "{refused}"
    );
    talking.finish_without_error().await;
    for node in [asked, members[1]] {
        let all = alice.all_messages_at(&cluster.endpoint(node)).await;
        assert!(all.len() as u64 >= 2 * MESSAGES_PER_CHANGE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_replaces_a_dead_node_and_the_preferred_leads() {
    let mut cluster = Cluster::prepare_growing(4).await;
    cluster.start_node(1).await;
    let (root, _) = cluster.administrator().await;
    for node in 2..=3 {
        join(&cluster, &root, node).await;
        let members: Vec<u64> = (1..=node).collect();
        voters_are(&cluster, 1, u32::try_from(node).unwrap(), &members).await;
    }
    let dead = cluster.a_follower().await;
    cluster.kill(dead).await;
    let made = root.create_join_token(HOUR, false).await.unwrap();
    cluster.give_token(4, &made.token);
    cluster.let_replace(4, dead);
    cluster.start_node(4).await;
    let members: Vec<u64> = (1..=4).filter(|node| *node != dead).collect();
    voters_are(&cluster, 4, 3, &members).await;
    // The replaced node learns when it comes back that it was replaced.
    cluster.start_refused_node(dead).await;

    for preferred in [4, members[0]] {
        root.prefer_leader(preferred).await.unwrap();
        until("it leads", async || {
            let status = cluster.status(4).await;
            assert!([0, preferred].contains(&status.preferred_leader_id) || preferred != 4);
            (status.leader_id == preferred).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn read_follow_saves_learned_nodes_for_the_next_command() {
    let cluster = Cluster::prepare_growing(3).await;
    cluster.start_node(1).await;
    let (root, _) = cluster.administrator().await;
    let person = Person::new(&[cluster.endpoint(1)]);
    let mut login = person.command(&["login", "root"]);
    login.env("CONCLAVE_PASSWORD", ROOT_PASSWORD);
    run(login, b"").await.succeeded();
    // The command gets no address of a node from its environment.
    let at_home = |arguments: &[&str]| {
        let mut command = person.command(arguments);
        command.env_remove("CONCLAVE_ENDPOINTS");
        command
    };
    let mut follower = at_home(&["read", "--follow"]).spawn().unwrap();
    for node in 2..=3 {
        join(&cluster, &root, node).await;
        let members: Vec<u64> = (1..=node).collect();
        voters_are(&cluster, 1, u32::try_from(node).unwrap(), &members).await;
    }
    until("the other nodes are in the file", async || {
        let kept = fs::read_to_string(person.credentials()).ok()?;
        let known = (2..=3).all(|node| kept.contains(&cluster.endpoint(node)));
        known.then_some(())
    })
    .await;
    tolerates(&cluster, 1, 1).await;
    cluster.kill(1).await;
    let told = run(at_home(&["whoami"]), b"").await.succeeded();
    assert!(told.contains("root"), "{told}");
    follower.kill().await.unwrap();
}

/// Returns a request of a machine that guesses a token.
fn guess(number: u8) -> peer::JoinRequest {
    let mut public_key = [7; 65];
    // An uncompressed point.
    public_key[0] = 4;
    peer::JoinRequest {
        request_id: vec![number; 16].into(),
        credential: Some(peer::join_request::Credential::TokenSecret(
            vec![number; 32].into(),
        )),
        peer_address: format!("127.0.0.1:{}", 1000 + u16::from(number)),
        client_address: format!("127.0.0.1:{}", 2000 + u16::from(number)),
        public_key: public_key.to_vec().into(),
        oldest_version: 1,
        newest_version: 99,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessed_tokens_fill_no_log_and_keep_no_machine_out() {
    const GUESSERS: u8 = 10;
    const GUESSES: u8 = 10;
    let cluster = Cluster::prepare_growing(2).await;
    cluster.start_node(1).await;
    let (root, _) = cluster.administrator().await;
    let made = root.create_join_token(HOUR, true).await.unwrap();
    let config = forger::config(&cluster.secret(), None);
    let address = cluster.peer_address(1);
    let last = async || {
        let status = cluster.status(1).await;
        status.nodes[0].log_index_last
    };
    let before = last().await;
    let guessers = (0..GUESSERS).map(|guesser| {
        let channel = forger::channel(&config, &address, ANY_PEER);
        async move {
            let mut service = JoinServiceClient::new(channel);
            let mut refused = 0;
            for number in 0..GUESSES {
                let guess = guess(guesser * GUESSES + number);
                // As often as the node asks to try again.
                loop {
                    let status = service.join(guess.clone()).await.expect_err("it is wrong");
                    let problem = Problem::from_status(&status).expect("it says why");
                    if problem != Problem::Busy {
                        assert_eq!(problem.reason().to_string(), "JOIN_TOKEN_INVALID");
                        refused += 1;
                        break;
                    }
                    sleep(BUSY_PAUSE).await;
                }
            }
            refused
        }
    });
    let refused: usize = join_all(guessers).await.into_iter().sum();
    assert_eq!(refused, usize::from(GUESSERS) * usize::from(GUESSES));
    // The node itself has an entry made now and then.
    let grown = last().await - before;
    assert!(grown < refused as u64 / 2, "{grown} entries");
    // While four guesses are looked up at a time, a machine with a right token joins.
    let floods: Vec<_> = (0..GUESSERS)
        .map(|guesser| {
            let channel = forger::channel(&config, &address, ANY_PEER);
            tokio::spawn(async move {
                let mut service = JoinServiceClient::new(channel);
                loop {
                    let answer = service.join(guess(guesser)).await;
                    assert!(answer.is_err(), "it is wrong");
                    sleep(BUSY_PAUSE).await;
                }
            })
        })
        .collect();
    cluster.give_token(2, &made.token);
    cluster.start_node(2).await;
    voters_are(&cluster, 1, 1, &[1, 2]).await;
    let log = cluster.log(2);
    assert!(!log.contains("waiting to join the cluster"), "{log}");
    for flood in floods {
        assert!(!flood.is_finished(), "it goes on");
        flood.abort();
    }
}
