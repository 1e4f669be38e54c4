//! The audit log: it survives the loss of its leader, is the same on every node, and is shown to
//! administrators and operators alone.

use conclave_client::{Client, Freshness, Reason, v1};
use serde_json::Value;

use crate::{
    command::{ANY_PORT, Person, Served, run},
    support::{Cluster, until},
    witness::{client_of, sign_up},
};

/// Exit code of a command that the caller may not run.
const NOT_PERMITTED: i32 = 4;

fn at(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.nodes().into_iter();
    nodes.map(|node| cluster.endpoint(node)).collect()
}

/// Returns all entries as this node has them, the oldest first.
async fn trail_at(endpoint: &str, token: &str) -> Vec<v1::AuditEntry> {
    let stale = Freshness::Stale { min_position: 0 };
    let request = v1::ListAuditEntriesRequest {
        page_size: 1000,
        ..Default::default()
    };
    let client = client_of(endpoint, token);
    let mut entries = client.audit_entries(request, stale).await.unwrap().entries;
    entries.reverse();
    entries
}

/// Returns how often the trail has this act about this target.
fn count(trail: &[v1::AuditEntry], act: &str, target: &str) -> usize {
    let is_it = |entry: &&v1::AuditEntry| entry.act == act && entry.target == target;
    trail.iter().filter(is_it).count()
}

