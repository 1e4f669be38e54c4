//! Rotations of the secret in which one step takes long: a disk that refuses a file, a machine that
//! comes or goes in the middle. No member is refused by another one, and none is left behind.
//!
//! The tests hold a node at one step for as long as they need, so that none of them depends on how
//! fast the others are.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_client::{Client, v1};
use conclave_server::ClusterSecret;
use conclave_wire::{
    Problem,
    peer::{
        Envelope, GetNodeStatusRequest, JoinRequest, PrepareRotationRequest, join_request,
        join_service_client::JoinServiceClient, peer_service_client::PeerServiceClient,
        prepare_rotation_request::Means,
    },
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustix::fs::{Mode, OFlags, open};
use tonic::transport::Channel;

use crate::{
    forger::{self, ANY_PEER},
    roles::{FOR_ALL, all_were_refused_but, refused_calls, with_a_learner_in},
    rotation::{FROM_BEFORE, NEXT, have_gone_on, pair_of, secret_in, talk_goes_on, thief},
    support::{Cluster, PATIENCE, until},
    witness::{Witness, agreed_digests, client_of},
};

/// Log line of a node that trusts the new authority alone.
const GONE_ON: &str = "the secret of the cluster was rotated";
/// File of a node without a vote while a rotation is under way.
const NEXT_OF_OTHERS: &str = "certificates.next.json";
/// Files that a node writes first when it goes on: a voter, and any other node.
const OF_VOTERS: &str = "secret.copy";
const OF_OTHERS: &str = "certificates.json";

/// A file that a node cannot write, as on a disk that fails: its draft is in the way.
struct Refused(PathBuf);

impl Refused {
    fn new(cluster: &Cluster, node: u64, file: &str) -> Self {
        let draft = cluster.directory(node).join(format!("{file}.new"));
        fs::create_dir(&draft).unwrap();
        Self(draft)
    }

    fn end(self) {
        fs::remove_dir(self.0).unwrap();
    }
}

/// A file whose readers wait until they are given its content.
struct Held {
    file: PathBuf,
    aside: PathBuf,
}

impl Held {
    fn new(file: PathBuf) -> Self {
        let aside = file.with_extension("aside");
        fs::rename(&file, &aside).unwrap();
        let made = Command::new("mkfifo").arg(&file).status().unwrap();
        assert!(made.success());
        Self { file, aside }
    }

    /// Waits until a reader waits.
    async fn is_read(&self) -> File {
        until("it is read", async || {
            // It can be opened only if there is a reader.
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let opened = open(self.file.as_path(), flags, Mode::empty());
            opened.ok().map(File::from)
        })
        .await
    }

    /// Gives the content to the reader, and to all others from now on.
    fn end(self, mut reader: File) {
        let content = fs::read(&self.aside).unwrap();
        fs::rename(&self.aside, &self.file).unwrap();
        reader.write_all(&content).unwrap();
    }
}

/// Returns the leader, which leads again if another node has led for a moment: a node that is held
/// at a step would hold the rotation as its leader.
async fn settled_leader(cluster: &Cluster, root: &Client) -> u64 {
    let leader = cluster.leader().await;
    root.prefer_leader(leader).await.unwrap();
    leader
}

/// Begins the first rotation.
async fn begin(root: &Client) {
    let request = v1::RotateSecretRequest {
        dry_run: false,
        rotations: 1,
    };
    let told = root.rotate_secret(request).await.unwrap();
    assert!(told.under_way || told.rotations == 1, "{told:?}");
}

/// Waits until the rotation has ended and all members have gone on.
async fn all_have_gone_on(root: &Client) {
    until("all have gone on", async || {
        let request = v1::RotateSecretRequest {
            dry_run: true,
            rotations: 0,
        };
        let told = root.rotate_secret(request).await.ok()?;
        let is_over = told.rotations == 1
            && !told.under_way
            && told.waiting_node_ids.is_empty()
            && told.unreachable_node_ids.is_empty();
        is_over.then_some(())
    })
    .await;
}

async fn logs(cluster: &Cluster, node: u64, line: &str) {
    until(line, async || {
        cluster.log(node).contains(line).then_some(())
    })
    .await;
}

/// Waits until a leader has tried to prepare this node, and could not.
async fn waits_for(cluster: &Cluster, node: u64) {
    let line = format!("the rotation of the secret waits reason=node {node}: ");
    until("it could not be prepared", async || {
        let nodes = cluster.nodes().into_iter();
        let mut logs = nodes.map(|node| cluster.log(node));
        logs.any(|log| log.contains(&line)).then_some(())
    })
    .await;
}

/// Returns how many nodes refused a member, as the logs say.
fn refusals(cluster: &Cluster) -> usize {
    let logs = cluster.nodes().into_iter().map(|node| cluster.log(node));
    logs.map(|log| log.matches(FROM_BEFORE).count()).sum()
}

/// Waits until all members answer this node.
async fn reaches_all(cluster: &Cluster, node: u64) {
    until("all members answer it", async || {
        let status = cluster.try_status(node).await?;
        let all = cluster.nodes().len();
        let reached = status.nodes.iter().filter(|node| node.reachable).count();
        (reached == all).then_some(())
    })
    .await;
}

/// Returns the first value in a file that ends with its checksum.
fn first_in(file: &Path) -> Option<serde_json::Value> {
    let text = fs::read_to_string(file).ok()?;
    let mut values = serde_json::Deserializer::from_str(&text).into_iter();
    values.next()?.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_hear_those_that_go_on_later_than_they_do() {
    let cluster = Cluster::prepare_with_places(4, 3).await;
    let root = with_a_learner_in(&cluster).await;
    let old = cluster.secret();
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;

    // The learner cannot be prepared. The others are, and can only show it what it trusts.
    let unprepared = Refused::new(&cluster, 4, NEXT_OF_OTHERS);
    begin(&root).await;
    let impostor = Impostor::new(&cluster, &old, 1).await;
    for node in [1, 2, 3] {
        impostor.waits_until_prepared(node).await;
        reaches_all(&cluster, node).await;
    }
    // Nor does it take another one, from a machine that passes for the leader.
    until("what was not announced is refused", async || {
        let why = impostor.refusal(4, vec![9; 32]).await;
        let refused = why.contains("the log has not announced this authority");
        refused.then_some(())
    })
    .await;
    until("another secret in its name is refused", async || {
        let announced = impostor.waits_until_prepared(2).await;
        let why = impostor.refusal(4, announced).await;
        let refused = why.contains("it is not of the authority that was announced");
        refused.then_some(())
    })
    .await;
    waits_for(&cluster, 4).await;
    for voter in [1, 2, 3] {
        assert_eq!(secret_in(&cluster.directory(voter)), old, "node {voter}");
    }

    // Now it can, and goes on alone, because the disks of the others refuse to be written.
    let disks = [1, 2, 3].map(|node| Refused::new(&cluster, node, OF_VOTERS));
    // A rotation that another leader has begun anew may have refused some.
    let before = refusals(&cluster);
    unprepared.end();
    logs(&cluster, 4, GONE_ON).await;
    let at = |node: u64| alice.through(&client_of(&cluster.endpoint(node), &alice.token));
    let go_on = async || {
        for node in [1, 2, 3, 4] {
            reaches_all(&cluster, node).await;
            at(node).say().await.unwrap();
        }
        // Also that one gets every entry.
        agreed_digests(&cluster).await;
        assert_eq!(refusals(&cluster), before, "a member was refused");
    };
    go_on().await;

    // The leader dies just then, and comes back before it has gone on.
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    cluster.leader().await;
    for node in (1..=4).filter(|node| *node != leader) {
        if let Err(unsaid) = at(node).say().await {
            alice.settle(&[unsaid]).await;
        }
    }
    cluster.start_node(leader).await;
    cluster.all_rejoined().await;
    go_on().await;
    for voter in [1, 2, 3] {
        let directory = cluster.directory(voter);
        assert_eq!(secret_in(&directory), old, "node {voter}");
        assert!(directory.join(NEXT).exists(), "node {voter}");
    }

    for disk in disks {
        disk.end();
    }
    all_have_gone_on(&root).await;
    have_gone_on(&cluster, &[1, 2, 3], &old);
    go_on().await;
    // The learner has got certificates, and no secret.
    let learner = cluster.directory(4);
    assert_eq!(first_in(&learner.join(OF_OTHERS)).unwrap()["generation"], 1);
    assert!(!learner.join("secret").exists() && !learner.join(NEXT).exists());
    witness.judge(&cluster, &[&alice]).await;
}

/// A machine with the secret of a cluster, which passes for its voter `as_node`.
struct Impostor<'c> {
    cluster: &'c Cluster,
    cluster_id: String,
    secret: ClusterSecret,
    as_node: u64,
}

impl<'c> Impostor<'c> {
    async fn new(cluster: &'c Cluster, secret: &ClusterSecret, as_node: u64) -> Self {
        Self {
            cluster,
            cluster_id: cluster.name().await,
            secret: secret.clone(),
            as_node,
        }
    }

    /// Returns a connection to this node.
    fn connect_to(&self, node: u64) -> Channel {
        let config = thief(&pair_of(&self.secret, self.as_node));
        forger::channel(&config, &self.cluster.peer_address(node), ANY_PEER)
    }

    fn envelope(&self, node: u64) -> Option<Envelope> {
        Some(Envelope {
            cluster_id: self.cluster_id.clone(),
            source_node_id: self.as_node,
            target_node_id: node,
            ..Envelope::default()
        })
    }

    /// Returns the authority for which this node is prepared, if it is.
    async fn prepared(&self, channel: Channel, node: u64) -> Option<Vec<u8>> {
        let envelope = self.envelope(node);
        let asked = GetNodeStatusRequest { envelope };
        let told = PeerServiceClient::new(channel).get_node_status(asked).await;
        let id = told.ok()?.into_inner().prepared_authority_sha256;
        (id.len() == 32).then(|| id.to_vec())
    }

    /// Waits until this node is prepared for the next authority, and returns which that is.
    async fn waits_until_prepared(&self, node: u64) -> Vec<u8> {
        until("it is prepared", async || {
            self.prepared(self.connect_to(node), node).await
        })
        .await
    }

    /// Returns why this node, which is not prepared, refuses to be prepared for this authority with
    /// a secret of the impostor's own.
    async fn refusal(&self, node: u64, authority: Vec<u8>) -> String {
        let mut own = URL_SAFE_NO_PAD.decode(self.secret.to_text()).unwrap();
        own.extend(1_u64.to_be_bytes());
        own.extend([7; 32]);
        let request = PrepareRotationRequest {
            envelope: self.envelope(node),
            authority_sha256: authority.into(),
            means: Some(Means::ClusterSecret(own.into())),
            connect_anew: false,
        };
        let mut peer = PeerServiceClient::new(self.connect_to(node));
        let refused = peer.prepare_rotation(request).await.unwrap_err();
        Problem::from_status(&refused).unwrap().to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_joins_during_a_rotation_is_not_left_behind() {
    let cluster = Cluster::prepare_with_places(5, 3).await;
    let root = with_a_learner_in(&cluster).await;
    let token = root.create_join_token(PATIENCE, true).await.unwrap().token;
    // The leader has asked all members, and one of them takes long to answer.
    let key = Held::new(cluster.directory(4).join("node.key"));
    begin(&root).await;
    let reader = key.is_read().await;
    cluster.give_token(5, &token);
    let is_member = async {
        until("the machine is a member", async || {
            let status = cluster.try_status(1).await?;
            (status.nodes.len() == 5).then_some(())
        })
        .await;
        key.end(reader);
    };
    tokio::join!(cluster.start_node(5), is_member);
    all_have_gone_on(&root).await;
    reaches_all(&cluster, 5).await;
    let certificates = first_in(&cluster.directory(5).join(OF_OTHERS)).unwrap();
    assert_eq!(certificates["generation"], 1);
    // What is on disk is enough.
    cluster.kill(5).await;
    cluster.start_node(5).await;
    reaches_all(&cluster, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_admits_no_machine_under_the_old_authority() {
    let cluster = Cluster::start(3).await;
    let operator = cluster.operator().await;
    let root = cluster.client().with_operator(&operator);
    let old = cluster.secret();
    let slow = cluster.a_follower().await;
    let disk = Refused::new(&cluster, slow, OF_VOTERS);
    begin(&root).await;
    let others: Vec<u64> = cluster.nodes().into_iter().filter(|n| *n != slow).collect();
    for node in &others {
        logs(&cluster, *node, GONE_ON).await;
    }
    let hour = Duration::from_secs(3600);
    let at = |node: u64| {
        let client = Client::builder().endpoints([cluster.endpoint(node)]);
        let client = client.total_timeout(Duration::from_secs(3));
        client.build().unwrap().with_operator(&operator)
    };
    let parts = async |node: u64| {
        let made = at(node).create_join_token(hour, true).await;
        made.map(|made| {
            let (_, parts) = made.token.rsplit_once('.').unwrap();
            URL_SAFE_NO_PAD.decode(parts).unwrap()
        })
    };
    let token = parts(others[0]).await.unwrap();
    // A node that has not gone on makes none, unless the client asks another one.
    if let Ok(of_slow) = parts(slow).await {
        assert_eq!(token[..32], of_slow[..32], "it names the old authority");
    }

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let machine = JoinRequest {
        request_id: vec![7; 16].into(),
        credential: Some(join_request::Credential::TokenSecret(
            token[32..].to_vec().into(),
        )),
        peer_address: "127.0.0.1:9".to_owned(),
        client_address: "127.0.0.1:9".to_owned(),
        public_key: key.public_key_raw().to_vec().into(),
        oldest_version: 1,
        newest_version: u32::MAX,
        ..JoinRequest::default()
    };
    let trusting = forger::config(&old, None);
    let channel = forger::channel(&trusting, &cluster.peer_address(slow), ANY_PEER);
    let mut joining = JoinServiceClient::new(channel);
    let told = joining.join(machine.clone()).await;
    let status = told.expect_err("its certificates would be of the old authority");
    let problem = Problem::from_status(&status);
    let is_final = matches!(problem, Some(Problem::Refused { .. }));
    assert!(!is_final, "the machine asks again: {status:?}");

    disk.end();
    logs(&cluster, slow, GONE_ON).await;
    let admitted = joining.join(machine).await.unwrap().into_inner();
    assert_eq!(admitted.certificates.unwrap().generation, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_in_a_rotation_has_another_secret_made() {
    let cluster = Cluster::start(4).await;
    let root = cluster.operator_client().await;
    let old = cluster.secret();
    let leader = settled_leader(&cluster, &root).await;
    let mut followers = cluster.nodes().into_iter().filter(|node| *node != leader);
    let (removed, last) = (followers.next().unwrap(), followers.next().unwrap());
    let unprepared = Refused::new(&cluster, last, NEXT);
    begin(&root).await;
    // A member keeps the next secret. With it, it passes for another voter, also before the
    // rotation has ended.
    let (taken, thief, before) = until("a member has the next secret", async || {
        let kept = first_in(&cluster.directory(removed).join(NEXT))?;
        let taken = ClusterSecret::from_text(kept.as_str()?).ok()?;
        let thief = Impostor::new(&cluster, &taken, last).await;
        let before = thief.connect_to(leader);
        thief.prepared(before.clone(), leader).await?;
        Some((taken, thief, before))
    })
    .await;

    let remove = v1::ChangeMembersRequest {
        change: Some(v1::change_members_request::Change::RemoveNodeId(removed)),
        ..Default::default()
    };
    until("it is removed", async || {
        root.change_members(remove.clone()).await.ok()
    })
    .await;
    cluster.ends(removed).await;
    unprepared.end();
    all_have_gone_on(&root).await;
    let voters: Vec<u64> = cluster
        .nodes()
        .into_iter()
        .filter(|n| *n != removed)
        .collect();
    have_gone_on(&cluster, &voters, &old);
    for voter in voters {
        let new = secret_in(&cluster.directory(voter));
        assert_ne!(
            new, taken,
            "node {voter} has the secret that was taken along"
        );
    }
    // A connection that it has made with that secret is of no use any more.
    let refused = refused_calls(&before, &thief.cluster_id, last, leader).await;
    all_were_refused_but(&refused, &FOR_ALL, "NOT_A_PEER");
    talk_goes_on(&cluster.client()).await;
}
