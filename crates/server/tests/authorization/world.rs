//! A node with a private room, and people who may not go there.

use std::{collections::HashMap, time::Duration};

use bytes::{Buf as _, Bytes};
use conclave_server::{Node, NodeConfig};
use conclave_wire::v1::{
    self, account_service_client::AccountServiceClient, chat_service_client::ChatServiceClient,
    create_account_request::Grant, room_service_client::RoomServiceClient,
    send_message_request::To, session_service_client::SessionServiceClient,
};
use prost::bytes::BufMut as _;
use tokio::time::timeout;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

use crate::rows::Row;

const PASSWORD: &str = "correct horse";
/// Failures only if the machine is unwell.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    Nobody,
    Garbage,
    Ended,
    Stranger,
    Kicked,
    Blocked,
    Owner,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Real,
    Nothing,
}

/// What a request may name.
pub(crate) struct Facts {
    pub(crate) request: Option<v1::RequestId>,
    /// A name that nobody has.
    pub(crate) fresh: String,
    pub(crate) room: String,
    pub(crate) conversation: u64,
    pub(crate) webhook: u64,
    pub(crate) owner_session: u64,
}

impl Facts {
    pub(crate) fn message(&self) -> v1::MessageRef {
        v1::MessageRef {
            conversation_id: self.conversation,
            sequence: 1,
        }
    }
}

struct Person {
    token: String,
    session: u64,
    number: u64,
}

pub(crate) struct World {
    _node: Node,
    _data: tempfile::TempDir,
    clients: Channel,
    peers: Channel,
    people: HashMap<Caller, Person>,
    room: u64,
    /// The conversation of the blocked one with the owner.
    direct: u64,
    webhook: u64,
    given: u64,
}

