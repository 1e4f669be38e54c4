//! Nodes that are restarted at other addresses with the same data.

use std::path::Path;

use conclave_client::{Client, StartAt, v1};
use conclave_local_cluster::Ports;

use crate::{
    command::Served,
    support::{Cluster, until},
    witness::{Witness, client_of, next_message, person},
};

/// Starts a node with its data at these addresses; it knows no other node's address but `join`.
pub(crate) async fn start_at(data: &Path, client: &str, peer: &str, more: &[&str]) -> Served {
    let args = [
        "--data",
        data.to_str().unwrap(),
        "--client-address",
        client,
        "--peer-address",
        peer,
    ];
    let args = [&args[..], more].concat();
    let served = Served::start(&data.with_extension("moved-log"), &args, &[]).await;
    served.expect("it listens")
}

async fn status_at(client: &Client, endpoint: &str) -> Option<v1::GetClusterStatusResponse> {
    client.cluster_status(endpoint).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_node_is_found_at_its_new_address_and_streams_go_on() {
    let cluster = Cluster::start(3).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let moved = cluster.a_follower().await;
    let others: Vec<u64> = cluster
        .nodes()
        .into_iter()
        .filter(|n| *n != moved)
        .collect();
    cluster.stop(moved).await;
    let any = "127.0.0.1:0";
    let mut node = start_at(&cluster.directory(moved), any, any, &[]).await;
    node.says("ready").await;
    let mut talking = alice.keep_talking();
    talking.go_on(20).await;
    let client = cluster.operator_client().await;
    for other in &others {
        until("the others know", async || {
            let status = status_at(&client, &cluster.endpoint(*other)).await?;
            let found = status.nodes.iter().find(|n| n.node_id == moved)?;
            let is_known = found.client_address == node.client_address
                && found.peer_address == node.peer_address;
            (is_known && found.reachable && status.voters_reachable == 3).then_some(())
        })
        .await;
    }
    // The moved node and one other are still a majority.
    cluster.kill(others[0]).await;
    talking.go_on(20).await;
    talking.finish_without_error().await;
    // Messages that are sent now arrive on a stream of the node that moved.
    let there = client_of(&node.client_address, &alice.token);
    let mut events = there.subscribe(StartAt::Beginning);
    alice
        .client
        .send(&person("alice"), "to myself")
        .await
        .unwrap();
    while next_message(&mut events).await.text != "to myself" {}
    // The log has the new address: a node that was down during the move learns it.
    cluster.start_node(others[0]).await;
    until("it finds the node that moved", async || {
        let status = status_at(&client, &cluster.endpoint(others[0])).await?;
        (status.voters_reachable == 3).then_some(())
    })
    .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_moved_nodes_find_each_other_by_join() {
    let cluster = Cluster::start(3).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    talking.go_on(20).await;
    let talk = talking.finish_without_error().await;
    for node in cluster.nodes() {
        cluster.stop(node).await;
    }
    let ports = Ports::free(3).expect("there are free ports");
    let join = (1..=3)
        .map(|node| ports.peer(node))
        .collect::<Vec<_>>()
        .join(",");
    let mut nodes = Vec::new();
    for node in 1..=3 {
        let (client, peer) = (ports.client(node), ports.peer(node));
        let data = cluster.directory(node);
        nodes.push(start_at(&data, &client, &peer, &["--join", &join]).await);
    }
    for node in &mut nodes {
        node.says("ready").await;
    }
    let client = cluster.operator_client().await;
    until("the log knows all of them", async || {
        let status = status_at(&client, &ports.client(1)).await?;
        let is_new = |node: &v1::NodeStatus| {
            node.client_address == ports.client(node.node_id)
                && node.peer_address == ports.peer(node.node_id)
        };
        (status.voters_reachable == 3 && status.nodes.iter().all(is_new)).then_some(())
    })
    .await;
    let endpoint = ports.client(2);
    assert_eq!(
        alice.all_messages_at(&endpoint).await.len() as u64,
        talk.said
    );
    let there = client_of(&endpoint, &alice.token);
    there.send(&person("bob"), "moved").await.unwrap();
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_unreachable_by_the_leader_reports_itself_unreached() {
    let cluster = Cluster::start(3).await;
    let client = cluster.operator_client().await;
    // The node that will be cut off later also knows the operator.
    cluster.all_rejoined().await;
    let moved = cluster.a_follower().await;
    cluster.stop(moved).await;
    let any = "127.0.0.1:0";
    // The node listens on one address and advertises another one.
    let more = ["--advertise", "127.0.0.77"];
    let node = start_at(&cluster.directory(moved), any, any, &more).await;
    until("it says that it is not reached", async || {
        let status = status_at(&client, &node.client_address).await?;
        let own = status.nodes.iter().find(|n| n.node_id == moved)?;
        own.unreached.then_some(())
    })
    .await;
    assert!(
        node.log().contains("the leader does not reach this node"),
        "{}",
        node.log()
    );
    let status = cluster.status(moved % 3 + 1).await;
    assert_eq!((status.voters_reachable, status.tolerates_failures), (2, 0));
    node.kill().await;
}
