//! Streams of callers that lose their permission while the stream runs.

use std::time::Duration;

use conclave_wire::{
    Problem,
    v1::{self, PresenceState, event::Event, send_message_request::To},
};
use futures::future::join_all;
use tokio::time::{sleep, timeout};
use tonic::{Status, Streaming};

use crate::{
    raw::PATIENCE,
    reason,
    world::{Caller, PASSWORD, SECRET, World},
};

/// An open stream of one caller.
struct Ear(Streaming<v1::SubscribeResponse>);

impl Ear {
    /// Opens a stream from now on.
    async fn new(world: &World, caller: Caller) -> Self {
        let wanted = v1::SubscribeRequest {
            ephemeral: true,
            ..Default::default()
        };
        let mut ear = Self(world.subscribe(caller, wanted).await.unwrap());
        ear.until(|event| matches!(event, Event::Started(_))).await;
        ear
    }

    /// Returns all events up to and including the first one for which `is_last` holds.
    async fn until(&mut self, is_last: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut heard = Vec::new();
        let listen = async {
            loop {
                let response = self.0.message().await.unwrap().expect("the stream goes on");
                heard.extend(response.events.into_iter().filter_map(|event| event.event));
                if heard.iter().any(&is_last) {
                    return;
                }
            }
        };
        timeout(PATIENCE, listen).await.expect("it is heard");
        heard
    }

    /// Returns the status with which the stream ends; the events before that are ignored.
    async fn end(&mut self) -> Result<(), Status> {
        let listen = async {
            while self.0.message().await?.is_some() {}
            Ok(())
        };
        timeout(PATIENCE, listen).await.expect("the stream ends")
    }
}

