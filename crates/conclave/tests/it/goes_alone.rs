//! A node recovers the cluster by itself when the other one of two voters is gone: only then, only
//! with proof unless the operator does without, never on two sides, and loudly.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use conclave_server::{NodeConfig, Overrides};
use serde_json::Value;

use crate::{
    alerts::watch::Watch,
    command::{program, run},
    readme::{blocks, document},
    support::until,
    two_crashes::{World, are_refused, others},
};

const COMMAND: &str = "CONCLAVE_RECOVER_FENCE_COMMAND";
const ASSUME: &str = "CONCLAVE_RECOVER_ASSUME_FAIL_STOP";
const AFTER: (&str, &str) = ("CONCLAVE_RECOVER_AFTER_SECONDS", "5");
const REFUSES: &str = "this node does not recover by itself";

/// Writes a command that takes a node to be off if there is a file for it.
fn fence(directory: &Path) -> String {
    let script = directory.join("fence");
    let off = directory.join("off");
    let text = format!("#!/bin/sh\ntest -e \"{}-${{1%%=*}}\"\n", off.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script.display().to_string()
}

/// Waits until this node is the only voter of a cluster with another name.
async fn is_alone(world: &World, node: u64) {
    until("it serves alone", async || {
        let status = world.cluster.try_status(node).await?;
        let has_recovered = status.cluster_id.contains(".1-");
        (status.voters == 1 && status.leader_id == node && has_recovered).then_some(())
    })
    .await;
}

/// Waits until this node would go on if the other voter were lost.
async fn is_ready(world: &World, node: u64) {
    until("it is ready", async || {
        let status = world.status(node).await?;
        let own = status.nodes.into_iter().find(|one| one.node_id == node)?;
        own.recovery?.ready.then_some(())
    })
    .await;
}

async fn says(world: &World, node: u64, what: &str) {
    until(what, async || {
        world.cluster.log(node).contains(what).then_some(())
    })
    .await;
}

#[test]
fn the_settings_of_the_manual_are_settings() {
    let operations = document("docs/operations.md");
    let settings = blocks(&operations, "toml").into_iter();
    let mut settings = settings.filter(|block| block.starts_with("[recover]"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.toml");
    fs::write(&file, settings.next().unwrap()).unwrap();
    let config = NodeConfig::load(Some(&file), &Overrides::default()).unwrap();
    assert!(config.recover.fence_command.is_some());
    let off = NodeConfig::default().recover;
    assert!(
        off.fence_command.is_none() && !off.assume_fail_stop,
        "off by default"
    );
    let given = (off.fence_seconds, off.after_seconds);
    assert_eq!(
        (config.recover.fence_seconds, config.recover.after_seconds),
        given
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_server_goes_on_once_the_other_is_proven_off() {
    let directory = tempfile::tempdir().unwrap();
    let command = fence(directory.path());
    let mut world = World::start_with(&[(COMMAND, &command), AFTER]).await;
    let survivor = world.cluster.a_follower().await;
    let [first, second] = others(survivor);
    world.kill(&[first]).await;
    world.goes_on_without(first, survivor).await;
    is_ready(&world, survivor).await;
    world.kill(&[second]).await;
    says(&world, survivor, "is not proven to be off").await;
    let before = world.cluster.status(survivor).await;
    assert!(!before.quorum && before.voters == 2, "nothing has changed");
    fs::write(directory.path().join(format!("off-{second}")), "").unwrap();
    is_alone(&world, survivor).await;
    // No operator has done anything, and people talk on.
    world.talking.go_on(30).await;
    let World {
        cluster,
        alice,
        talking,
    } = world;
    let talk = talking.finish().await;
    let there = alice.all_messages_at(&cluster.endpoint(survivor)).await;
    assert!(
        there.len() as u64 >= talk.said,
        "{} of {}",
        there.len(),
        talk.said
    );
    let log = cluster.log(survivor);
    assert!(log.contains("has recovered the cluster alone, without an operator"));
    let data = cluster.directory(survivor);
    let backup = data.join("before-recover-1");
    assert!(backup.join("state.db").exists(), "it was copied first");

    let file = cluster.operator_file().await.display().to_string();
    let at = cluster.endpoint(survivor);
    let args = ["cluster", "status", "-o", "json", "--operator-file", &file];
    let args = [&args[..], &["--endpoints", &at]].concat();
    let status = run(program(&args), b"").await.json().remove(0);
    let node = status["nodes"].as_array().unwrap();
    let own = node.iter().find(|node| node["node"] == survivor).unwrap();
    assert_eq!(own["recovery"]["recovered_by"], "fenced", "{own}");
    let given_up = Value::from(others(survivor).to_vec());
    assert_eq!(own["recovery"]["given_up"], given_up);
    let mut watch = Watch::default();
    watch.look(&[cluster.admin_address(survivor)]).await;
    assert_eq!(watch.last("conclave_recovered_alone", ""), Some(1.0));
    watch.fires(&["ConclaveRecoveredAlone"], true);
    are_refused(&cluster, others(survivor)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_two_crashes_at_once_no_server_recovers_by_itself() {
    let world = World::start_with(&[(COMMAND, "true"), AFTER]).await;
    let survivor = world.cluster.leader().await;
    let before = world.cluster.status(survivor).await;
    world.kill(&others(survivor)).await;
    says(&world, survivor, REFUSES).await;
    let log = world.cluster.log(survivor);
    assert!(log.contains("the others may have gone on without"), "{log}");
    let after = world.cluster.status(survivor).await;
    assert_eq!((after.cluster_id, after.voters), (before.cluster_id, 3));
    world.talking.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_proof_only_the_lower_of_two_servers_goes_on() {
    for lower_survives in [true, false] {
        let mut world = World::start_with(&[(ASSUME, "true"), AFTER]).await;
        let first = world.cluster.leader().await;
        let [lower, higher] = others(first);
        let (survivor, second) = match lower_survives {
            true => (lower, higher),
            false => (higher, lower),
        };
        world.kill(&[first]).await;
        world.goes_on_without(first, survivor).await;
        if lower_survives {
            is_ready(&world, survivor).await;
        }
        world.kill(&[second]).await;
        match lower_survives {
            true => {
                is_alone(&world, survivor).await;
                world.talking.go_on(30).await;
            }
            false => {
                says(&world, survivor, REFUSES).await;
                let log = world.cluster.log(survivor);
                assert!(log.contains("lowest number"), "{log}");
                // Its voter is back with all that it had: nothing was given up.
                world.cluster.start_node(second).await;
                world.talking.go_on(30).await;
            }
        }
        world.talking.finish().await;
    }
}
