//! Operations as they are stored.

use bytes::Bytes;
use conclave_core::{
    AccessOperation, AccountLimit, AccountOperation, AccountRole, AckPolicy, AdminOperation,
    ClusterOperation, Grant, JoinCredential, LoginKeys, MemberRole, MessageOperation, Operation,
    OperatorRequest, Recipient, RoomOperation, ThrottleKey, TokenHash,
};

use crate::peer::{self, command::Operation as Encoded};

fn hash(hash: TokenHash) -> Bytes {
    Bytes::copy_from_slice(&hash.0)
}

fn key(key: ThrottleKey) -> Bytes {
    Bytes::copy_from_slice(&key.0)
}

fn login_keys(keys: &LoginKeys) -> peer::LoginKeys {
    peer::LoginKeys {
        account_key: key(keys.account),
        address_key: key(keys.address),
        pair_key: key(keys.pair),
        device_key: keys.device.map(key),
        session_key: keys.session.map(key),
    }
}

pub(super) fn operation(operation: &Operation) -> Encoded {
    match operation {
        Operation::Message(operation) => of_message(operation),
        Operation::Access(operation) => of_access(operation),
        Operation::Account(operation) => of_account(operation),
        Operation::Room(operation) => of_room(operation),
        Operation::Admin(operation) => of_admin(operation),
        Operation::Cluster(operation) => of_cluster(operation),
    }
}

fn of_message(operation: &MessageOperation) -> Encoded {
    match operation {
        MessageOperation::SendMessage {
            to,
            text,
            reply_to,
            action,
        } => {
            use peer::send_message::To;
            let to = match to {
                Recipient::Account(name) => To::RecipientName(name.as_str().to_owned()),
                Recipient::Conversation(id) => To::ConversationId(id.0),
                Recipient::Room(name) => To::RoomName(name.as_str().to_owned()),
            };
            Encoded::SendMessage(peer::SendMessage {
                to: Some(to),
                text: text.as_str().to_owned(),
                reply_to: reply_to.map_or(0, |sequence| sequence.0),
                action: *action,
            })
        }
        MessageOperation::EditMessage { message, text } => {
            Encoded::EditMessage(peer::EditMessage {
                conversation_id: message.conversation.0,
                sequence: message.sequence.0,
                text: text.as_str().to_owned(),
            })
        }
        MessageOperation::SetReaction {
            message,
            reaction,
            present,
        } => Encoded::SetReaction(peer::SetReaction {
            conversation_id: message.conversation.0,
            sequence: message.sequence.0,
            reaction: reaction.as_str().to_owned(),
            present: *present,
        }),
        MessageOperation::AdvancePositions { positions } => {
            let triple = |(conversation, progress): &(
                conclave_core::ConversationId,
                conclave_core::Progress,
            )| [conversation.0, progress.delivered.0, progress.read.0];
            Encoded::AdvancePositions(peer::AdvancePositions {
                conversation_delivered_read_triples: positions.iter().flat_map(triple).collect(),
            })
        }
        MessageOperation::DeleteMessages {
            messages,
            for_everyone,
        } => {
            let pairs = messages.iter();
            let pairs = pairs.flat_map(|message| [message.conversation.0, message.sequence.0]);
            Encoded::DeleteMessages(peer::DeleteMessages {
                conversation_sequence_pairs: pairs.collect(),
                for_everyone: *for_everyone,
            })
        }
    }
}

fn of_access(operation: &AccessOperation) -> Encoded {
    match operation {
        AccessOperation::CreateAccount {
            name,
            password_hash,
            grant,
        } => {
            use peer::create_account::Grant as Encoding;
            let grant = match grant {
                Grant::Open => None,
                Grant::Invite(code) => Some(Encoding::InviteCodeHash(hash(*code))),
                Grant::Setup(token) => Some(Encoding::SetupTokenHash(hash(*token))),
                Grant::Admin(session) => Some(Encoding::AdminSessionId(session.0)),
            };
            Encoded::CreateAccount(peer::CreateAccount {
                name: name.as_str().to_owned(),
                password_hash: password_hash.clone(),
                grant,
            })
        }
        AccessOperation::OpenSession {
            account,
            password_version,
            token,
            label,
            keys,
            renewed_hash,
        } => Encoded::OpenSession(peer::OpenSession {
            account_id: account.0,
            password_version: *password_version,
            token_hash: hash(*token),
            label: label.as_str().to_owned(),
            keys: Some(login_keys(keys)),
            renewed_hash: renewed_hash.clone(),
        }),
        AccessOperation::TryPassword { keys } => Encoded::TryPassword(peer::TryPassword {
            keys: Some(login_keys(keys)),
        }),
        AccessOperation::OfferSetup { token } => Encoded::OfferSetup(peer::OfferSetup {
            token_hash: hash(*token),
        }),
        AccessOperation::PostByWebhook { token, text, keyed } => {
            Encoded::PostByWebhook(peer::PostByWebhook {
                token_hash: hash(*token),
                text: text.as_str().to_owned(),
                keyed: *keyed,
            })
        }
    }
}

