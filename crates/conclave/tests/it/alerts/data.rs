//! Alerts about what is on the disks: old backups, states that differ, copies that are refused; and
//! about descriptors that run out.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::{alice, bob, serving, watch::Watch};
use crate::{
    command::Home,
    old_data::{copy_of, put_back},
    support::{Cluster, until},
};

/// Entries after which every node has noted its chain again.
const ENTRIES: usize = 130;

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_about_a_backup_that_is_too_old() {
    const THREE_DAYS_MS: i64 = 3 * 86_400_000;
    let name = "conclave_last_backup_timestamp_seconds";
    // What its clock takes for now is three days ago for the watcher.
    let cluster = Cluster::start_with_clocks(&[(1, -THREE_DAYS_MS)]).await;
    let root = cluster.operator_client().await;
    let mut none = Watch::default();
    none.look_at(&cluster).await;
    assert_eq!(none.last(name, ""), None, "there is no backup yet");
    // What ConclaveNoBackup looks for; it fires after a day of that, as alerts_test.yml shows.
    assert_eq!(none.last("conclave_started", ""), Some(1.0));
    let fresh = conclave_client::Freshness::Linearizable;
    let mut backup = root.take_backup(fresh, 0).await.unwrap();
    while backup.next().await.unwrap().is_some() {}
    let old = until("the node has noted its backup", async || {
        let mut watch = Watch::default();
        watch.look_at(&cluster).await;
        watch.last(name, "").map(|_| watch)
    })
    .await;
    let age = -old.last(name, "").unwrap();
    assert!((259_000.0..260_000.0).contains(&age), "{age}");
    old.fires(&["ConclaveBackupTooOld"], true);

    let home = Home::new().await;
    let node = home.alone("data").await;
    let watch = serving(&node).await;
    watch.fires(&[], false);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_about_states_that_differ() {
    let cluster = Cluster::start(3).await;
    let alice = alice(&cluster.client()).await;
    alice.send(&bob(), "before").await.unwrap();
    let root = cluster.operator_client().await;
    // A leader raises the version of a new cluster: the last entry without a caller.
    until("the version is raised", async || {
        let status = root.cluster_status(&cluster.endpoint(1)).await.ok()?;
        (status.cluster_version > 0).then_some(())
    })
    .await;
    cluster.all_rejoined().await;
    let found = root.state_digest(&cluster.endpoint(1), 0).await.unwrap();
    for node in cluster.nodes() {
        cluster.stop(node).await;
        // Each another one, as if each had decided differently.
        let file = cluster.directory(node).join("state.db");
        let mut bytes = fs::read(&file).unwrap();
        let chain = &found.chain[..];
        let places: Vec<usize> = bytes
            .windows(chain.len())
            .enumerate()
            .filter(|(_, window)| *window == chain)
            .map(|(place, _)| place)
            .collect();
        assert!(!places.is_empty(), "node {node} has another chain already");
        for place in places {
            bytes[place] ^= u8::try_from(node).unwrap();
        }
        fs::write(&file, bytes).unwrap();
    }
    cluster.start_all().await;
    for _ in 0..ENTRIES {
        alice.send(&bob(), "after").await.unwrap();
    }
    let differs = until("the nodes know that they differ", async || {
        let mut watch = Watch::default();
        watch.look_at(&cluster).await;
        (watch.last("conclave_state_differs", "") == Some(1.0)).then_some(watch)
    })
    .await;
    differs.fires(&["ConclaveStatesDiffer"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_about_a_member_that_is_refused() {
    let cluster = Cluster::start(3).await;
    let alice = alice(&cluster.client()).await;
    let leader = cluster.leader().await;
    let mut others = cluster.nodes();
    others.retain(|node| *node != leader);
    let (old, lost) = (others[0], others[1]);
    cluster.stop(old).await;
    let kept = copy_of(&cluster, old);
    cluster.start_node(old).await;
    cluster.all_rejoined().await;
    for _ in 0..ENTRIES {
        alice.send(&bob(), "more").await.unwrap();
    }
    // Without the other one no majority admits it again.
    cluster.kill(lost).await;
    cluster.kill(old).await;
    put_back(&cluster, old, &kept);
    let _ = cluster.try_start_node(old).await;
    let admins = [cluster.admin_address(leader)];
    let refused = until("the leader refuses the old copy", async || {
        let mut watch = Watch::default();
        watch.look(&admins).await;
        let peer = format!("peer=\"{old}\"");
        (watch.last("conclave_peer_refused", &peer) == Some(1.0)).then_some(watch)
    })
    .await;
    refused.fires(&["ConclaveMemberRefused"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_about_descriptors_that_are_nearly_used_up() {
    let home = Home::new().await;
    let node = home.alone("data").await;
    let admins = [node.admin_address.clone()];
    let pid = Pid::from_raw(i32::try_from(node.pid()).unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    let mut seen = serving(&node).await;
    // The node closes some descriptors a while after it began to serve.
    let few = until("few descriptors are left", async || {
        let open = seen.last("process_open_fds", "").unwrap();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of descriptors"
        )]
        let current = Some((open * 1.1) as u64 + 2);
        prlimit(pid, Resource::Nofile, Rlimit { current, maximum }).unwrap();
        let mut watch = Watch::default();
        watch.look(&admins).await;
        let now = |name| watch.last(name, "").unwrap();
        let is_few = now("process_open_fds") / now("process_max_fds") > 0.8;
        seen = watch;
        is_few.then(|| std::mem::take(&mut seen))
    })
    .await;
    few.fires(&["ConclaveDescriptorsNearlyUsedUp"], false);
    node.stop().await;
}
