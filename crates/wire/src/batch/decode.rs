//! Operations from what was stored, with the bounds of texts checked again.
//!
//! Always true: what a rule can be asked to decide is decoded as it was encoded. The
//! lengths of lists are judged by the rules alone: an entry in the log is refused, not undecodable.

use conclave_core::{
    AccessOperation, AccountId, AccountLimit, AccountName, AccountOperation, AccountRole,
    AckPolicy, ActNote, AdminOperation, AuditText, AuthorityId, ClusterOperation, ClusterVersion,
    ConversationId, DisplayName, Grant, InviteId, JoinCredential, JoinTokenId, LoginKeys,
    MemberRole, MessageOperation, MessageRef, MessageText, NodeId, Operation, OperatorName,
    OperatorRequest, Progress, Reaction, Recipient, Rejection, RetentionChange, RoomName,
    RoomOperation, RoomRetention, Sequence, SessionId, SessionLabel, ThrottleKey, TokenHash, Topic,
    WebhookId,
};

use super::DecodeError;
use crate::peer::{self, command::Operation as Encoded};

fn hash(bytes: &[u8]) -> Result<TokenHash, DecodeError> {
    Ok(TokenHash::try_from(bytes)?)
}

fn key(bytes: &[u8]) -> Result<ThrottleKey, DecodeError> {
    Ok(ThrottleKey::try_from(bytes)?)
}

fn message(conversation: u64, sequence: u64) -> MessageRef {
    MessageRef {
        conversation: ConversationId(conversation),
        sequence: Sequence(sequence),
    }
}

pub(super) fn operation(encoded: Encoded) -> Result<Operation, DecodeError> {
    Ok(match encoded {
        Encoded::SendMessage(send) => {
            use peer::send_message::To;
            let to = match send.to.ok_or(DecodeError::UnknownOperation)? {
                To::RecipientName(name) => Recipient::Account(AccountName::new(name)?),
                To::ConversationId(id) => Recipient::Conversation(ConversationId(id)),
                To::RoomName(name) => Recipient::Room(RoomName::new(name)?),
            };
            Operation::Message(MessageOperation::SendMessage {
                to,
                text: MessageText::new(send.text)?,
                reply_to: (send.reply_to != 0).then_some(Sequence(send.reply_to)),
                action: send.action,
            })
        }
        Encoded::EditMessage(edit) => Operation::Message(MessageOperation::EditMessage {
            message: message(edit.conversation_id, edit.sequence),
            text: MessageText::new(edit.text)?,
        }),
        Encoded::SetReaction(react) => Operation::Message(MessageOperation::SetReaction {
            message: message(react.conversation_id, react.sequence),
            reaction: Reaction::new(react.reaction)?,
            present: react.present,
        }),
        Encoded::AdvancePositions(advance) => advance_positions(&advance)?,
        Encoded::DeleteMessages(delete) => delete_messages(&delete)?,
        other => of_access(other)?,
    })
}

fn advance_positions(advance: &peer::AdvancePositions) -> Result<Operation, DecodeError> {
    let numbers = &advance.conversation_delivered_read_triples;
    let (triples, rest) = numbers.as_chunks::<3>();
    if !rest.is_empty() {
        return Err(Rejection::ListEmpty.into());
    }
    let position = |[conversation, delivered, read]: &[u64; 3]| {
        let progress = Progress {
            delivered: Sequence(*delivered),
            read: Sequence(*read),
        };
        (ConversationId(*conversation), progress)
    };
    Ok(Operation::Message(MessageOperation::AdvancePositions {
        positions: triples.iter().map(position).collect(),
    }))
}

fn delete_messages(delete: &peer::DeleteMessages) -> Result<Operation, DecodeError> {
    let (pairs, rest) = delete.conversation_sequence_pairs.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Rejection::ListEmpty.into());
    }
    let one = |[conversation, sequence]: &[u64; 2]| message(*conversation, *sequence);
    Ok(Operation::Message(MessageOperation::DeleteMessages {
        messages: pairs.iter().map(one).collect(),
        for_everyone: delete.for_everyone,
    }))
}

