//! A node with a private room and a public one, and people who may not go everywhere.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use conclave_core::limits::SESSION_MS;
use conclave_server::{Node, NodeConfig, Registration};
use conclave_wire::{
    OperatorCredential,
    request::TOKEN_BYTES,
    v1::{self, live_service_client::LiveServiceClient},
};
use prost::Message;
use tonic::{Request, Status, transport::Channel};

use crate::{peer_port, populate, raw, rows::Row};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// The number of no conversation, webhook or session.
const NOTHING: u64 = 4711;
pub(crate) const PASSWORD: &str = "correct horse";
/// A word of every message in the private room and between the owner and the blocked one.
pub(crate) const SECRET: &str = "xyzzy";

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// Without a token.
    Nobody,
    /// With something that cannot be a token.
    Garbage,
    /// With a token that nobody was given.
    Guess,
    /// With a session that it has closed.
    Closed,
    /// With a session that it has ended from another one.
    Ended,
    /// With a session that ended with a new password.
    Superseded,
    /// With a session of an account that was deleted.
    Gone,
    /// With an administrator's session that has run out.
    Expired,
    /// A program, whose session does not run out. Not tried: it lets log time pass.
    Program,
    /// In no room and no conversation; asks for the private room.
    Stranger,
    /// The same, asking for the conversation of two others.
    Third,
    /// The same, asking for the public room.
    PasserBy,
    /// An administrator, in no room.
    Admin,
    /// Was removed from the private room.
    Kicked,
    /// Blocked by the owner; asks for its own conversation with her where a number is asked for.
    Blocked,
    /// A plain member of the private room.
    Member,
    /// Owns the private room.
    Owner,
    /// With the credential of an operator, and no session.
    Operator,
}

impl Caller {
    pub(crate) const ALL: [Self; 17] = [
        Self::Nobody,
        Self::Garbage,
        Self::Guess,
        Self::Closed,
        Self::Ended,
        Self::Superseded,
        Self::Gone,
        Self::Expired,
        Self::Stranger,
        Self::Third,
        Self::PasserBy,
        Self::Admin,
        Self::Kicked,
        Self::Blocked,
        Self::Member,
        Self::Owner,
        Self::Operator,
    ];
    /// Those who are not in what they ask for, and cannot see it.
    pub(crate) const OUTSIDERS: [Self; 4] =
        [Self::Stranger, Self::Third, Self::Admin, Self::Kicked];
    /// Everybody else reads the secret nowhere: its room is private, and the public one tells its
    /// messages to members.
    pub(crate) fn may_read_the_secret(self) -> bool {
        matches!(self, Self::Blocked | Self::Member | Self::Owner)
    }

    /// Those who get a session when the one that has run out has done so, with their names.
    pub(crate) const PEOPLE: [(Self, &str); 12] = [
        (Self::Admin, "adam"),
        (Self::Owner, "alice"),
        (Self::Member, "mona"),
        (Self::Kicked, "carl"),
        (Self::Blocked, "dave"),
        (Self::Stranger, "sam"),
        (Self::Third, "theo"),
        (Self::PasserBy, "paula"),
        (Self::Closed, "una"),
        (Self::Ended, "uri"),
        (Self::Superseded, "udo"),
        (Self::Gone, "uwe"),
    ];
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// What the caller means.
    Meant,
    /// What does not exist, wherever the request names a room, conversation, webhook or session.
    Nothing,
}

/// What a request may name.
pub(crate) struct Facts {
    pub(crate) request: Option<v1::RequestId>,
    /// A name that nobody has.
    pub(crate) fresh: String,
    pub(crate) room: String,
    pub(crate) conversation: u64,
    /// The caller's own message there; any, if it has none.
    pub(crate) own: u64,
    /// A message of somebody else there.
    pub(crate) others: u64,
    pub(crate) webhook: u64,
    pub(crate) invite: u64,
    /// The owner's other session.
    pub(crate) session: u64,
    /// Who is invited, and to where: by the blocked one its blocker, to a room of its own.
    pub(crate) invited: &'static str,
    pub(crate) inviting: String,
}

impl Facts {
    pub(crate) fn message(&self, sequence: u64) -> Option<v1::MessageRef> {
        Some(v1::MessageRef {
            conversation_id: self.conversation,
            sequence,
        })
    }
}

/// Somebody with a session.
pub(crate) struct Person {
    pub(crate) token: String,
    pub(crate) session: u64,
    /// The last request number.
    pub(crate) number: u64,
}

pub(crate) struct World {
    _node: Node,
    _data: tempfile::TempDir,
    pub(crate) clients: Channel,
    peers: Channel,
    pub(crate) people: HashMap<Caller, Person>,
    operator: OperatorCredential,
    pub(crate) vault: u64,
    pub(crate) square: u64,
    /// The conversation of the blocked one with the owner.
    pub(crate) direct: u64,
    pub(crate) webhook: u64,
    pub(crate) invite: u64,
    pub(crate) other_session: u64,
    given: u64,
    /// The owner is there.
    pub(crate) stream: Option<tonic::Streaming<v1::SubscribeResponse>>,
}

impl World {
    /// A node with everybody in their places: see [`Caller`].
    pub(crate) async fn start() -> Self {
        let mut world = Self::after_a_month().await;
        world.populate().await;
        world
    }

