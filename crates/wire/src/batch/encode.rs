//! Operations as they are stored.

use bytes::Bytes;
use conclave_core::{
    AccountLimit, AccountRole, Grant, LoginKeys, MemberRole, Operation, OperatorRequest, Pass,
    Recipient, ThrottleKey, TokenHash,
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
        Operation::SendMessage {
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
        Operation::EditMessage { message, text } => Encoded::EditMessage(peer::EditMessage {
            conversation_id: message.conversation.0,
            sequence: message.sequence.0,
            text: text.as_str().to_owned(),
        }),
        Operation::SetReaction {
            message,
            reaction,
            present,
        } => Encoded::SetReaction(peer::SetReaction {
            conversation_id: message.conversation.0,
            sequence: message.sequence.0,
            reaction: reaction.as_str().to_owned(),
            present: *present,
        }),
        Operation::AdvancePositions { positions } => {
            let triple = |(conversation, progress): &(
                conclave_core::ConversationId,
                conclave_core::Progress,
            )| [conversation.0, progress.delivered.0, progress.read.0];
            Encoded::AdvancePositions(peer::AdvancePositions {
                conversation_delivered_read_triples: positions.iter().flat_map(triple).collect(),
            })
        }
        Operation::DeleteMessages {
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
        other => of_accounts(other),
    }
}

fn of_accounts(operation: &Operation) -> Encoded {
    match operation {
        Operation::CreateAccount {
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
        Operation::OpenSession {
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
        Operation::TryPassword { keys } => Encoded::TryPassword(peer::TryPassword {
            keys: Some(login_keys(keys)),
        }),
        Operation::OfferSetup { token } => Encoded::OfferSetup(peer::OfferSetup {
            token_hash: hash(*token),
        }),
        Operation::PostByWebhook { token, text, keyed } => {
            Encoded::PostByWebhook(peer::PostByWebhook {
                token_hash: hash(*token),
                text: text.as_str().to_owned(),
                keyed: *keyed,
            })
        }
        Operation::DeleteAccount { password_version } => {
            Encoded::DeleteAccount(peer::DeleteAccount {
                password_version: *password_version,
            })
        }
        Operation::ChangePassword {
            password_version,
            password_hash,
        } => Encoded::ChangePassword(peer::ChangePassword {
            password_version: *password_version,
            password_hash: password_hash.clone(),
        }),
        Operation::SetDisplayName { display_name } => {
            Encoded::SetDisplayName(peer::SetDisplayName {
                display_name: display_name.as_str().to_owned(),
            })
        }
        Operation::SetBlock { name, blocked } => Encoded::SetBlock(peer::SetBlock {
            name: name.as_str().to_owned(),
            blocked: *blocked,
        }),
        Operation::CloseSession => Encoded::CloseSession(peer::CloseSession {}),
        Operation::EndSession { session } => Encoded::EndSession(peer::EndSession {
            session_id: session.0,
        }),
        Operation::SetAccountRole { name, role } => Encoded::SetAccountRole(peer::SetAccountRole {
            name: name.as_str().to_owned(),
            role: match role {
                AccountRole::User => 0,
                AccountRole::Admin => 1,
                AccountRole::Bot => 2,
            },
        }),
        Operation::SetSuspended { name, suspended } => Encoded::SetSuspended(peer::SetSuspended {
            name: name.as_str().to_owned(),
            suspended: *suspended,
        }),
        Operation::EndSessions { name } => Encoded::EndSessions(peer::EndSessions {
            name: name.as_str().to_owned(),
        }),
        Operation::ResetPassword {
            name,
            password_hash,
        } => Encoded::ResetPassword(peer::ResetPassword {
            name: name.as_str().to_owned(),
            password_hash: password_hash.clone(),
        }),
        Operation::RemoveAccount { name } => Encoded::RemoveAccount(peer::RemoveAccount {
            name: name.as_str().to_owned(),
        }),
        Operation::CreateBot { name, token } => Encoded::CreateBot(peer::CreateBot {
            name: name.as_str().to_owned(),
            token_hash: hash(*token),
        }),
        Operation::CreateInvite { code, ttl_ms, uses } => {
            Encoded::CreateInvite(peer::CreateInvite {
                code_hash: hash(*code),
                ttl_ms: *ttl_ms,
                uses: *uses,
            })
        }
        Operation::SetAccountLimits { values } => {
            let pair = |(limit, value): &(AccountLimit, u64)| [limit.number(), *value];
            Encoded::SetAccountLimits(peer::SetAccountLimits {
                number_value_pairs: values.iter().flat_map(pair).collect(),
            })
        }
        Operation::RevokeInvite { invite } => Encoded::RevokeInvite(peer::RevokeInvite {
            invite_id: invite.0,
        }),
        other => of_nodes(other),
    }
}

fn of_nodes(operation: &Operation) -> Encoded {
    match operation {
        Operation::AdmitNode { pass, known_last } => {
            use peer::admit_node::Pass as Encoding;
            let pass = match pass {
                Pass::Token(token) => Encoding::JoinTokenHash(hash(*token)),
                Pass::Secret { voter } => Encoding::SecretForVoter(*voter),
            };
            Encoded::AdmitNode(peer::AdmitNode {
                pass: Some(pass),
                known_last_node_id: known_last.0,
            })
        }
        Operation::RetireNode { node } => Encoded::RetireNode(peer::RetireNode { node_id: node.0 }),
        Operation::ExchangeAuthority {
            generation,
            authority,
            is_final,
        } => Encoded::ExchangeAuthority(peer::ExchangeAuthority {
            generation: *generation,
            authority_sha256: authority.0.to_vec().into(),
            is_final: *is_final,
        }),
        Operation::ByOperator {
            credential,
            request,
        } => Encoded::ByOperator(peer::ByOperator {
            credential_hash: hash(*credential),
            request: Some(of_operators(request)),
        }),
        Operation::MakeFirstOperator { token } => {
            Encoded::MakeFirstOperator(peer::MakeFirstOperator {
                credential_hash: hash(*token),
            })
        }
        Operation::ResetOperators { token } => Encoded::ResetOperators(peer::ResetOperators {
            credential_hash: hash(*token),
        }),
        other => of_rooms(other),
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
        OperatorRequest::CreateOperator { name, token } => {
            Encoded::CreateOperator(peer::CreateOperator {
                name: name.as_str().to_owned(),
                credential_hash: hash(*token),
            })
        }
        OperatorRequest::RevokeOperator { name } => Encoded::RevokeOperator(peer::RevokeOperator {
            name: name.as_str().to_owned(),
        }),
    }
}

fn of_rooms(operation: &Operation) -> Encoded {
    match operation {
        Operation::CreateRoom {
            name,
            topic,
            public,
        } => Encoded::CreateRoom(peer::CreateRoom {
            name: name.as_str().to_owned(),
            topic: topic.as_str().to_owned(),
            public: *public,
        }),
        Operation::JoinRoom { name } => Encoded::JoinRoom(peer::JoinRoom {
            name: name.as_str().to_owned(),
        }),
        Operation::LeaveRoom { name } => Encoded::LeaveRoom(peer::LeaveRoom {
            name: name.as_str().to_owned(),
        }),
        Operation::InviteToRoom { name, account } => Encoded::InviteToRoom(peer::InviteToRoom {
            name: name.as_str().to_owned(),
            account_name: account.as_str().to_owned(),
        }),
        Operation::KickFromRoom { name, account } => Encoded::KickFromRoom(peer::KickFromRoom {
            name: name.as_str().to_owned(),
            account_name: account.as_str().to_owned(),
        }),
        Operation::SetTopic { name, topic } => Encoded::SetTopic(peer::SetTopic {
            name: name.as_str().to_owned(),
            topic: topic.as_str().to_owned(),
        }),
        Operation::SetMemberRole {
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
        Operation::CreateWebhook {
            name,
            account,
            token,
        } => Encoded::CreateWebhook(peer::CreateWebhook {
            name: name.as_str().to_owned(),
            account_name: account.as_str().to_owned(),
            token_hash: hash(*token),
        }),
        Operation::DeleteWebhook { webhook } => Encoded::DeleteWebhook(peer::DeleteWebhook {
            webhook_id: webhook.0,
        }),
        _ => unreachable!("every other operation was encoded before"),
    }
}
