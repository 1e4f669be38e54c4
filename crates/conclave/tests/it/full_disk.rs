//! A full disk stops no node: requests that need room are refused, requests that free room are
//! executed, and when there is room again the node serves everything by itself.

use std::time::Duration;

use conclave_client::{
    Client, Freshness, Page,
    core::{AccountName, ConversationId, MessageRef, Recipient, Sequence},
};
use conclave_wire::{
    Problem,
    v1::{
        self, change_members_request::Change, chat_service_client::ChatServiceClient,
        send_message_request::To,
    },
};
use tokio::time::timeout;
use tonic::{Request, transport::Channel};

use crate::{
    small_disk::SmallDisk,
    support::{Cluster, until},
    witness::{Speaker, Talking, Witness, client_of},
};

/// Size of each disk: the log of a small node, its state and a mark of a tenth.
const DISK_MIB: u32 = 256;

struct World {
    // Dropped before the disks, which are under the directories of the nodes.
    cluster: Cluster,
    disks: Vec<SmallDisk>,
    alice: Client,
    token: String,
}

fn bob() -> Recipient {
    Recipient::Account(AccountName::new("bob").unwrap())
}

impl World {
    /// Starts nodes on a small disk each; returns `None` if this machine does not allow small
    /// disks.
    #[expect(clippy::print_stderr, reason = "seen with `--nocapture`")]
    async fn start(nodes: u64) -> Option<Self> {
        let cluster = Cluster::prepare(nodes).await;
        let mut disks = Vec::new();
        for node in cluster.nodes() {
            let Some(disk) = SmallDisk::mount(&cluster.directory(node), DISK_MIB) else {
                eprintln!("SKIPPED: mounting a small disk needs root");
                return None;
            };
            disks.push(disk);
        }
        cluster.start_all().await;
        let anonymous = cluster.client();
        for name in ["alice", "bob"] {
            anonymous.create_account(name, "open sesame").await.unwrap();
        }
        let token = anonymous.login("alice", "open sesame").await.unwrap().token;
        let alice = anonymous.with_token(&token).unwrap();
        alice.send(&bob(), "first").await.unwrap();
        alice.send(&bob(), "second").await.unwrap();
        Some(Self {
            cluster,
            disks,
            alice,
            token,
        })
    }

    fn disk(&self, node: u64) -> &SmallDisk {
        &self.disks[usize::try_from(node).unwrap() - 1]
    }

    /// Sends a message to this node and returns the refusal, without a library that waits.
    async fn told(&self, node: u64) -> Option<Problem> {
        let session = self.alice.session(Freshness::Linearizable).await.ok()?;
        let address = format!("http://{}", self.cluster.endpoint(node));
        let channel = Channel::from_shared(address).unwrap().connect_lazy();
        let mut request = Request::new(v1::SendMessageRequest {
            request: Some(v1::RequestId {
                number: session.request_number_last + 1,
                nonce: 7,
            }),
            to: Some(To::RecipientName("bob".to_owned())),
            text: "more".to_owned(),
            ..v1::SendMessageRequest::default()
        });
        let bearer = format!("Bearer {}", self.token).parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        let sent = ChatServiceClient::new(channel).send_message(request).await;
        Problem::from_status(&sent.err()?)
    }

    /// Returns whether this node reports that its disk has too little room.
    async fn is_low(&self, node: u64) -> bool {
        let status = self.cluster.status(node).await;
        let mut nodes = status.nodes.iter();
        nodes.any(|row| row.node_id == node && row.low_space)
    }

