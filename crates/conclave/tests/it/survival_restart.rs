//! Nodes start late, come back in every order, with wrong clocks and old files: they rejoin by
//! themselves, and receive what they have lost or never had.

use std::{collections::BTreeSet, time::Duration};

use conclave_client::{CallError, Client, Freshness, IN_FLIGHT_MAX, Page, Reason, core::Recipient};
use futures::{StreamExt as _, stream};
use tokio::time::Instant;

use crate::{
    streams::Listener,
    support::{Cluster, until},
    witness::{
        PASSWORD, Speaker, Witness, agreed_digests, client_of, exists, person, sign_up, stranger_at,
    },
};

/// Maximum time that a client waits that is expected to be refused.
const IMPATIENCE: Duration = Duration::from_secs(2);
/// An hour, by which a clock is wrong, in milliseconds.
const HOUR_MS: i64 = 3_600_000;
/// Maximum time for a cluster with many messages to serve again.
const READY_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn nodes_may_stop_and_start_in_any_order() {
    let cluster = Cluster::start(3).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut messages = 0;
    for order in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
        for kill in [true, false] {
            for _ in 0..10 {
                alice.say().await.unwrap();
                messages += 1;
            }
            for node in order {
                match kill {
                    true => cluster.kill(node).await,
                    false => cluster.stop(node).await,
                }
            }
            // Restarted at once, on the addresses that were just in use.
            for node in order.into_iter().rev() {
                cluster.start_node(node).await;
            }
            let fresh = Freshness::Linearizable;
            let read = alice
                .client
                .messages(&alice.to, Page::Newest, 1000, fresh)
                .await;
            assert_eq!(read.unwrap().messages.len(), messages, "after {order:?}");
        }
    }
    for node in cluster.nodes() {
        let log = cluster.log(node);
        assert!(!log.contains(" ERROR "), "all this is in order: {log}");
    }
    witness.judge(&cluster, &[&alice]).await;
}

