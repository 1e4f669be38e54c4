//! A node with a private room and a public one, and callers with different permissions.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use conclave_core::limits::SESSION_MS;
use conclave_server::{Node, NodeConfig, Registration};
use conclave_wire::{
    OperatorCredential, Problem, Reason,
    request::TOKEN_BYTES,
    v1::{self, live_service_client::LiveServiceClient},
};
use prost::Message;
use tonic::{Request, Status, transport::Channel};

use crate::{peer_port, populate, raw, rows::Row};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Number that no conversation, webhook or session has.
const NOTHING: u64 = 4711;
pub(crate) const PASSWORD: &str = "correct horse";
/// Word in every message of the private room and between the owner and the blocked account.
pub(crate) const SECRET: &str = "xyzzy";

/// Kinds of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// Has no token.
    Anonymous,
    /// Has a header that cannot be a token.
    Garbage,
    /// Has a token that was never issued.
    Guess,
    /// Has a session that it has closed.
    Closed,
    /// Has a session that it has ended from another one.
    Ended,
    /// Has a session that ended with a new password.
    Superseded,
    /// Has a session of an account that was deleted.
    Gone,
    /// Has an administrator's session that has expired.
    Expired,
    /// A program, whose session does not expire. Not tried: it lets log time pass.
    Program,
    /// Is in no room and no conversation; asks for the private room.
    Stranger,
    /// Is like the stranger, but asks for the conversation of two others.
    Third,
    /// Is like the stranger, but asks for the public room.
    PasserBy,
    /// An administrator, in no room.
    Admin,
    /// Was removed from the private room.
    Kicked,
    /// Blocked by the owner; asks for its own conversation with her where a number is asked for.
    Blocked,
    /// Is a plain member of the private room.
    Member,
    /// Owns the private room.
    Owner,
    /// Has the credential of an operator, and no session.
    Operator,
}

impl Caller {
    pub(crate) const ALL: [Self; 17] = [
        Self::Anonymous,
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
    /// Callers outside of the objects that they ask for, who cannot see them.
    pub(crate) const OUTSIDERS: [Self; 4] =
        [Self::Stranger, Self::Third, Self::Admin, Self::Kicked];
    /// Returns whether the caller may read the secret. All others read it nowhere: its room is
    /// private, and the public one delivers its messages to members.
    pub(crate) fn may_read_the_secret(self) -> bool {
        matches!(self, Self::Blocked | Self::Member | Self::Owner)
    }

    /// Callers that get a session after the administrator's one has expired, with their names.
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

/// Object that a request names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The object that the caller's kind asks for.
    Meant,
    /// An object that does not exist, wherever the request names a room, conversation, webhook or
    /// session.
    Nothing,
}

/// Values that a request may contain.
pub(crate) struct Facts {
    pub(crate) request: Option<v1::RequestId>,
    /// An unused name.
    pub(crate) fresh: String,
    pub(crate) room: String,
    pub(crate) conversation: u64,
    /// Sequence of the caller's own message there; of any message, if the caller has none.
    pub(crate) own: u64,
    /// Sequence of another account's message there.
    pub(crate) others: u64,
    pub(crate) webhook: u64,
    pub(crate) invite: u64,
    /// Number of the owner's other session.
    pub(crate) session: u64,
    /// Account that is invited, and the room: the blocked account invites its blocker to its own
    /// room.
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

/// An account with a session.
pub(crate) struct Person {
    pub(crate) token: String,
    pub(crate) session: u64,
    /// Last request number.
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
    /// Conversation of the blocked account with the owner.
    pub(crate) direct: u64,
    pub(crate) webhook: u64,
    pub(crate) invite: u64,
    pub(crate) other_session: u64,
    given: u64,
    /// Stream that keeps the owner online.
    pub(crate) stream: Option<tonic::Streaming<v1::SubscribeResponse>>,
}

impl World {
    /// Starts a node with all callers in their places: see [`Caller`].
    pub(crate) async fn start() -> Self {
        let mut world = Self::after_a_month().await;
        world.populate().await;
        world
    }

    /// Starts a node on which an administrator's session has expired, and nothing has happened
    /// since.
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

    /// Returns the caller's authorization header.
    fn authorization(&self, caller: Caller) -> Option<String> {
        let token = match caller {
            Caller::Anonymous => return None,
            Caller::Operator => return Some(self.operator.to_header()),
            Caller::Garbage => "AAAA".to_owned(),
            Caller::Guess => URL_SAFE_NO_PAD.encode([9; TOKEN_BYTES]),
            _ => self.people[&caller].token.clone(),
        };
        Some(format!("Bearer {token}"))
    }

    /// Makes a call that must succeed, and returns its answer.
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
        // The first message is the owner's in the vault, and the blocked account's in the
        // conversation of the two.
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

    /// Returns whether the caller's request names an object that may exist or not.
    pub(crate) fn is_naming(&self, row: &Row, caller: Caller) -> bool {
        let request = |target| (row.request)(&self.facts_of(caller, target, None));
        request(Target::Meant) != request(Target::Nothing)
    }

    /// Makes the call of a row as a caller; of a stream it returns the first answer.
    pub(crate) async fn call(
        &mut self,
        row: &Row,
        caller: Caller,
        target: Target,
    ) -> Result<Bytes, Status> {
        let request = (row.request)(&self.facts(caller, target));
        let path = format!("/conclave.v1.{}", row.call);
        let answer = self.call_bytes(&path, request, caller).await?;
        match row.call {
            "ChatService/SendMessages" => first_result(answer),
            _ => Ok(answer),
        }
    }

    /// Makes the call of a row at the port for peers.
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

    /// Makes a call with these bytes at the port for clients.
    pub(crate) async fn call_bytes(
        &self,
        path: &str,
        request: Vec<u8>,
        caller: Caller,
    ) -> Result<Bytes, Status> {
        let header = self.authorization(caller);
        raw::call(self.clients.clone(), path, request, header.as_deref()).await
    }

    /// Opens a stream as a caller.
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

/// Returns the answer of a stream of messages, or the refusal of its message as the status that the
/// call for one message has.
fn first_result(answer: Bytes) -> Result<Bytes, Status> {
    use v1::send_message_result::Outcome;
    let mut results = v1::SendMessagesResponse::decode(answer.clone())
        .unwrap()
        .results;
    match results.pop().unwrap().outcome.unwrap() {
        Outcome::Sent(_) => Ok(answer),
        Outcome::Refused(refusal) => {
            let reason = Reason::named(&refusal.reason);
            let status = Problem::refused(reason, refusal.sentence).to_status();
            assert_eq!(u32::try_from(i32::from(status.code())), Ok(refusal.code));
            Err(status)
        }
    }
}

pub(crate) async fn connect(address: std::net::SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}
