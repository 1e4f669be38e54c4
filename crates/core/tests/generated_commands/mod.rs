//! Commands that no client would send: every operation, with names, numbers and tokens from so few
//! that they often mean something.

use conclave_core::{
    AccessOperation, AccountId, AccountLimit, AccountName, AccountOperation, AccountRole,
    AckPolicy, ActNote, AdminOperation, AuthorityId, ClusterOperation, ClusterVersion, Command,
    ConversationId, Digest, DisplayName, Grant, InviteId, JoinCredential, JoinTokenId, LoginKeys,
    MemberRole, MessageOperation, MessageRef, MessageText, NodeId, OnceId, Operation, OperatorName,
    OperatorRequest, Origin, Progress, Reaction, Recipient, RetentionChange, RoomName,
    RoomOperation, RoomRetention, Sequence, SessionId, SessionLabel, ThrottleKey, Timestamp,
    TokenHash, Topic, WebhookId,
};
use proptest::prelude::*;

/// Maximum number of commands in one entry, less one.
const COMMANDS_MAX: usize = 8;

/// Returns numbers at the edges of their range.
fn edge() -> impl Strategy<Value = u64> {
    let far = prop::sample::select(vec![
        255,
        256,
        257,
        1 << 31,
        (1 << 63) - 1,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ]);
    prop_oneof![4 => 0u64..4, 1 => far]
}

pub(crate) fn time() -> impl Strategy<Value = Timestamp> {
    let late = prop::sample::select(vec![u64::MAX - 1, u64::MAX, i64::MAX.unsigned_abs()]);
    prop_oneof![20 => 0u64..5, 5 => 0u64..10_000_000_000, 1 => late].prop_map(Timestamp)
}

/// Returns the commands of one entry.
pub(crate) fn commands() -> impl Strategy<Value = Vec<Command>> {
    prop::collection::vec(any_command(), 0..COMMANDS_MAX)
}

fn any_command() -> impl Strategy<Value = Command> {
    let session = (edge(), edge()).prop_map(|(session, number)| Origin::Session {
        session: SessionId(session),
        number,
    });
    let once = any::<u8>().prop_map(|n| Origin::Once(OnceId([n; 16])));
    let origin = prop_oneof![session, once];
    (origin, 0u64..3, any_operation()).prop_map(|(origin, digest, operation)| Command {
        origin,
        digest: Digest(digest),
        operation,
    })
}

/// Returns every operation, with numbers at the edges of their range.
pub(crate) fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => of_access(),
        4 => of_cluster(),
        15 => of_messages(),
        15 => of_rooms(),
        3 => of_accounts(),
        3 => of_admins(),
    ]
}

fn name() -> impl Strategy<Value = AccountName> {
    "[abAB]".prop_map(|name| AccountName::new(name).expect("one letter"))
}

fn room() -> impl Strategy<Value = RoomName> {
    "[xX]".prop_map(|name| RoomName::new(name).expect("one letter"))
}

fn text() -> impl Strategy<Value = MessageText> {
    let texts = prop_oneof![4 => "[a@ ]{1,9}", 2 => "[aAb@＠._`~/中é\n-]{1,24}", 1 => ".{1,9}"];
    texts.prop_map(|text| MessageText::new(text).expect("a short text"))
}

fn hash() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just("$".to_owned()), 1 => ".{0,300}"]
}

fn token() -> impl Strategy<Value = TokenHash> {
    (0u8..8).prop_map(|token| TokenHash([token; 32]))
}

fn reference() -> impl Strategy<Value = MessageRef> {
    (edge(), edge()).prop_map(|(conversation, sequence)| MessageRef {
        conversation: ConversationId(conversation),
        sequence: Sequence(sequence),
    })
}

fn of_access() -> impl Strategy<Value = Operation> {
    let grant = prop_oneof![
        4 => Just(Grant::Open),
        1 => token().prop_map(Grant::Invite),
        1 => token().prop_map(Grant::Setup),
        1 => edge().prop_map(|id| Grant::Admin(SessionId(id))),
    ];
    let key = || (0u8..3).prop_map(|key| ThrottleKey([key; 16]));
    let place = || prop::option::of(key());
    let keys = move || {
        (key(), key(), key(), place(), place()).prop_map(
            |(account, address, pair, device, session)| LoginKeys {
                account,
                address,
                pair,
                device,
                session,
            },
        )
    };
    let login = (edge(), 0u64..3, token(), keys(), prop::option::of(hash()));
    prop_oneof![
        4 => (name(), hash(), grant).prop_map(|(name, password_hash, grant)| {
            AccessOperation::CreateAccount { name, password_hash, grant }
        }),
        5 => login.prop_map(|(account, password_version, token, keys, renewed_hash)| {
            AccessOperation::OpenSession {
                account: AccountId(account),
                password_version,
                token,
                label: SessionLabel::default(),
                keys,
                renewed_hash,
            }
        }),
        2 => keys().prop_map(|keys| AccessOperation::TryPassword { keys }),
        1 => token().prop_map(|token| AccessOperation::OfferSetup { token }),
        1 => (token(), text(), any::<bool>()).prop_map(|(token, text, keyed)| {
            AccessOperation::PostByWebhook { token, text, keyed }
        }),
    ]
    .prop_map(Operation::Access)
}