fn login_keys(keys: Option<peer::LoginKeys>) -> Result<LoginKeys, DecodeError> {
    let keys = keys.ok_or(DecodeError::UnknownOperation)?;
    let optional = |bytes: Option<bytes::Bytes>| bytes.map(|bytes| key(&bytes)).transpose();
    Ok(LoginKeys {
        account: key(&keys.account_key)?,
        address: key(&keys.address_key)?,
        pair: key(&keys.pair_key)?,
        device: optional(keys.device_key)?,
        session: optional(keys.session_key)?,
    })
}

fn of_access(encoded: Encoded) -> Result<Operation, DecodeError> {
    Ok(match encoded {
        Encoded::CreateAccount(create) => {
            use peer::create_account::Grant as Encoding;
            let grant = match create.grant {
                None => Grant::Open,
                Some(Encoding::InviteCodeHash(code)) => Grant::Invite(hash(&code)?),
                Some(Encoding::SetupTokenHash(token)) => Grant::Setup(hash(&token)?),
                Some(Encoding::AdminSessionId(session)) => Grant::Admin(SessionId(session)),
            };
            Operation::Access(AccessOperation::CreateAccount {
                name: AccountName::new(create.name)?,
                password_hash: create.password_hash,
                grant,
            })
        }
        Encoded::OpenSession(open) => Operation::Access(AccessOperation::OpenSession {
            account: AccountId(open.account_id),
            password_version: open.password_version,
            token: hash(&open.token_hash)?,
            label: SessionLabel::new(open.label)?,
            keys: login_keys(open.keys)?,
            renewed_hash: open.renewed_hash,
        }),
        Encoded::TryPassword(tried) => Operation::Access(AccessOperation::TryPassword {
            keys: login_keys(tried.keys)?,
        }),
        Encoded::OfferSetup(offer) => Operation::Access(AccessOperation::OfferSetup {
            token: hash(&offer.token_hash)?,
        }),
        Encoded::PostByWebhook(post) => Operation::Access(AccessOperation::PostByWebhook {
            token: hash(&post.token_hash)?,
            text: MessageText::new(post.text)?,
            keyed: post.keyed,
        }),
        other => of_accounts(other)?,
    })
}

fn of_accounts(encoded: Encoded) -> Result<Operation, DecodeError> {
    Ok(match encoded {
        Encoded::DeleteAccount(delete) => Operation::Account(AccountOperation::DeleteAccount {
            password_version: delete.password_version,
        }),
        Encoded::ChangePassword(change) => Operation::Account(AccountOperation::ChangePassword {
            password_version: change.password_version,
            password_hash: change.password_hash,
        }),
        Encoded::SetDisplayName(set) => Operation::Account(AccountOperation::SetDisplayName {
            display_name: DisplayName::new(set.display_name)?,
        }),
        Encoded::SetBlock(set) => Operation::Account(AccountOperation::SetBlock {
            name: AccountName::new(set.name)?,
            blocked: set.blocked,
        }),
        Encoded::CloseSession(peer::CloseSession {}) => {
            Operation::Account(AccountOperation::CloseSession)
        }
        Encoded::EndSession(end) => Operation::Account(AccountOperation::EndSession {
            session: SessionId(end.session_id),
        }),
        other => of_admins(other)?,
    })
}

