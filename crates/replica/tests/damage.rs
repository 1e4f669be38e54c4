//! A replica whose data is damaged or diverged takes no part, and says why.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use conclave_replica::{Damage, Role, RowsAt, VoteRequest};
use conclave_storage::{
    log::Vote,
    state::{RANGE_TABLES, Reader, RowRange},
};
use support::{Cluster, PATIENCE, open_session, send, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_leader_gives_no_vote_and_another_leads() {
    let cluster = Cluster::start(3).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    let old = cluster.leader().await;
    let fenced = cluster.node(old);
    fenced.fence("its state is another one");
    let request = VoteRequest {
        vote: Vote {
            term: 1_000,
            node: 9,
            committed: false,
        },
        last: None,
        pre_vote: false,
        leader_transfer: false,
    };
    if let Ok(response) = fenced.on_vote(request).await {
        assert!(!response.granted, "{response:?}");
    }
    let failed = tokio::time::timeout(PATIENCE, fenced.failed()).await;
    assert_eq!(failed.expect("it says why"), "its state is another one");
    assert!(matches!(fenced.damage(), Some(Damage::Diverged(_))));
    let other = cluster.nodes().into_iter().find(|node| *node != old);
    let other = cluster.node(other.expect("there are others"));
    let sent = other.propose(send(session, 1, "alice", "hi"), PATIENCE);
    sent.await.expect("two of three go on");
    assert_ne!(fenced.status().role, Role::Leader);
    cluster.stop().await;
}

/// Returns the first range of each table.
fn ranges(reader: &Reader) -> Vec<RowRange> {
    let first = |table| reader.next_range(table, None).unwrap().range;
    (0..RANGE_TABLES).map(first).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_after_an_entry_have_equal_digests_on_all_nodes() {
    let cluster = Cluster::start(3).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    let applied = cluster.node(1).read_barrier(PATIENCE).await.unwrap();
    let at = applied + 5;
    let ranges = ranges(&cluster.node(1).reader());
    let asked = cluster.nodes().into_iter().map(|node| {
        let (node, ranges) = (cluster.node(node), ranges.clone());
        // No reader of the pool is free, and the writer waits for none.
        let pinned: Vec<_> = std::iter::from_fn(|| node.reader().pin().ok()).collect();
        assert!(!pinned.is_empty());
        tokio::spawn(async move {
            let found = node.rows_at(at, ranges, PATIENCE).await;
            drop(pinned);
            found
        })
    });
    let asked: Vec<_> = asked.collect();
    for number in 1..=20 {
        let command = send(session, number, "alice", "hi");
        cluster.node(2).propose(command, PATIENCE).await.unwrap();
    }
    let mut found = Vec::new();
    for asked in asked {
        let Ok(Ok(RowsAt::Read(digests))) = asked.await else {
            panic!("the rows are read");
        };
        assert_eq!((digests.index, digests.digests.len()), (at, ranges.len()));
        found.push(digests);
    }
    assert!(found.iter().all(|digests| *digests == found[0]));
    let one = cluster.node(1);
    let late = one.rows_at(at, ranges.clone(), PATIENCE).await.unwrap();
    assert!(matches!(late, RowsAt::Passed { .. }));
    let never = one.rows_at(at + 1_000_000, ranges, Duration::from_millis(1));
    never.await.expect_err("the wait has a limit");
    wait_for("all are equally far", || {
        let far = cluster.nodes().into_iter();
        let far: Vec<u64> = far
            .map(|node| *cluster.node(node).applied().borrow())
            .collect();
        far.iter().all(|index| *index == far[0]).then_some(())
    })
    .await;
    let mut pauses = 0;
    cluster
        .node(3)
        .verify_log(|| {
            pauses += 1;
            true
        })
        .expect("the log is whole");
    assert!(pauses > 0);
    cluster.stop().await;
}

/// Number of times that a replica is damaged and started.
const ROUNDS: u64 = 80;

/// Returns the files of a directory and of its subdirectories.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for item in fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => {
                let bytes = fs::read(&path).unwrap();
                found.push((path, bytes));
            }
        }
    }
    found.sort();
    found
}

