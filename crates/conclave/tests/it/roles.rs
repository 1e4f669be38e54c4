//! Calls at the port for peers by machines that are not what they claim to be: each of them makes
//! every call that the port has.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_client::{Client, Freshness, v1};
use conclave_core::{AccountId, LoginKeys, NodeId, OnceId, SessionLabel, ThrottleKey, TokenHash};
use conclave_server::ClusterSecret;
use conclave_wire::{
    DESCRIPTORS, Problem,
    batch::encode_command,
    peer::{Envelope, ForwardRequest, peer_service_client::PeerServiceClient},
    request::{self, SessionRequest as _},
};
use futures::future::join_all;
use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage as _, Value,
};
use rustls::{ClientConfig, pki_types::CertificateDer};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    time::timeout,
};
use tonic::{Request, Status, transport::Channel};

use crate::{
    command::{ANY_PORT, program},
    damage_edges::hurt_log,
    foreign::call_with_bytes,
    forger::{self, ANY_PEER, Forger, Use},
    support::{Cluster, PATIENCE, until},
    witness::{PASSWORD, client_of, person, sign_up, stranger_at},
};

const HOUR: Duration = Duration::from_secs(3600);
/// Log line of a node that refuses a call.
const REFUSED: &str = "a call for peers was refused";
/// Calls that a machine without a certificate may make: their permission is in the request.
pub(crate) const FOR_ALL: [&str; 2] = ["Introduce", "Join"];
/// Calls that a member without a vote may make by itself.
const FOR_LEARNERS: [&str; 11] = [
    "Announce",
    "CheckNode",
    "DescribeCluster",
    "DigestRows",
    "Forward",
    "GetDigests",
    "GetNodeStatus",
    "ReadIndex",
    "RenewCertificates",
    "Gossip",
    "OfferSession",
];
/// Reasons of refusals that depend on the caller.
const ROLE_REASONS: [&str; 3] = ["NODE_RETIRED", "NOT_A_PEER", "PEER_ROLE"];

/// Returns every call of the port, and the type of its request.
fn calls() -> Vec<(String, MessageDescriptor)> {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let services = pool.services();
    let of_peers = services.filter(|service| service.package_name() == "conclave.peer.v1");
    let calls = of_peers.flat_map(|service| {
        let methods = service.methods();
        let call = |method: prost_reflect::MethodDescriptor| {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            (path, method.input())
        };
        methods.map(call).collect::<Vec<_>>()
    });
    calls.collect()
}

/// Returns a message of this type from `source` to `target`, valid but without content.
fn message(kind: &MessageDescriptor, cluster: &str, source: u64, target: u64) -> DynamicMessage {
    let mut message = DynamicMessage::new(kind.clone());
    if let Some(field) = kind.get_field_by_name("envelope") {
        let prost_reflect::Kind::Message(envelope) = field.kind() else {
            panic!("an envelope is a message");
        };
        let mut filled = DynamicMessage::new(envelope);
        filled.set_field_by_name("cluster_id", Value::String(cluster.to_owned()));
        filled.set_field_by_name("source_node_id", Value::U64(source));
        filled.set_field_by_name("target_node_id", Value::U64(target));
        message.set_field(&field, Value::Message(filled));
    }
    if let Some(field) = kind.get_field_by_name("header") {
        let prost_reflect::Kind::Message(header) = field.kind() else {
            panic!("a header is a message");
        };
        let filled = self::message(&header, cluster, source, target);
        message.set_field(&field, Value::Message(filled));
    }
    if kind.name() == "ChangeMembersRequest" && kind.package_name() == "conclave.peer.v1" {
        let field = kind.get_field_by_name("request").unwrap();
        let prost_reflect::Kind::Message(request) = field.kind() else {
            panic!("a request is a message");
        };
        let mut filled = DynamicMessage::new(request);
        filled.set_field_by_name("promote_node_id", Value::U64(source));
        message.set_field(&field, Value::Message(filled));
    }
    assert_eq!(message.descriptor(), *kind);
    message
}

/// Makes every call twice; returns the names of the calls that were refused because of the caller,
/// each with the reason.
pub(crate) async fn refused_calls(
    channel: &Channel,
    cluster: &str,
    source: u64,
    target: u64,
) -> Vec<(String, String)> {
    use prost_reflect::prost::Message as _;
    let mut refused = Vec::new();
    for (path, kind) in calls() {
        let name = path.rsplit('/').next().unwrap().to_owned();
        let bytes = message(&kind, cluster, source, target).encode_to_vec();
        // The paths live as long as the tests.
        let path: &'static str = path.leak();
        for _ in 0..2 {
            let answer = call_with_bytes(channel, path, "none", bytes.clone()).await;
            let reason = answer.err().and_then(|status| reason_of(&status));
            if let Some(reason) = reason.filter(|reason| ROLE_REASONS.contains(&&**reason)) {
                refused.push((name.clone(), reason));
            }
        }
    }
    refused
}

