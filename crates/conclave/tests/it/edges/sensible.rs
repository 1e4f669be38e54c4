//! Callers of every kind, and valid requests of theirs.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use conclave_client::{Client, Freshness, core::ConversationId, v1};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::{Value, json};

use crate::witness::{PASSWORD, person};

/// Account that the callers write to, invite or block.
pub(super) const PEER: &str = "bob";
/// Account that administrators act on.
pub(super) const VICTIM: &str = "victim";

/// Counter for names and secrets that are used only once.
static FRESH: AtomicU64 = AtomicU64::new(1);

fn fresh() -> u64 {
    FRESH.fetch_add(1, Ordering::Relaxed)
}

/// Returns random bytes as a request carries them, the same in every run.
fn bytes(length: usize) -> String {
    let hash = blake3::hash(&fresh().to_le_bytes());
    STANDARD.encode(&hash.as_bytes()[..length])
}

/// Kinds of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Administrator,
    Operator,
    Stranger,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [
        Self::User,
        Self::Administrator,
        Self::Operator,
        Self::Stranger,
    ];
}

/// One caller, with what its requests may name.
pub(super) struct Caller {
    pub(super) header: Option<String>,
    has_session: bool,
    client: Client,
    name: String,
    room: String,
    conversation: ConversationId,
    /// Last request number that the caller has used.
    number: u64,
}

impl Caller {
    /// Creates a caller with an account, a conversation and a room of its own. `root` is an
    /// administrator, and `operator` is the header of an operator.
    pub(super) async fn new(root: &Client, operator: &str, kind: Kind) -> Self {
        let number = fresh();
        let (name, room) = (format!("caller{number}"), format!("room{number}"));
        root.create_account(&name, PASSWORD).await.unwrap();
        if kind == Kind::Administrator {
            let role = v1::AccountRole::Admin;
            root.set_account_role(&name, role).await.unwrap();
        }
        let login = root.login(&name, PASSWORD).await.unwrap();
        let client = root.with_token(&login.token).unwrap();
        let sent = client.send(&person(PEER), "hello").await.unwrap();
        client.create_room(&room, "", false).await.unwrap();
        client.invite_to_room(&room, PEER).await.unwrap();
        let has_session = matches!(kind, Kind::User | Kind::Administrator);
        let header = match kind {
            Kind::User | Kind::Administrator => Some(format!("Bearer {}", login.token)),
            Kind::Operator => Some(operator.to_owned()),
            Kind::Stranger => None,
        };
        let mut caller = Self {
            header,
            has_session,
            client,
            name,
            room,
            conversation: sent.conversation,
            number: 0,
        };
        caller.learn_numbers().await;
        caller
    }

    pub(super) fn has_session(&self) -> bool {
        self.has_session
    }

    /// Asks which request number was used last: a request that is refused at the door uses none up.
    pub(super) async fn learn_numbers(&mut self) {
        let session = self.client.session(Freshness::Linearizable).await.unwrap();
        self.number = session.request_number_last;
    }

    /// Returns a valid request of this type, with the next request number.
    pub(super) fn request(&mut self, input: &MessageDescriptor) -> DynamicMessage {
        self.number += 1;
        let mut fields = self.fields(input.name());
        if input.get_field_by_name("request").is_some() {
            fields["request"] = json!({ "number": self.number, "nonce": fresh() });
        }
        if input.get_field_by_name("request_id").is_some() {
            fields["request_id"] = bytes(16).into();
        }
        for field in ["page_size", "count"] {
            if input.get_field_by_name(field).is_some() {
                fields[field] = 10.into();
            }
        }
        DynamicMessage::deserialize(input.clone(), fields)
            .unwrap_or_else(|error| panic!("{}: {error}", input.name()))
    }