fn of_admins(encoded: Encoded) -> Result<Operation, DecodeError> {
    Ok(match encoded {
        Encoded::SetAccountRole(set) => Operation::Admin(AdminOperation::SetAccountRole {
            name: AccountName::new(set.name)?,
            role: match set.role {
                0 => AccountRole::User,
                1 => AccountRole::Admin,
                2 => AccountRole::Bot,
                _ => return Err(DecodeError::UnknownOperation),
            },
        }),
        Encoded::SetSuspended(set) => Operation::Admin(AdminOperation::SetSuspended {
            name: AccountName::new(set.name)?,
            suspended: set.suspended,
        }),
        Encoded::EndSessions(end) => Operation::Admin(AdminOperation::EndSessions {
            name: AccountName::new(end.name)?,
        }),
        Encoded::ResetPassword(reset) => Operation::Admin(AdminOperation::ResetPassword {
            name: AccountName::new(reset.name)?,
            password_hash: reset.password_hash,
        }),
        Encoded::RemoveAccount(remove) => Operation::Admin(AdminOperation::RemoveAccount {
            name: AccountName::new(remove.name)?,
        }),
        Encoded::CreateBot(create) => Operation::Admin(AdminOperation::CreateBot {
            name: AccountName::new(create.name)?,
            token: hash(&create.token_hash)?,
        }),
        Encoded::CreateInvite(create) => Operation::Admin(AdminOperation::CreateInvite {
            code: hash(&create.code_hash)?,
            ttl_ms: create.ttl_ms,
            uses: create.uses,
        }),
        Encoded::SetAccountLimits(set) => Operation::Admin(AdminOperation::SetAccountLimits {
            values: limits(&set.number_value_pairs)?,
        }),
        Encoded::RevokeInvite(revoke) => Operation::Admin(AdminOperation::RevokeInvite {
            invite: InviteId(revoke.invite_id),
        }),
        other => of_nodes(other)?,
    })
}

fn of_nodes(encoded: Encoded) -> Result<Operation, DecodeError> {
    Ok(match encoded {
        Encoded::AdmitNode(admit) => {
            use peer::admit_node::Credential as Encoding;
            let credential = match admit.credential.ok_or(DecodeError::UnknownOperation)? {
                Encoding::JoinTokenHash(token) => JoinCredential::Token(hash(&token)?),
                Encoding::SecretForVoter(voter) => JoinCredential::Secret { voter },
            };
            Operation::Cluster(ClusterOperation::AdmitNode {
                credential,
                known_last: NodeId(admit.known_last_node_id),
                newest: Some(ClusterVersion(admit.newest_version)).filter(|newest| newest.0 != 0),
            })
        }
        Encoded::RaiseVersion(raise) => Operation::Cluster(ClusterOperation::RaiseVersion {
            to: ClusterVersion(raise.version),
            asked: raise.asked_node_ids.into_iter().map(NodeId).collect(),
        }),
        Encoded::ForgetMessages(forget) => Operation::Cluster(ClusterOperation::ForgetMessages {
            conversations: forget
                .conversation_ids
                .into_iter()
                .map(ConversationId)
                .collect(),
        }),
        Encoded::RotateAuthority(rotation) => {
            Operation::Cluster(ClusterOperation::RotateAuthority {
                generation: rotation.generation,
                authority: AuthorityId(hash(&rotation.authority_sha256)?.0),
                is_final: rotation.is_final,
            })
        }
        Encoded::NoteAct(noted) => Operation::Cluster(ClusterOperation::NoteAct {
            by: match noted.credential_hash.is_empty() {
                true => None,
                false => Some(hash(&noted.credential_hash)?),
            },
            note: ActNote {
                node: NodeId(noted.node_id),
                act: AuditText::cut(&noted.act),
                target: AuditText::cut(&noted.target),
                detail: AuditText::cut(&noted.detail),
                refusal: AuditText::cut(&noted.refusal),
            },
        }),
        Encoded::RetireNode(retire) => Operation::Cluster(ClusterOperation::RetireNode {
            node: NodeId(retire.node_id),
        }),
        Encoded::ByOperator(by) => Operation::Cluster(ClusterOperation::ByOperator {
            credential: hash(&by.credential_hash)?,
            request: of_operators(by.request.ok_or(DecodeError::UnknownOperation)?)?,
        }),
        Encoded::MakeFirstOperator(make) => {
            Operation::Cluster(ClusterOperation::MakeFirstOperator {
                token: hash(&make.credential_hash)?,
            })
        }
        Encoded::ResetOperators(reset) => Operation::Cluster(ClusterOperation::ResetOperators {
            token: hash(&reset.credential_hash)?,
        }),
        other => of_rooms(other)?,
    })
}