fn of_account(operation: &AccountOperation) -> Encoded {
    match operation {
        AccountOperation::DeleteAccount { password_version } => {
            Encoded::DeleteAccount(peer::DeleteAccount {
                password_version: *password_version,
            })
        }
        AccountOperation::ChangePassword {
            password_version,
            password_hash,
        } => Encoded::ChangePassword(peer::ChangePassword {
            password_version: *password_version,
            password_hash: password_hash.clone(),
        }),
        AccountOperation::SetDisplayName { display_name } => {
            Encoded::SetDisplayName(peer::SetDisplayName {
                display_name: display_name.as_str().to_owned(),
            })
        }
        AccountOperation::SetBlock { name, blocked } => Encoded::SetBlock(peer::SetBlock {
            name: name.as_str().to_owned(),
            blocked: *blocked,
        }),
        AccountOperation::CloseSession => Encoded::CloseSession(peer::CloseSession {}),
        AccountOperation::EndSession { session } => Encoded::EndSession(peer::EndSession {
            session_id: session.0,
        }),
    }
}

fn of_room(operation: &RoomOperation) -> Encoded {
    match operation {
        RoomOperation::CreateRoom {
            name,
            topic,
            public,
        } => Encoded::CreateRoom(peer::CreateRoom {
            name: name.as_str().to_owned(),
            topic: topic.as_str().to_owned(),
            public: *public,
        }),
        RoomOperation::JoinRoom { name } => Encoded::JoinRoom(peer::JoinRoom {
            name: name.as_str().to_owned(),
        }),
        RoomOperation::LeaveRoom { name } => Encoded::LeaveRoom(peer::LeaveRoom {
            name: name.as_str().to_owned(),
        }),
        RoomOperation::InviteToRoom { name, account } => {
            Encoded::InviteToRoom(peer::InviteToRoom {
                name: name.as_str().to_owned(),
                account_name: account.as_str().to_owned(),
            })
        }
        RoomOperation::KickFromRoom { name, account } => {
            Encoded::KickFromRoom(peer::KickFromRoom {
                name: name.as_str().to_owned(),
                account_name: account.as_str().to_owned(),
            })
        }
        RoomOperation::SetTopic { name, topic } => Encoded::SetTopic(peer::SetTopic {
            name: name.as_str().to_owned(),
            topic: topic.as_str().to_owned(),
        }),
        RoomOperation::SetRoomRetention { name, retention } => {
            Encoded::SetRoomRetention(peer::SetRoomRetention {
                name: name.as_str().to_owned(),
                age_ms: retention.age_ms,
                messages: retention.messages,
            })
        }
        RoomOperation::SetMemberRole {
            name,
            account,
            role,
        } => Encoded::SetMemberRole(peer::SetMemberRole {
            name: name.as_str().to_owned(),
            account_name: account.as_str().to_owned(),
            role: match role {
                MemberRole::Member => 0,
                MemberRole::Moderator => 1,
                MemberRole::Owner => 2,
            },
        }),
        RoomOperation::CreateWebhook {
            name,
            account,
            token,
        } => Encoded::CreateWebhook(peer::CreateWebhook {
            name: name.as_str().to_owned(),
            account_name: account.as_str().to_owned(),
            token_hash: hash(*token),
        }),
        RoomOperation::DeleteWebhook { webhook } => Encoded::DeleteWebhook(peer::DeleteWebhook {
            webhook_id: webhook.0,
        }),
    }
}

fn of_admin(operation: &AdminOperation) -> Encoded {
    match operation {
        AdminOperation::SetAccountRole { name, role } => {
            Encoded::SetAccountRole(peer::SetAccountRole {
                name: name.as_str().to_owned(),
                role: match role {
                    AccountRole::User => 0,
                    AccountRole::Admin => 1,
                    AccountRole::Bot => 2,
                },
            })
        }
        AdminOperation::SetSuspended { name, suspended } => {
            Encoded::SetSuspended(peer::SetSuspended {
                name: name.as_str().to_owned(),
                suspended: *suspended,
            })
        }
        AdminOperation::EndSessions { name } => Encoded::EndSessions(peer::EndSessions {
            name: name.as_str().to_owned(),
        }),
        AdminOperation::ResetPassword {
            name,
            password_hash,
        } => Encoded::ResetPassword(peer::ResetPassword {
            name: name.as_str().to_owned(),
            password_hash: password_hash.clone(),
        }),
        AdminOperation::RemoveAccount { name } => Encoded::RemoveAccount(peer::RemoveAccount {
            name: name.as_str().to_owned(),
        }),
        AdminOperation::CreateBot { name, token } => Encoded::CreateBot(peer::CreateBot {
            name: name.as_str().to_owned(),
            token_hash: hash(*token),
        }),
        AdminOperation::CreateInvite { code, ttl_ms, uses } => {
            Encoded::CreateInvite(peer::CreateInvite {
                code_hash: hash(*code),
                ttl_ms: *ttl_ms,
                uses: *uses,
            })
        }
        AdminOperation::SetAccountLimits { values } => {
            let pair = |(limit, value): &(AccountLimit, u64)| [limit.number(), *value];
            Encoded::SetAccountLimits(peer::SetAccountLimits {
                number_value_pairs: values.iter().flat_map(pair).collect(),
            })
        }
        AdminOperation::RevokeInvite { invite } => Encoded::RevokeInvite(peer::RevokeInvite {
            invite_id: invite.0,
        }),
    }
}

