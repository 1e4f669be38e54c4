//! A node as people see it that meet in rooms: which members see what, and what happens to
//! messages.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use conclave_server::{Node, NodeConfig};
use conclave_wire::{
    Problem,
    v1::{
        self, MemberRole, account_service_client::AccountServiceClient,
        chat_service_client::ChatServiceClient, list_messages_request::Conversation,
        room_service_client::RoomServiceClient, send_message_request::To,
        session_service_client::SessionServiceClient,
    },
};
use tokio::time::timeout;
use tonic::{Request, Status, transport::Channel};

/// Maximum time for anything, exceeded only if the machine is unwell.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node with its client.
struct World {
    _node: Node,
    _data: tempfile::TempDir,
    channel: Channel,
}

/// An account with a session.
struct Person {
    channel: Channel,
    token: String,
    number: u64,
}

impl World {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = NodeConfig {
            plain: true,
            data: data.path().to_owned(),
            client_address: "127.0.0.1:0".to_owned(),
            peer_address: "127.0.0.1:0".to_owned(),
            unsafe_no_sync: true,
            ..NodeConfig::default()
        };
        let node = Node::start(config).await.unwrap();
        node.ready().await;
        let address = format!("http://{}", node.client_address());
        let endpoint = Channel::from_shared(address).unwrap();
        Self {
            _node: node,
            _data: data,
            channel: endpoint.connect().await.unwrap(),
        }
    }

    async fn person(&self, name: &str) -> Person {
        let account = v1::CreateAccountRequest {
            name: name.to_owned(),
            password: "correct horse".to_owned(),
            ..Default::default()
        };
        let mut accounts = AccountServiceClient::new(self.channel.clone());
        accounts.create_account(account).await.unwrap();
        let login = v1::OpenSessionRequest {
            name: name.to_owned(),
            password: "correct horse".to_owned(),
            ..Default::default()
        };
        let mut sessions = SessionServiceClient::new(self.channel.clone());
        let session = sessions.open_session(login).await.unwrap().into_inner();
        Person {
            channel: self.channel.clone(),
            token: session.token,
            number: 0,
        }
    }
}

impl Person {
    fn rooms(&self) -> RoomServiceClient<Channel> {
        RoomServiceClient::new(self.channel.clone())
    }

    fn chat(&self) -> ChatServiceClient<Channel> {
        ChatServiceClient::new(self.channel.clone())
    }

    fn next(&mut self) -> Option<v1::RequestId> {
        self.number += 1;
        Some(v1::RequestId {
            number: self.number,
            nonce: 1,
        })
    }

