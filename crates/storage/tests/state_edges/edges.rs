//! Every operation with the numbers and texts at the edges of their types.
//!
//! Always true: an operation without a row here does not compile, and the test that requires all
//! [`NAMES`] fails for one that no row makes.

#![allow(dead_code, reason = "each test binary uses a part")]

use conclave_core::{
    AccessOperation, AccountId, AccountLimit, AccountName, AccountOperation, AccountRole, ActNote,
    AdminOperation, AuthorityId, ClusterOperation, ClusterVersion, ConversationId, DisplayName,
    Grant, InviteId, JoinCredential, JoinTokenId, LoginKeys, MemberRole, MessageOperation,
    MessageRef, MessageText, NodeId, Operation, OperatorName, OperatorRequest, Progress, Reaction,
    Recipient, RetentionChange, RoomName, RoomOperation, RoomRetention, Sequence, SessionId,
    SessionLabel, ThrottleKey, TokenHash, Topic, WebhookId, limits,
};

/// Edges of 64-bit numbers, of the numbers that a database stores, and of our own bounds.
pub(crate) const NUMBERS: [u64; 11] = [
    0,
    1,
    2,
    256,
    1_000_000,
    1 << 31,
    (1 << 32) - 1,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// Operations that are tried with the edges.
pub(crate) const NAMES: [&str; 48] = [
    "create_account",
    "open_session",
    "try_password",
    "offer_setup",
    "admit_node",
    "retire_node",
    "rotate_authority",
    "raise_version",
    "post_by_webhook",
    "change_password",
    "set_display_name",
    "set_block",
    "end_session",
    "send_message",
    "edit_message",
    "set_reaction",
    "advance_positions",
    "delete_messages",
    "create_room",
    "join_room",
    "leave_room",
    "invite_to_room",
    "kick_from_room",
    "set_topic",
    "set_member_role",
    "create_webhook",
    "delete_webhook",
    "set_account_role",
    "delete_account",
    "set_suspended",
    "end_sessions",
    "reset_password",
    "remove_account",
    "create_bot",
    "create_invite",
    "revoke_invite",
    "create_join_token",
    "revoke_join_token",
    "prefer_leader",
    "set_retention",
    "set_room_retention",
    "forget_messages",
    "note_act",
    "set_account_limits",
    "create_operator",
    "revoke_operator",
    "make_first_operator",
    "reset_operators",
];

/// Returns the name of an operation; empty if it carries neither number nor text.
pub(crate) fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Access(AccessOperation::CreateAccount { .. }) => "create_account",
        Operation::Access(AccessOperation::OpenSession { .. }) => "open_session",
        Operation::Access(AccessOperation::TryPassword { .. }) => "try_password",
        Operation::Access(AccessOperation::OfferSetup { .. }) => "offer_setup",
        Operation::Cluster(ClusterOperation::AdmitNode { .. }) => "admit_node",
        Operation::Cluster(ClusterOperation::RetireNode { .. }) => "retire_node",
        Operation::Cluster(ClusterOperation::RotateAuthority { .. }) => "rotate_authority",
        Operation::Cluster(ClusterOperation::RaiseVersion { .. }) => "raise_version",
        Operation::Cluster(ClusterOperation::ForgetMessages { .. }) => "forget_messages",
        Operation::Cluster(ClusterOperation::NoteAct { .. }) => "note_act",
        Operation::Access(AccessOperation::PostByWebhook { .. }) => "post_by_webhook",
        Operation::Account(AccountOperation::DeleteAccount { .. }) => "delete_account",
        Operation::Admin(AdminOperation::SetSuspended { .. }) => "set_suspended",
        Operation::Admin(AdminOperation::EndSessions { .. }) => "end_sessions",
        Operation::Admin(AdminOperation::ResetPassword { .. }) => "reset_password",
        Operation::Account(AccountOperation::CloseSession) => "",
        Operation::Account(AccountOperation::ChangePassword { .. }) => "change_password",
        Operation::Account(AccountOperation::SetDisplayName { .. }) => "set_display_name",
        Operation::Account(AccountOperation::SetBlock { .. }) => "set_block",
        Operation::Account(AccountOperation::EndSession { .. }) => "end_session",
        Operation::Message(MessageOperation::SendMessage { .. }) => "send_message",
        Operation::Message(MessageOperation::EditMessage { .. }) => "edit_message",
        Operation::Message(MessageOperation::SetReaction { .. }) => "set_reaction",
        Operation::Message(MessageOperation::AdvancePositions { .. }) => "advance_positions",
        Operation::Message(MessageOperation::DeleteMessages { .. }) => "delete_messages",
        Operation::Room(RoomOperation::CreateRoom { .. }) => "create_room",
        Operation::Room(RoomOperation::JoinRoom { .. }) => "join_room",
        Operation::Room(RoomOperation::LeaveRoom { .. }) => "leave_room",
        Operation::Room(RoomOperation::InviteToRoom { .. }) => "invite_to_room",
        Operation::Room(RoomOperation::KickFromRoom { .. }) => "kick_from_room",
        Operation::Room(RoomOperation::SetTopic { .. }) => "set_topic",
        Operation::Room(RoomOperation::SetRoomRetention { .. }) => "set_room_retention",
        Operation::Room(RoomOperation::SetMemberRole { .. }) => "set_member_role",
        Operation::Room(RoomOperation::CreateWebhook { .. }) => "create_webhook",
        Operation::Room(RoomOperation::DeleteWebhook { .. }) => "delete_webhook",
        Operation::Admin(AdminOperation::SetAccountRole { .. }) => "set_account_role",
        Operation::Admin(AdminOperation::RemoveAccount { .. }) => "remove_account",
        Operation::Admin(AdminOperation::CreateBot { .. }) => "create_bot",
        Operation::Admin(AdminOperation::CreateInvite { .. }) => "create_invite",
        Operation::Admin(AdminOperation::RevokeInvite { .. }) => "revoke_invite",
        Operation::Admin(AdminOperation::SetAccountLimits { .. }) => "set_account_limits",
        Operation::Cluster(ClusterOperation::MakeFirstOperator { .. }) => "make_first_operator",
        Operation::Cluster(ClusterOperation::ResetOperators { .. }) => "reset_operators",
        Operation::Cluster(ClusterOperation::ByOperator { request, .. }) => match request {
            OperatorRequest::CreateJoinToken { .. } => "create_join_token",
            OperatorRequest::RevokeJoinToken { .. } => "revoke_join_token",
            OperatorRequest::PreferLeader { .. } => "prefer_leader",
            // Two values, and neither a number nor a text.
            OperatorRequest::SetAckPolicy { .. } => "",
            OperatorRequest::SetRetention { .. } => "set_retention",
            OperatorRequest::CreateOperator { .. } => "create_operator",
            OperatorRequest::RevokeOperator { .. } => "revoke_operator",
        },
    }
}

