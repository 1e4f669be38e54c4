//! Generated operations of every kind.

use conclave_core::{
    AccessOperation, AccountId, AccountLimit, AccountName, AccountOperation, AccountRole,
    AckPolicy, ActNote, AdminOperation, AuditText, AuthorityId, ClusterOperation, ClusterVersion,
    ConversationId, DisplayName, Grant, InviteId, JoinCredential, JoinTokenId, LoginKeys,
    MemberRole, MessageOperation, MessageRef, MessageText, NodeId, Operation, OperatorName,
    OperatorRequest, Progress, Reaction, Recipient, RetentionChange, RoomName, RoomOperation,
    RoomRetention, Sequence, SessionId, SessionLabel, ThrottleKey, TokenHash, Topic, WebhookId,
};
use proptest::prelude::*;

/// Generates operations of every kind, with any value in each field.
pub(super) fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![of_messages(), of_accounts(), of_rooms()]
}

fn name() -> impl Strategy<Value = AccountName> {
    "[A-Za-z0-9._-]{1,32}".prop_map(|name| AccountName::new(name).unwrap())
}

fn room() -> impl Strategy<Value = RoomName> {
    "[A-Za-z0-9._-]{1,32}".prop_map(|name| RoomName::new(name).unwrap())
}

fn text() -> impl Strategy<Value = MessageText> {
    "\\PC{1,40}".prop_map(|text| MessageText::new(text).unwrap())
}

fn hash() -> impl Strategy<Value = TokenHash> {
    any::<[u8; 32]>().prop_map(TokenHash)
}

fn key() -> impl Strategy<Value = ThrottleKey> {
    any::<[u8; 16]>().prop_map(ThrottleKey)
}

fn keys() -> impl Strategy<Value = LoginKeys> {
    let optional = || prop::option::of(key());
    (key(), key(), key(), optional(), optional()).prop_map(
        |(account, address, pair, device, session)| LoginKeys {
            account,
            address,
            pair,
            device,
            session,
        },
    )
}

fn message() -> impl Strategy<Value = MessageRef> {
    any::<[u64; 2]>().prop_map(|[conversation, sequence]| MessageRef {
        conversation: ConversationId(conversation),
        sequence: Sequence(sequence),
    })
}

fn of_messages() -> impl Strategy<Value = Operation> {
    let to = prop_oneof![
        name().prop_map(Recipient::Account),
        room().prop_map(Recipient::Room),
        any::<u64>().prop_map(|id| Recipient::Conversation(ConversationId(id))),
    ];
    let reply_to = prop::option::of((1u64..).prop_map(Sequence));
    let position = any::<[u64; 3]>().prop_map(|[conversation, delivered, read]| {
        let progress = Progress {
            delivered: Sequence(delivered),
            read: Sequence(read),
        };
        (ConversationId(conversation), progress)
    });
    prop_oneof![
        (to, text(), reply_to, any::<bool>()).prop_map(|(to, text, reply_to, action)| {
            Operation::Message(MessageOperation::SendMessage {
                to,
                text,
                reply_to,
                action,
            })
        }),
        (message(), text()).prop_map(|(message, text)| Operation::Message(
            MessageOperation::EditMessage { message, text }
        )),
        (message(), "\\PC{1,8}", any::<bool>()).prop_map(|(message, reaction, present)| {
            Operation::Message(MessageOperation::SetReaction {
                message,
                reaction: Reaction::new(reaction).unwrap(),
                present,
            })
        }),
        prop::collection::vec(position, 1..5).prop_map(|positions| Operation::Message(
            MessageOperation::AdvancePositions { positions }
        )),
        (prop::collection::vec(message(), 1..5), any::<bool>()).prop_map(
            |(messages, for_everyone)| Operation::Message(MessageOperation::DeleteMessages {
                messages,
                for_everyone
            })
        ),
        (hash(), text(), any::<bool>()).prop_map(|(token, text, keyed)| {
            Operation::Access(AccessOperation::PostByWebhook { token, text, keyed })
        }),
    ]
}

