//! The setup token of a cluster whose leader stops.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use conclave_server::{ClusterSecret, Node, NodeConfig, Registration};
use conclave_wire::{
    Problem,
    v1::{self, account_service_client::AccountServiceClient, create_account_request::Grant},
};
use futures::future::{join_all, select_all};
use tokio::time::timeout;

/// Maximum time for anything, exceeded only if the machine is unwell.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns addresses that are free at the moment, two for each node.
fn addresses(nodes: usize) -> Vec<[String; 2]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken: Vec<_> = (0..nodes).map(|_| [bind(), bind()]).collect();
    let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
    let pairs = taken.iter().map(|pair| pair.each_ref().map(address));
    pairs.collect()
}

async fn start(nodes: u64, data: &std::path::Path) -> Vec<Node> {
    let addresses = addresses(usize::try_from(nodes).unwrap());
    let members: Vec<String> = (1..)
        .zip(&addresses)
        .map(|(node, [peer, client])| format!("{node}={peer}/{client}"))
        .collect();
    let secret = data.join("secret");
    std::fs::write(&secret, ClusterSecret::generate().unwrap().to_text()).unwrap();
    let start = |(node, [peer, client]): (u64, &[String; 2])| {
        Node::start(NodeConfig {
            plain: true,
            secret_file: Some(secret.clone()),
            data: data.join(node.to_string()),
            node: Some(node),
            peer_address: peer.clone(),
            client_address: client.clone(),
            members: members.clone(),
            unsafe_no_sync: true,
            registration: Some(Registration::Closed),
            ..NodeConfig::default()
        })
    };
    let started = join_all((1..).zip(&addresses).map(start)).await;
    started.into_iter().map(Result::unwrap).collect()
}

/// Waits until a node offers a token; returns the node's place and the token.
async fn offered(nodes: &[Node]) -> (usize, String) {
    let offers = nodes.iter().map(|node| {
        Box::pin(async {
            let mut tokens = node.setup_tokens();
            let token = tokens.wait_for(Option::is_some).await;
            token.expect("the node runs").clone().unwrap()
        })
    });
    let (token, place, _) = timeout(PATIENCE, select_all(offers)).await.unwrap();
    (place, token)
}

/// Creates an account with a token; returns the reason if that is refused.
async fn create(node: &Node, name: &str, token: &str) -> Result<(), String> {
    let address = format!("http://{}", node.client_address());
    let mut accounts = AccountServiceClient::connect(address).await.unwrap();
    let request = v1::CreateAccountRequest {
        name: name.to_owned(),
        password: "correct horse".to_owned(),
        grant: Some(Grant::SetupToken(token.to_owned())),
        ..Default::default()
    };
    let created = accounts.create_account(request).await;
    let reason = |status| Problem::from_status(&status).unwrap().reason().to_string();
    created.map(drop).map_err(reason)
}

#[tokio::test]
async fn a_new_leader_offers_its_own_setup_token() {
    let data = tempfile::tempdir().unwrap();
    let mut nodes = start(3, data.path()).await;
    let (leader, first) = offered(&nodes).await;
    nodes.swap_remove(leader).stop(PATIENCE).await;

    let (next, second) = offered(&nodes).await;
    assert_ne!(first, second);
    let follower = &nodes[1 - next];
    follower.ready().await;
    let old = create(follower, "eve", &first).await;
    assert_eq!(old, Err("SETUP_TOKEN_INVALID".to_owned()));
    create(follower, "root", &second).await.unwrap();
    let mut tokens = nodes[next].setup_tokens();
    let none = timeout(PATIENCE, tokens.wait_for(Option::is_none)).await;
    assert!(none.unwrap().is_ok(), "the offer has ended");
}
