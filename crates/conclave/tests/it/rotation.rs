//! The cluster's secret is rotated while the cluster runs: clients notice nothing, and the old
//! secret gives no access afterwards.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use conclave_attack::any_certificate;
use conclave_client::{Client, v1};
use conclave_server::ClusterSecret;
use conclave_wire::peer::{
    Envelope, GetAuthorityKeyRequest, peer_service_client::PeerServiceClient,
};
use rustls::{
    ClientConfig, crypto::ring::default_provider, pki_types::PrivatePkcs8KeyDer, version::TLS13,
};
use serde_json::json;
use tokio::{io::AsyncReadExt as _, time::timeout};

use crate::{
    command::{Ran, program, run},
    forger::{self, ANY_PEER, Forger, Pair, Use},
    roles::{FOR_ALL, all_were_refused_but, refused_calls, stolen, with_a_learner_in},
    support::{Cluster, PATIENCE, until},
    witness::{PASSWORD, Witness, agreed_digests},
};

/// Longest pause of sends that the documents promise.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Log line of a node that refuses a connection with an old certificate.
const OLD_CERTIFICATE: &str = "its certificate is not of this cluster's authority";
/// Log line of a node that refuses an old certificate on a connection from before.
pub(crate) const FROM_BEFORE: &str = "its certificate is from before the secret was rotated";
/// File that a node has while a rotation is under way.
pub(crate) const NEXT: &str = "secret.next";

/// Runs `conclave cluster rotate-secret` with these arguments at this node.
async fn rotate(cluster: &Cluster, node: u64, arguments: &[&str]) -> Ran {
    let file = cluster.operator_file().await.display().to_string();
    let endpoint = cluster.endpoint(node);
    let asked = ["cluster", "rotate-secret", "-o", "json"];
    let mut command = program(&[&asked, arguments].concat());
    command.args(["--endpoints", &endpoint, "--operator-file", &file]);
    run(command, b"").await
}

fn ended(ran: Ran, rotations: u64) {
    let told = ran.json().remove(0);
    let expected = json!({
        "rotations": rotations, "ended": true, "under_way": false, "waiting": [], "unreachable": [],
    });
    assert_eq!(told, expected);
}

pub(crate) fn secret_in(directory: &Path) -> ClusterSecret {
    ClusterSecret::from_text(&fs::read_to_string(directory.join("secret")).unwrap()).unwrap()
}

