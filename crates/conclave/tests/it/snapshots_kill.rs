//! A snapshot on its way while its receiver, its sender, or both are killed: never a wrong state,
//! always a later success, and nothing is sent twice to a receiver that comes back.
//!
//! The points are parts of the snapshot that the receiver has according to its own status: no clock
//! chooses them. `CONCLAVE_SNAPSHOT_POINTS=each` makes a transfer of its own of every point, for
//! each of the three: that takes some minutes.

use conclave_client::{Client, v1};

use crate::{
    snapshots::{JOINER, VOTERS, agree, incoming, join, large_cluster, own, says},
    support::{Cluster, until},
    witness::{Speaker, Witness},
};

/// Rate at which snapshots are sent: slow enough for the test to see each point.
const BYTES_PER_SECOND: u64 = 768 * 1024;
/// Number of equal parts between which the points lie.
const PARTS: u64 = 21;
/// Maximum number of transfers that may end before the test has seen the point.
const MISSES_MAX: u32 = 5;

/// Nodes that can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Receiver,
    /// The sender, which is the leader: only leaders send.
    Sender,
    Both,
}

const VICTIMS: [Victim; 3] = [Victim::Receiver, Victim::Sender, Victim::Both];

/// A cluster in which machines join and nodes are killed while a client sends messages.
struct Trial {
    cluster: Cluster,
    root: Client,
    alice: Speaker,
    /// Number of transfers that continued with what was stored.
    resumed: u32,
    misses: u32,
}

impl Trial {
    /// Lets a machine join and kills the victim at each of these points; then checks that the
    /// machine has everything.
    async fn run(&mut self, victim: Victim, points: &[u64]) {
        let talking = self.alice.keep_talking();
        self.begin().await;
        for point in points {
            let at = self.reach(*point).await;
            self.kill(victim, at.peer_node_id).await;
            if victim == Victim::Receiver {
                self.goes_on(&at).await;
            }
        }
        self.is_whole().await;
        talking.finish_without_error().await;
        agree(&self.cluster).await;
        let log = self.cluster.log(JOINER);
        assert!(
            !log.contains("panicked") && !log.contains(" ERROR "),
            "{log}"
        );
    }

    /// Starts an empty machine in the place of the one that was there.
    async fn begin(&self) {
        self.cluster.kill(JOINER).await;
        if self.cluster.directory(JOINER).exists() {
            self.cluster.wipe(JOINER);
        }
        for node in self.cluster.status(1).await.nodes {
            if node.node_id > VOTERS {
                let change = v1::change_members_request::Change::RemoveNodeId(node.node_id);
                let request = v1::ChangeMembersRequest {
                    change: Some(change),
                    ..Default::default()
                };
                self.root.change_members(request).await.unwrap();
            }
        }
        join(&self.cluster, &self.root).await;
    }

    /// Waits until this many parts of a snapshot have arrived.
    async fn reach(&mut self, point: u64) -> v1::SnapshotTransfer {
        loop {
            let seen = until("a snapshot has come so far", async || {
                let status = self.cluster.try_status(JOINER).await?;
                let own = own(&status)?;
                let Some(transfer) = incoming(&status) else {
                    return (own.applied_index > 0).then_some(None);
                };
                let is_there = transfer.bytes_done * PARTS >= transfer.bytes_total * point;
                is_there.then_some(Some(*transfer))
            })
            .await;
            if let Some(seen) = seen {
                return seen;
            }
            self.misses += 1;
            assert!(self.misses <= MISSES_MAX, "the transfers are too fast");
            self.begin().await;
        }
    }

    async fn kill(&self, victim: Victim, sender: u64) {
        let (cluster, receiver) = (&self.cluster, JOINER);
        match victim {
            Victim::Receiver => {
                cluster.kill(receiver).await;
                cluster.start_node(receiver).await;
            }
            Victim::Sender => {
                cluster.kill(sender).await;
                cluster.start_node(sender).await;
            }
            Victim::Both => {
                tokio::join!(cluster.kill(sender), cluster.kill(receiver));
                tokio::join!(cluster.start_node(sender), cluster.start_node(receiver));
            }
        }
    }

    /// Checks that the same sender continues where it was: what is stored is not sent again.
    async fn goes_on(&mut self, before: &v1::SnapshotTransfer) {
        let again = until("the transfer goes on", async || {
            let status = self.cluster.try_status(JOINER).await?;
            match incoming(&status) {
                Some(transfer) => Some(Some(*transfer)),
                None => (own(&status)?.applied_index > 0).then_some(None),
            }
        })
        .await;
        // The transfer may have ended before the test looked, or another node may lead by now. One
        // that was whole may be followed by a newer snapshot, of as many pages.
        let was_whole = before.bytes_done == before.bytes_total;
        let same = again.filter(|again| {
            again.peer_node_id == before.peer_node_id
                && again.bytes_total == before.bytes_total
                && !was_whole
        });
        if let Some(again) = same {
            assert!(
                again.bytes_before >= before.bytes_done,
                "sent twice: {before:?}, {again:?}"
            );
            self.resumed += 1;
        }
    }

    /// Waits until the whole snapshot has arrived.
    async fn is_whole(&self) {
        until("a snapshot is installed", async || {
            let status = self.cluster.try_status(JOINER).await?;
            let is_there = own(&status)?.applied_index > 0 && incoming(&status).is_none();
            is_there.then_some(())
        })
        .await;
        assert!(says(&self.cluster, JOINER, "snapshot installed") > 0);
    }
}

/// Returns the points for each victim, and how many of them fall into one transfer.
fn plan() -> Vec<(Victim, Vec<u64>)> {
    let each = std::env::var("CONCLAVE_SNAPSHOT_POINTS").is_ok_and(|value| value == "each");
    let all = 1..PARTS;
    if each {
        let of = |victim| all.clone().map(move |point| (victim, vec![point]));
        return VICTIMS.into_iter().flat_map(of).collect();
    }
    let every_third = |first| all.clone().skip(first).step_by(VICTIMS.len()).collect();
    let victims = VICTIMS.into_iter().enumerate();
    victims
        .map(|(first, victim)| (victim, every_third(first)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_twenty_points_of_a_transfer_only_delay_it() {
    let plan = plan();
    let points: usize = plan.iter().map(|(_, points)| points.len()).sum();
    assert!(points >= 20, "{points}");
    let (cluster, root) = large_cluster(BYTES_PER_SECOND).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut trial = Trial {
        cluster,
        root,
        alice,
        resumed: 0,
        misses: 0,
    };
    let began = tokio::time::Instant::now();
    for (victim, points) in plan {
        trial.run(victim, &points).await;
        eprintln!(
            "{:6.1} s  {victim:?} at {points:?}",
            began.elapsed().as_secs_f64()
        );
    }
    let (resumed, misses) = (trial.resumed, trial.misses);
    eprintln!("{points} kills; {resumed} transfers were gone on with, {misses} were over too soon");
    assert!(resumed > 0, "no transfer was gone on with");
    for node in 1..=VOTERS {
        let log = trial.cluster.log(node);
        assert!(!log.contains("panicked"), "{log}");
    }
    witness.judge(&trial.cluster, &[&trial.alice]).await;
}