    fn all_run(&self) {
        for node in self.cluster.nodes() {
            assert!(!self.cluster.has_ended(node), "{}", self.cluster.log(node));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_only_growth_and_recovers_by_itself() {
    let Some(world) = World::start(3).await else {
        return;
    };
    let leader = world.cluster.leader().await;
    let other = world.cluster.a_follower().await;
    // Two of three are full, so that no other leader helps.
    let full = [leader, other];
    for node in full {
        world.disk(node).fill();
    }
    for node in world.cluster.nodes() {
        until("every node refuses what grows", async || {
            matches!(world.told(node).await, Some(Problem::NoSpace)).then_some(())
        })
        .await;
    }
    assert!(world.is_low(leader).await);
    // Reading, deleting, logging in and logging out still work.
    let anonymous = world.cluster.client();
    let again = anonymous.login("alice", "open sesame").await.unwrap();
    anonymous
        .with_token(&again.token)
        .unwrap()
        .logout()
        .await
        .unwrap();
    let first = MessageRef {
        conversation: ConversationId(1),
        sequence: Sequence(1),
    };
    let gone = world.alice.delete_messages(&[first], true).await;
    assert_eq!(gone.unwrap(), 1);
    world.all_run();
    // A request that waits continues when there is room.
    let (alice, to) = (world.alice.clone(), bob());
    let waiting = tokio::spawn(async move {
        loop {
            if alice.send(&to, "third").await.is_ok() {
                return;
            }
        }
    });
    for node in full {
        world.disk(node).make_room();
    }
    timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap()
        .unwrap();
    until("the disk has room again", async || {
        (!world.is_low(leader).await).then_some(())
    })
    .await;
    world.cluster.all_rejoined().await;
    world.all_run();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_with_a_full_disk_keeps_all_nodes_running() {
    let Some(world) = World::start(3).await else {
        return;
    };
    let follower = world.cluster.a_follower().await;
    world.disk(follower).fill();
    until("it says that its disk is full", async || {
        world.is_low(follower).await.then_some(())
    })
    .await;
    let text = "x".repeat(16 * 1024);
    for _ in 0..500 {
        world.alice.send(&bob(), text.as_str()).await.unwrap();
    }
    world.all_run();
    // It answers, and cannot replace another voter: that no other one may go is said and checked.
    let leader = world.cluster.leader().await;
    until("no further failure is tolerated", async || {
        let status = world.cluster.status(leader).await;
        (status.tolerates_failures == 0 && status.voters_reachable == 3).then_some(())
    })
    .await;
    let mut others = world.cluster.nodes().into_iter();
    let other = others.find(|node| ![leader, follower].contains(node));
    let operator = world.cluster.operator_client().await;
    let remove = v1::ChangeMembersRequest {
        change: Some(Change::RemoveNodeId(other.unwrap())),
        ..Default::default()
    };
    let told = operator.change_members(remove).await;
    let told = told.expect_err("the full node and the leader alone decide nothing");
    assert!(told.to_string().contains("too few"), "{told}");
    world.disk(follower).make_room();
    world.cluster.all_rejoined().await;
    until("a failure is tolerated again", async || {
        let status = world.cluster.status(leader).await;
        (status.tolerates_failures == 1).then_some(())
    })
    .await;
    world.all_run();
}

/// Returns for how long this node has been running.
async fn uptime_ms(world: &World, node: u64) -> u64 {
    let status = world.cluster.status(node).await;
    let own = status.nodes.iter().find(|row| row.node_id == node);
    own.expect("it is a member").uptime_ms
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_with_a_full_disk_yields_until_it_has_free_space() {
    let Some(world) = World::start(3).await else {
        return;
    };
    let full = world.cluster.leader().await;
    let operator = world.cluster.operator_client().await;
    operator.prefer_leader(full).await.unwrap();
    world.disk(full).fill();
    let leader = until("another node leads", async || {
        let status = world.cluster.try_status(full).await?;
        (![0, full].contains(&status.leader_id)).then_some(status.leader_id)
    })
    .await;
    // The node accepts requests that need room, and so do all nodes.
    until("no node refuses what grows", async || {
        let status = world.cluster.try_status(leader).await?;
        let refuses = status.nodes.iter().any(|row| row.refuses_growth);
        (!refuses && status.nodes.iter().all(|row| row.reachable)).then_some(())
    })
    .await;
    let status = world.cluster.status(leader).await;
    let low = |row: &&v1::NodeStatus| row.low_space;
    let low: Vec<u64> = status
        .nodes
        .iter()
        .filter(low)
        .map(|row| row.node_id)
        .collect();
    assert_eq!((low, status.preferred_leader_id), (vec![full], full));
    // Leadership stays where it is for longer than a preferred leader that is well has to wait.
    let term = world.cluster.term(leader).await;
    let until_ms = uptime_ms(&world, leader).await + 6000;
    while uptime_ms(&world, leader).await < until_ms {
        world.alice.send(&bob(), "goes on").await.unwrap();
    }
    assert_eq!(world.cluster.leader().await, leader);
    assert_eq!(world.cluster.term(leader).await, term, "it moved meanwhile");
    world.all_run();
    world.disk(full).make_room();
    until("the preferred leader leads again", async || {
        let status = world.cluster.try_status(leader).await?;
        (status.leader_id == full).then_some(())
    })
    .await;
    world.cluster.all_rejoined().await;
    world.all_run();
}

/// Fills the disks of these nodes while people talk, and makes room again.
async fn fill_under_load(world: &World, full: &[u64], talking: &mut [Talking], goes_on: bool) {
    for node in full {
        world.disk(*node).fill();
    }
    for node in full {
        until("it says that its disk is full", async || {
            world.is_low(*node).await.then_some(())
        })
        .await;
    }
    if goes_on {
        for talking in talking.iter_mut() {
            talking.go_on(20).await;
        }
    } else {
        for node in world.cluster.nodes() {
            until("every node refuses what grows", async || {
                matches!(world.told(node).await, Some(Problem::NoSpace)).then_some(())
            })
            .await;
        }
    }
    let demoted = shrinks_and_governs(world, full).await;
    world.all_run();
    for node in full {
        world.disk(*node).make_room();
    }
    change_members(world, Change::PromoteNodeId(demoted)).await;
    for talking in talking.iter_mut() {
        talking.go_on(20).await;
    }
    until("every disk has room again", async || {
        for node in full {
            if world.is_low(*node).await {
                return None;
            }
        }
        Some(())
    })
    .await;
    world.cluster.all_rejoined().await;
    world.all_run();
}

/// Reads on every node, deletes, logs in and out, and takes the vote of a node, with a full disk if
/// it does not lead; returns that node. It gets its vote back once it has room: until then it takes
/// no entries, so it cannot catch up.
async fn shrinks_and_governs(world: &World, full: &[u64]) -> u64 {
    let (bob, fresh) = (bob(), Freshness::Linearizable);
    for node in world.cluster.nodes() {
        let client = client_of(&world.cluster.endpoint(node), &world.token);
        let page = client.messages(&bob, Page::Newest, 10, fresh).await;
        assert!(!page.unwrap().messages.is_empty());
    }
    let sent = world.alice.messages(&bob, Page::Newest, 10, fresh).await;
    let mut sent = sent.unwrap().messages.into_iter().rev();
    let newest = sent.find(|message| !message.deleted).unwrap();
    let newest = MessageRef {
        conversation: ConversationId(newest.conversation_id),
        sequence: Sequence(newest.sequence),
    };
    let gone = world.alice.delete_messages(&[newest], true).await;
    assert_eq!(gone.unwrap(), 1);
    let anonymous = world.cluster.client();
    let again = anonymous.login("alice", "open sesame").await.unwrap();
    let again = anonymous.with_token(&again.token).unwrap();
    again.logout().await.unwrap();
    let leader = world.cluster.leader().await;
    let demoted = full.iter().copied().find(|node| *node != leader);
    let demoted = match demoted {
        Some(node) => node,
        // Leadership has not moved yet.
        None => world.cluster.a_follower().await,
    };
    change_members(world, Change::DemoteNodeId(demoted)).await;
    demoted
}

async fn change_members(world: &World, change: Change) {
    let operator = world.cluster.operator_client().await;
    let change = v1::ChangeMembersRequest {
        change: Some(change),
        force: true,
        ..Default::default()
    };
    until("the members change", async || {
        operator.change_members(change.clone()).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disks_under_load_lose_nothing_and_recover() {
    let Some(world) = World::start(5).await else {
        return;
    };
    // One is deleted each time.
    for _ in 0..5 {
        world.alice.send(&bob(), "one more").await.unwrap();
    }
    let witness = Witness::new();
    let client = world.cluster.client();
    let mut speakers = Vec::new();
    for (name, peer) in [("cyd", "dan"), ("dan", "eve"), ("eve", "cyd")] {
        speakers.push(witness.speaker(&client, name, peer).await);
    }
    let mut talking: Vec<Talking> = speakers.iter().map(Speaker::keep_talking).collect();
    let leader = world.cluster.leader().await;
    fill_under_load(&world, &[leader], &mut talking, true).await;
    let two = [
        world.cluster.leader().await,
        world.cluster.a_follower().await,
    ];
    fill_under_load(&world, &two, &mut talking, true).await;
    let all = world.cluster.nodes();
    fill_under_load(&world, &all, &mut talking, false).await;
    for (speaker, talking) in speakers.iter().zip(talking) {
        speaker.settle(&talking.finish().await.unsaid).await;
    }
    witness
        .judge(&world.cluster, &speakers.iter().collect::<Vec<_>>())
        .await;
    world.all_run();
}
