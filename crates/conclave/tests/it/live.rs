//! People talk live, in rooms and with each other, while nodes die and hang: every stream delivers
//! everything, once and in order, with no error and at most a pause.

use std::time::Duration;

use conclave_client::{
    Client, Freshness, Login, Reason,
    core::{ConversationId, Progress, Recipient, RoomName, Sequence},
    v1,
};
use futures::future::join_all;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    streams::Listener,
    support::{Cluster, until},
    witness::{PASSWORD, Speaker, Talking, Witness, person, sign_up},
};

/// Number of people in the large test: each talks in two rooms and with one other.
const PEOPLE: usize = 20;
/// Time between two messages of one person in one conversation: two cores carry five nodes and all
/// people.
const PACE: Duration = Duration::from_millis(500);
/// Messages that must get through in each conversation while a node is away, and after it.
const MESSAGES_PER_FAULT: u64 = 3;
/// Time for which a slow server hangs, as the authors of the notebooks had it.
const LONG_HANG: Duration = Duration::from_secs(30);

/// Reads that see every acknowledged message.
const FRESH: Freshness = Freshness::Linearizable;

fn room(name: &str) -> Recipient {
    Recipient::Room(RoomName::new(name).unwrap())
}

/// A person with a session, a client whose first node is its own, and a stream.
struct Person {
    login: Login,
    client: Client,
    listener: Listener,
}

/// Returns a client that asks this node first and knows all others.
fn client_at(cluster: &Cluster, node: u64, token: &str) -> Client {
    let mut nodes = cluster.nodes();
    let at = nodes.iter().position(|other| *other == node).unwrap();
    nodes.rotate_left(at);
    let endpoints = nodes.iter().map(|node| cluster.endpoint(*node));
    let builder = Client::builder().endpoints(endpoints).token(token);
    builder.build().unwrap()
}

/// Creates this many people, their streams spread over all nodes.
async fn people(cluster: &Cluster, count: usize) -> Vec<Person> {
    let stranger = cluster.client();
    let mut logins = JoinSet::new();
    for number in 0..count {
        let stranger = stranger.clone();
        logins.spawn(async move { sign_up(&stranger, &format!("p{number:02}")).await });
    }
    let mut logins = logins.join_all().await;
    logins.sort_by(|one, other| one.account.name.cmp(&other.account.name));
    let nodes = cluster.nodes();
    let mut people = Vec::new();
    for (number, login) in logins.into_iter().enumerate() {
        let node = nodes[number % nodes.len()];
        let client = client_at(cluster, node, &login.token);
        let listener = Listener::start(cluster, &client).await;
        people.push(Person {
            login,
            client,
            listener,
        });
    }
    people
}

/// The talks of each person, and the conversations that each person is in.
struct Talks {
    speakers: Vec<Speaker>,
    talking: Vec<Talking>,
}

impl Talks {
    fn start(witness: &std::sync::Arc<Witness>, people: &[Person]) -> Self {
        let mut speakers = Vec::new();
        for (number, one) in people.iter().enumerate() {
            let half = if number % 2 == 0 { "even" } else { "odd" };
            let peer = &people[(number + 1) % people.len()].login.account.name;
            // One program for each person: concurrent messages take their request numbers from one
            // sequence.
            let speaker_in = |to: Recipient, key: String| {
                witness.speaker_in(one.client.clone(), &one.login, to, key)
            };
            for name in ["all", half] {
                let key = format!("#{name}");
                speakers.push(speaker_in(room(name), key));
            }
            let mut members = [one.login.account.name.as_str(), peer.as_str()];
            members.sort_unstable();
            speakers.push(speaker_in(person(peer), members.join("/")));
        }
        let talking = speakers.iter();
        let talking = talking.map(|speaker| speaker.keep_talking_at(PACE));
        Self {
            talking: talking.collect(),
            speakers,
        }
    }

    /// Waits until every person has sent this many more messages in every conversation.
    async fn go_on(&mut self, messages: u64) {
        let all = self.talking.iter_mut();
        join_all(all.map(|talking| talking.go_on(messages))).await;
    }