fn of_cluster(operation: &ClusterOperation) -> Encoded {
    match operation {
        ClusterOperation::AdmitNode {
            credential,
            known_last,
            newest,
        } => {
            use peer::admit_node::Credential as Encoding;
            let credential = match credential {
                JoinCredential::Token(token) => Encoding::JoinTokenHash(hash(*token)),
                JoinCredential::Secret { voter } => Encoding::SecretForVoter(*voter),
            };
            Encoded::AdmitNode(peer::AdmitNode {
                credential: Some(credential),
                known_last_node_id: known_last.0,
                newest_version: newest.map_or(0, |newest| newest.0),
            })
        }
        ClusterOperation::RaiseVersion { to, asked } => Encoded::RaiseVersion(peer::RaiseVersion {
            version: to.0,
            asked_node_ids: asked.iter().map(|node| node.0).collect(),
        }),
        ClusterOperation::ForgetMessages { conversations } => {
            Encoded::ForgetMessages(peer::ForgetMessages {
                conversation_ids: conversations.iter().map(|id| id.0).collect(),
            })
        }
        ClusterOperation::NoteAct { by, note } => Encoded::NoteAct(peer::NoteAct {
            credential_hash: by.map(hash).unwrap_or_default(),
            node_id: note.node.0,
            act: note.act.as_str().to_owned(),
            target: note.target.as_str().to_owned(),
            detail: note.detail.as_str().to_owned(),
            refusal: note.refusal.as_str().to_owned(),
        }),
        ClusterOperation::RetireNode { node } => {
            Encoded::RetireNode(peer::RetireNode { node_id: node.0 })
        }
        ClusterOperation::RotateAuthority {
            generation,
            authority,
            is_final,
        } => Encoded::RotateAuthority(peer::RotateAuthority {
            generation: *generation,
            authority_sha256: authority.0.to_vec().into(),
            is_final: *is_final,
        }),
        ClusterOperation::ByOperator {
            credential,
            request,
        } => Encoded::ByOperator(peer::ByOperator {
            credential_hash: hash(*credential),
            request: Some(of_operators(request)),
        }),
        ClusterOperation::MakeFirstOperator { token } => {
            Encoded::MakeFirstOperator(peer::MakeFirstOperator {
                credential_hash: hash(*token),
            })
        }
        ClusterOperation::ResetOperators { token } => {
            Encoded::ResetOperators(peer::ResetOperators {
                credential_hash: hash(*token),
            })
        }
    }
}

fn of_operators(request: &OperatorRequest) -> peer::by_operator::Request {
    use peer::by_operator::Request as Encoded;
    match request {
        OperatorRequest::CreateJoinToken {
            token,
            ttl_ms,
            voter,
        } => Encoded::CreateJoinToken(peer::CreateJoinToken {
            token_hash: hash(*token),
            ttl_ms: *ttl_ms,
            voter: *voter,
        }),
        OperatorRequest::RevokeJoinToken { id } => {
            Encoded::RevokeJoinToken(peer::RevokeJoinToken {
                token_id: Bytes::copy_from_slice(&id.0),
            })
        }
        OperatorRequest::PreferLeader { node } => Encoded::PreferLeader(peer::PreferLeader {
            node_id: node.map_or(0, |node| node.0),
        }),
        OperatorRequest::SetAckPolicy { policy } => Encoded::SetAckPolicy(peer::SetAckPolicy {
            all: *policy == AckPolicy::All,
        }),
        OperatorRequest::CreateOperator { name, token } => {
            Encoded::CreateOperator(peer::CreateOperator {
                name: name.as_str().to_owned(),
                credential_hash: hash(*token),
            })
        }
        OperatorRequest::SetRetention { change } => Encoded::SetRetention(peer::SetRetention {
            age_ms: change.age_ms,
            messages: change.messages,
            rooms_may_exceed: change.rooms_may_exceed,
            total_messages: change.total_messages,
        }),
        OperatorRequest::RevokeOperator { name } => Encoded::RevokeOperator(peer::RevokeOperator {
            name: name.as_str().to_owned(),
        }),
    }
}