    fn asks<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let header = format!("Bearer {}", self.token).parse().unwrap();
        request.metadata_mut().insert("authorization", header);
        request
    }

    async fn create(&mut self, name: &str, private: bool) {
        let room = v1::CreateRoomRequest {
            request: self.next(),
            name: name.to_owned(),
            private,
            ..Default::default()
        };
        self.rooms().create_room(self.asks(room)).await.unwrap();
    }

    async fn invite(&mut self, room: &str, user: &str) {
        let invite = v1::InviteToRoomRequest {
            request: self.next(),
            name: room.to_owned(),
            account_name: user.to_owned(),
        };
        let mut rooms = self.rooms();
        rooms.invite_to_room(self.asks(invite)).await.unwrap();
    }

    async fn join(&mut self, room: &str) -> Result<u64, String> {
        let join = v1::JoinRoomRequest {
            request: self.next(),
            name: room.to_owned(),
        };
        let joined = self.rooms().join_room(self.asks(join)).await;
        joined
            .map(|joined| joined.into_inner().conversation_id)
            .map_err(reason)
    }

    async fn members(
        &self,
        room: &str,
        page_size: u32,
    ) -> Result<Vec<(String, MemberRole)>, String> {
        let (mut members, mut page_token) = (Vec::new(), String::new());
        loop {
            let ask = v1::ListMembersRequest {
                name: room.to_owned(),
                page_size,
                page_token,
                ..Default::default()
            };
            let page = self.rooms().list_members(self.asks(ask)).await;
            let page = page.map_err(reason)?.into_inner();
            members.extend(page.members.into_iter().map(|member| {
                let role = member.role();
                (member.account.unwrap().name, role)
            }));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(members);
            }
        }
    }

    async fn list(&self, only_own: bool) -> Vec<v1::Room> {
        let ask = v1::ListRoomsRequest {
            only_own,
            ..Default::default()
        };
        let page = self.rooms().list_rooms(self.asks(ask)).await;
        page.unwrap().into_inner().rooms
    }

    async fn webhooks(&self, room: &str) -> Result<usize, String> {
        let ask = v1::ListWebhooksRequest {
            name: room.to_owned(),
            ..Default::default()
        };
        let listed = self.rooms().list_webhooks(self.asks(ask)).await;
        listed
            .map(|listed| listed.into_inner().webhooks.len())
            .map_err(reason)
    }

    async fn send(&mut self, room: &str, text: &str) -> v1::MessageRef {
        let send = v1::SendMessageRequest {
            request: self.next(),
            to: Some(To::RoomName(room.to_owned())),
            text: text.to_owned(),
            ..Default::default()
        };
        let sent = self.chat().send_message(self.asks(send)).await;
        let sent = sent.unwrap().into_inner();
        v1::MessageRef {
            conversation_id: sent.conversation_id,
            sequence: sent.sequence,
        }
    }

    async fn read(&self, room: &str) -> Result<Vec<v1::Message>, String> {
        let ask = v1::ListMessagesRequest {
            conversation: Some(Conversation::RoomName(room.to_owned())),
            ..Default::default()
        };
        let page = self.chat().list_messages(self.asks(ask)).await;
        page.map(|page| page.into_inner().messages).map_err(reason)
    }
}

