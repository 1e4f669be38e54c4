//! Operators manage nodes, from the command line; administrators of accounts cannot.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use conclave_client::{CallError, Client, OperatorCredential, Reason, new_credential, v1};
use v1::change_members_request::Change;

use crate::{command::Person, support::Cluster};

/// Exit code of a command that the caller may not run.
const NOT_PERMITTED: i32 = 4;
const HOUR: Duration = Duration::from_secs(3600);

fn at(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.nodes().into_iter();
    nodes.map(|node| cluster.endpoint(node)).collect()
}

/// Checks that a call was refused because the caller is not an operator.
#[track_caller]
fn refused<T: std::fmt::Debug>(what: &str, outcome: Result<T, CallError>) {
    let error = outcome.expect_err(what);
    assert_eq!(
        error.reason(),
        Some(Reason::NotAnOperator),
        "{what}: {error}"
    );
}

/// Makes every call for operators with the credential of this client.
async fn tries_everything(client: &Client, endpoint: &str) {
    let change = |change| v1::ChangeMembersRequest {
        change: Some(change),
        ..Default::default()
    };
    let remove = client.change_members(change(Change::RemoveNodeId(2))).await;
    refused("remove", remove);
    refused("transfer", client.transfer_leader(2).await);
    let drain = v1::DrainNodeRequest {
        node_id: 2,
        ..Default::default()
    };
    refused("drain", client.drain_node(drain).await);
    refused("prefer", client.prefer_leader(2).await);
    let retention = v1::ChangeRetentionRequest::default();
    refused("retention", client.change_retention(retention).await);
    refused("token", client.create_join_token(HOUR, false).await);
    refused("tokens", client.join_tokens().await);
    refused("revoke", client.revoke_join_token("00000000").await);
    refused("check", client.check_cluster(endpoint, 0).await);
    refused("digest", client.state_digest(endpoint, 0).await);
    let own = new_credential();
    refused("create", client.create_operator("mallory", &own).await);
    refused("operators", client.operators().await);
    refused("revoke", client.revoke_operator("operator").await);
    let status = client.cluster_status(endpoint).await.unwrap();
    assert_eq!(status.voters, 3, "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_calls_without_a_credential_fail_and_are_logged_once() {
    let cluster = Cluster::start(3).await;
    let (_, token) = cluster.administrator().await;
    let admin = cluster.client().with_token(&token).unwrap();
    let leader = cluster.endpoint(cluster.leader().await);
    for _ in 0..3 {
        tries_everything(&admin, &leader).await;
        tries_everything(&cluster.client(), &leader).await;
        let guess = cluster.client().with_operator(&new_credential());
        tries_everything(&guess, &leader).await;
    }
    let mut lines = 0;
    for node in cluster.nodes() {
        let log = cluster.log(node);
        let refused = log
            .lines()
            .filter(|line| line.contains("for operators was refused"));
        lines += refused.count();
        let credential = cluster.operator().await.to_text();
        assert!(!log.contains(&credential), "the credential is in a log");
    }
    // One line for each call on each node that was asked, not for each of nine attempts.
    assert!((1..=12 * 3).contains(&lines), "{lines} lines");

    let person = Person::new(&at(&cluster));
    let commands: [&[&str]; 8] = [
        &["cluster", "rotate-secret"],
        &["cluster", "remove", "2"],
        &["cluster", "transfer-leader"],
        &["cluster", "preferred-leader", "2"],
        &["cluster", "check"],
        &["token", "create"],
        &["token", "list"],
        &["operator", "list"],
    ];
    for command in commands {
        let mut asked = person.command(command);
        asked.env("CONCLAVE_TOKEN", &token);
        let ran = crate::command::run(asked, b"").await;
        ran.failed(NOT_PERMITTED, "credential of an operator");
    }
    let shown = person
        .run(&["cluster", "status", "-o", "json"])
        .await
        .json();
    assert_eq!(shown[0]["partial"], true);
    assert_eq!(shown[0]["quorum"], true);
    assert!(shown[0]["nodes"][0]["address"].is_null(), "{shown:?}");
    let table = person.run(&["cluster", "status"]).await;
    assert!(!table.stderr.contains("warning"), "{}", table.stderr);
    let mut asked = person.command(&["cluster", "status", "-o", "json"]);
    asked.env("CONCLAVE_TOKEN", &token);
    let shown = crate::command::run(asked, b"").await.json();
    assert_eq!(shown[0]["partial"], false, "an administrator is told more");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cli_creates_and_removes_operators_and_join_tokens() {
    let cluster = Cluster::start(3).await;
    let first = Person::new(&at(&cluster));
    let file = cluster.operator_file().await;
    let file = file.to_str().unwrap();
    first.run(&["operator", "use", file]).await.succeeded();
    let made = first
        .run(&["token", "create", "--role", "learner", "-o", "json"])
        .await;
    let id = made.json()[0]["id"].as_str().unwrap().to_owned();
    let listed = first.run(&["token", "list", "-o", "json"]).await.json();
    let listed = &listed[0][0];
    assert_eq!(listed["id"], id);
    assert_eq!(listed["role"], "learner");
    assert_eq!(listed["by"], "operator");
    assert!(listed["expires_at_ms"].as_u64() > listed["created_at_ms"].as_u64());
    first.run(&["token", "revoke", &id]).await.succeeded();
    let listed = first.run(&["token", "list", "-o", "json"]).await.json();
    assert_eq!(listed[0].as_array().unwrap().len(), 0);
    let unknown = first.run(&["token", "revoke", "no such id"]).await;
    unknown.failed(2, "8 characters");

    let other = cluster.directory(1).join("eva");
    let other = other.to_str().unwrap();
    first
        .run(&["operator", "create", "eva", "--file", other])
        .await
        .succeeded();
    let mode = fs::metadata(other).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let again = first
        .run(&["operator", "create", "max", "--file", other])
        .await;
    again.failed(5, "already exists");
    let eva = Person::new(&at(&cluster));
    let revoke = ["operator", "revoke", "operator", "--operator-file", other];
    eva.run(&revoke).await.succeeded();
    let ended = first.run(&["operator", "list"]).await;
    ended.failed(NOT_PERMITTED, "credential of an operator");
    eva.run(&["operator", "use", other]).await.succeeded();
    let listed = eva.run(&["operator", "list", "-o", "json"]).await.json();
    assert_eq!(listed[0].as_array().unwrap().len(), 1);
    assert_eq!(listed[0][0]["name"], "eva");
    let last = eva.run(&["operator", "revoke", "eva"]).await;
    last.failed(5, "last operator");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_credentials_are_replaced_on_the_machine_of_a_voter() {
    let cluster = Cluster::start(3).await;
    let lost = cluster.operator_client().await;
    lost.operators().await.unwrap();
    let person = Person::new(&at(&cluster));
    // Not the node with the first credential's file: the directory of any voter will do.
    let follower = cluster.a_follower().await;
    let data = cluster.directory(follower);
    let reset = ["operator", "reset", "--data", data.to_str().unwrap()];
    let written = person.run(&reset).await.succeeded();
    refused("the lost one", lost.operators().await);
    let text = fs::read_to_string(written.trim()).unwrap();
    let found = OperatorCredential::from_text(&text).unwrap();
    let found = cluster.client().with_operator(&found);
    let names = found.operators().await.unwrap();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].name, "operator");
    let nowhere = person.run(&["operator", "reset", "--data", "/"]).await;
    nowhere.failed(2, "not the data directory");
}
