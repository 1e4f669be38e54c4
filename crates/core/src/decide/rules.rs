//! Selects the rule of each operation.
//!
//! Always true: an operation of a session is refused outside of one, and the other way round.

use super::{
    accounts::{
        change_password, create_account, create_bot, create_invite, delete_account, offer_setup,
        restrict_account, revoke_invite, set_account_limits, set_account_role, set_block,
        set_display_name,
    },
    messages::{
        advance_positions, delete_messages, edit_message, forget_messages, send_message,
        set_reaction,
    },
    nodes::{
        admit_node, create_join_token, note_act, operators, prefer_leader, raise_version,
        retire_node, revoke_join_token, rotate_authority, set_ack_policy, set_retention,
    },
    rooms::{
        create_room, create_webhook, delete_webhook, invite_to_room, join_room, kick_from_room,
        leave_room, post_by_webhook, set_member_role, set_room_retention, set_topic,
    },
    ruling::{Ruling, close_session},
    sessions::{end_session, open_session, try_password},
};
use crate::{
    AccessOperation, Account, AccountId, AccountOperation, AdminOperation, ClusterOperation,
    Lookup, MessageOperation, Operation, OperatorRequest, Position, Rejection, RoomOperation,
    Session, Timestamp, TokenHash,
};

/// Runs the rule of a command of a session.
pub(super) fn rule(
    lookup: &impl Lookup,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    session: &Session,
    operation: &Operation,
) -> Ruling {
    let by = session.account;
    match operation {
        Operation::Account(operation) => rule_of_accounts(lookup, now, session, operation),
        Operation::Message(operation) => rule_of_messages(lookup, now, position_of, by, operation),
        Operation::Room(operation) => rule_of_rooms(lookup, now, by, operation),
        Operation::Admin(operation) => rule_of_admins(lookup, now, by, operation),
        Operation::Access(_) | Operation::Cluster(_) => {
            Err(Rejection::SessionMisplaced { needed: false }.into())
        }
    }
}

fn rule_of_accounts(
    lookup: &impl Lookup,
    now: Timestamp,
    session: &Session,
    operation: &AccountOperation,
) -> Ruling {
    let by = session.account;
    match operation {
        AccountOperation::DeleteAccount { password_version } => {
            delete_account::delete_account(lookup, now, by, *password_version)
        }
        AccountOperation::ChangePassword {
            password_version,
            password_hash,
        } => {
            change_password::change_password(lookup, now, session, *password_version, password_hash)
        }
        AccountOperation::SetDisplayName { display_name } => {
            set_display_name::set_display_name(by, display_name)
        }
        AccountOperation::SetBlock { name, blocked } => {
            set_block::set_block(lookup, by, name, *blocked)
        }
        AccountOperation::CloseSession => Ok(close_session(session.id, now)),
        AccountOperation::EndSession { session } => {
            end_session::end_session(lookup, now, by, *session)
        }
    }
}

fn rule_of_messages(
    lookup: &impl Lookup,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    by: AccountId,
    operation: &MessageOperation,
) -> Ruling {
    match operation {
        MessageOperation::SendMessage {
            to,
            text,
            reply_to,
            action,
        } => {
            let draft = send_message::Draft {
                text,
                reply_to: *reply_to,
                action: *action,
            };
            send_message::send_message(lookup, by, now, position_of, to, draft)
        }
        MessageOperation::EditMessage { message, text } => {
            edit_message::edit_message(lookup, by, now, *message, text)
        }
        MessageOperation::SetReaction {
            message,
            reaction,
            present,
        } => set_reaction::set_reaction(lookup, by, *message, reaction, *present),
        MessageOperation::AdvancePositions { positions } => {
            advance_positions::advance_positions(lookup, by, positions)
        }
        MessageOperation::DeleteMessages {
            messages,
            for_everyone,
        } => delete_messages::delete_messages(lookup, by, now, messages, *for_everyone),
    }
}

fn rule_of_rooms(
    lookup: &impl Lookup,
    now: Timestamp,
    by: AccountId,
    operation: &RoomOperation,
) -> Ruling {
    match operation {
        RoomOperation::CreateRoom {
            name,
            topic,
            public,
        } => create_room::create_room(lookup, now, by, name, topic, *public),
        RoomOperation::JoinRoom { name } => join_room::join_room(lookup, by, name),
        RoomOperation::LeaveRoom { name } => leave_room::leave_room(lookup, by, name),
        RoomOperation::InviteToRoom { name, account } => {
            invite_to_room::invite_to_room(lookup, by, name, account)
        }
        RoomOperation::KickFromRoom { name, account } => {
            kick_from_room::kick_from_room(lookup, by, name, account)
        }
        RoomOperation::SetTopic { name, topic } => set_topic::set_topic(lookup, by, name, topic),
        RoomOperation::SetRoomRetention { name, retention } => {
            set_room_retention::set_room_retention(lookup, by, name, *retention)
        }
        RoomOperation::SetMemberRole {
            name,
            account,
            role,
        } => set_member_role::set_member_role(lookup, by, name, account, *role),
        RoomOperation::CreateWebhook {
            name,
            account,
            token,
        } => create_webhook::create_webhook(lookup, now, by, name, account, *token),
        RoomOperation::DeleteWebhook { webhook } => {
            delete_webhook::delete_webhook(lookup, by, *webhook)
        }
    }
}

