//! A batch survives its encoding, and bytes from nowhere are errors.

use conclave_core::{
    AccessOperation, AccountId, AccountLimit, AccountName, AccountOperation, AccountRole,
    AdminOperation, AuthorityId, ClusterOperation, ConversationId, DisplayName, Grant, InviteId,
    JoinCredential, JoinTokenId, LoginKeys, MemberRole, MessageOperation, MessageRef, MessageText,
    NodeId, Operation, OperatorName, OperatorRequest, Progress, Reaction, Recipient, RoomName,
    RoomOperation, Sequence, SessionLabel, ThrottleKey, TokenHash, Topic, WebhookId,
};
use proptest::prelude::*;

use super::*;

#[path = "../../../storage/tests/state_edges/edges.rs"]
mod edges;

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        any::<[u64; 2]>().prop_map(|[session, number]| Origin::Session {
            session: SessionId(session),
            number
        }),
        any::<[u8; 16]>().prop_map(|id| Origin::Once(OnceId(id))),
    ]
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

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![of_messages(), of_accounts(), of_rooms()]
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
        (credential, node()).prop_map(|(credential, known_last)| Operation::Cluster(
            ClusterOperation::AdmitNode {
                credential,
                known_last
            }
        )),
        node().prop_map(|node| Operation::Cluster(ClusterOperation::RetireNode { node })),
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
        (0u64..9).prop_map(|node| OperatorRequest::PreferLeader {
            node: (node > 0).then_some(NodeId(node)),
        }),
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

fn batch() -> impl Strategy<Value = Batch> {
    let command =
        (origin(), any::<u64>(), operation()).prop_map(|(origin, digest, operation)| Command {
            origin,
            digest: Digest(digest),
            operation,
        });
    let commands = prop::collection::vec(command, 0..8);
    (any::<u64>(), any::<u64>(), commands).prop_map(|(at, date, commands)| Batch {
        proposed_at: Timestamp(at),
        date: Timestamp(date),
        commands,
    })
}