    /// Stops all talks and checks that no person saw an error.
    async fn finish(self) -> Vec<Speaker> {
        for talking in self.talking {
            talking.finish_without_error().await;
        }
        self.speakers
    }
}

/// Waits until this node streams to no person and every person has a stream.
async fn streams_have_left(people: &[Person], endpoint: &str) {
    until("the streams have moved", async || {
        let elsewhere = |person: &Person| {
            let node = person.listener.node();
            node.is_some_and(|node| node != endpoint)
        };
        people.iter().all(elsewhere).then_some(())
    })
    .await;
}

/// Records everything that every stream has delivered and compares it with what is stored.
async fn all_streams_are_complete(witness: &Witness, people: &[Person]) {
    for person in people {
        let conversations = person.client.conversations(1000, FRESH).await.unwrap();
        assert_eq!(conversations.len(), 4, "two rooms, two neighbours");
        for conversation in conversations {
            let key = match conversation.room_name.as_str() {
                "" => {
                    let own = person.login.account.name.as_str();
                    let mut members = [own, conversation.peer_name.as_str()];
                    members.sort_unstable();
                    members.join("/")
                }
                room => format!("#{room}"),
            };
            let last = usize::try_from(conversation.sequence_last).unwrap();
            until("a stream has told everything", async || {
                (person.listener.count(conversation.id) >= last).then_some(())
            })
            .await;
            person.listener.look(|heard| {
                assert_eq!(heard.out_of_order, None, "{}", person.login.account.name);
                let told = &heard.messages[&conversation.id];
                let sequences = told.iter().map(|message| message.sequence);
                assert!(
                    sequences.eq(1..=conversation.sequence_last),
                    "{} in {key}: not each message once and in order",
                    person.login.account.name
                );
                witness.streamed(person.login.session.0, &key, told);
            });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_delivers_each_event_once_despite_node_faults() {
    let cluster = Cluster::start_undisturbed(5).await;
    let witness = Witness::new();
    let people = people(&cluster, PEOPLE).await;
    for name in ["all", "even", "odd"] {
        people[0].client.create_room(name, "", false).await.unwrap();
        for (number, person) in people.iter().enumerate() {
            let half = if number % 2 == 0 { "even" } else { "odd" };
            if name == "all" || name == half {
                person.client.join_room(name).await.unwrap();
            }
        }
    }
    // The maker of the odd room is not one of the odd people.
    people[0].client.leave_room("odd").await.unwrap();
    let mut talks = Talks::start(&witness, &people);
    talks.go_on(1).await;
    for (victim_leads, hangs) in [(true, false), (false, true), (true, true), (false, false)] {
        let victim = match victim_leads {
            true => cluster.leader().await,
            false => cluster.a_follower().await,
        };
        match hangs {
            true => cluster.pause(victim).await,
            false => cluster.kill(victim).await,
        }
        // That takes longer than every time-out of the streams.
        streams_have_left(&people, &cluster.endpoint(victim)).await;
        talks.go_on(MESSAGES_PER_FAULT).await;
        match hangs {
            true => cluster.resume(victim).await,
            false => cluster.start_node(victim).await,
        }
        cluster.all_rejoined().await;
        talks.go_on(MESSAGES_PER_FAULT).await;
    }
    let speakers = talks.finish().await;

    let moves: u64 = people
        .iter()
        .map(|person| person.listener.look(|heard| heard.moves))
        .sum();
    assert!(moves > 0, "no stream has ever moved");
    all_streams_are_complete(&witness, &people).await;
    let all_speakers: Vec<&Speaker> = speakers.iter().collect();
    let verdict = witness.judge(&cluster, &all_speakers[..6]).await;
    assert_eq!(verdict.unknown, 0);
    // The sessions are those of the beginning: no person has logged in again.
    for person in &people {
        let sessions = person.client.sessions(FRESH).await.unwrap();
        assert_eq!(sessions.len(), 1);
        assert_eq!(sessions[0].session_id, person.login.session.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_paused_for_half_a_minute_catches_up_and_streams() {
    let cluster = Cluster::start(5).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let bob = sign_up(&cluster.client(), "bob").await;
    let slow = cluster.a_follower().await;
    let bob = client_at(&cluster, slow, &bob.token);
    let listener = Listener::start(&cluster, &bob).await;
    let mut talking = alice.keep_talking_at(PACE);
    talking.go_on(1).await;
    cluster.pause(slow).await;
    let since = Instant::now();
    while since.elapsed() < LONG_HANG {
        talking.go_on(5).await;
    }
    cluster.resume(slow).await;
    cluster.all_rejoined().await;
    talking.go_on(5).await;
    let said = talking.finish_without_error().await.said;
    // A slow node is not a dead node: it streams everything from the beginning.
    let alone = Client::builder().endpoints([cluster.endpoint(slow)]);
    let alone = alone.token(alice.token.clone()).build().unwrap();
    let from_slow = Listener::start(&cluster, &alone).await;
    for listener in [&listener, &from_slow] {
        until("everything is told", async || {
            (listener.count(1) as u64 >= said).then_some(())
        })
        .await;
        listener.look(|heard| {
            assert_eq!(heard.out_of_order, None);
            let sequences = heard.messages[&1].iter().map(|message| message.sequence);
            assert!(sequences.eq(1..=said));
        });
    }
    witness.judge(&cluster, &[&alice]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_sees_sent_delivered_and_read_over_a_fail_over() {
    let cluster = Cluster::start(3).await;
    let alice = people(&cluster, 1).await.remove(0);
    let bob = sign_up(&cluster.client(), "bob").await;
    let sent = alice.client.send(&person("bob"), "hello").await.unwrap();
    let newest = async || {
        let page = conclave_client::Page::Newest;
        let page = alice.client.messages(&person("bob"), page, 1, FRESH).await;
        page.unwrap().messages.remove(0)
    };
    // The message is on a majority of the nodes, and on no device.
    assert_eq!(newest().await.delivery(), v1::Delivery::Queued);

    let leader = cluster.leader().await;
    let bob = client_at(&cluster, leader, &bob.token);
    let listener = Listener::start(&cluster, &bob).await;
    until("it has reached a device", async || {
        (newest().await.delivery() == v1::Delivery::Delivered).then_some(())
    })
    .await;
    cluster.kill(leader).await;
    let progress = Progress {
        delivered: sent.sequence,
        read: sent.sequence,
    };
    let position = (sent.conversation, progress);
    bob.advance(&[position]).await.unwrap();
    assert_eq!(newest().await.delivery(), v1::Delivery::Read);
    // The sender's stream reported both advances in this order, and no stream reported an event
    // twice.
    let far = || {
        alice.listener.look(|heard| {
            let advanced = heard.others.iter().filter_map(|event| match &event.event {
                Some(v1::event::Event::PositionAdvanced(far)) => {
                    Some((far.sequence_delivered, far.sequence_read))
                }
                _ => None,
            });
            advanced.collect::<Vec<_>>()
        })
    };
    until("the sender is told", async || {
        (far().last() == Some(&(1, 1))).then_some(())
    })
    .await;
    assert_eq!(far(), [(1, 0), (1, 1)]);
    assert_eq!(listener.count(sent.conversation.0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn room_members_get_each_edit_reaction_and_deletion_once() {
    let cluster = Cluster::start(3).await;
    let people = people(&cluster, 3).await;
    let [alice, bob, outsider] = &people[..] else {
        unreachable!("there are three");
    };
    alice
        .client
        .create_room("ops", "on call", true)
        .await
        .unwrap();
    let unseen = bob.client.join_room("ops").await.unwrap_err();
    assert_eq!(unseen.reason(), Some(Reason::NoSuchConversation));
    alice.client.invite_to_room("ops", "p01").await.unwrap();
    let id = bob.client.join_room("ops").await.unwrap();
    let sent = alice.client.send(&room("ops"), "fist @p01").await.unwrap();
    let message = conclave_client::core::MessageRef {
        conversation: sent.conversation,
        sequence: sent.sequence,
    };
    let own = bob.client.conversations(10, FRESH).await.unwrap();
    assert_eq!((own[0].unread, own[0].unread_mentions), (1, 1));
    alice.client.edit_message(message, "first").await.unwrap();
    bob.client.set_reaction(message, "👍", true).await.unwrap();
    bob.client.set_reaction(message, "👍", true).await.unwrap();
    alice
        .client
        .delete_messages(&[message], true)
        .await
        .unwrap();
    let last = alice.client.send(&room("ops"), "end").await.unwrap();
    for person in [alice, bob] {
        until("the end is told", async || {
            (person.listener.count(id.0) == 2).then_some(())
        })
        .await;
    }
    let kinds = |person: &Person| {
        use v1::event::Event as Kind;
        person.listener.look(|heard| {
            let kind = |event: &v1::Event| match event.event.as_ref()? {
                Kind::MessageEdited(_) => Some("edited"),
                Kind::ReactionChanged(changed) if changed.present && changed.count == 1 => {
                    Some("reacted")
                }
                Kind::MessageDeleted(_) => Some("deleted"),
                _ => None,
            };
            heard.others.iter().filter_map(kind).collect::<Vec<_>>()
        })
    };
    for person in [alice, bob] {
        assert_eq!(kinds(person), ["edited", "reacted", "deleted"]);
    }
    // A stream that begins now delivers the same messages, and no stream delivers the deleted text.
    let again = Listener::start(&cluster, &bob.client).await;
    until("the end is told again", async || {
        (again.count(id.0) == 2).then_some(())
    })
    .await;
    again.look(|heard| {
        let first = &heard.messages[&id.0][0];
        assert!(first.deleted && first.text.is_empty(), "{first:?}");
    });
    let read = Progress {
        delivered: last.sequence,
        read: Sequence(last.sequence.0),
    };
    bob.client
        .advance(&[(ConversationId(id.0), read)])
        .await
        .unwrap();
    let own = bob.client.conversations(10, FRESH).await.unwrap();
    assert_eq!((own[0].unread, own[0].unread_mentions), (0, 0));
    outsider.listener.look(|heard| {
        assert!(heard.messages.is_empty() && heard.others.is_empty());
    });
    // A member who is kicked is notified of that, and of nothing after it.
    alice.client.kick_from_room("ops", "p01").await.unwrap();
    alice
        .client
        .send(&room("ops"), "among ourselves")
        .await
        .unwrap();
    until("the kicked member is told", async || {
        bob.listener.look(|heard| {
            let last = heard.others.last()?.event.as_ref()?;
            matches!(last, v1::event::Event::MemberLeft(_)).then_some(())
        })
    })
    .await;
    assert_eq!(bob.listener.count(id.0), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_is_known_on_all_nodes_and_ends_with_a_dead_node() {
    let cluster = Cluster::start(3).await;
    let stranger = cluster.client();
    let login = sign_up(&stranger, "alice").await;
    let alice = stranger.with_token(&login.token).unwrap();
    let bob = stranger.login("alice", PASSWORD).await.unwrap();
    let node = cluster.a_follower().await;
    let state = async |of: &Client| {
        let presences = of.presence(["alice"]).await.unwrap();
        presences[0].state()
    };
    assert_eq!(state(&alice).await, v1::PresenceState::Offline);
    let program = client_at(&cluster, node, &bob.token);
    let listener = Listener::start(&cluster, &program).await;
    until("she is online everywhere", async || {
        (state(&alice).await == v1::PresenceState::Online).then_some(())
    })
    .await;
    // Her machine dies with the node's, so no stream reports that she has gone.
    cluster.pause(node).await;
    drop(listener);
    cluster.kill(node).await;
    until("she is offline", async || {
        (state(&alice).await == v1::PresenceState::Offline).then_some(())
    })
    .await;
    let seen = alice.presence(["alice"]).await.unwrap();
    assert!(seen[0].last_seen_at_ms > 0);
}