async fn newest(client: &Client, act: &str) -> Option<v1::AuditEntry> {
    let request = v1::ListAuditEntriesRequest {
        act: act.to_owned(),
        ..Default::default()
    };
    let found = client.audit_entries(request, Freshness::Linearizable).await;
    found.ok()?.entries.into_iter().next()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_survives_its_leader_on_all_other_nodes() {
    let cluster = Cluster::start(3).await;
    let (admin, token) = cluster.administrator().await;
    let mallory = sign_up(&cluster.client(), "mallory").await;
    let mallory = cluster.client().with_token(&mallory.token).unwrap();
    let refused = mallory.set_suspended("mallory", true).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::NotAllowed));
    let leader = cluster.leader().await;
    admin.set_suspended("mallory", true).await.unwrap();
    cluster.kill(leader).await;

    let mut trails = Vec::new();
    for node in cluster.nodes().into_iter().filter(|node| *node != leader) {
        let endpoint = cluster.endpoint(node);
        // The other nodes may apply the last entry only under the next leader.
        let trail = until("the trail is complete", async || {
            let trail = trail_at(&endpoint, &token).await;
            (count(&trail, "suspend_account", "mallory") == 2).then_some(trail)
        })
        .await;
        trails.push(trail);
    }
    assert_eq!(trails[0], trails[1]);
    let of: Vec<_> = trails[0]
        .iter()
        .filter(|entry| entry.act == "suspend_account")
        .map(|entry| {
            let actor = entry.actor.clone().unwrap();
            (actor.kind(), actor.name, entry.refusal.clone())
        })
        .collect();
    let account = v1::AuditActorKind::Account;
    let root = "root".to_owned();
    assert_eq!(
        of,
        [
            (account, "mallory".to_owned(), "NOT_ALLOWED".to_owned()),
            (account, root, String::new()),
        ]
    );
    let numbers: Vec<u64> = trails[0].iter().map(|entry| entry.sequence).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());

    // The suspended account is signed out; another one is no administrator.
    let other = sign_up(&cluster.client(), "oscar").await;
    let other = cluster.client().with_token(&other.token).unwrap();
    let request = v1::ListAuditEntriesRequest::default();
    let refused = other.audit_entries(request, Freshness::Linearizable).await;
    assert_eq!(refused.unwrap_err().reason(), Some(Reason::NotAllowed));
    cluster.start_node(leader).await;
    let endpoint = cluster.endpoint(leader);
    until("the node that was killed has the same trail", async || {
        let trail = trail_at(&endpoint, &token).await;
        (trail.get(..numbers.len()) == Some(&trails[0][..])).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acts_outside_the_log_are_noted_with_their_operator() {
    let cluster = Cluster::start(3).await;
    let operator = cluster.operator_client().await;
    let leader = cluster.leader().await;
    let next = cluster.a_follower().await;
    operator.transfer_leader(next).await.unwrap();
    let noted = newest(&operator, "transfer_leader").await.unwrap();
    assert_eq!(noted.target, format!("node {next}"));
    let by = noted.actor.unwrap();
    assert_eq!(by.kind(), v1::AuditActorKind::Operator);
    assert_eq!(by.name, "operator");

    // Draining is asked for until it is done, and noted once.
    let drain = v1::DrainNodeRequest {
        node_id: leader,
        ..Default::default()
    };
    until("the node is drained", async || {
        let told = operator.drain_node(drain).await.ok()?;
        told.drained.then_some(())
    })
    .await;
    let undrain = v1::DrainNodeRequest {
        undrain: true,
        ..drain
    };
    operator.drain_node(undrain).await.unwrap();
    for act in ["drain_node", "undrain_node"] {
        let request = v1::ListAuditEntriesRequest {
            act: act.to_owned(),
            ..Default::default()
        };
        let found = operator.audit_entries(request, Freshness::Linearizable);
        let found = found.await.unwrap().entries;
        assert_eq!(found.len(), 1, "{act}: {found:?}");
        assert_eq!(found[0].target, format!("node {leader}"));
    }

    let remove = |node| v1::ChangeMembersRequest {
        change: Some(v1::change_members_request::Change::RemoveNodeId(node)),
        ..Default::default()
    };
    cluster.kill(leader).await;
    let is_other = |node: &u64| ![leader, next].contains(node);
    let alive = cluster.nodes().into_iter().find(is_other).unwrap();
    let refused = operator.change_members(remove(alive)).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::WouldLoseQuorum));
    let noted = newest(&operator, "change_members").await.unwrap();
    assert_eq!(noted.refusal, "WOULD_LOSE_QUORUM");
    assert_eq!(noted.detail, "change=remove");
    operator.change_members(remove(leader)).await.unwrap();
    let noted = newest(&operator, "change_members").await.unwrap();
    assert_eq!(
        (noted.target, noted.refusal),
        (format!("node {leader}"), String::new())
    );
    // What the log itself has of it names no person, and needs no note.
    let certain = newest(&operator, "remove_member").await.unwrap();
    assert_eq!(certain.target, format!("node {leader}"));
    assert_eq!(certain.actor.unwrap().kind(), v1::AuditActorKind::Cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cli_shows_the_trail_to_administrators_and_operators() {
    let cluster = Cluster::start(3).await;
    let (admin, token) = cluster.administrator().await;
    sign_up(&cluster.client(), "mallory").await;
    admin.set_suspended("mallory", true).await.unwrap();
    let desk = Person::new(&at(&cluster));
    let with_token = async |args: &[&str]| {
        let mut command = desk.command(args);
        command.env("CONCLAVE_TOKEN", &token);
        run(command, b"").await
    };
    let suspended = ["audit", "--act", "suspend_account", "--since", "1d"];
    let line = with_token(&suspended).await.succeeded();
    let cells: Vec<&str> = line.trim_end_matches('\n').split('\t').collect();
    assert_eq!(
        cells[3..],
        ["suspend_account", "mallory", "done", ""],
        "{line}"
    );
    let as_json = [&suspended[..], &["-o", "json"]].concat();
    let found: Vec<Value> = with_token(&as_json).await.json();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["actor"]["kind"], "account");
    assert_eq!(found[0]["refusal"], Value::Null);
    let name = found[0]["actor"]["name"].as_str().unwrap();
    let by_name = ["audit", "--actor", name, "--limit", "1", "-o", "json"];
    assert_eq!(with_token(&by_name).await.json(), found);
    let nothing = with_token(&["audit", "--actor", "x", "-o", "json"]).await;
    assert_eq!(nothing.json(), Vec::<Value>::new());
    let unknown = with_token(&["audit", "--act", "suspend"]).await;
    assert!(
        unknown.stderr.contains("suspend_account"),
        "{}",
        unknown.stderr
    );

    let file = cluster.operator_file().await;
    let file = file.to_str().unwrap();
    let args = ["audit", "-o", "json", "--stale", "--operator-file", file];
    let all = desk.run(&args).await.json();
    assert!(all.contains(&found[0]), "{all:?}");
    let member = Person::named(&at(&cluster), "oscar").await;
    let refused = member.run(&["audit"]).await;
    refused.failed(NOT_PERMITTED, "role");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_keeps_the_trail_and_its_restore_adds_an_entry() {
    let cluster = Cluster::start(1).await;
    let (admin, token) = cluster.administrator().await;
    sign_up(&cluster.client(), "mallory").await;
    admin.set_suspended("mallory", true).await.unwrap();
    let before = trail_at(&cluster.endpoint(1), &token).await;
    assert_eq!(count(&before, "suspend_account", "mallory"), 1);
    let desk = Person::new(&at(&cluster));
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let operator = cluster.operator_client().await;
    let file = cluster.operator_file().await;
    let (backup, data) = (path("state.backup"), path("data"));
    let args = ["backup", &backup, "--operator-file", file.to_str().unwrap()];
    desk.run(&args).await.succeeded();
    until("the backup is noted", async || {
        newest(&operator, "take_backup").await
    })
    .await;
    desk.run(&["restore", &backup, "--data", &data])
        .await
        .succeeded();

    let log = files.path().join("log");
    let addresses = ["--client-address", ANY_PORT, "--peer-address", ANY_PORT];
    let args = [&["--data", &data][..], &addresses].concat();
    let served = Served::start(&log, &args, &[]).await.unwrap();
    let credential = std::path::Path::new(&data).join(conclave_server::OPERATOR_FILE);
    let credential = until("the new cluster has an operator", async || {
        conclave_client::OperatorCredential::from_text(&std::fs::read_to_string(&credential).ok()?)
    })
    .await;
    let restored = served.client().with_operator(&credential);
    let noted = until("the restore is in the trail", async || {
        newest(&restored, "restore").await
    })
    .await;
    assert_eq!(noted.actor.unwrap().kind(), v1::AuditActorKind::Node);
    assert!(noted.sequence > before.len() as u64);
    let request = v1::ListAuditEntriesRequest {
        before_sequence: before.len() as u64 + 1,
        ..Default::default()
    };
    let kept = restored.audit_entries(request, Freshness::Linearizable);
    let mut kept = kept.await.unwrap().entries;
    kept.reverse();
    assert_eq!(kept, before);
    served.stop().await;
}