    /// Returns the fields of a request beside those that all requests of its kind have.
    fn fields(&self, request: &str) -> Value {
        let Self { name, room, .. } = self;
        let conversation = self.conversation.0;
        let message = json!({ "conversation_id": conversation, "sequence": 1 });
        let new = format!("new{}", fresh());
        let read = json!({ "consistency": "CONSISTENCY_STALE" });
        match request.strip_suffix("Request").unwrap_or(request) {
            "CreateAccount" => json!({ "name": new, "password": PASSWORD }),
            "DeleteAccount" => json!({ "password": PASSWORD }),
            "ChangePassword" => json!({ "old_password": PASSWORD, "new_password": new + PASSWORD }),
            "SetDisplayName" => json!({ "display_name": "Anna" }),
            "SetBlock" => json!({ "name": VICTIM, "blocked": true }),
            "OpenSession" => json!({ "name": name, "password": PASSWORD, "label": "a program" }),
            "EndSession" => json!({ "session_id": 1 }),
            "GetSession" => json!({ "read": read }),

            "SendMessage" => json!({ "recipient_name": PEER, "text": "hello" }),
            "EditMessage" => json!({ "message": message, "text": "hello again" }),
            "SetReaction" => json!({ "message": message, "reaction": "+1", "present": true }),
            "DeleteMessages" => json!({ "messages": [message] }),
            "AdvancePositions" => json!({ "progress": [{
                "conversation_id": conversation, "sequence_delivered": 1, "sequence_read": 1,
            }] }),
            "ListMessages" => json!({ "conversation_id": conversation, "read": read }),
            "SearchMessages" => json!({ "query": "hello" }),
            "SetTyping" => json!({ "conversation_id": conversation }),
            "GetPresence" => json!({ "names": [PEER] }),

            "CreateRoom" => json!({ "name": new, "topic": "this and that" }),
            "JoinRoom" | "LeaveRoom" => json!({ "name": "hall" }),
            "InviteToRoom" | "KickFromRoom" => json!({ "name": room, "account_name": PEER }),
            "SetTopic" => json!({ "name": room, "topic": "this and that" }),
            "SetRoomRetention" => json!({ "name": room, "retention": { "age_ms": 86_400_000 } }),
            "SetMemberRole" => {
                json!({ "name": room, "account_name": PEER, "role": "MEMBER_ROLE_MODERATOR" })
            }
            "ListMembers" | "ListWebhooks" => json!({ "name": room }),
            "CreateWebhook" => json!({ "name": room, "account_name": new, "secret": bytes(32) }),
            "DeleteWebhook" => json!({ "webhook_id": 1 }),

            "SetAccountRole" => json!({ "name": VICTIM, "role": "ACCOUNT_ROLE_USER" }),
            "SetSuspended" => json!({ "name": VICTIM, "suspended": true }),
            "EndSessions" | "RemoveAccount" => json!({ "name": VICTIM }),
            "ResetPassword" => json!({ "name": VICTIM, "new_password": PASSWORD }),
            "CreateBot" => json!({ "name": new, "token": bytes(32) }),
            "CreateInvite" => json!({ "code": bytes(16), "ttl_seconds": 3600, "uses": 1 }),
            "RevokeInvite" => json!({ "invite_id": 1 }),
            "SetAccountLimits" => {
                json!({ "limits": [{ "name": "messages-burst", "value": 10_000 }] })
            }

            "ListAuditEntries" => {
                json!({ "read": read, "actor": name, "act": "suspend_account", "since_ms": 1 })
            }
            "ChangeRetention" => json!({ "messages": 1_000_000 }),
            "CreateJoinToken" => json!({ "ttl_seconds": 3600, "secret": bytes(32) }),
            "RevokeJoinToken" => json!({ "token_id": "0123456789abcdef" }),
            "CreateOperator" => json!({ "name": new, "credential": bytes(32) }),
            "RevokeOperator" => json!({ "name": "unknown" }),
            "TransferLeader" => json!({ "node_id": 2 }),
            "ChangeLogFilter" => json!({ "filter": "info" }),
            // A drained node would refuse the calls that follow.
            "DrainNode" => json!({ "node_id": 2, "undrain": true }),
            "ChangeMembers" => json!({ "force": true, "add": {
                "node_id": 4, "peer_address": "127.0.0.1:1", "client_address": "127.0.0.1:2",
            } }),
            // The other requests need no fields.
            _ => json!({}),
        }
    }
}

/// Returns whether its success ends the caller's session, or changes the caller's password.
pub(super) fn ends_the_caller(method: &str) -> bool {
    ["CloseSession", "DeleteAccount", "ChangePassword"].contains(&method)
}

/// Returns whether a call may wait for something that never happens: the node waits until the
/// deadline.
pub(super) fn may_wait(what: &str) -> bool {
    what.contains("min_position = ") || what.contains("min_applied_index = ")
}

/// Returns whether a request would take a vote from one of the three nodes.
pub(super) fn takes_a_vote(request: &DynamicMessage) -> bool {
    let number = |message: &DynamicMessage, field: &str| {
        let value = message.get_field_by_name(field);
        value.and_then(|value| value.as_u64()).unwrap_or(0)
    };
    let replace = request.get_field_by_name("replace");
    let replaced = replace
        .as_ref()
        .and_then(|value| value.as_message())
        .map_or(0, |replace| number(replace, "old_node_id"));
    let named = ["demote_node_id", "remove_node_id"].map(|field| number(request, field));
    [named[0], named[1], replaced]
        .iter()
        .any(|node| (1..=3).contains(node))
}