fn reason(status: Status) -> String {
    let problem = Problem::from_status(&status);
    problem.expect("a node says why").reason().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_room_exists_only_for_members_and_invited_accounts() {
    let world = World::start().await;
    let mut anna = world.person("anna").await;
    let mut ben = world.person("ben").await;
    let mut eve = world.person("eve").await;
    anna.create("vault", true).await;
    anna.send("vault", "secret").await;
    anna.invite("vault", "ben").await;

    let none = "NO_SUCH_CONVERSATION";
    assert_eq!(eve.list(false).await, []);
    for room in ["vault", "nowhere"] {
        assert_eq!(eve.members(room, 10).await.unwrap_err(), none);
        assert_eq!(eve.read(room).await.unwrap_err(), none);
        assert_eq!(eve.webhooks(room).await.unwrap_err(), none);
        assert_eq!(eve.join(room).await.unwrap_err(), none);
    }

    let seen = ben.list(true).await;
    assert_eq!(seen.len(), 1);
    assert!(seen[0].invited && seen[0].role() == MemberRole::Unspecified);
    assert_eq!(ben.members("vault", 10).await.unwrap_err(), "NOT_A_MEMBER");
    assert_eq!(ben.read("vault").await.unwrap_err(), none);
    let number = ben.join("VAULT").await.unwrap();
    assert_eq!(
        ben.join("vault").await,
        Ok(number),
        "joining twice is one joining"
    );
    assert_eq!(ben.read("vault").await.unwrap()[0].text, "secret");
    assert_eq!(ben.webhooks("vault").await, Err("NOT_ALLOWED".to_owned()));
    assert_eq!(anna.webhooks("vault").await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn public_room_members_are_visible_but_only_members_read() {
    let world = World::start().await;
    let mut anna = world.person("anna").await;
    let mut ben = world.person("ben").await;
    let eve = world.person("eve").await;
    anna.create("lobby", false).await;
    ben.join("lobby").await.unwrap();
    anna.send("lobby", "hi").await;
    let expected = [
        ("anna".to_owned(), MemberRole::Owner),
        ("ben".to_owned(), MemberRole::Member),
    ];
    for page_size in [0, 1, 2] {
        assert_eq!(eve.members("lobby", page_size).await.unwrap(), expected);
    }
    assert_eq!(eve.list(false).await[0].members, 2);
    assert_eq!(eve.list(true).await, []);
    let read = eve.read("lobby").await.map(|_| ());
    assert_eq!(read, Err("NO_SUCH_CONVERSATION".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_and_reactions_are_shown_to_readers() {
    let world = World::start().await;
    let mut anna = world.person("anna").await;
    let mut ben = world.person("ben").await;
    anna.create("lobby", false).await;
    ben.join("lobby").await.unwrap();
    let message = anna.send("lobby", "helo @ben").await;
    let edit = v1::EditMessageRequest {
        request: anna.next(),
        message: Some(message),
        text: "hello @ben".to_owned(),
    };
    anna.chat().edit_message(anna.asks(edit)).await.unwrap();
    let react = v1::SetReactionRequest {
        request: ben.next(),
        message: Some(message),
        reaction: "👍".to_owned(),
        present: true,
    };
    ben.chat().set_reaction(ben.asks(react)).await.unwrap();

    let seen = ben.read("lobby").await.unwrap().remove(0);
    assert_eq!(
        (seen.text.as_str(), seen.room_name.as_str()),
        ("hello @ben", "lobby")
    );
    assert!(seen.edited_at_ms >= seen.sent_at_ms && seen.mentioned_ids.len() == 1);
    let given = |reactions: &[v1::Reaction]| (reactions[0].count, reactions[0].mine);
    assert_eq!(given(&seen.reactions), (1, true));
    let seen = anna.read("lobby").await.unwrap().remove(0);
    assert_eq!(given(&seen.reactions), (1, false));

    let edit = v1::EditMessageRequest {
        request: ben.next(),
        message: Some(message),
        text: "no".to_owned(),
    };
    let refused = ben.chat().edit_message(ben.asks(edit)).await;
    assert_eq!(reason(refused.unwrap_err()), "NOT_YOUR_MESSAGE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_visible_messages_up_to_its_reported_position() {
    let world = World::start().await;
    let mut anna = world.person("anna").await;
    let eve = world.person("eve").await;
    anna.create("vault", true).await;
    let secret = anna.send("vault", "the secret word").await;
    let search = async |who: &Person, query: &str| {
        let ask = v1::SearchMessagesRequest {
            query: query.to_owned(),
            ..Default::default()
        };
        let found = who.chat().search_messages(who.asks(ask)).await;
        found.map(|found| found.into_inner()).map_err(reason)
    };
    let sent_at = anna.read("vault").await.unwrap()[0].position;
    let complete = async {
        loop {
            let found = search(&anna, "secr*").await.unwrap();
            if found.complete_to_position >= sent_at {
                return found;
            }
        }
    };
    let found = timeout(PATIENCE, complete).await.unwrap();
    assert_eq!(found.messages.len(), 1);
    assert_eq!(found.messages[0].sequence, secret.sequence);
    assert_eq!(search(&eve, "secret").await.unwrap().messages, []);
    assert_eq!(search(&anna, "in:#vault").await.unwrap().messages.len(), 1);
    assert_eq!(search(&eve, "in:#vault").await.unwrap().messages, []);
    let part = |text: &str, is_match| v1::SnippetPart {
        text: text.to_owned(),
        is_match,
    };
    let snippet = [
        part("the ", false),
        part("secret", true),
        part(" word", false),
    ];
    assert_eq!(found.hits.len(), 1);
    assert_eq!(found.hits[0].snippet, snippet);
    let invalid = Err("QUERY_INVALID".to_owned());
    assert_eq!(search(&anna, "\"in").await, invalid);
    let in_zone = async |day: &str, utc_offset_minutes| {
        let ask = v1::SearchMessagesRequest {
            query: "secret".to_owned(),
            utc_offset_minutes,
            day_offsets: vec![v1::DayOffset {
                day: day.to_owned(),
                utc_offset_minutes,
            }],
            ..Default::default()
        };
        let found = anna.chat().search_messages(anna.asks(ask)).await;
        found
            .map(|found| found.into_inner().messages.len())
            .map_err(reason)
    };
    assert_eq!(in_zone("2026-11-20", -1080).await, Ok(1));
    let invalid = Err("QUERY_INVALID".to_owned());
    assert_eq!(in_zone("2026-11-20", 1081).await, invalid);
    assert_eq!(in_zone("2026-11-31", 60).await, invalid);
}