fn of_operators(encoded: peer::by_operator::Request) -> Result<OperatorRequest, DecodeError> {
    use peer::by_operator::Request as Encoded;
    Ok(match encoded {
        Encoded::CreateJoinToken(create) => OperatorRequest::CreateJoinToken {
            token: hash(&create.token_hash)?,
            ttl_ms: create.ttl_ms,
            voter: create.voter,
        },
        Encoded::RevokeJoinToken(revoke) => OperatorRequest::RevokeJoinToken {
            id: JoinTokenId::try_from(&revoke.token_id[..])?,
        },
        Encoded::PreferLeader(prefer) => OperatorRequest::PreferLeader {
            node: (prefer.node_id != 0).then_some(NodeId(prefer.node_id)),
        },
        Encoded::SetAckPolicy(set) => OperatorRequest::SetAckPolicy {
            policy: match set.all {
                true => AckPolicy::All,
                false => AckPolicy::Majority,
            },
        },
        Encoded::CreateOperator(create) => OperatorRequest::CreateOperator {
            name: OperatorName::new(create.name)?,
            token: hash(&create.credential_hash)?,
        },
        Encoded::SetRetention(set) => OperatorRequest::SetRetention {
            change: RetentionChange {
                age_ms: set.age_ms,
                messages: set.messages,
                rooms_may_exceed: set.rooms_may_exceed,
                total_messages: set.total_messages,
            },
        },
        Encoded::RevokeOperator(revoke) => OperatorRequest::RevokeOperator {
            name: OperatorName::new(revoke.name)?,
        },
    })
}

fn limits(numbers: &[u64]) -> Result<Vec<(AccountLimit, u64)>, DecodeError> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Rejection::ListEmpty.into());
    }
    let pairs = pairs.iter().map(|&[number, value]| {
        // One that is not known here is of a newer version.
        let limit = AccountLimit::numbered(number).ok_or(DecodeError::UnknownOperation)?;
        Ok((limit, value))
    });
    pairs.collect()
}

fn of_rooms(encoded: Encoded) -> Result<Operation, DecodeError> {
    Ok(match encoded {
        Encoded::CreateRoom(create) => Operation::Room(RoomOperation::CreateRoom {
            name: RoomName::new(create.name)?,
            topic: Topic::new(create.topic)?,
            public: create.public,
        }),
        Encoded::JoinRoom(join) => Operation::Room(RoomOperation::JoinRoom {
            name: RoomName::new(join.name)?,
        }),
        Encoded::LeaveRoom(leave) => Operation::Room(RoomOperation::LeaveRoom {
            name: RoomName::new(leave.name)?,
        }),
        Encoded::InviteToRoom(invite) => Operation::Room(RoomOperation::InviteToRoom {
            name: RoomName::new(invite.name)?,
            account: AccountName::new(invite.account_name)?,
        }),
        Encoded::KickFromRoom(kick) => Operation::Room(RoomOperation::KickFromRoom {
            name: RoomName::new(kick.name)?,
            account: AccountName::new(kick.account_name)?,
        }),
        Encoded::SetTopic(set) => Operation::Room(RoomOperation::SetTopic {
            name: RoomName::new(set.name)?,
            topic: Topic::new(set.topic)?,
        }),
        Encoded::SetRoomRetention(set) => Operation::Room(RoomOperation::SetRoomRetention {
            name: RoomName::new(set.name)?,
            retention: RoomRetention {
                age_ms: set.age_ms,
                messages: set.messages,
            },
        }),
        Encoded::SetMemberRole(set) => Operation::Room(RoomOperation::SetMemberRole {
            name: RoomName::new(set.name)?,
            account: AccountName::new(set.account_name)?,
            role: match set.role {
                0 => MemberRole::Member,
                1 => MemberRole::Moderator,
                2 => MemberRole::Owner,
                _ => return Err(DecodeError::UnknownOperation),
            },
        }),
        Encoded::CreateWebhook(create) => Operation::Room(RoomOperation::CreateWebhook {
            name: RoomName::new(create.name)?,
            account: AccountName::new(create.account_name)?,
            token: hash(&create.token_hash)?,
        }),
        Encoded::DeleteWebhook(delete) => Operation::Room(RoomOperation::DeleteWebhook {
            webhook: WebhookId(delete.webhook_id),
        }),
        _ => return Err(DecodeError::UnknownOperation),
    })
}