fn of_accounts() -> impl Strategy<Value = Operation> {
    let grant = prop_oneof![
        Just(Grant::Open),
        hash().prop_map(Grant::Invite),
        hash().prop_map(Grant::Setup),
        any::<u64>().prop_map(|id| Grant::Admin(SessionId(id))),
    ];
    let role = prop_oneof![
        Just(AccountRole::User),
        Just(AccountRole::Admin),
        Just(AccountRole::Bot),
    ];
    let label = "[a-z ]{0,20}".prop_map(|label| SessionLabel::new(label).unwrap());
    let plain = prop_oneof![
        any::<u64>().prop_map(|password_version| Operation::Account(
            AccountOperation::DeleteAccount { password_version }
        )),
        (name(), any::<bool>()).prop_map(|(name, suspended)| Operation::Admin(
            AdminOperation::SetSuspended { name, suspended }
        )),
        name().prop_map(|name| Operation::Admin(AdminOperation::EndSessions { name })),
        (name(), "\\$[ -~]{0,90}").prop_map(|(name, password_hash)| Operation::Admin(
            AdminOperation::ResetPassword {
                name,
                password_hash,
            }
        )),
        Just(Operation::Account(AccountOperation::CloseSession)),
        any::<u64>().prop_map(|id| Operation::Account(AccountOperation::EndSession {
            session: SessionId(id)
        })),
        any::<u64>().prop_map(|id| Operation::Admin(AdminOperation::RevokeInvite {
            invite: InviteId(id)
        })),
        name().prop_map(|name| Operation::Admin(AdminOperation::RemoveAccount { name })),
        hash().prop_map(|token| Operation::Access(AccessOperation::OfferSetup { token })),
        keys().prop_map(|keys| Operation::Access(AccessOperation::TryPassword { keys })),
        "[a-z é]{0,20}".prop_map(|name| Operation::Account(AccountOperation::SetDisplayName {
            display_name: DisplayName::new(name).unwrap()
        })),
    ];
    prop_oneof![
        plain,
        (name(), "\\$[ -~]{0,90}", grant).prop_map(|(name, password_hash, grant)| {
            Operation::Access(AccessOperation::CreateAccount {
                name,
                password_hash,
                grant,
            })
        }),
        (
            any::<[u64; 2]>(),
            hash(),
            label,
            keys(),
            prop::option::of("\\$[ -~]{0,90}"),
        )
            .prop_map(
                |([account, password_version], token, label, keys, renewed_hash)| {
                    Operation::Access(AccessOperation::OpenSession {
                        account: AccountId(account),
                        password_version,
                        token,
                        label,
                        keys,
                        renewed_hash,
                    })
                }
            ),
        (any::<u64>(), "\\$[ -~]{0,90}").prop_map(|(password_version, password_hash)| {
            Operation::Account(AccountOperation::ChangePassword {
                password_version,
                password_hash,
            })
        }),
        (name(), any::<bool>()).prop_map(|(name, blocked)| Operation::Account(
            AccountOperation::SetBlock { name, blocked }
        )),
        (name(), role).prop_map(
            |(name, role)| Operation::Admin(AdminOperation::SetAccountRole { name, role })
        ),
        (name(), hash())
            .prop_map(|(name, token)| Operation::Admin(AdminOperation::CreateBot { name, token })),
        prop::collection::vec((0u64..18, any::<u64>()), 1..9).prop_map(|values| {
            let limit = |number| AccountLimit::numbered(number).unwrap();
            let values = values
                .into_iter()
                .map(|(number, value)| (limit(number), value));
            Operation::Admin(AdminOperation::SetAccountLimits {
                values: values.collect(),
            })
        }),
        (hash(), any::<u64>(), any::<u32>()).prop_map(|(code, ttl_ms, uses)| Operation::Admin(
            AdminOperation::CreateInvite { code, ttl_ms, uses }
        )),
        of_nodes(),
    ]
}

