//! Directories of earlier builds are started by this one, as after an upgrade: everything that was
//! acknowledged is there, and the node goes on.
//!
//! What is checked of their files alone is in `crates/server/tests/golden.rs`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use conclave_client::{
    Freshness, Page, Sent,
    core::{MessageRef, Recipient, RoomName},
};
use serde_json::{Value, json};

use crate::{
    command::{Home, Served},
    support::{Cluster, until},
    witness::{PASSWORD, person, sign_up},
};

/// Files that a node makes anew, or that belong to one run of it.
const LEFT_OUT: [&str; 6] = [
    "lock",
    "node.log",
    "reserve",
    "search.db",
    "search.db-wal",
    "search.db-shm",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/tests/golden")
}

fn manifest(name: &str) -> Value {
    let text = fs::read_to_string(root().join(name).join("manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Copies a directory, with its files as long as they were.
fn restore(name: &str, to: &Path) {
    for (file, length) in manifest(name)["files"].as_object().unwrap() {
        // A snapshot that was added lies in no directory of a node.
        if file == "snapshot" {
            continue;
        }
        let target = to.join(file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(root().join(name).join(file), &target).unwrap();
        let target = fs::File::options().write(true).open(target).unwrap();
        target.set_len(length.as_u64().unwrap()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_of_every_build_is_started_and_goes_on() {
    let mut names: Vec<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in names {
        let home = Home::new().await;
        restore(&name, &home.path("node"));
        let node = home.alone("node").await;
        goes_on(&home, &node, &name).await;
        node.stop().await;
    }
}

async fn goes_on(home: &Home, node: &Served, name: &str) {
    let client = node.client();
    let login = client.login("alice", PASSWORD).await.unwrap();
    let alice = client.with_token(&login.token).unwrap();
    let told = alice
        .messages(&person("bob"), Page::Newest, 50, Freshness::Linearizable)
        .await
        .unwrap();
    let texts: Vec<&str> = told.messages.iter().map(|m| &*m.text).collect();
    assert!(
        texts.contains(&"hello 1") && texts.contains(&"edited"),
        "{name}: {texts:?}"
    );
    alice
        .send(&person("bob"), "after the upgrade")
        .await
        .unwrap();
    let client = client.with_operator(&home.operator().await);
    // One node is all members, so a cluster without a version gets one.
    let version = until("the cluster has a version", async || {
        let status = client.cluster_status(&node.client_address).await.ok()?;
        (status.cluster_version > 0).then_some(status.cluster_version)
    })
    .await;
    assert!(version >= 1, "{name}");
    let digest = client.state_digest(&node.client_address, 0).await.unwrap();
    let messages = manifest(name)["messages"].as_u64().unwrap();
    assert_eq!(digest.messages, messages + 1, "{name}");
}

/// Makes the directory that `CONCLAVE_GOLDEN` names with the program that `CONCLAVE_GOLDEN_PROGRAM`
/// names, or with this build's.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it makes a directory for ever: see docs/data.md"]
async fn make_the_directory_of_a_build() {
    let name = std::env::var("CONCLAVE_GOLDEN").expect("the name of the directory");
    let own = || env!("CARGO_BIN_EXE_conclave").to_owned();
    let program = std::env::var("CONCLAVE_GOLDEN_PROGRAM").unwrap_or_else(|_| own());
    let cluster = Cluster::start_program(1, Path::new(&program)).await;
    let (root_client, _) = cluster.administrator().await;
    fill(&cluster).await;
    let digest = root_client
        .state_digest(&cluster.endpoint(1), 0)
        .await
        .unwrap();
    cluster.stop(1).await;
    let to = root().join(&name);
    let mut files = BTreeMap::new();
    keep(&cluster.directory(1), &to, Path::new(""), &mut files);
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let told = json!({
        "files": files,
        "applied_index": digest.applied_index,
        "digest": hex(&digest.digest),
        "chain": hex(&digest.chain),
        "messages": digest.messages,
        "accounts": digest.accounts,
    });
    let text = serde_json::to_string_pretty(&told).unwrap() + "\n";
    fs::write(to.join("manifest.json"), text).unwrap();
}

/// Has people do one of everything that leaves a row.
async fn fill(cluster: &Cluster) {
    let client = cluster.client();
    let alice = sign_up(&client, "alice").await;
    let bob = sign_up(&client, "bob").await;
    let alice = client.with_token(&alice.token).unwrap();
    let bob = client.with_token(&bob.token).unwrap();
    for number in 1..=20 {
        let text = format!("hello {number}");
        alice.send(&person("bob"), &text).await.unwrap();
    }
    let place = |sent: Sent| MessageRef {
        conversation: sent.conversation,
        sequence: sent.sequence,
    };
    let sent = bob.send(&person("alice"), "hi @alice").await.unwrap();
    alice.set_reaction(place(sent), "👍", true).await.unwrap();
    let sent = alice.send(&person("bob"), "draft").await.unwrap();
    alice.edit_message(place(sent), "edited").await.unwrap();
    let sent = alice.send(&person("bob"), "gone").await.unwrap();
    alice.delete_messages(&[place(sent)], true).await.unwrap();
    alice.create_room("lobby", "a topic", false).await.unwrap();
    bob.join_room("lobby").await.unwrap();
    let lobby = Recipient::Room(RoomName::new("lobby").unwrap());
    bob.send(&lobby, "hello everyone").await.unwrap();
    alice.set_block("bob", true).await.unwrap();
    alice.set_block("bob", false).await.unwrap();
}

/// Copies the files of a directory without the zeros at their ends, and notes their lengths.
fn keep(from: &Path, to: &Path, inside: &Path, files: &mut BTreeMap<String, u64>) {
    for entry in fs::read_dir(from.join(inside)).unwrap() {
        let name = entry.unwrap().file_name();
        let path = inside.join(&name);
        let is_left_out = LEFT_OUT.iter().any(|left| name == *left);
        if from.join(&path).is_dir() {
            keep(from, to, &path, files);
        } else if !is_left_out && path.extension().is_none_or(|ending| ending != "tmp") {
            let mut bytes = fs::read(from.join(&path)).unwrap();
            files.insert(path.display().to_string(), bytes.len() as u64);
            let end = bytes.iter().rposition(|byte| *byte != 0);
            bytes.truncate(end.map_or(0, |end| end + 1));
            let target = to.join(&path);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, bytes).unwrap();
        }
    }
}
