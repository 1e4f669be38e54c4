//! Operators of one node: the first one, further ones, join tokens, and recovery of lost
//! credentials.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod people;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use conclave_server::{Node, NodeConfig, OPERATOR_FILE, OPERATOR_RESET_FILE, Registration};
use conclave_wire::{
    OperatorCredential, Problem,
    v1::{self, admin_service_client::AdminServiceClient},
};
use tonic::{Request, Response, Status, transport::Channel};

use people::until;

/// Maximum time for a node to stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);

fn config(data: &Path) -> NodeConfig {
    NodeConfig {
        plain: true,
        data: data.to_owned(),
        client_address: "127.0.0.1:0".to_owned(),
        peer_address: "127.0.0.1:0".to_owned(),
        unsafe_no_sync: true,
        registration: Some(Registration::Open),
        ..NodeConfig::default()
    }
}

fn written(data: &Path) -> Option<OperatorCredential> {
    OperatorCredential::from_text(&fs::read_to_string(data.join(OPERATOR_FILE)).ok()?)
}

async fn admin(node: &Node) -> AdminServiceClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{}", node.client_address())).unwrap();
    AdminServiceClient::new(endpoint.connect().await.unwrap())
}

fn by<T>(credential: &OperatorCredential, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let header = credential.to_header().parse().unwrap();
    request.metadata_mut().insert("authorization", header);
    request
}

fn reason<T>(answer: Result<Response<T>, Status>) -> String {
    match answer {
        Ok(_) => "ok".to_owned(),
        Err(status) => Problem::from_status(&status).unwrap().reason().to_string(),
    }
}

fn names(list: v1::ListOperatorsResponse) -> Vec<String> {
    list.operators.into_iter().map(|one| one.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_operator_is_created_once_and_can_add_others() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(config(data.path())).await.unwrap();
    let first = until(async || written(data.path())).await;
    let mode = fs::metadata(data.path().join(OPERATOR_FILE)).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let mut admin_of = admin(&node).await;
    let list =
        |credential: &OperatorCredential| by(credential, v1::ListOperatorsRequest::default());
    let all = admin_of.list_operators(list(&first)).await.unwrap();
    assert_eq!(names(all.into_inner()), ["operator"]);

    // A retry with the same id and the same bytes is the same request.
    let chosen = OperatorCredential::from_bytes([5; 32]);
    let create = v1::CreateOperatorRequest {
        request_id: vec![1; 16].into(),
        name: "eva".to_owned(),
        credential: chosen.as_bytes().to_vec().into(),
    };
    for _ in 0..2 {
        let made = admin_of.create_operator(by(&first, create.clone())).await;
        assert_eq!(made.unwrap().into_inner().credential, chosen.to_text());
    }
    let other = v1::CreateOperatorRequest {
        name: "max".to_owned(),
        ..create
    };
    let reused = admin_of.create_operator(by(&first, other)).await;
    assert_eq!(reason(reused), "REQUEST_REUSED");

    let revoke = |name: &str| v1::RevokeOperatorRequest {
        name: name.to_owned(),
        ..Default::default()
    };
    let done = admin_of
        .revoke_operator(by(&chosen, revoke("operator")))
        .await;
    done.unwrap();
    let refused = admin_of.list_operators(list(&first)).await;
    assert_eq!(reason(refused), "NOT_AN_OPERATOR");
    let last = admin_of.revoke_operator(by(&chosen, revoke("EVA"))).await;
    assert_eq!(reason(last), "LAST_OPERATOR");
    node.stop(STOP_LIMIT).await;
    drop(node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_is_listed_and_revoked() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(config(data.path())).await.unwrap();
    let operator = until(async || written(data.path())).await;
    let mut admin_of = admin(&node).await;
    let create = v1::CreateJoinTokenRequest {
        learner: true,
        ..Default::default()
    };
    let made = admin_of.create_join_token(by(&operator, create)).await;
    let made = made.unwrap().into_inner();
    let list = || by(&operator, v1::ListJoinTokensRequest::default());
    let found = admin_of.list_join_tokens(list()).await.unwrap();
    let [token] = &found.into_inner().tokens[..] else {
        panic!("there is one");
    };
    assert_eq!(token.token_id, made.token_id);
    assert_eq!((token.learner, &*token.by_name), (true, "operator"));
    assert_eq!(token.expires_at_ms, made.expires_at_ms);
    assert!(token.created_at_ms < token.expires_at_ms);
    let revoke = v1::RevokeJoinTokenRequest {
        token_id: made.token_id,
        ..Default::default()
    };
    // The second call has nothing left to do.
    for _ in 0..2 {
        let revoked = admin_of
            .revoke_join_token(by(&operator, revoke.clone()))
            .await;
        revoked.unwrap();
    }
    let found = admin_of.list_join_tokens(list()).await.unwrap();
    assert!(found.into_inner().tokens.is_empty());
    node.stop(STOP_LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_the_directory_can_replace_lost_credentials() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(config(data.path())).await.unwrap();
    let lost = until(async || written(data.path())).await;
    let found = OperatorCredential::from_bytes([6; 32]);
    let asked = data.path().join(OPERATOR_RESET_FILE);
    let draft = data.path().join("draft");
    fs::write(&draft, found.to_text()).unwrap();
    fs::rename(&draft, &asked).unwrap();
    until(async || (!asked.exists()).then_some(())).await;
    assert_eq!(written(data.path()).as_ref(), Some(&found));
    let mut admin_of = admin(&node).await;
    let list =
        |credential: &OperatorCredential| by(credential, v1::ListOperatorsRequest::default());
    let refused = admin_of.list_operators(list(&lost)).await;
    assert_eq!(reason(refused), "NOT_AN_OPERATOR");
    let all = admin_of.list_operators(list(&found)).await.unwrap();
    assert_eq!(names(all.into_inner()), ["operator"]);
    node.stop(STOP_LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_a_credential_get_only_a_partial_status() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(config(data.path())).await.unwrap();
    let operator = until(async || written(data.path())).await;
    node.ready().await;
    let mut admin_of = admin(&node).await;
    let ask = v1::GetClusterStatusRequest {};
    let whole = admin_of.get_cluster_status(by(&operator, ask)).await;
    let whole = whole.unwrap().into_inner();
    assert!(!whole.partial && whole.quorum);
    let own = &whole.nodes[0];
    assert!(!own.client_address.is_empty() && !own.version.is_empty());
    let part = admin_of.get_cluster_status(ask).await.unwrap().into_inner();
    assert!(part.partial && part.quorum);
    assert_eq!(part.leader_id, whole.leader_id);
    let own = v1::NodeStatus {
        node_id: 1,
        reachable: true,
        role: v1::NodeRole::Leader.into(),
        term: whole.nodes[0].term,
        ..Default::default()
    };
    assert_eq!(part.nodes, [own]);
    let guess = OperatorCredential::from_bytes([9; 32]);
    let guessed = admin_of.get_cluster_status(by(&guess, ask)).await;
    assert!(guessed.unwrap().into_inner().partial);
    node.stop(STOP_LIMIT).await;
}