proptest! {
    #[test]
    fn every_field_survives_the_log(batch in batch()) {
        prop_assert_eq!(decode(encode(&batch)).unwrap(), batch);
    }

    #[test]
    fn arbitrary_bytes_are_an_error_or_a_batch(
        bytes in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let _ = decode(bytes.into());
    }

    #[test]
    fn a_damaged_batch_is_an_error_or_another_batch(
        batch in batch(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encode(&batch).to_vec();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        // What got through its bounds is a batch like any other.
        if let Ok(other) = decode(bytes.into()) {
            prop_assert_eq!(decode(encode(&other)).unwrap(), other);
        }
    }
}

/// Checks that no operation that the rules can be asked to decide stops a node that reads it from
/// its log.
#[test]
fn edge_values_of_every_operation_survive_the_log() {
    let numbers = edges::NUMBERS.into_iter().flat_map(edges::operations);
    for operation in numbers.chain(edges::texts()) {
        for session in edges::NUMBERS {
            let command = Command {
                origin: Origin::Session {
                    session: SessionId(session),
                    number: session,
                },
                digest: Digest(session),
                operation: operation.clone(),
            };
            let batch = Batch {
                proposed_at: Timestamp(session),
                date: Timestamp(session),
                commands: vec![command],
            };
            assert_eq!(decode(encode(&batch)).unwrap(), batch);
        }
    }
}

#[test]
fn an_entry_of_a_newer_version_is_refused_not_skipped() {
    let newer = peer::Batch {
        feature_level: FEATURE_LEVEL + 1,
        ..peer::Batch::default()
    };
    let refused = decode(newer.encode_to_vec().into());
    assert!(
        matches!(refused, Err(DecodeError::FeatureLevel { needed: 2 })),
        "{refused:?}"
    );

    let command = peer::Command {
        session_id: 1,
        number: 1,
        ..peer::Command::default()
    };
    let unknown = peer::Batch {
        feature_level: 1,
        commands: vec![command],
        ..Default::default()
    };
    let refused = decode(unknown.encode_to_vec().into());
    assert!(
        matches!(refused, Err(DecodeError::UnknownOperation)),
        "{refused:?}"
    );
}

fn decoded(operation: peer::command::Operation) -> Result<Command, DecodeError> {
    decode_command(peer::Command {
        session_id: 1,
        number: 1,
        operation: Some(operation),
        ..peer::Command::default()
    })
}

/// Operations that break one bound each: no client's request produces one.
fn out_of_bounds() -> Vec<peer::command::Operation> {
    use peer::{command::Operation as Encoded, send_message::To};
    let name = || "bob".to_owned();
    let long = || "x".repeat(16 * 1024 + 1);
    let send = |to, text| {
        Encoded::SendMessage(peer::SendMessage {
            to: Some(to),
            text,
            ..peer::SendMessage::default()
        })
    };
    vec![
        send(To::ConversationId(1), String::new()),
        send(To::ConversationId(1), long()),
        send(To::RecipientName("b b".to_owned()), name()),
        send(To::RoomName("#den".to_owned()), name()),
        Encoded::EditMessage(peer::EditMessage::default()),
        Encoded::SetReaction(peer::SetReaction::default()),
        Encoded::SetDisplayName(peer::SetDisplayName {
            display_name: "x".repeat(513),
        }),
        Encoded::SetTopic(peer::SetTopic {
            name: name(),
            topic: "\n".to_owned(),
        }),
        Encoded::JoinRoom(peer::JoinRoom { name: long() }),
        Encoded::PostByWebhook(peer::PostByWebhook {
            token_hash: vec![0; 32].into(),
            text: long(),
            keyed: true,
        }),
    ]
}

#[test]
fn a_bound_that_was_checked_before_is_checked_again() {
    for operation in out_of_bounds() {
        let refused = decoded(operation.clone());
        let kept = matches!(refused, Err(DecodeError::Bounds(_)));
        assert!(kept, "{operation:?}: {refused:?}");
    }
}

#[test]
fn empty_incomplete_and_overlong_lists_are_refused() {
    use peer::command::Operation as Encoded;
    let delete = |numbers: usize| {
        decoded(Encoded::DeleteMessages(peer::DeleteMessages {
            conversation_sequence_pairs: vec![1; numbers],
            for_everyone: true,
        }))
    };
    let advance = |numbers: usize| {
        decoded(Encoded::AdvancePositions(peer::AdvancePositions {
            conversation_delivered_read_triples: vec![1; numbers],
        }))
    };
    for good in [delete(2), delete(2 * 500), advance(3), advance(3 * 256)] {
        assert!(good.is_ok(), "{good:?}");
    }
    for bad in [delete(0), delete(3), advance(0), advance(4), advance(5)] {
        let empty = matches!(bad, Err(DecodeError::Bounds(Rejection::ListEmpty)));
        assert!(empty, "{bad:?}");
    }
    for bad in [delete(2 * 501), advance(3 * 257)] {
        let long = matches!(bad, Err(DecodeError::Bounds(Rejection::ListTooLong)));
        assert!(long, "{bad:?}");
    }
}

#[test]
fn hashes_of_wrong_length_and_unknown_roles_are_refused() {
    use peer::command::Operation as Encoded;
    let offer = |bytes: usize| {
        decoded(Encoded::OfferSetup(peer::OfferSetup {
            token_hash: vec![0; bytes].into(),
        }))
    };
    let count = |account: usize, address: usize| {
        let keys = peer::LoginKeys {
            account_key: vec![0; account].into(),
            address_key: vec![0; address].into(),
            pair_key: vec![0; 16].into(),
            device_key: None,
            session_key: Some(vec![0; account].into()),
        };
        decoded(Encoded::TryPassword(peer::TryPassword { keys: Some(keys) }))
    };
    assert!(offer(32).is_ok() && count(16, 16).is_ok());
    for bad in [offer(0), offer(31), offer(33), count(15, 16), count(16, 17)] {
        assert!(matches!(bad, Err(DecodeError::Length(_))), "{bad:?}");
    }
    let name = || "bob".to_owned();
    let of_account = Encoded::SetAccountRole(peer::SetAccountRole {
        name: name(),
        role: 3,
    });
    let of_member = Encoded::SetMemberRole(peer::SetMemberRole {
        name: name(),
        account_name: name(),
        role: 3,
    });
    for operation in [of_account, of_member] {
        let refused = decoded(operation);
        assert!(
            matches!(refused, Err(DecodeError::UnknownOperation)),
            "{refused:?}"
        );
    }
}