/// Checks that all voters have the same secret, which is not `old`, and that nothing of the
/// rotation is left.
pub(crate) fn have_gone_on(cluster: &Cluster, voters: &[u64], old: &ClusterSecret) {
    let new = secret_in(&cluster.directory(voters[0]));
    assert_ne!(&new, old);
    assert_eq!(new.cluster_id(), old.cluster_id());
    for voter in voters {
        let directory = cluster.directory(*voter);
        assert_eq!(secret_in(&directory), new, "node {voter}");
        assert!(!directory.join(NEXT).exists(), "node {voter}");
        let text = new.to_text();
        let seed = text.rsplit('.').next().unwrap();
        assert!(
            !cluster.log(*voter).contains(seed),
            "the secret is in a log"
        );
        let file = fs::metadata(directory.join("secret")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_rotated_under_load_without_an_error() {
    let mut cluster = Cluster::prepare_with_places(4, 3).await;
    cluster.encrypt();
    let root = with_a_learner_in(&cluster).await;
    let old = cluster.secret();
    let witness = Witness::new();
    // Both clients have pinned the authority before; one connects again only afterwards.
    let (client, later) = (cluster.client(), cluster.client());
    let alice = witness.speaker(&client, "alice", "bob").await;
    let mut talking = alice.keep_talking();
    talking.go_on(20).await;
    let token = root.create_join_token(Duration::from_secs(600), true).await;
    assert!(token.is_ok() && root.join_tokens().await.unwrap().len() == 1);

    for rotations in 1..=2 {
        until("the rotation has ended", async || {
            let request = v1::RotateSecretRequest {
                dry_run: false,
                rotations,
            };
            let told = root.rotate_secret(request).await.unwrap();
            (told.rotations == rotations && told.waiting_node_ids.is_empty()).then_some(())
        })
        .await;
        talking.go_on(20).await;
        have_gone_on(&cluster, &[1, 2, 3], &old);
    }
    let certificates = fs::read_to_string(cluster.directory(4).join("certificates.json")).unwrap();
    assert!(
        certificates.contains("\"generation\": 2"),
        "the learner has gone on"
    );
    let tokens = root.join_tokens().await.unwrap();
    assert!(
        tokens.is_empty(),
        "a token names an authority that is worth nothing"
    );

    let bob = later.login("alice", PASSWORD).await;
    assert!(bob.is_ok(), "the pin of before holds: {bob:?}");
    let talk = talking.finish_without_error().await;
    assert!(
        talk.slowest < PAUSE_MAX,
        "sends paused for {:?}",
        talk.slowest
    );
    // What is on disk is enough.
    cluster.kill_all().await;
    cluster.start_all().await;
    let verdict = witness.judge(&cluster, &[&alice]).await;
    assert_eq!((verdict.acked, verdict.unknown), (talk.said, 0));
    agreed_digests(&cluster).await;
    // Other machines join as before.
    let made = root.create_join_token(Duration::from_secs(600), true).await;
    assert!(made.is_ok(), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_completes_whenever_its_leader_dies() {
    let cluster = Cluster::start(3).await;
    let old = cluster.secret();
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    // The leader dies when it has made the secret, and when other nodes have got it.
    for (round, seen) in [(1, 1), (2, 2), (3, 3)] {
        let leader = cluster.leader().await;
        let others = cluster.nodes().into_iter().filter(|node| *node != leader);
        let asked = others.clone().next().unwrap();
        let order: Vec<u64> = [leader].into_iter().chain(others).collect();
        let watched: Vec<_> = order[..seen]
            .iter()
            .map(|node| cluster.directory(*node))
            .collect();
        let before = secret_in(&cluster.directory(leader));
        let killing = async {
            until("the rotation has come so far", async || {
                let has = |directory: &std::path::PathBuf| {
                    directory.join(NEXT).exists() || secret_in(directory) != before
                };
                watched.iter().all(has).then_some(())
            })
            .await;
            cluster.kill(leader).await;
        };
        let impatient = ["--wait", "1"];
        let (ran, ()) = tokio::join!(rotate(&cluster, asked, &impatient), killing);
        if ran.code != Some(0) {
            assert!(ran.stderr.contains("hint: "), "{ran:?}");
        }
        cluster.start_node(leader).await;
        // The rotation continues by itself under any leader.
        until("it has ended", async || {
            let told = rotate(&cluster, asked, &["--dry-run"]).await;
            let told = told
                .code
                .filter(|code| *code == 0)
                .map(|_| told.json().remove(0))?;
            let is_over = told["rotations"] == json!(round)
                && told["under_way"] == json!(false)
                && told["waiting"] == json!([])
                && told["unreachable"] == json!([]);
            is_over.then_some(())
        })
        .await;
        have_gone_on(&cluster, &[1, 2, 3], &before);
        talking.go_on(10).await;
    }
    have_gone_on(&cluster, &[1, 2, 3], &old);
    let talk = talking.finish().await;
    alice.settle(&talk.unsaid).await;
    witness.judge(&cluster, &[&alice]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_leaves_no_member_behind_and_resumes_after_a_kill() {
    let cluster = Cluster::start(3).await;
    let root = cluster.operator_client().await;
    let old = cluster.secret();
    let away = cluster.a_follower().await;
    let asked = cluster.leader().await;
    cluster.kill(away).await;
    // No rotation begins while a node is down that could not follow it.
    let sentence = format!("node {away} does not answer: nothing was changed");
    rotate(&cluster, asked, &[]).await.failed(69, &sentence);
    let told = rotate(&cluster, asked, &["--dry-run"])
        .await
        .json()
        .remove(0);
    assert_eq!(
        (&told["under_way"], &told["unreachable"]),
        (&json!(false), &json!([away]))
    );
    assert_eq!(secret_in(&cluster.directory(asked)), old);
    cluster.start_node(away).await;
    cluster.all_rejoined().await;

    // The node ends as soon as it is prepared, and is down while the others continue.
    let killing = async {
        until("it is prepared", async || {
            let directory = cluster.directory(away);
            (directory.join(NEXT).exists() || secret_in(&directory) != old).then_some(())
        })
        .await;
        cluster.kill(away).await;
    };
    let (ran, ()) = tokio::join!(rotate(&cluster, asked, &["--wait", "2"]), killing);
    let has_ended = ran.code == Some(0);
    if !has_ended {
        ran.failed(69, &format!("the rotation waits for node {away}"));
    }
    cluster.start_node(away).await;
    cluster.all_rejoined().await;
    until("all have gone on", async || {
        let told = rotate(&cluster, away, &["--dry-run"]).await;
        let told = told
            .code
            .filter(|code| *code == 0)
            .map(|_| told.json().remove(0))?;
        (told["rotations"] == json!(1) && told["waiting"] == json!([])).then_some(())
    })
    .await;
    have_gone_on(&cluster, &[1, 2, 3], &old);

    // A node that is removed while it is down learns why it cannot come back.
    cluster.kill(away).await;
    let remove = v1::ChangeMembersRequest {
        change: Some(v1::change_members_request::Change::RemoveNodeId(away)),
        ..Default::default()
    };
    root.change_members(remove).await.unwrap();
    ended(rotate(&cluster, asked, &[]).await, 2);
    let _ = cluster.try_start_node(away).await;
    until("it says what to do", async || {
        let log = cluster.log(away);
        let says_so = log.contains("the cluster's secret was rotated without this machine");
        (says_so && log.contains("conclave token create")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_kept_by_a_removed_voter_is_useless_after_rotation() {
    let cluster = Cluster::start(4).await;
    let root = cluster.operator_client().await;
    let cluster_id = cluster.name().await;
    let removed = cluster.a_follower().await;
    let kept = secret_in(&cluster.directory(removed));
    let remove = v1::ChangeMembersRequest {
        change: Some(v1::change_members_request::Change::RemoveNodeId(removed)),
        ..Default::default()
    };
    root.change_members(remove).await.unwrap();
    cluster.ends(removed).await;
    let voters: Vec<u64> = cluster
        .nodes()
        .into_iter()
        .filter(|n| *n != removed)
        .collect();

    // With the stored secret the node can act as any voter, and gets whatever a voter gets.
    let leader = cluster.leader().await;
    let other = *voters.iter().find(|node| **node != leader).unwrap();
    let config = thief(&pair_of(&kept, other));
    let before = forger::channel(&config, &cluster.peer_address(leader), ANY_PEER);
    let asked = GetAuthorityKeyRequest {
        envelope: Some(Envelope {
            cluster_id: cluster_id.clone(),
            source_node_id: other,
            target_node_id: leader,
            ..Envelope::default()
        }),
    };
    let given = PeerServiceClient::new(before.clone())
        .get_authority_key(asked)
        .await;
    assert!(given.is_ok(), "{given:?}");

    let client = cluster.client();
    ended(rotate(&cluster, other, &[]).await, 1);
    have_gone_on(&cluster, &voters, &kept);
    for node in &voters {
        for line in [FROM_BEFORE, OLD_CERTIFICATE] {
            assert!(!cluster.log(*node).contains(line), "a member was refused");
        }
    }
    // On a connection from before, the removed node is no longer a peer.
    let refused = refused_calls(&before, &cluster_id, other, leader).await;
    all_were_refused_but(&refused, &FOR_ALL, "NOT_A_PEER");
    assert_eq!(cluster.log(leader).matches(FROM_BEFORE).count(), 1);
    // It gets no new connection, whatever name it uses.
    for name in [other, removed] {
        let config = thief(&pair_of(&kept, name));
        for node in &voters {
            assert!(
                !is_heard(&config, &cluster.peer_address(*node)).await,
                "node {node}"
            );
        }
    }
    for node in &voters {
        assert_eq!(
            cluster.log(*node).matches(OLD_CERTIFICATE).count(),
            1,
            "node {node}"
        );
    }
    // No node authenticates with the old authority either.
    let trusting = forger::config(&kept, None);
    let shown = forger::connect(&trusting, &cluster.peer_address(leader), ANY_PEER).await;
    assert!(shown.is_err(), "the old authority is shown");
    talk_goes_on(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_learner_directory_is_useless_after_rotation() {
    let cluster = Cluster::prepare_with_places(4, 3).await;
    with_a_learner_in(&cluster).await;
    let old = cluster.secret();
    let leader = cluster.leader().await;
    let copy = stolen(&cluster.directory(4), &old);
    let before = forger::channel(&copy, &cluster.peer_address(leader), ANY_PEER);
    let cluster_id = cluster.name().await;
    let refused = refused_calls(&before, &cluster_id, 4, leader).await;
    let heard = refused.iter().all(|(name, _)| name != "GetNodeStatus");
    assert!(heard, "it was trusted before");
    let asked = cluster.a_follower().await;
    ended(rotate(&cluster, asked, &[]).await, 1);
    let refused = refused_calls(&before, &cluster_id, 4, leader).await;
    all_were_refused_but(&refused, &FOR_ALL, "NOT_A_PEER");
    let again = trusting_any_peer(&copy);
    assert!(!is_heard(&again, &cluster.peer_address(leader)).await);
    talk_goes_on(&cluster.client()).await;
}

/// Returns a certificate of a voter with this number, issued with this secret.
pub(crate) fn pair_of(secret: &ClusterSecret, node: u64) -> Pair {
    let name = format!("node-{node}.peer.{}.conclave.internal", secret.cluster_id());
    let names = [ANY_PEER, "key-holders.conclave.internal", &name];
    Forger::knowing(secret).issue(&names, Use::Peer)
}

/// Returns a configuration that shows this pair, and accepts any server.
pub(crate) fn thief(pair: &Pair) -> Arc<ClientConfig> {
    let key = PrivatePkcs8KeyDer::from(pair.key.serialize_der());
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(any_certificate())
        .with_client_auth_cert(pair.chain.clone(), key.into());
    Arc::new(config.unwrap())
}

fn trusting_any_peer(config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(config);
    config
        .dangerous()
        .set_certificate_verifier(any_certificate());
    Arc::new(config)
}

/// Returns whether a node sends anything after the handshake.
async fn is_heard(config: &Arc<ClientConfig>, address: &str) -> bool {
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let Ok(mut stream) = forger::connect(&Arc::new(config), address, ANY_PEER).await else {
        return false;
    };
    let heard = timeout(PATIENCE, stream.read_u8()).await;
    heard.expect("it is answered or cut").is_ok()
}

pub(crate) async fn talk_goes_on(client: &Client) {
    let witness = Witness::new();
    let carol = witness.speaker(client, "carol", "dave").await;
    assert!(carol.say().await.is_ok());
}