fn of_nodes() -> impl Strategy<Value = Operation> {
    let credential = prop_oneof![
        hash().prop_map(JoinCredential::Token),
        any::<bool>().prop_map(|voter| JoinCredential::Secret { voter }),
    ];
    let node = || any::<u64>().prop_map(NodeId);
    prop_oneof![
        (credential, node(), any::<u32>()).prop_map(|(credential, known_last, newest)| {
            Operation::Cluster(ClusterOperation::AdmitNode {
                credential,
                known_last,
                newest: Some(ClusterVersion(newest)).filter(|newest| newest.0 != 0),
            })
        }),
        (any::<u32>(), prop::collection::vec(node(), 0..5)).prop_map(|(to, asked)| {
            Operation::Cluster(ClusterOperation::RaiseVersion {
                to: ClusterVersion(to),
                asked,
            })
        }),
        prop::collection::vec(any::<u64>().prop_map(ConversationId), 0..5).prop_map(
            |conversations| Operation::Cluster(ClusterOperation::ForgetMessages { conversations })
        ),
        node().prop_map(|node| Operation::Cluster(ClusterOperation::RetireNode { node })),
        (prop::option::of(hash()), node(), any::<[String; 4]>()).prop_map(|(by, node, texts)| {
            let [act, target, detail, refusal] = texts.map(|text| AuditText::cut(&text));
            Operation::Cluster(ClusterOperation::NoteAct {
                by,
                note: ActNote {
                    node,
                    act,
                    target,
                    detail,
                    refusal,
                },
            })
        }),
        (any::<u64>(), any::<[u8; 32]>(), any::<bool>()).prop_map(
            |(generation, authority, is_final)| Operation::Cluster(
                ClusterOperation::RotateAuthority {
                    generation,
                    authority: AuthorityId(authority),
                    is_final,
                }
            )
        ),
        hash().prop_map(|token| Operation::Cluster(ClusterOperation::MakeFirstOperator { token })),
        hash().prop_map(|token| Operation::Cluster(ClusterOperation::ResetOperators { token })),
        (hash(), of_operators()).prop_map(|(credential, request)| Operation::Cluster(
            ClusterOperation::ByOperator {
                credential,
                request,
            }
        )),
    ]
}

fn limit() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(any::<u64>())
}

fn of_operators() -> impl Strategy<Value = OperatorRequest> {
    let name = || "[a-z]{1,9}".prop_map(|name| OperatorName::new(name).unwrap());
    prop_oneof![
        (hash(), any::<u64>(), any::<bool>()).prop_map(|(token, ttl_ms, voter)| {
            OperatorRequest::CreateJoinToken {
                token,
                ttl_ms,
                voter,
            }
        }),
        hash().prop_map(|token| OperatorRequest::RevokeJoinToken {
            id: JoinTokenId::of(&token),
        }),
        (limit(), limit(), prop::option::of(any::<bool>()), limit()).prop_map(
            |(age_ms, messages, rooms_may_exceed, total_messages)| {
                OperatorRequest::SetRetention {
                    change: RetentionChange {
                        age_ms,
                        messages,
                        rooms_may_exceed,
                        total_messages,
                    },
                }
            }
        ),
        (0u64..9).prop_map(|node| OperatorRequest::PreferLeader {
            node: (node > 0).then_some(NodeId(node)),
        }),
        prop_oneof![Just(AckPolicy::Majority), Just(AckPolicy::All)]
            .prop_map(|policy| OperatorRequest::SetAckPolicy { policy }),
        (name(), hash()).prop_map(|(name, token)| OperatorRequest::CreateOperator { name, token }),
        name().prop_map(|name| OperatorRequest::RevokeOperator { name }),
    ]
}

fn of_rooms() -> impl Strategy<Value = Operation> {
    let role = prop_oneof![
        Just(MemberRole::Member),
        Just(MemberRole::Moderator),
        Just(MemberRole::Owner),
    ];
    let topic = || "[a-z ]{0,20}".prop_map(|topic| Topic::new(topic).unwrap());
    prop_oneof![
        (room(), topic(), any::<bool>()).prop_map(|(name, topic, public)| Operation::Room(
            RoomOperation::CreateRoom {
                name,
                topic,
                public
            }
        )),
        room().prop_map(|name| Operation::Room(RoomOperation::JoinRoom { name })),
        room().prop_map(|name| Operation::Room(RoomOperation::LeaveRoom { name })),
        (room(), name()).prop_map(
            |(name, account)| Operation::Room(RoomOperation::InviteToRoom { name, account })
        ),
        (room(), name()).prop_map(
            |(name, account)| Operation::Room(RoomOperation::KickFromRoom { name, account })
        ),
        (room(), topic())
            .prop_map(|(name, topic)| Operation::Room(RoomOperation::SetTopic { name, topic })),
        (room(), limit(), limit()).prop_map(|(name, age_ms, messages)| Operation::Room(
            RoomOperation::SetRoomRetention {
                name,
                retention: RoomRetention { age_ms, messages },
            }
        )),
        (room(), name(), role).prop_map(|(name, account, role)| Operation::Room(
            RoomOperation::SetMemberRole {
                name,
                account,
                role
            }
        )),
        (room(), name(), hash()).prop_map(|(name, account, token)| Operation::Room(
            RoomOperation::CreateWebhook {
                name,
                account,
                token
            }
        )),
        any::<u64>().prop_map(|id| Operation::Room(RoomOperation::DeleteWebhook {
            webhook: WebhookId(id)
        })),
    ]
}