fn reason_of(status: &Status) -> Option<String> {
    Problem::from_status(status).map(|problem| problem.reason().to_string())
}

fn all_names() -> BTreeSet<String> {
    let names = calls().into_iter();
    names
        .map(|(path, _)| path.rsplit('/').next().unwrap().to_owned())
        .collect()
}

/// Checks that all calls but `allowed` were refused both times, with this reason.
#[track_caller]
pub(crate) fn all_were_refused_but(refused: &[(String, String)], allowed: &[&str], reason: &str) {
    for name in all_names() {
        let reasons: Vec<&str> = refused
            .iter()
            .filter(|(call, _)| *call == name)
            .map(|(_, reason)| reason.as_str())
            .collect();
        match allowed.contains(&&*name) {
            true => assert!(reasons.is_empty(), "{name}: {reasons:?}"),
            false => assert_eq!(reasons, [reason; 2], "{name}"),
        }
    }
}

/// Returns the certificate from the directory of a node without the authority's key: what a thief
/// gets.
pub(crate) fn stolen(directory: &Path, secret: &ClusterSecret) -> Arc<ClientConfig> {
    let (chain, key) = stolen_pair(directory);
    forger::config_with(secret, chain, key)
}

/// Returns the same as a chain and a key in PKCS #8.
pub(crate) fn stolen_pair(directory: &Path) -> (Vec<CertificateDer<'static>>, Vec<u8>) {
    let first = |file: &str| {
        let text = std::fs::read_to_string(directory.join(file)).unwrap();
        let values = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
        values.into_iter().next().unwrap().unwrap()
    };
    let bytes = |value: &serde_json::Value| URL_SAFE_NO_PAD.decode(value.as_str().unwrap());
    let key = bytes(&first("node.key")).unwrap();
    let certificates = first("certificates.json");
    let chain = ["peer", "authority"].map(|part| bytes(&certificates[part]).unwrap().into());
    (chain.to_vec(), key)
}

/// Starts a cluster of three with a learner that joined with a token: node 4.
async fn with_a_learner() -> (Cluster, Client) {
    let cluster = Cluster::prepare_with_places(4, 3).await;
    let root = with_a_learner_in(&cluster).await;
    (cluster, root)
}

/// Starts this cluster, which has four places, in the same way; returns its operator.
pub(crate) async fn with_a_learner_in(cluster: &Cluster) -> Client {
    join_all((1..=3).map(|node| cluster.start_node(node))).await;
    let root = cluster.operator_client().await;
    let token = root.create_join_token(HOUR, true).await.unwrap().token;
    cluster.give_token(4, &token);
    cluster.start_node(4).await;
    cluster.all_rejoined().await;
    until("the learner is a member", async || {
        let status = cluster.status(1).await;
        (status.nodes.len() == 4).then_some(())
    })
    .await;
    root
}