/// Credential of the first operator.
pub(crate) const OPERATOR: TokenHash = TokenHash([99; 32]);

/// Returns a request of the first operator.
pub(crate) fn by_operator(request: OperatorRequest) -> Operation {
    Operation::Cluster(ClusterOperation::ByOperator {
        credential: OPERATOR,
        request,
    })
}

fn account(name: &str) -> AccountName {
    AccountName::new(name).unwrap()
}

/// Returns the keys of an attempt with a password, made of one byte.
fn keys(byte: u8) -> LoginKeys {
    let key = |turned: u8| ThrottleKey([byte ^ turned; 16]);
    LoginKeys {
        account: key(0),
        address: key(1),
        pair: key(2),
        device: Some(key(3)),
        session: (byte % 2 == 1).then(|| key(4)),
    }
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

fn text(text: &str) -> MessageText {
    MessageText::new(text).unwrap()
}

/// Returns the operations that carry numbers, with this one in each place.
pub(crate) fn operations(edge: u64) -> Vec<Operation> {
    let low = u32::try_from(edge).unwrap_or(u32::MAX);
    let byte = edge.to_le_bytes()[0];
    let token = TokenHash([byte; 32]);
    let to = Recipient::Conversation(ConversationId(edge));
    let message = |conversation, sequence| MessageRef {
        conversation: ConversationId(conversation),
        sequence: Sequence(sequence),
    };
    let progress = |conversation, delivered, read| {
        let (delivered, read) = (Sequence(delivered), Sequence(read));
        (ConversationId(conversation), Progress { delivered, read })
    };
    let mut operations = vec![
        Operation::Access(AccessOperation::CreateAccount {
            name: account("edge"),
            password_hash: "$".to_owned(),
            grant: Grant::Admin(SessionId(edge)),
        }),
        Operation::Cluster(ClusterOperation::AdmitNode {
            credential: JoinCredential::Secret { voter: true },
            known_last: NodeId(edge),
            newest: None,
        }),
        Operation::Cluster(ClusterOperation::AdmitNode {
            credential: JoinCredential::Token(token),
            known_last: NodeId(edge),
            newest: Some(ClusterVersion((edge % 3) as u32 | 1)),
        }),
        Operation::Cluster(ClusterOperation::RaiseVersion {
            to: ClusterVersion((edge % 4) as u32),
            asked: vec![NodeId(edge)],
        }),
        Operation::Cluster(ClusterOperation::ForgetMessages {
            conversations: vec![ConversationId(1), ConversationId(edge)],
        }),
        Operation::Cluster(ClusterOperation::NoteAct {
            by: None,
            note: ActNote {
                node: NodeId(edge),
                ..ActNote::default()
            },
        }),
        by_operator(OperatorRequest::SetRetention {
            change: RetentionChange {
                age_ms: Some(edge),
                messages: Some(edge),
                rooms_may_exceed: Some(edge.is_multiple_of(2)),
                total_messages: Some(edge),
            },
        }),
        Operation::Room(RoomOperation::SetRoomRetention {
            name: room("lobby"),
            retention: RoomRetention {
                age_ms: Some(edge),
                messages: Some(edge),
            },
        }),
        Operation::Cluster(ClusterOperation::RetireNode { node: NodeId(edge) }),
        Operation::Cluster(ClusterOperation::RotateAuthority {
            generation: edge,
            authority: AuthorityId([7; 32]),
            is_final: edge.is_multiple_of(2),
        }),
        Operation::Account(AccountOperation::ChangePassword {
            password_version: edge,
            password_hash: "$".to_owned(),
        }),
        Operation::Message(MessageOperation::SendMessage {
            to: Recipient::Account(account("b")),
            text: text("hello @a"),
            // Zero means none, as in the protocol.
            reply_to: (edge != 0).then_some(Sequence(edge)),
            action: false,
        }),
        Operation::Message(MessageOperation::SendMessage {
            to,
            text: text("hello"),
            reply_to: None,
            action: true,
        }),
        Operation::Admin(AdminOperation::CreateInvite {
            code: token,
            ttl_ms: edge,
            uses: low,
        }),
        Operation::Admin(AdminOperation::CreateInvite {
            code: TokenHash([byte; 32].map(|byte| byte ^ 0x55)),
            ttl_ms: 1,
            uses: low,
        }),
        Operation::Admin(AdminOperation::SetAccountLimits {
            values: vec![(AccountLimit::CONVERSATIONS, edge)],
        }),
        Operation::Admin(AdminOperation::RevokeInvite {
            invite: InviteId(edge),
        }),
        by_operator(OperatorRequest::CreateJoinToken {
            token,
            ttl_ms: edge,
            voter: true,
        }),
        by_operator(OperatorRequest::RevokeJoinToken {
            id: JoinTokenId::of(&token),
        }),
        by_operator(OperatorRequest::PreferLeader {
            node: (edge != 0).then_some(NodeId(edge)),
        }),
        Operation::Room(RoomOperation::DeleteWebhook {
            webhook: WebhookId(edge),
        }),
        Operation::Message(MessageOperation::AdvancePositions {
            positions: vec![progress(edge, edge, edge)],
        }),
        Operation::Message(MessageOperation::AdvancePositions {
            positions: vec![progress(1, edge, edge.saturating_sub(1))],
        }),
        Operation::Access(AccessOperation::OpenSession {
            account: AccountId(2),
            password_version: edge,
            token,
            label: SessionLabel::default(),
            keys: keys(byte),
            renewed_hash: edge.is_multiple_of(2).then(|| "$".to_owned()),
        }),
        Operation::Access(AccessOperation::OpenSession {
            account: AccountId(edge),
            password_version: 1,
            token,
            label: SessionLabel::default(),
            keys: keys(byte),
            renewed_hash: edge.is_multiple_of(2).then(|| "$".to_owned()),
        }),
        Operation::Access(AccessOperation::TryPassword { keys: keys(byte) }),
        Operation::Access(AccessOperation::TryPassword { keys: keys(!byte) }),
    ];
    // Session 1 is the caller's own.
    if edge != 1 {
        operations.push(Operation::Account(AccountOperation::EndSession {
            session: SessionId(edge),
        }));
        operations.push(Operation::Account(AccountOperation::DeleteAccount {
            password_version: edge,
        }));
    }
    for message in [message(1, edge), message(edge, 1), message(edge, edge)] {
        operations.push(Operation::Message(MessageOperation::EditMessage {
            message,
            text: text("another"),
        }));
        operations.extend([true, false].map(|present| {
            Operation::Message(MessageOperation::SetReaction {
                message,
                reaction: Reaction::new("+").unwrap(),
                present,
            })
        }));
        operations.extend([false, true].map(|for_everyone| {
            Operation::Message(MessageOperation::DeleteMessages {
                messages: vec![message],
                for_everyone,
            })
        }));
    }
    operations
}

/// Returns the operations that carry texts, names and lists, shortest and longest.
pub(crate) fn texts() -> Vec<Operation> {
    let (short, long) = ("x".to_owned(), "y".repeat(limits::NAME_BYTES_MAX));
    let mut operations = Vec::new();
    for (number, name) in (1_u8..).zip([short, long]) {
        let token = TokenHash([200 + number; 32]);
        let more = |letter: char| {
            let mut other = name.clone();
            other.replace_range(..1, &letter.to_string());
            other
        };
        let said = "é".repeat(limits::TEXT_BYTES_MAX / 2);
        operations.extend([
            Operation::Access(AccessOperation::CreateAccount {
                name: account(&name),
                password_hash: "$".repeat(limits::PASSWORD_HASH_BYTES_MAX),
                grant: Grant::Admin(SessionId(1)),
            }),
            Operation::Access(AccessOperation::CreateAccount {
                name: account("other"),
                password_hash: "$".repeat(limits::PASSWORD_HASH_BYTES_MAX + 1),
                grant: Grant::Open,
            }),
            Operation::Account(AccountOperation::ChangePassword {
                password_version: 1,
                password_hash: String::new(),
            }),
            Operation::Account(AccountOperation::SetDisplayName {
                display_name: DisplayName::new("d".repeat(limits::DISPLAY_NAME_BYTES_MAX)).unwrap(),
            }),
            Operation::Access(AccessOperation::OfferSetup { token }),
            Operation::Cluster(ClusterOperation::MakeFirstOperator { token }),
            by_operator(OperatorRequest::CreateOperator {
                name: OperatorName::new(&name).unwrap(),
                token,
            }),
            by_operator(OperatorRequest::RevokeOperator {
                name: OperatorName::new(&name).unwrap(),
            }),
            Operation::Cluster(ClusterOperation::ResetOperators { token: OPERATOR }),
            Operation::Account(AccountOperation::SetBlock {
                name: account(&name),
                blocked: true,
            }),
            Operation::Account(AccountOperation::SetBlock {
                name: account(&name),
                blocked: false,
            }),
            Operation::Room(RoomOperation::CreateRoom {
                name: room(&name),
                topic: Topic::new("t".repeat(limits::TOPIC_BYTES_MAX)).unwrap(),
                public: true,
            }),
            Operation::Room(RoomOperation::InviteToRoom {
                name: room(&name),
                account: account(&name),
            }),
            Operation::Room(RoomOperation::JoinRoom { name: room(&name) }),
            Operation::Room(RoomOperation::SetTopic {
                name: room(&name),
                topic: Topic::default(),
            }),
            Operation::Room(RoomOperation::SetMemberRole {
                name: room(&name),
                account: account(&name),
                role: MemberRole::Moderator,
            }),
            Operation::Room(RoomOperation::CreateWebhook {
                name: room(&name),
                account: account(&more('w')),
                token,
            }),
            Operation::Access(AccessOperation::PostByWebhook {
                token,
                text: text(&said),
                keyed: true,
            }),
            Operation::Message(MessageOperation::SendMessage {
                to: Recipient::Room(room(&name)),
                text: text(&said),
                reply_to: None,
                action: false,
            }),
            Operation::Message(MessageOperation::SendMessage {
                to: Recipient::Account(account(&name)),
                text: text(&"@a ".repeat(limits::TEXT_BYTES_MAX / 3)),
                reply_to: None,
                action: false,
            }),
            Operation::Message(MessageOperation::SetReaction {
                message: MessageRef {
                    conversation: ConversationId(1),
                    sequence: Sequence(1),
                },
                reaction: Reaction::new("r".repeat(limits::REACTION_BYTES_MAX)).unwrap(),
                present: true,
            }),
            Operation::Access(AccessOperation::OpenSession {
                account: AccountId(2),
                password_version: 1,
                token,
                label: SessionLabel::new("l".repeat(limits::SESSION_LABEL_BYTES_MAX)).unwrap(),
                keys: keys(number),
                renewed_hash: Some("$".repeat(limits::PASSWORD_HASH_BYTES_MAX)),
            }),
            Operation::Admin(AdminOperation::CreateBot {
                name: account(&more('b')),
                token: TokenHash([210 + number; 32]),
            }),
            Operation::Admin(AdminOperation::SetAccountRole {
                name: account(&name),
                role: AccountRole::Admin,
            }),
            Operation::Room(RoomOperation::KickFromRoom {
                name: room(&name),
                account: account(&name),
            }),
            Operation::Room(RoomOperation::LeaveRoom { name: room(&name) }),
            Operation::Admin(AdminOperation::ResetPassword {
                name: account(&name),
                password_hash: "$".repeat(limits::PASSWORD_HASH_BYTES_MAX),
            }),
            Operation::Admin(AdminOperation::EndSessions {
                name: account(&name),
            }),
            Operation::Admin(AdminOperation::SetSuspended {
                name: account(&name),
                suspended: true,
            }),
            Operation::Admin(AdminOperation::RemoveAccount {
                name: account(&name),
            }),
        ]);
    }
    for length in [0, limits::POSITIONS_PER_REQUEST_MAX + 1] {
        operations.push(Operation::Message(MessageOperation::AdvancePositions {
            positions: vec![(ConversationId(1), Progress::default()); length],
        }));
    }
    let first = MessageRef {
        conversation: ConversationId(1),
        sequence: Sequence(1),
    };
    for length in [0, limits::DELETE_MESSAGES_MAX + 1] {
        operations.push(Operation::Message(MessageOperation::DeleteMessages {
            messages: vec![first; length],
            for_everyone: true,
        }));
    }
    operations
}