async fn connect(address: std::net::SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

impl World {
    pub(crate) async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = NodeConfig {
            data: data.path().to_owned(),
            client_address: "127.0.0.1:0".to_owned(),
            peer_address: "127.0.0.1:0".to_owned(),
            unsafe_no_sync: true,
            ..NodeConfig::default()
        };
        let node = Node::start(config).await.unwrap();
        node.ready().await;
        let mut setup = node.setup_tokens();
        let setup = timeout(PATIENCE, setup.wait_for(Option::is_some)).await;
        let setup = setup.unwrap().unwrap().clone();
        let mut world = Self {
            clients: connect(node.client_address()).await,
            peers: connect(node.peer_address()).await,
            _node: node,
            _data: data,
            people: HashMap::new(),
            room: 0,
            direct: 0,
            webhook: 0,
            given: 0,
        };
        world.populate(setup.map(Grant::SetupToken)).await;
        world
    }

    async fn populate(&mut self, setup: Option<Grant>) {
        self.account("alice", setup).await;
        for name in ["bob", "frank", "mallory", "carol", "dave"] {
            self.account(name, None).await;
        }
        let people = [
            (Caller::Owner, "alice"),
            (Caller::Stranger, "mallory"),
            (Caller::Kicked, "carol"),
            (Caller::Blocked, "dave"),
            (Caller::Ended, "frank"),
        ];
        for (caller, name) in people {
            let person = self.login(name).await;
            self.people.insert(caller, person);
        }
        let close = self.asks(Caller::Ended, |request| v1::CloseSessionRequest { request });
        let mut sessions = SessionServiceClient::new(self.clients.clone());
        sessions.close_session(close).await.unwrap();

        let mut rooms = RoomServiceClient::new(self.clients.clone());
        let create = self.asks(Caller::Owner, |request| v1::CreateRoomRequest {
            request,
            name: "secret".to_owned(),
            private: true,
            ..Default::default()
        });
        self.room = rooms
            .create_room(create)
            .await
            .unwrap()
            .into_inner()
            .conversation_id;
        let frank = self.login("frank").await;
        self.people.insert(Caller::Garbage, frank);
        for (caller, name) in [(Caller::Kicked, "carol"), (Caller::Garbage, "frank")] {
            let invite = self.asks(Caller::Owner, |request| v1::InviteToRoomRequest {
                request,
                name: "secret".to_owned(),
                account_name: name.to_owned(),
            });
            rooms.invite_to_room(invite).await.unwrap();
            let join = self.asks(caller, |request| v1::JoinRoomRequest {
                request,
                name: "secret".to_owned(),
            });
            rooms.join_room(join).await.unwrap();
        }
        self.people.remove(&Caller::Garbage);
        let kick = self.asks(Caller::Owner, |request| v1::KickFromRoomRequest {
            request,
            name: "secret".to_owned(),
            account_name: "carol".to_owned(),
        });
        rooms.kick_from_room(kick).await.unwrap();
        let webhook = self.asks(Caller::Owner, |request| v1::CreateWebhookRequest {
            request,
            name: "secret".to_owned(),
            account_name: "hook".to_owned(),
            ..Default::default()
        });
        self.webhook = rooms
            .create_webhook(webhook)
            .await
            .unwrap()
            .into_inner()
            .webhook_id;

        let room = To::ConversationId(self.room);
        self.send(Caller::Owner, room).await;
        let alice = To::RecipientName("alice".to_owned());
        self.direct = self.send(Caller::Blocked, alice).await;
        let block = self.asks(Caller::Owner, |request| v1::SetBlockRequest {
            request,
            name: "dave".to_owned(),
            blocked: true,
        });
        let mut accounts = AccountServiceClient::new(self.clients.clone());
        accounts.set_block(block).await.unwrap();
    }

    async fn account(&self, name: &str, grant: Option<Grant>) {
        let account = v1::CreateAccountRequest {
            name: name.to_owned(),
            password: PASSWORD.to_owned(),
            grant,
            ..Default::default()
        };
        let mut accounts = AccountServiceClient::new(self.clients.clone());
        accounts.create_account(account).await.unwrap();
    }

    async fn login(&self, name: &str) -> Person {
        let login = v1::OpenSessionRequest {
            name: name.to_owned(),
            password: PASSWORD.to_owned(),
            ..Default::default()
        };
        let mut sessions = SessionServiceClient::new(self.clients.clone());
        let opened = sessions.open_session(login).await.unwrap().into_inner();
        Person {
            token: opened.token,
            session: opened.session_id,
            number: 0,
        }
    }

    async fn send(&mut self, caller: Caller, to: To) -> u64 {
        let send = self.asks(caller, |request| v1::SendMessageRequest {
            request,
            to: Some(to),
            text: "a secret".to_owned(),
            ..Default::default()
        });
        let mut chat = ChatServiceClient::new(self.clients.clone());
        chat.send_message(send)
            .await
            .unwrap()
            .into_inner()
            .conversation_id
    }

    fn next(&mut self, caller: Caller) -> Option<v1::RequestId> {
        let number = self.people.get_mut(&caller).map_or(1, |person| {
            person.number += 1;
            person.number
        });
        Some(v1::RequestId { number, nonce: 1 })
    }

    fn asks<T>(
        &mut self,
        caller: Caller,
        make: impl FnOnce(Option<v1::RequestId>) -> T,
    ) -> Request<T> {
        let mut request = Request::new(make(self.next(caller)));
        let token = &self.people[&caller].token;
        let header = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", header);
        request
    }

    fn facts(&mut self, caller: Caller, target: Target) -> Facts {
        self.given += 1;
        let is_real = target == Target::Real;
        let conversation = match caller {
            Caller::Blocked => self.direct,
            _ => self.room,
        };
        Facts {
            request: self.next(caller),
            fresh: format!("fresh-{}", self.given),
            room: if is_real { "secret" } else { "nothing" }.to_owned(),
            conversation: if is_real { conversation } else { 4711 },
            webhook: if is_real { self.webhook } else { 4711 },
            owner_session: self.people[&Caller::Owner].session,
        }
    }

    /// The call of a row by somebody; of a stream the first answer.
    pub(crate) async fn call(
        &mut self,
        row: &Row,
        caller: Caller,
        target: Target,
    ) -> Result<(), Status> {
        let request = (row.request)(&self.facts(caller, target));
        let token = match caller {
            Caller::Nobody => None,
            Caller::Garbage => Some("AAAA".to_owned()),
            _ => Some(self.people[&caller].token.clone()),
        };
        let path = format!("/conclave.v1.{}", row.call);
        self.raw(&path, request, token).await
    }

    /// The call of a row at the port of the peers.
    pub(crate) async fn call_at_peers(&mut self, row: &Row) -> Result<(), Status> {
        let request = (row.request)(&self.facts(Caller::Owner, Target::Real));
        let path = format!("/conclave.v1.{}", row.call);
        raw_at(self.peers.clone(), &path, request, None).await
    }

    /// A call of bytes.
    pub(crate) async fn raw(
        &self,
        path: &str,
        request: Vec<u8>,
        token: Option<String>,
    ) -> Result<(), Status> {
        raw_at(self.clients.clone(), path, request, token).await
    }

    /// What was refused has changed nothing: the room, its members and its messages.
    pub(crate) async fn is_as_it_was(&mut self) {
        let list = self.asks(Caller::Owner, |_| v1::ListMembersRequest {
            name: "secret".to_owned(),
            ..Default::default()
        });
        let mut rooms = RoomServiceClient::new(self.clients.clone());
        let members = rooms.list_members(list).await.unwrap().into_inner().members;
        let names = members.iter().map(|member| {
            let name = &member.account.as_ref().unwrap().name;
            name.split('-').next().unwrap()
        });
        // The owner has made a webhook and removed the first one.
        assert_eq!(names.collect::<Vec<_>>(), ["alice", "frank", "fresh"]);
        let room = self.room;
        let list = self.asks(Caller::Owner, |_| v1::ListMessagesRequest {
            conversation: Some(v1::list_messages_request::Conversation::ConversationId(
                room,
            )),
            ..Default::default()
        });
        let mut chat = ChatServiceClient::new(self.clients.clone());
        let messages = chat
            .list_messages(list)
            .await
            .unwrap()
            .into_inner()
            .messages;
        // Her second one; the first she has edited and deleted for herself.
        let texts = messages.iter().map(|message| message.text.as_str());
        assert_eq!(texts.collect::<Vec<_>>(), ["hello"]);
    }
}

async fn raw_at(
    channel: Channel,
    path: &str,
    request: Vec<u8>,
    token: Option<String>,
) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let mut request = Request::new(Bytes::from(request));
    if let Some(token) = token {
        let header = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", header);
    }
    let path = PathAndQuery::try_from(path).unwrap();
    let asked = async {
        let answers = grpc.server_streaming(request, path, Raw).await?;
        answers.into_inner().message().await
    };
    let answer = timeout(PATIENCE, asked).await.expect("it is answered")?;
    answer
        .map(|_| ())
        .ok_or_else(|| Status::unknown("no answer"))
}

/// Messages as they are on the wire.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