fn of_cluster() -> impl Strategy<Value = Operation> {
    prop_oneof![
        1 => (token(), edge(), any::<bool>()).prop_map(|(token, known, secret)| {
            let credential = match secret {
                true => JoinCredential::Secret { voter: true },
                false => JoinCredential::Token(token),
            };
            let newest = secret.then_some(ClusterVersion(u32::try_from(known % 4).unwrap_or(0)));
            ClusterOperation::AdmitNode { credential, known_last: NodeId(known), newest }
        }),
        1 => (0..4u32, edge()).prop_map(|(to, node)| ClusterOperation::RaiseVersion {
            to: ClusterVersion(to),
            asked: vec![NodeId(node)],
        }),
        1 => edge().prop_map(|node| ClusterOperation::RetireNode { node: NodeId(node) }),
        1 => prop::collection::vec(edge(), 0..3).prop_map(|of| ClusterOperation::ForgetMessages {
            conversations: of.into_iter().map(ConversationId).collect(),
        }),
        1 => (prop::option::of(token()), edge()).prop_map(|(by, node)| {
            let note = ActNote { node: NodeId(node), ..ActNote::default() };
            ClusterOperation::NoteAct { by, note }
        }),
        1 => (edge(), token(), any::<bool>()).prop_map(|(generation, token, is_final)| {
            let authority = AuthorityId(token.0);
            ClusterOperation::RotateAuthority { generation, authority, is_final }
        }),
        4 => of_operators(),
    ]
    .prop_map(Operation::Cluster)
}

fn of_operators() -> impl Strategy<Value = ClusterOperation> {
    let name = || "[oO]".prop_map(|name| OperatorName::new(name).expect("one letter"));
    let request = prop_oneof![
        2 => (token(), edge(), any::<bool>()).prop_map(|(token, ttl_ms, voter)| {
            OperatorRequest::CreateJoinToken { token, ttl_ms, voter }
        }),
        1 => token().prop_map(|token| OperatorRequest::RevokeJoinToken {
            id: JoinTokenId::of(&token),
        }),
        1 => edge().prop_map(|id| OperatorRequest::PreferLeader { node: Some(NodeId(id)) }),
        1 => any::<bool>().prop_map(|all| OperatorRequest::SetAckPolicy {
            policy: if all { AckPolicy::All } else { AckPolicy::Majority },
        }),
        1 => (prop::option::of(edge()), prop::option::of(edge())).prop_map(
            |(age_ms, messages)| OperatorRequest::SetRetention {
                change: RetentionChange {
                    age_ms,
                    messages,
                    rooms_may_exceed: age_ms.map(|age_ms| age_ms % 2 == 0),
                    total_messages: messages,
                },
            }
        ),
        1 => (name(), token()).prop_map(|(name, token)| {
            OperatorRequest::CreateOperator { name, token }
        }),
        1 => name().prop_map(|name| OperatorRequest::RevokeOperator { name }),
    ];
    prop_oneof![
        1 => token().prop_map(|token| ClusterOperation::MakeFirstOperator { token }),
        1 => token().prop_map(|token| ClusterOperation::ResetOperators { token }),
        4 => (token(), request).prop_map(|(credential, request)| {
            ClusterOperation::ByOperator { credential, request }
        }),
    ]
}

fn of_messages() -> impl Strategy<Value = Operation> {
    let to = prop_oneof![
        2 => name().prop_map(Recipient::Account),
        1 => room().prop_map(Recipient::Room),
        2 => edge().prop_map(|id| Recipient::Conversation(ConversationId(id))),
    ];
    let reply_to = prop_oneof![2 => Just(None), 1 => edge().prop_map(|n| Some(Sequence(n)))];
    let reaction = "[+-]".prop_map(|word| Reaction::new(word).expect("one letter"));
    let place = (edge(), edge(), edge()).prop_map(|(conversation, delivered, read)| {
        let (delivered, read) = (Sequence(delivered), Sequence(read));
        (ConversationId(conversation), Progress { delivered, read })
    });
    prop_oneof![
        6 => (to, text(), reply_to, any::<bool>()).prop_map(|(to, text, reply_to, action)| {
            MessageOperation::SendMessage { to, text, reply_to, action }
        }),
        2 => (reference(), text()).prop_map(|(message, text)| {
            MessageOperation::EditMessage { message, text }
        }),
        2 => (reference(), reaction, any::<bool>()).prop_map(|(message, reaction, present)| {
            MessageOperation::SetReaction { message, reaction, present }
        }),
        3 => prop::collection::vec(place, 0..4).prop_map(|positions| {
            MessageOperation::AdvancePositions { positions }
        }),
        3 => (prop::collection::vec(reference(), 0..6), any::<bool>()).prop_map(
            |(messages, for_everyone)| MessageOperation::DeleteMessages { messages, for_everyone }
        ),
    ]
    .prop_map(Operation::Message)
}