    /// A node on which an administrator's session has run out, and nothing has happened since.
    pub(crate) async fn after_a_month() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = NodeConfig {
            plain: true,
            data: data.path().to_owned(),
            client_address: "127.0.0.1:0".to_owned(),
            peer_address: "127.0.0.1:0".to_owned(),
            unsafe_no_sync: true,
            registration: Some(Registration::Closed),
            ..NodeConfig::default()
        };
        let people = populate::before_the_sessions_run_out(config.clone()).await;
        config.clock_offset_ms = i64::try_from(SESSION_MS + DAY_MS).unwrap();
        let node = populate::start_again(config).await;
        Self {
            clients: connect(node.client_address()).await,
            peers: peer_port::connect(node.peer_address()).await,
            operator: populate::operator(data.path()).await,
            _node: node,
            _data: data,
            people,
            vault: 0,
            square: 0,
            direct: 0,
            webhook: 0,
            invite: 0,
            other_session: 0,
            given: 0,
            stream: None,
        }
    }

    fn next(&mut self, caller: Caller) -> Option<v1::RequestId> {
        let number = self.people.get_mut(&caller).map_or(1, |person| {
            person.number += 1;
            person.number
        });
        Some(v1::RequestId { number, nonce: 1 })
    }

    /// The header with which somebody calls.
    fn authorization(&self, caller: Caller) -> Option<String> {
        let token = match caller {
            Caller::Nobody => return None,
            Caller::Operator => return Some(self.operator.to_header()),
            Caller::Garbage => "AAAA".to_owned(),
            Caller::Guess => URL_SAFE_NO_PAD.encode([9; TOKEN_BYTES]),
            _ => self.people[&caller].token.clone(),
        };
        Some(format!("Bearer {token}"))
    }

    /// What somebody asks for, and is given.
    pub(crate) async fn ask<Q: Message, A: Message + Default>(
        &mut self,
        caller: Caller,
        call: &str,
        make: impl FnOnce(Option<v1::RequestId>) -> Q,
    ) -> A {
        let request = make(self.next(caller)).encode_to_vec();
        let path = format!("/conclave.v1.{call}");
        let answer = self.call_bytes(&path, request, caller).await;
        A::decode(answer.unwrap_or_else(|status| panic!("{call}: {status}"))).unwrap()
    }

    fn facts(&mut self, caller: Caller, target: Target) -> Facts {
        self.given += 1;
        let request = self.next(caller);
        self.facts_of(caller, target, request)
    }

    fn facts_of(&self, caller: Caller, target: Target, request: Option<v1::RequestId>) -> Facts {
        let is_meant = target == Target::Meant;
        let (name, conversation) = match caller {
            Caller::PasserBy => ("square", self.square),
            Caller::Blocked | Caller::Third => ("vault", self.direct),
            _ => ("vault", self.vault),
        };
        // The first message is the owner's in the vault, and the blocked one's between the two.
        let (own, others) = match caller {
            Caller::Member => (2, 1),
            _ => (1, 2),
        };
        let room = if is_meant { name } else { "nothing" };
        let (inviting, invited) = match caller {
            Caller::Blocked => ("den", "alice"),
            _ => (room, "root"),
        };
        Facts {
            request,
            fresh: format!("fresh-{}", self.given),
            room: room.to_owned(),
            conversation: if is_meant { conversation } else { NOTHING },
            own,
            others,
            webhook: if is_meant { self.webhook } else { NOTHING },
            invite: self.invite,
            session: if is_meant {
                self.other_session
            } else {
                NOTHING
            },
            invited,
            inviting: inviting.to_owned(),
        }
    }

    /// Whether the request of somebody names what can exist or not.
    pub(crate) fn is_naming(&self, row: &Row, caller: Caller) -> bool {
        let request = |target| (row.request)(&self.facts_of(caller, target, None));
        request(Target::Meant) != request(Target::Nothing)
    }

    /// The call of a row by somebody; of a stream the first answer.
    pub(crate) async fn call(
        &mut self,
        row: &Row,
        caller: Caller,
        target: Target,
    ) -> Result<Bytes, Status> {
        let request = (row.request)(&self.facts(caller, target));
        let path = format!("/conclave.v1.{}", row.call);
        self.call_bytes(&path, request, caller).await
    }

    /// The call of a row at the port of the peers.
    pub(crate) async fn call_at_peers(
        &mut self,
        row: &Row,
        caller: Caller,
    ) -> Result<Bytes, Status> {
        let request = (row.request)(&self.facts(caller, Target::Meant));
        let path = format!("/conclave.v1.{}", row.call);
        let header = self.authorization(caller);
        raw::call(self.peers.clone(), &path, request, header.as_deref()).await
    }

    /// A call of bytes at the port of the clients.
    pub(crate) async fn call_bytes(
        &self,
        path: &str,
        request: Vec<u8>,
        caller: Caller,
    ) -> Result<Bytes, Status> {
        let header = self.authorization(caller);
        raw::call(self.clients.clone(), path, request, header.as_deref()).await
    }

    /// The stream of somebody.
    pub(crate) async fn subscribe(
        &self,
        caller: Caller,
        request: v1::SubscribeRequest,
    ) -> Result<tonic::Streaming<v1::SubscribeResponse>, Status> {
        let mut request = Request::new(request);
        if let Some(header) = self.authorization(caller) {
            let header = header.parse().unwrap();
            request.metadata_mut().insert("authorization", header);
        }
        let mut live = LiveServiceClient::new(self.clients.clone());
        Ok(live.subscribe(request).await?.into_inner())
    }
}

pub(crate) async fn connect(address: std::net::SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}