/// Returns whether damage of this file must be noticed: not if the file is created anew.
fn matters(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    name.ends_with(".segment") || name.starts_with("state.db") || name == "state.mark"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_damage_is_reported_or_found_by_digest_or_harmless() {
    let cluster = Cluster::start(1).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    for number in 1..=200 {
        let command = send(session, number, "alice", &"words ".repeat(20));
        cluster.node(1).propose(command, PATIENCE).await.unwrap();
    }
    let last = cluster.node(1).read_barrier(PATIENCE).await.unwrap();
    let truth = cluster.node(1).reader().digest().unwrap();
    cluster.stop_node(1).await;
    let directory = cluster.directory(1);
    let whole = files(&directory);
    let hurtable: Vec<usize> = (0..whole.len())
        .filter(|at| matters(&whole[*at].0))
        .collect();
    let mut dice = 0x0dd_ba11_u64;
    let mut roll = |bound: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (dice >> 33) as usize % bound.max(1)
    };
    let [mut told, mut differs, mut harmless] = [0; 3];
    for round in 0..ROUNDS {
        fs::remove_dir_all(&directory).unwrap();
        let hurt = hurtable[roll(hurtable.len())];
        for (at, (path, bytes)) in whole.iter().enumerate() {
            let mut bytes = bytes.clone();
            if at == hurt {
                let used = bytes
                    .iter()
                    .rposition(|byte| *byte != 0)
                    .map_or(0, |at| at + 1);
                // In the header of a database a changed version number cannot be told from damage.
                let offset = 100.min(used) + roll(used.saturating_sub(100));
                match round % 4 {
                    0 => bytes.truncate(offset),
                    _ if offset < bytes.len() => bytes[offset] ^= 1 << roll(8),
                    _ => {}
                }
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let what = whole[hurt].0.display();
        if let Err(error) = cluster.try_start_node(1).await {
            assert!(error.damage().is_some(), "round {round}, {what}: {error}");
            told += 1;
            continue;
        }
        let node = cluster.node(1);
        let applied = tokio::select! {
            why = node.failed() => Err(why),
            applied = node.wait_applied(last, PATIENCE) => {
                applied.map_err(|error| error.to_string())
            }
        };
        let digest = applied.and_then(|_| {
            let pinned = node.reader().pin().map_err(|error| error.to_string())?;
            pinned
                .digest(&mut || true)
                .map_err(|error| error.to_string())
        });
        match digest {
            Ok(found) if found == truth => harmless += 1,
            Ok(_) => differs += 1,
            Err(why) => {
                assert!(node.damage().is_some(), "round {round}, {what}: {why}");
                told += 1;
            }
        }
        cluster.stop_node(1).await;
    }
    println!("{told} told, {differs} shown by comparing, {harmless} harmless");
    assert!(told > ROUNDS / 4, "the damages were not of all kinds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_waiting_to_join_gives_no_vote_and_takes_no_entry() {
    let cluster = Cluster::start(3).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    let leader = cluster.leader().await;
    let others: Vec<u64> = cluster
        .nodes()
        .into_iter()
        .filter(|n| *n != leader)
        .collect();
    let (waiting, lost) = (others[0], others[1]);
    cluster.stop_node(waiting).await;
    cluster.waiting.lock().unwrap().insert(waiting);
    cluster.start_node(waiting).await;
    let node = cluster.node(waiting);
    let leading = cluster.node(leader);
    let sent = leading.propose(send(session, 1, "alice", "one"), PATIENCE);
    let entry = sent.await.expect("two of three go on").index;
    assert!(node.status().log_index_last < entry, "it took an entry");
    let request = VoteRequest {
        vote: Vote {
            term: 1_000,
            node: 9,
            committed: false,
        },
        last: None,
        pre_vote: false,
        leader_transfer: false,
    };
    node.on_vote(request).await.expect_err("it waits");
    // Without the third node no proposal can be acknowledged, and the leader steps down or stays
    // alone.
    cluster.stop_node(lost).await;
    let limit = Duration::from_secs(2);
    let sent = leading.propose(send(session, 2, "alice", "two"), limit);
    sent.await.expect_err("one of three acknowledges nothing");
    assert!(!node.is_admitted() && node.contact().is_none());
    node.admit().await.unwrap();
    let sent = leading.propose(send(session, 2, "alice", "two"), PATIENCE);
    let entry = sent.await.expect("two of three go on").index;
    node.wait_applied(entry, PATIENCE).await.unwrap();
    cluster.stop().await;
}