/// While nodes die in turn, a running client sees longer answers and no error.
#[tokio::test(flavor = "multi_thread")]
async fn rolling_kills_under_a_live_client_show_latency_and_no_error() {
    for nodes in [3, 5] {
        let cluster = Cluster::start(nodes).await;
        let witness = Witness::new();
        let login = sign_up(&cluster.client(), "alice").await;
        exists(&cluster.client(), "bob").await;
        cluster.kill(1).await;
        cluster.kill(2).await;
        // Of three nodes one is left and must wait; of five three are left and serve.
        let alice = witness.speaker_with(&cluster.client(), &login, "bob");
        let mut talking = alice.keep_talking();
        cluster.start_node(1).await;
        talking.go_on(10).await;
        cluster.kill(3).await;
        if nodes == 3 {
            cluster.start_node(2).await;
        }
        talking.go_on(10).await;
        cluster.start_all().await;
        cluster.all_rejoined().await;
        for node in cluster.nodes() {
            cluster.kill(node).await;
            talking.go_on(10).await;
            cluster.start_node(node).await;
            cluster.all_rejoined().await;
        }
        let talk = talking.finish_without_error().await;
        let verdict = witness.judge(&cluster, &[&alice]).await;
        assert_eq!((verdict.acked, verdict.unknown), (talk.said, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_two_deaths_and_returns_works() {
    let cluster = Cluster::start(5).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    for one in cluster.nodes() {
        for other in cluster.nodes().into_iter().filter(|other| *other != one) {
            for returns in [[one, other], [other, one]] {
                cluster.kill(one).await;
                cluster.kill(other).await;
                talking.go_on(5).await;
                for node in returns {
                    cluster.start_node(node).await;
                }
                cluster.all_rejoined().await;
                all_see_each_other(&cluster).await;
                talking.go_on(5).await;
            }
        }
    }
    let talk = talking.finish_without_error().await;
    let verdict = witness.judge(&cluster, &[&alice]).await;
    assert_eq!((verdict.acked, verdict.unknown), (talk.said, 0));
}

/// Waits until each node is a peer of each other one.
async fn all_see_each_other(cluster: &Cluster) {
    for node in cluster.nodes() {
        until("a node sees all others", async || {
            let status = cluster.status(node).await;
            (status.voters_reachable == status.voters).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_may_start_late_and_status_shows_tolerated_failures() {
    let cluster = Cluster::prepare(5).await;
    for (node, reachable) in [(4, 1), (2, 2)] {
        cluster.start_node(node).await;
        let status = until("those that run see each other", async || {
            let status = cluster.status(node).await;
            (status.voters_reachable == reachable).then_some(status)
        });
        let status = status.await;
        assert!(!status.quorum, "{status:?}");
        assert_eq!(
            (status.voters, status.leader_id, status.tolerates_failures),
            (5, 0, 0)
        );
        let client = Client::builder()
            .endpoints([cluster.endpoint(node)])
            .total_timeout(IMPATIENCE)
            .build()
            .unwrap();
        let refused = client.create_account("alice", PASSWORD).await.unwrap_err();
        let (CallError::Unknown { sentence, .. } | CallError::NotDone { sentence, .. }) = refused
        else {
            panic!("without a quorum nothing is done: {refused:?}");
        };
        assert!(sentence.contains("no leader is elected"), "{sentence}");
    }
    let witness = Witness::new();
    let mut speakers = Vec::new();
    // Streams of one person, each opened at a node when that node came back.
    let mut streams: Vec<Listener> = Vec::new();
    let mut login = None;
    for (node, tolerates) in [(5, 0), (1, 1), (3, 2)] {
        cluster.start_node(node).await;
        cluster.leader().await;
        let status = until("the status says what is tolerated", async || {
            let status = cluster.status(node).await;
            (status.tolerates_failures == tolerates).then_some(status)
        });
        assert!(status.await.quorum);
        let name = format!("speaker{tolerates}");
        let speaker = witness.speaker(&cluster.client(), &name, "bob").await;
        speaker.say().await.unwrap();
        speakers.push(speaker);
        if login.is_none() {
            login = Some(sign_up(&cluster.client(), "eve").await);
        }
        let token = &login.as_ref().unwrap().token;
        let client = client_of(&cluster.endpoint(node), token);
        streams.push(Listener::start(&cluster, &client).await);
        let note = client.send(&person("eve"), "a note to myself").await;
        let (place, notes) = (note.unwrap().conversation.0, streams.len());
        until(
            "all streams tell all notes, also the old ones",
            async || {
                let mut counts = streams.iter().map(|stream| stream.count(place));
                counts.all(|count| count == notes).then_some(())
            },
        )
        .await;
    }
    for stream in &streams {
        stream.look(|heard| assert_eq!(heard.out_of_order, None));
    }
    let speakers: Vec<&Speaker> = speakers.iter().collect();
    witness.judge(&cluster, &speakers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_peer_is_one_line_in_the_log() {
    const DEATHS: usize = 2;
    let cluster = Cluster::start(3).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    let dies = cluster.a_follower().await;
    let leader = cluster.leader().await;
    // Lines that the start of the cluster wrote.
    let before = Reported::by(&cluster, leader);
    for death in 1..=DEATHS {
        cluster.kill(dies).await;
        until("the death is told", async || {
            (Reported::by(&cluster, leader).deaths >= before.deaths + death).then_some(())
        })
        .await;
        // Long enough for many heartbeats and batches to fail.
        talking.go_on(200).await;
        cluster.start_node(dies).await;
        until("the return is told", async || {
            (Reported::by(&cluster, leader).returns >= before.returns + death).then_some(())
        })
        .await;
        cluster.all_rejoined().await;
    }
    talking.finish_without_error().await;
    let told = Reported::by(&cluster, leader);
    let expected = Reported {
        deaths: before.deaths + DEATHS,
        returns: before.returns + DEATHS,
        troubles: before.troubles + DEATHS,
    };
    assert_eq!(
        told,
        expected,
        "node {leader} says:\n{}",
        cluster.log(leader)
    );
    witness.judge(&cluster, &[&alice]).await;
}

/// Numbers of lines in a node's log, by subject.
#[derive(Debug, PartialEq, Eq)]
struct Reported {
    deaths: usize,
    returns: usize,
    /// Lines of the levels that operators look at, lines about deaths among them.
    troubles: usize,
}

impl Reported {
    fn by(cluster: &Cluster, node: u64) -> Self {
        let log = cluster.log(node);
        let lines = |phrases: &[&str]| {
            let says = |line: &&str| phrases.iter().any(|phrase| line.contains(phrase));
            log.lines().filter(says).count()
        };
        Self {
            deaths: lines(&[" peer unreachable "]),
            returns: lines(&[" peer reachable "]),
            troubles: lines(&[" WARN ", " ERROR "]),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_stays_deleted_on_a_node_that_was_away() {
    const NEW_PASSWORD: &str = "quite another one";
    let cluster = Cluster::start(3).await;
    let anonymous = cluster.client();
    let login = sign_up(&anonymous, "carol").await;
    let carol = anonymous.with_token(&login.token).unwrap();
    let dora = sign_up(&anonymous, "dora").await.token;
    let sent = carol.send(&person("dora"), "keep this").await.unwrap();
    agreed_digests(&cluster).await;
    let away = cluster.leader().await;
    cluster.kill(away).await;
    carol.delete_account(PASSWORD).await.unwrap();
    let again = anonymous
        .create_account("CAROL", NEW_PASSWORD)
        .await
        .unwrap();
    assert_ne!(again.0, login.account.id);
    cluster.start_node(away).await;
    cluster.all_rejoined().await;
    agreed_digests(&cluster).await;

    // Now this node is needed for a majority, and is the only one that is asked.
    let other = cluster
        .nodes()
        .into_iter()
        .find(|node| *node != away)
        .unwrap();
    cluster.kill(other).await;
    let here = |token: &str| client_of(&cluster.endpoint(away), token);
    let fresh = Freshness::Linearizable;
    let found = here(&dora)
        .list_all_accounts("carol", 10, fresh)
        .await
        .unwrap();
    assert_eq!(
        found.iter().map(|found| found.id).collect::<Vec<_>>(),
        [again.0]
    );
    let conversation = Recipient::Conversation(sent.conversation);
    let stale = Freshness::Stale { min_position: 0 };
    for freshness in [stale, fresh] {
        let page = here(&dora)
            .messages(&conversation, Page::Newest, 10, freshness)
            .await
            .unwrap();
        let told = [
            page.messages[0].sender_name.as_str(),
            page.messages[0].text.as_str(),
        ];
        assert_eq!(
            told,
            ["", "keep this"],
            "what others have received stays theirs"
        );
        let ended = here(&login.token).session(freshness).await.unwrap_err();
        assert!(
            matches!(ended, CallError::SessionExpired { .. }),
            "{ended:?}"
        );
    }
    let stranger = stranger_at(&cluster.endpoint(away));
    let old = stranger.login("carol", PASSWORD).await.unwrap_err();
    assert_eq!(old.reason(), Some(Reason::WrongCredentials), "{old:?}");
    let new = stranger.login("carol", NEW_PASSWORD).await.unwrap();
    assert_eq!(new.account.id, again.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_an_hour_off_lose_no_message_and_keep_the_order() {
    const LEADERS_MAX: usize = 12;
    const MINUTES_MS: u64 = 5 * 60 * 1000;
    let offsets_ms = [(1, HOUR_MS), (2, -HOUR_MS), (3, 0)];
    let cluster = Cluster::start_with_clocks(&offsets_ms).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    let mut have_led = BTreeSet::new();
    for _ in 0..LEADERS_MAX {
        let leader = cluster.leader().await;
        have_led.insert(leader);
        talking.go_on(20).await;
        // The node with the fast clock has led, and one with a slower clock after it.
        if have_led.len() == cluster.nodes().len() {
            break;
        }
        cluster.kill(leader).await;
        talking.go_on(5).await;
        cluster.start_node(leader).await;
        cluster.all_rejoined().await;
    }
    assert!(
        have_led.contains(&1) && have_led.len() > 1,
        "only {have_led:?} have led"
    );
    let talk = talking.finish_without_error().await;
    let verdict = witness.judge(&cluster, &[&alice]).await;
    assert_eq!((verdict.acked, verdict.unknown), (talk.said, 0));
    for node in cluster.nodes() {
        let messages = alice.all_messages_at(&cluster.endpoint(node)).await;
        let backwards = messages
            .windows(2)
            .find(|pair| pair[0].sent_at_ms > pair[1].sent_at_ms);
        assert!(
            backwards.is_none(),
            "time ran backwards on node {node}: {backwards:?}"
        );
        let wrong = messages
            .iter()
            .find(|message| message.sent_at_ms.abs_diff(now_ms()) > MINUTES_MS);
        assert!(wrong.is_none(), "a wrong clock set a date: {wrong:?}");
    }
}

/// Returns the time of this machine's clock.
#[expect(clippy::disallowed_methods, reason = "the test compares with it")]
fn now_ms() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lagging_node_is_brought_up_to_date() {
    const KEEP_ENTRIES: u64 = 100;
    const MESSAGES: u64 = 1000;
    let cluster = Cluster::start_with_short_logs(3, KEEP_ENTRIES).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    alice.say().await.unwrap();
    agreed_digests(&cluster).await;
    let away = cluster.a_follower().await;
    cluster.kill(away).await;
    // The log is truncated as time passes, so messages are sent until it was.
    let mut talking = alice.keep_talking();
    talking.go_on(MESSAGES).await;
    cluster.start_node(away).await;
    until("it gets a snapshot", async || {
        let log = cluster.log(away);
        log.lines()
            .any(|line| line.contains(" snapshot installed "))
            .then_some(())
    })
    .await;
    cluster.all_rejoined().await;
    talking.go_on(20).await;
    talking.finish_without_error().await;
    witness.judge(&cluster, &[&alice]).await;
}

/// Measures only; run by hand with `--ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: it measures a restart with 100 000 messages"]
async fn restart_with_many_messages_is_quick() {
    const MESSAGES: usize = 100_000;
    const TEXT_BYTES: usize = 100;
    let cluster = Cluster::start(3).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let began = Instant::now();
    send_bulk(&alice, MESSAGES, TEXT_BYTES).await;
    let sent = began.elapsed();
    cluster.kill_all().await;
    let began = Instant::now();
    cluster.start_all().await;
    let all = began.elapsed();
    let follower = cluster.a_follower().await;
    cluster.kill(follower).await;
    let began = Instant::now();
    cluster.start_node(follower).await;
    cluster.all_rejoined().await;
    let one = began.elapsed();
    for (node, digest) in agreed_digests(&cluster).await {
        assert_eq!(digest.messages, MESSAGES as u64, "on node {node}");
    }
    eprintln!("{MESSAGES} messages: sent in {sent:?}; all nodes ready in {all:?}, one in {one:?}");
    assert!(all < READY_MAX, "the cluster was ready after {all:?}");
}

/// Sends this many messages of this length, many at once.
async fn send_bulk(speaker: &Speaker, messages: usize, bytes: usize) {
    let sends = (0..messages).map(|number| async move {
        let text = format!("{number:0bytes$}");
        speaker.client.send(&speaker.to, text).await
    });
    let mut sends = stream::iter(sends).buffer_unordered(IN_FLIGHT_MAX);
    while let Some(sent) = sends.next().await {
        sent.unwrap();
    }
}