fn of_rooms() -> impl Strategy<Value = Operation> {
    let role = prop::sample::select(vec![
        MemberRole::Member,
        MemberRole::Moderator,
        MemberRole::Owner,
    ]);
    let topic = Topic::default();
    prop_oneof![
        3 => (room(), any::<bool>()).prop_map(move |(name, public)| {
            RoomOperation::CreateRoom { name, topic: topic.clone(), public }
        }),
        3 => room().prop_map(|name| RoomOperation::JoinRoom { name }),
        1 => room().prop_map(|name| RoomOperation::LeaveRoom { name }),
        2 => (room(), name()).prop_map(|(name, account)| {
            RoomOperation::InviteToRoom { name, account }
        }),
        2 => (room(), name()).prop_map(|(name, account)| {
            RoomOperation::KickFromRoom { name, account }
        }),
        2 => (room(), name(), role).prop_map(|(name, account, role)| {
            RoomOperation::SetMemberRole { name, account, role }
        }),
        1 => room().prop_map(|name| RoomOperation::SetTopic { name, topic: Topic::default() }),
        1 => (room(), prop::option::of(edge()), prop::option::of(edge())).prop_map(
            |(name, age_ms, messages)| RoomOperation::SetRoomRetention {
                name,
                retention: RoomRetention { age_ms, messages },
            }
        ),
        2 => (room(), name(), token()).prop_map(|(name, account, token)| {
            RoomOperation::CreateWebhook { name, account, token }
        }),
        1 => edge().prop_map(|id| RoomOperation::DeleteWebhook { webhook: WebhookId(id) }),
    ]
    .prop_map(Operation::Room)
}

fn of_accounts() -> impl Strategy<Value = Operation> {
    prop_oneof![
        1 => Just(AccountOperation::CloseSession),
        1 => (0u64..3).prop_map(|password_version| {
            AccountOperation::DeleteAccount { password_version }
        }),
        1 => (edge(), hash()).prop_map(|(password_version, password_hash)| {
            AccountOperation::ChangePassword { password_version, password_hash }
        }),
        1 => Just(AccountOperation::SetDisplayName { display_name: DisplayName::default() }),
        2 => (name(), any::<bool>()).prop_map(|(name, blocked)| {
            AccountOperation::SetBlock { name, blocked }
        }),
        1 => edge().prop_map(|id| AccountOperation::EndSession { session: SessionId(id) }),
    ]
    .prop_map(Operation::Account)
}

fn of_admins() -> impl Strategy<Value = Operation> {
    let role = prop::sample::select(vec![
        AccountRole::User,
        AccountRole::Admin,
        AccountRole::Bot,
    ]);
    prop_oneof![
        2 => (name(), role).prop_map(|(name, role)| AdminOperation::SetAccountRole { name, role }),
        1 => name().prop_map(|name| AdminOperation::RemoveAccount { name }),
        1 => (name(), any::<bool>()).prop_map(|(name, suspended)| {
            AdminOperation::SetSuspended { name, suspended }
        }),
        1 => name().prop_map(|name| AdminOperation::EndSessions { name }),
        1 => (name(), hash()).prop_map(|(name, password_hash)| {
            AdminOperation::ResetPassword { name, password_hash }
        }),
        1 => (name(), token()).prop_map(|(name, token)| AdminOperation::CreateBot { name, token }),
        1 => (token(), edge(), 0u32..3).prop_map(|(code, ttl_ms, uses)| {
            AdminOperation::CreateInvite { code, ttl_ms, uses }
        }),
        1 => edge().prop_map(|id| AdminOperation::RevokeInvite { invite: InviteId(id) }),
        1 => (edge(), edge()).prop_map(|(which, value)| {
            let limit = AccountLimit::numbered(which % 18).expect("there are 18");
            AdminOperation::SetAccountLimits { values: vec![(limit, value)] }
        }),
    ]
    .prop_map(Operation::Admin)
}
