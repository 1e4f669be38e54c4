//! Clocks that are set while real nodes run: no session is logged out, nothing expires early, and
//! the times that are shown are right again soon.
//!
//! `CONCLAVE_CLOCK_SECONDS` sets for how long a clock stays wrong.

#![allow(clippy::print_stderr, reason = "it tells how long dates took")]

use std::{sync::Arc, time::Duration};

use conclave_client::{Client, Freshness, Grant, v1};
use tokio::time::{Instant, sleep};

use crate::{
    clocks::{NEAR_MS, now_ms},
    support::{Cluster, until},
    witness::{PASSWORD, Speaker, Witness},
};

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
const YEAR_MS: i64 = 365 * DAY_MS;
const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);
/// Maximum time until the times that are shown are right again.
const RIGHT_AGAIN: Duration = Duration::from_secs(60);
/// Maximum difference between a date and the clock that it follows, in milliseconds: readings and
/// an entry.
const CLOSE_MS: u64 = 10_000;
/// Time for which a clock stays wrong, in seconds: the others read it several times.
const SECONDS: u64 = 4;

/// A cluster with a user who is logged in, and with invites and a join token that expire within
/// half an hour.
struct Scene {
    cluster: Cluster,
    root: Client,
    alice: Speaker,
    invites: Vec<String>,
    session: v1::GetSessionResponse,
    _witness: Arc<Witness>,
}

impl Scene {
    async fn new() -> Self {
        let cluster = Cluster::start_with_settable_clocks(3).await;
        let (root, _) = cluster.administrator().await;
        let witness = Witness::new();
        let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
        alice.say().await.unwrap();
        let mut invites = Vec::new();
        for _ in 0..3 {
            let invite = root.create_invite(HALF_AN_HOUR, 1).await.unwrap();
            invites.push(invite.code);
        }
        root.create_join_token(HALF_AN_HOUR, false).await.unwrap();
        let session = alice.client.session(Freshness::Linearizable).await;
        Self {
            cluster,
            root,
            session: session.unwrap(),
            alice,
            invites,
            _witness: witness,
        }
    }

    /// Checks that the session is the same, and that everything that expires within half an hour
    /// still exists and ends within about that time by clocks that are `ahead_ms` ahead of this
    /// machine's.
    async fn nothing_has_expired(&mut self, ahead_ms: i64) {
        let session = self.alice.client.session(Freshness::Linearizable).await;
        let session = session.expect("no session has ended");
        assert_eq!(session.session_id, self.session.session_id);
        let now = now_ms().saturating_add_signed(ahead_ms);
        let lasts = session.expires_at_ms.saturating_sub(now);
        let lasted = self.session.expires_at_ms - self.session.opened_at_ms;
        assert!(lasts.abs_diff(lasted) < NEAR_MS, "{lasts} of {lasted}");
        let half_an_hour = u64::try_from(HALF_AN_HOUR.as_millis()).unwrap();
        let tokens = self.root.join_tokens().await.unwrap();
        let invites = self.root.invites(Freshness::Linearizable).await.unwrap();
        assert_eq!((tokens.len(), invites.len()), (1, self.invites.len()));
        let ends = invites.iter().map(|invite| invite.expires_at_ms);
        for end in ends.chain([tokens[0].expires_at_ms]) {
            let left = end.abs_diff(now + half_an_hour);
            assert!(left < NEAR_MS, "half an hour is {left} ms off");
        }
        // An invite that is listed can also be used.
        let code = self.invites.pop().unwrap();
        let name = format!("guest{}", self.invites.len());
        let grant = Grant::Invite(code);
        let made = self.root.create_account_with(&name, PASSWORD, grant).await;
        made.unwrap();
    }

    /// Waits until new messages are dated by clocks that are `ahead_ms` ahead of this machine's.
    async fn dates_follow(&self, ahead_ms: i64) {
        let began = Instant::now();
        loop {
            let sent = self.alice.say().await.unwrap();
            let right = now_ms().saturating_add_signed(ahead_ms);
            let off = sent.sent_at.0.abs_diff(right);
            if off < CLOSE_MS {
                break;
            }
            assert!(began.elapsed() < RIGHT_AGAIN, "dates are {off} ms off");
            sleep(Duration::from_millis(100)).await;
        }
        eprintln!("dates were right again after {:?}", began.elapsed());
    }

    /// Waits until exactly these nodes are reported with clocks that are off.
    async fn clocks_are_off(&self, nodes: &[u64]) {
        until("the status names the node whose clock is off", async || {
            let status = self.cluster.try_status(self.cluster.leader().await).await?;
            let off = status.nodes.iter().filter(|node| node.clock_is_off);
            let off: Vec<u64> = off.map(|node| node.node_id).collect();
            (off == nodes).then_some(())
        })
        .await;
    }

    /// Sends this many messages, one after the other, and checks that each is dated correctly.
    async fn is_said(&self, messages: u32) {
        for _ in 0..messages {
            let sent = self.alice.say().await.unwrap();
            let off = sent.sent_at.0.abs_diff(now_ms());
            assert!(off < CLOSE_MS, "a message is dated {off} ms off");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_clock_a_year_ahead_briefly_or_long_has_no_effect() {
    let mut scene = Scene::new().await;
    let leader = scene.cluster.leader().await;
    scene.cluster.set_clock(leader, YEAR_MS);
    scene.is_said(1).await;
    scene.cluster.set_clock(leader, 0);
    scene.is_said(1).await;
    scene.nothing_has_expired(0).await;

    scene.cluster.set_clock(leader, YEAR_MS);
    scene.clocks_are_off(&[leader]).await;
    let asked = std::env::var("CONCLAVE_CLOCK_SECONDS").ok();
    let seconds = asked.map_or(SECONDS, |text| text.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        scene.is_said(1).await;
        sleep(Duration::from_millis(100)).await;
    }
    scene.nothing_has_expired(0).await;
    scene.cluster.set_clock(leader, 0);
    scene.clocks_are_off(&[]).await;
    scene.is_said(3).await;
    scene.nothing_has_expired(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_with_a_clock_a_day_behind_has_no_effect() {
    let mut scene = Scene::new().await;
    let behind = scene.cluster.a_follower().await;
    scene.cluster.set_clock(behind, -DAY_MS);
    scene.clocks_are_off(&[behind]).await;
    until("the node whose clock is behind leads", async || {
        let moved = scene.root.transfer_leader(behind).await;
        (moved.ok()? == behind).then_some(())
    })
    .await;
    scene.is_said(5).await;
    scene.nothing_has_expired(0).await;
    // The next leader continues where this one has stopped.
    scene.cluster.kill(behind).await;
    scene.is_said(5).await;
    scene.nothing_has_expired(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_all_clocks_by_an_hour_expires_nothing() {
    let mut scene = Scene::new().await;
    for ahead_ms in [-HOUR_MS, 0] {
        for node in scene.cluster.nodes() {
            scene.cluster.set_clock(node, ahead_ms);
        }
        scene.dates_follow(ahead_ms).await;
        // By then half an hour has passed according to the clocks.
        scene.nothing_has_expired(ahead_ms).await;
    }
    // All nodes are down, and what is on disk is enough.
    scene.cluster.kill_all().await;
    scene.cluster.start_all().await;
    scene.is_said(3).await;
    scene.nothing_has_expired(0).await;
}