fn is_message_of(conversation: u64) -> impl Fn(&Event) -> bool {
    move |event| match event {
        Event::MessageSent(message) => message.conversation_id == conversation,
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_session_however_that_ends() {
    let mut world = World::start().await;
    let mut bystander = Ear::new(&world, Caller::Member).await;
    let callers = [
        Caller::Stranger,
        Caller::Third,
        Caller::PasserBy,
        Caller::Kicked,
    ];
    let mut ears = Vec::new();
    for caller in callers.into_iter().chain([Caller::Blocked]) {
        ears.push((caller, Ear::new(&world, caller).await));
    }

    let () = world
        .ask(Caller::Stranger, "SessionService/CloseSession", |request| {
            v1::CloseSessionRequest { request }
        })
        .await;
    let session_id = world.people[&Caller::Third].session;
    world.log_in_again(Caller::Third).await;
    world.end_session(Caller::Third, session_id).await;
    world.log_in_again(Caller::PasserBy).await;
    world.change_password(Caller::PasserBy).await;
    let () = world
        .ask(Caller::Kicked, "AccountService/DeleteAccount", |request| {
            v1::DeleteAccountRequest {
                request,
                password: PASSWORD.to_owned(),
            }
        })
        .await;
    let () = world
        .ask(Caller::Admin, "AdminService/RemoveAccount", |request| {
            v1::RemoveAccountRequest {
                request,
                name: "dave".to_owned(),
            }
        })
        .await;

    for (caller, ear) in &mut ears {
        let ended = ear.end().await;
        assert_eq!(
            reason(&ended),
            "SESSION_EXPIRED",
            "the stream of {caller:?}"
        );
    }
    world
        .send(Caller::Owner, To::ConversationId(world.vault))
        .await;
    bystander.until(is_message_of(world.vault)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_without_a_session_do_not_reveal_positions() {
    let world = World::start().await;
    let nowhere = v1::SubscribeRequest {
        after_position: 1 << 60,
        ..Default::default()
    };
    let forged = v1::SubscribeRequest {
        resume_token: vec![1; 7].into(),
        ..Default::default()
    };
    let callers = Caller::ALL
        .iter()
        .take_while(|caller| **caller != Caller::Stranger);
    let tried = callers.flat_map(|caller| {
        [&nowhere, &forged].map(|request| async {
            let refused = world.subscribe(*caller, request.clone()).await;
            (*caller, reason(&refused))
        })
    });
    for (caller, got) in join_all(tried).await {
        assert_eq!(got, "SESSION_EXPIRED", "{caller:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_streams_too_often_delays_only_that_account() {
    let world = World::start().await;
    // More streams than may begin at once, and than become free again while these are opened.
    let mut wait = None;
    for _ in 0..1000 {
        match world.subscribe(Caller::Member, Default::default()).await {
            Ok(_) => {}
            Err(status) => {
                wait = Some(Problem::from_status(&status));
                break;
            }
        }
    }
    let Some(Some(Problem::RateLimited { wait_ms, .. })) = wait else {
        panic!("not a refusal by rate: {wait:?}");
    };
    Ear::new(&world, Caller::Owner).await;
    // A client that has waited as long as the refusal asked for is served.
    sleep(Duration::from_millis(wait_ms)).await;
    Ear::new(&world, Caller::Member).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_gets_no_more_events_of_the_room() {
    let mut world = World::start().await;
    let mut mona = Ear::new(&world, Caller::Member).await;
    let vault = world.vault;
    world.send(Caller::Owner, To::ConversationId(vault)).await;
    mona.until(is_message_of(vault)).await;
    // A member also gets events about what is true only for a moment, such as typing.
    world.types(Caller::Owner, vault).await;
    mona.until(|event| matches!(event, Event::Typing(_))).await;

    let () = world
        .ask(Caller::Owner, "RoomService/KickFromRoom", |request| {
            v1::KickFromRoomRequest {
                request,
                name: "vault".to_owned(),
                account_name: "mona".to_owned(),
            }
        })
        .await;
    mona.until(|event| matches!(event, Event::MemberLeft(_)))
        .await;
    world.make_noise().await;
    let direct = world
        .send(Caller::Owner, To::RecipientName("mona".to_owned()))
        .await;
    let heard = mona.until(is_message_of(direct)).await;
    let expected = |event: &Event| {
        matches!(event, Event::ConversationOpened(_)) || is_message_of(direct)(event)
    };
    let more: Vec<_> = heard.iter().filter(|event| !expected(event)).collect();
    assert!(more.is_empty(), "{more:#?}");

    // The removed member gets no events of the room from the beginning of the log either.
    let anew = v1::SubscribeRequest {
        from_beginning: true,
        ..Default::default()
    };
    let mut anew = Ear(world.subscribe(Caller::Member, anew).await.unwrap());
    let heard = anew.until(is_message_of(direct)).await;
    let told = heard.iter().filter(|event| match event {
        Event::MessageSent(message) | Event::MessageEdited(message) => {
            message.conversation_id != direct
        }
        Event::TopicChanged(_) | Event::ReactionChanged(_) | Event::MessageDeleted(_) => true,
        _ => false,
    });
    assert_eq!(told.collect::<Vec<_>>(), Vec::<&Event>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_account_gets_no_presence_or_typing_of_its_blocker() {
    let mut world = World::start().await;
    // The member writes to both, so that it gets the presence of both.
    for name in ["alice", "dave"] {
        world
            .send(Caller::Member, To::RecipientName(name.to_owned()))
            .await;
    }
    let alice = world.account_of(Caller::Owner).await;
    // The owner goes offline, and everything about that is over, before any other stream begins.
    world.stream = None;
    let gone = |presence: &v1::Presence| presence.state() == PresenceState::Offline;
    world.presence_of_owner(Caller::Member, gone).await;

    let mut dave = Ear::new(&world, Caller::Blocked).await;
    let mut mona = Ear::new(&world, Caller::Member).await;
    let _alice = Ear::new(&world, Caller::Owner).await;
    let is_hers = move |event: &Event| match event {
        Event::Presence(presence) => presence.account_id == alice,
        Event::Typing(typing) => typing.account_id == alice,
        _ => false,
    };
    mona.until(is_hers).await;
    // She does not write to the account that she has blocked, and neither side's attempt says why
    // it fails.
    let typing = v1::SetTypingRequest {
        conversation_id: world.direct,
    };
    for caller in [Caller::Owner, Caller::Blocked] {
        let path = "/conclave.v1.LiveService/SetTyping";
        let request = prost::Message::encode_to_vec(&typing);
        let refused = world.call_bytes(path, request, caller).await;
        assert_eq!(reason(&refused), "NO_SUCH_CONVERSATION", "{caller:?}");
    }
    // The member's new state reaches the blocked account after everything that would reach it about
    // her.
    let () = world
        .ask(Caller::Member, "LiveService/SetPresence", |_| {
            v1::SetPresenceRequest { away: true }
        })
        .await;
    let is_away = |event: &Event| match event {
        Event::Presence(presence) => presence.state() == PresenceState::Away,
        _ => false,
    };
    let heard = dave.until(is_away).await;
    assert!(!heard.iter().any(is_hers), "{heard:#?}");
    // A request for her presence gets the answer for an account that does not exist.
    let asked = world
        .presence_of(Caller::Blocked, &["alice", "mallory"])
        .await;
    let nameless = asked.into_iter().map(|presence| v1::Presence {
        account_name: String::new(),
        ..presence
    });
    let offline = v1::Presence {
        state: PresenceState::Offline.into(),
        ..Default::default()
    };
    assert_eq!(nameless.collect::<Vec<_>>(), [offline.clone(), offline]);
}

impl World {
    async fn types(&mut self, caller: Caller, conversation_id: u64) {
        let () = self
            .ask(caller, "LiveService/SetTyping", |_| v1::SetTypingRequest {
                conversation_id,
            })
            .await;
    }

    /// Makes everything happen that can happen in a room.
    async fn make_noise(&mut self) {
        let vault = self.vault;
        self.send(Caller::Owner, To::ConversationId(vault)).await;
        let message = Some(v1::MessageRef {
            conversation_id: vault,
            sequence: 1,
        });
        let () = self
            .ask(Caller::Owner, "ChatService/EditMessage", |request| {
                v1::EditMessageRequest {
                    request,
                    message,
                    text: format!("again {SECRET}"),
                }
            })
            .await;
        let () = self
            .ask(Caller::Owner, "ChatService/SetReaction", |request| {
                v1::SetReactionRequest {
                    request,
                    message,
                    reaction: "+1".to_owned(),
                    present: true,
                }
            })
            .await;
        let () = self
            .ask(Caller::Owner, "ChatService/DeleteMessages", |request| {
                v1::DeleteMessagesRequest {
                    request,
                    messages: message.into_iter().collect(),
                    for_everyone: true,
                }
            })
            .await;
        let () = self
            .ask(Caller::Owner, "RoomService/SetTopic", |request| {
                v1::SetTopicRequest {
                    request,
                    name: "vault".to_owned(),
                    topic: "noise".to_owned(),
                }
            })
            .await;
        self.invite_to_vault("sam").await;
        let () = self
            .ask(Caller::Stranger, "RoomService/JoinRoom", |request| {
                v1::JoinRoomRequest {
                    request,
                    name: "vault".to_owned(),
                }
            })
            .await;
        // The owner's own typing was published a moment ago, and would not be published again.
        self.types(Caller::Stranger, vault).await;
    }

    async fn account_of(&mut self, caller: Caller) -> u64 {
        let found: v1::GetSessionResponse = self
            .ask(caller, "SessionService/GetSession", |_| {
                v1::GetSessionRequest::default()
            })
            .await;
        found.account.unwrap().id
    }

    async fn presence_of(&mut self, caller: Caller, names: &[&str]) -> Vec<v1::Presence> {
        let found: v1::GetPresenceResponse = self
            .ask(caller, "LiveService/GetPresence", |_| {
                v1::GetPresenceRequest {
                    names: names.iter().map(|name| (*name).to_owned()).collect(),
                }
            })
            .await;
        found.presences
    }

    /// Waits until a caller gets such a presence of the owner.
    async fn presence_of_owner(&mut self, caller: Caller, is_so: impl Fn(&v1::Presence) -> bool) {
        let told = async {
            while !self
                .presence_of(caller, &["alice"])
                .await
                .iter()
                .all(&is_so)
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, told).await.unwrap();
    }
}