#[tokio::test(flavor = "multi_thread")]
async fn the_peer_port_refuses_callers_without_a_certificate() {
    let cluster = Cluster::start(1).await;
    let secret = cluster.secret();
    let config = forger::config(&secret, None);
    let channel = forger::channel(&config, &cluster.peer_address(1), ANY_PEER);
    let refused = refused_calls(&channel, &cluster.name().await, 1, 1).await;
    all_were_refused_but(&refused, &FOR_ALL, "NOT_A_PEER");
    assert_eq!(cluster.log(1).matches(REFUSED).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_has_no_secret_and_cannot_act_for_other_nodes() {
    let (cluster, root) = with_a_learner().await;
    let directory = cluster.directory(4);
    for file in ["secret", "secret.copy"] {
        assert!(!directory.join(file).exists(), "a learner has {file}");
    }
    let secret = cluster.secret();
    let leader = cluster.leader().await;
    let config = stolen(&directory, &secret);
    let address = cluster.peer_address(leader);
    let channel = forger::channel(&config, &address, ANY_PEER);
    let cluster_id = cluster.name().await;
    let refused = refused_calls(&channel, &cluster_id, 4, leader).await;
    let allowed = [&FOR_ALL[..], &FOR_LEARNERS].concat();
    all_were_refused_but(&refused, &allowed, "PEER_ROLE");
    let log = cluster.log(leader);
    assert_eq!(log.matches(", which may not call ").count(), 7, "{log}");
    // The learner may not act as another node either.
    let refused = refused_calls(&channel, &cluster_id, 1, leader).await;
    assert!(
        refused
            .iter()
            .any(|(name, reason)| name == "Forward" && reason == "NOT_A_PEER")
    );

    let remove = v1::ChangeMembersRequest {
        change: Some(v1::change_members_request::Change::RemoveNodeId(4)),
        ..Default::default()
    };
    root.change_members(remove).await.unwrap();
    cluster.ends(4).await;
    until("the leader knows of it", async || {
        let refused = refused_calls(&channel, &cluster_id, 4, leader).await;
        let knows = refused.iter().any(|(_, reason)| reason == "NODE_RETIRED");
        knows.then_some(())
    })
    .await;
    // On the connection from before, and on a new one.
    for channel in [channel, forger::channel(&config, &address, ANY_PEER)] {
        let refused = refused_calls(&channel, &cluster_id, 4, leader).await;
        let allowed = [&FOR_ALL[..], &["DescribeCluster"]].concat();
        all_were_refused_but(&refused, &allowed, "NODE_RETIRED");
    }
    let line = "node 4 was removed";
    assert_eq!(cluster.log(leader).matches(line).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_forwarded_by_a_learner_needs_its_session_token() {
    let (cluster, _) = with_a_learner().await;
    let (alice, bob) = (
        sign_up(&cluster.client(), "alice").await,
        sign_up(&cluster.client(), "bob").await,
    );
    // People who know only the learner talk as at any node, and log in at the nodes to which they
    // are redirected.
    let at_learner = client_of(&cluster.endpoint(4), &alice.token);
    at_learner
        .send(&person("bob"), "by a learner")
        .await
        .unwrap();
    let sent_on = stranger_at(&cluster.endpoint(4));
    sent_on.login("alice", PASSWORD).await.unwrap();

    let secret = cluster.secret();
    let leader = cluster.leader().await;
    let config = stolen(&cluster.directory(4), &secret);
    let channel = forger::channel(&config, &cluster.peer_address(leader), ANY_PEER);
    let mut peers = PeerServiceClient::new(channel);
    let session = bob.session;
    let send = v1::SendMessageRequest {
        request: Some(v1::RequestId {
            number: 1,
            ..Default::default()
        }),
        to: Some(v1::send_message_request::To::RecipientName(
            "alice".to_owned(),
        )),
        text: "I am bob".to_owned(),
        ..Default::default()
    };
    let for_bob = send.into_command(session).unwrap();
    let key = ThrottleKey([7; 16]);
    let keys = LoginKeys {
        account: key,
        address: key,
        pair: key,
        device: None,
        session: None,
    };
    let log_in = request::open_session(
        OnceId([7; 16]),
        AccountId(bob.account.id),
        1,
        TokenHash([7; 32]),
        SessionLabel::new("thief".to_owned()).unwrap(),
        keys,
        None,
    );
    let guess = request::try_password(OnceId([9; 16]), keys);
    let retire = request::retire_node(OnceId([8; 16]), NodeId(1));
    for command in [&for_bob, &log_in, &guess, &retire] {
        // With no token, with the token of another account, and with one that was never issued.
        for token in ["", &alice.token, &"A".repeat(43)] {
            let mut asked = Request::new(ForwardRequest {
                envelope: Some(Envelope {
                    cluster_id: cluster.name().await,
                    source_node_id: 4,
                    target_node_id: leader,
                    ..Envelope::default()
                }),
                commands: vec![encode_command(command)],
            });
            if !token.is_empty() {
                let shown = format!("Bearer {token}").parse().unwrap();
                asked.metadata_mut().insert("authorization", shown);
            }
            let refused = peers.forward(asked).await.expect_err("it is not trusted");
            let reason = reason_of(&refused).unwrap();
            assert!(
                ["PEER_ROLE", "SESSION_EXPIRED"].contains(&&*reason),
                "{reason}"
            );
        }
    }
    let line = "not of the session whose token came with it";
    assert_eq!(cluster.log(leader).matches(line).count(), 1);
    let bob = client_of(&cluster.endpoint(leader), &bob.token);
    let heard = bob.unread(10, Freshness::Linearizable).await.unwrap();
    assert_eq!(heard.len(), 1, "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_non_member_with_a_certificate_may_only_ask_for_node_status() {
    let cluster = Cluster::start(1).await;
    let secret = cluster.secret();
    let name = format!("node-9.peer.{}.conclave.internal", secret.cluster_id());
    let pair = Forger::knowing(&secret).issue(&[ANY_PEER, &name], Use::Peer);
    let config = forger::config(&secret, Some(&pair));
    let channel = forger::channel(&config, &cluster.peer_address(1), ANY_PEER);
    let refused = refused_calls(&channel, &cluster.name().await, 9, 1).await;
    let allowed = [
        &FOR_ALL[..],
        &["Announce", "DescribeCluster", "GetNodeStatus"],
    ]
    .concat();
    all_were_refused_but(&refused, &allowed, "PEER_ROLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_the_authority_key_with_its_vote_and_serves_joins() {
    let cluster = Cluster::prepare_growing(3).await;
    cluster.start_node(1).await;
    let root = cluster.operator_client().await;
    let token = root.create_join_token(HOUR, false).await.unwrap().token;
    cluster.give_token(2, &token);
    cluster.start_node(2).await;
    until("it votes and has the key", async || {
        let status = cluster.status(1).await;
        let has_key = cluster.directory(2).join("secret").exists();
        (status.voters == 2 && has_key).then_some(())
    })
    .await;
    until("it asks for its vote no more", async || {
        let has_its_place = cluster.log(2).contains("this node has joined the cluster");
        has_its_place.then_some(())
    })
    .await;
    // Without a vote the node does not keep the key; with a vote it gets the key again.
    for vote in [false, true] {
        let change = match vote {
            true => v1::change_members_request::Change::PromoteNodeId(2),
            false => v1::change_members_request::Change::DemoteNodeId(2),
        };
        let change = v1::ChangeMembersRequest {
            change: Some(change),
            ..Default::default()
        };
        until("the vote is changed", async || {
            root.change_members(change.clone()).await.ok()
        })
        .await;
        until("the key follows the vote", async || {
            let files = ["secret", "secret.copy"].map(|file| cluster.directory(2).join(file));
            files.iter().all(|file| file.exists() == vote).then_some(())
        })
        .await;
    }
    // The node that admitted it is not needed any more.
    until("the first is let go", async || {
        let remove = v1::ChangeMembersRequest {
            change: Some(v1::change_members_request::Change::RemoveNodeId(1)),
            ..Default::default()
        };
        root.change_members(remove).await.ok()
    })
    .await;
    cluster.ends(1).await;
    let made = root.create_join_token(HOUR, true).await.unwrap();
    assert_eq!(made.peer_addresses, [cluster.peer_address(2)]);
    let joining = ["serve", "--plain", "--join", &cluster.peer_address(2)];
    let directory = cluster.directory(3).display().to_string();
    let third = program(&joining)
        .args(["--token", &made.token, "--data", &directory])
        .args(["--client-address", &cluster.endpoint(3)])
        .args(["--peer-address", &cluster.peer_address(3)])
        .spawn()
        .unwrap();
    until("it is let in", async || {
        let status = cluster.status(2).await;
        let nodes: Vec<u64> = status.nodes.iter().map(|node| node.node_id).collect();
        (nodes == [2, 3]).then_some(())
    })
    .await;
    // A learner admits no machine: the joining machine does not even send its token to it.
    let token = root.create_join_token(HOUR, true).await.unwrap().token;
    let elsewhere = cluster.directory(3).with_extension("other");
    let mut fourth = program(&["serve", "--plain", "--join", &cluster.peer_address(3)])
        .args(["--token", &token, "--data", elsewhere.to_str().unwrap()])
        .args(["--client-address", ANY_PORT, "--peer-address", ANY_PORT])
        .spawn()
        .unwrap();
    let mut said = BufReader::new(fourth.stderr.take().unwrap()).lines();
    loop {
        let line = timeout(PATIENCE, said.next_line())
            .await
            .expect("it says why");
        let line = line.unwrap().expect("it goes on asking");
        if line.contains("waiting to join the cluster") {
            break;
        }
    }
    assert_eq!(cluster.status(2).await.nodes.len(), 2);
    for mut process in [third, fourth] {
        process.kill().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_learner_rejoins_as_a_learner_by_its_certificate() {
    let (cluster, _) = with_a_learner().await;
    cluster.stop(4).await;
    let key = std::fs::read(cluster.directory(4).join("node.key")).unwrap();
    hurt_log(&cluster.directory(4));
    cluster.start_node(4).await;
    until("it has its place under a new number", async || {
        let status = cluster.status(1).await;
        let nodes: Vec<u64> = status.nodes.iter().map(|node| node.node_id).collect();
        (nodes == [1, 2, 3, 5] && status.voters == 3).then_some(())
    })
    .await;
    let directory = cluster.directory(4);
    assert!(directory.join("damaged-1").exists() && !directory.join("secret").exists());
    assert_eq!(std::fs::read(directory.join("node.key")).unwrap(), key);
    // The old certificate of the node is no longer accepted.
    let log = cluster.log(4);
    assert!(log.contains("joins again under a new number"), "{log}");
}