/// Runs the rule of a command that only an administrator may give.
fn rule_of_admins(
    lookup: &impl Lookup,
    now: Timestamp,
    by: AccountId,
    operation: &AdminOperation,
) -> Ruling {
    let is_admin = |found: Account| found.is_admin();
    if !lookup.account(by)?.is_some_and(is_admin) {
        return Err(Rejection::NotAllowed.into());
    }
    match operation {
        AdminOperation::SetAccountRole { name, role } => {
            set_account_role::set_account_role(lookup, name, *role)
        }
        AdminOperation::SetSuspended { name, suspended } => {
            restrict_account::set_suspended(lookup, now, by, name, *suspended)
        }
        AdminOperation::EndSessions { name } => {
            restrict_account::end_sessions(lookup, now, by, name)
        }
        AdminOperation::ResetPassword {
            name,
            password_hash,
        } => restrict_account::reset_password(lookup, now, by, name, password_hash),
        AdminOperation::RemoveAccount { name } => {
            delete_account::remove_account(lookup, now, by, name)
        }
        AdminOperation::CreateBot { name, token } => {
            create_bot::create_bot(lookup, now, name, *token)
        }
        AdminOperation::CreateInvite { code, ttl_ms, uses } => {
            create_invite::create_invite(lookup, now, by, *code, *ttl_ms, *uses)
        }
        AdminOperation::RevokeInvite { invite } => revoke_invite::revoke_invite(lookup, *invite),
        AdminOperation::SetAccountLimits { values } => {
            set_account_limits::set_account_limits(lookup, values)
        }
    }
}

/// Runs the rule of a command outside of sessions.
pub(super) fn outside_session(
    lookup: &impl Lookup,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    operation: &Operation,
) -> Ruling {
    match operation {
        Operation::Access(operation) => rule_of_access(lookup, now, position_of, operation),
        Operation::Cluster(operation) => rule_of_the_cluster(lookup, now, operation),
        Operation::Account(_)
        | Operation::Message(_)
        | Operation::Room(_)
        | Operation::Admin(_) => Err(Rejection::SessionMisplaced { needed: true }.into()),
    }
}

fn rule_of_access(
    lookup: &impl Lookup,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    operation: &AccessOperation,
) -> Ruling {
    match operation {
        AccessOperation::CreateAccount {
            name,
            password_hash,
            grant,
        } => create_account::create_account(lookup, now, name, password_hash, *grant),
        AccessOperation::OpenSession {
            account,
            password_version,
            token,
            label,
            keys,
            renewed_hash,
        } => {
            let asked = open_session::RequestedSession {
                account: *account,
                password_version: *password_version,
                token: *token,
                label,
                keys,
                renewed_hash: renewed_hash.as_deref(),
            };
            open_session::open_session(lookup, now, asked)
        }
        AccessOperation::TryPassword { keys } => try_password::try_password(lookup, now, keys),
        AccessOperation::OfferSetup { token } => offer_setup::offer_setup(lookup, *token),
        AccessOperation::PostByWebhook { token, text, .. } => {
            post_by_webhook::post_by_webhook(lookup, now, position_of, token, text)
        }
    }
}

fn rule_of_the_cluster(
    lookup: &impl Lookup,
    now: Timestamp,
    operation: &ClusterOperation,
) -> Ruling {
    match operation {
        ClusterOperation::AdmitNode {
            credential,
            known_last,
            newest,
        } => admit_node::admit_node(lookup, now, *credential, *known_last, *newest),
        ClusterOperation::RaiseVersion { to, asked } => {
            raise_version::raise_version(lookup, *to, asked)
        }
        ClusterOperation::ForgetMessages { conversations } => {
            forget_messages::forget_messages(lookup, now, conversations)
        }
        ClusterOperation::NoteAct { note, .. } => note_act::note_act(note),
        ClusterOperation::RetireNode { node } => retire_node::retire_node(lookup, *node),
        ClusterOperation::RotateAuthority {
            generation,
            authority,
            is_final,
        } => rotate_authority::rotate_authority(lookup, *generation, *authority, *is_final),
        ClusterOperation::ByOperator {
            credential,
            request,
        } => rule_of_operators(lookup, now, credential, request),
        ClusterOperation::MakeFirstOperator { token } => {
            operators::make_first_operator(lookup, now, *token)
        }
        ClusterOperation::ResetOperators { token } => {
            operators::reset_operators(lookup, now, *token)
        }
    }
}

/// Decides what only an operator may ask for.
fn rule_of_operators(
    lookup: &impl Lookup,
    now: Timestamp,
    credential: &TokenHash,
    request: &OperatorRequest,
) -> Ruling {
    let Some(by) = lookup.operator_by_token(credential)? else {
        return Err(Rejection::NotAnOperator.into());
    };
    match request {
        OperatorRequest::CreateJoinToken {
            token,
            ttl_ms,
            voter,
        } => create_join_token::create_join_token(lookup, now, by, *token, *ttl_ms, *voter),
        OperatorRequest::RevokeJoinToken { id } => {
            revoke_join_token::revoke_join_token(lookup, *id)
        }
        OperatorRequest::PreferLeader { node } => prefer_leader::prefer_leader(lookup, *node),
        OperatorRequest::SetAckPolicy { policy } => set_ack_policy::set_ack_policy(lookup, *policy),
        OperatorRequest::SetRetention { change } => set_retention::set_retention(lookup, *change),
        OperatorRequest::CreateOperator { name, token } => {
            operators::create_operator(lookup, now, by, name, *token)
        }
        OperatorRequest::RevokeOperator { name } => operators::revoke_operator(lookup, name),
    }
}
