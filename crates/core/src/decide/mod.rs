//! Decides one command: once, in log order, on every node.
//!
//! This file is the gate of "exactly once"; each command's own rule is in a file of its own.
//!
//! Always true: a request that was executed is never executed again; it gets its first answer as
//! long as that is remembered and a refusal afterwards.

mod accounts;
mod dates;
mod messages;
mod nodes;
mod once_pool;
mod rooms;
mod ruling;
mod sessions;
mod spending;

use crate::{
    Account, AccountId, Bound, Broken, Command, Event, Lookup, Now, OncePool, Operation,
    OperatorRequest, Origin, Position, Rejection, Session, SessionId, Timestamp, TokenHash,
    limits::{SESSION_MS, SESSION_RENEW_MS, SESSION_WHOLE_MS},
    lookup::Remembered,
    requests::Admission,
};
use accounts::{
    change_password, create_account, create_bot, create_invite, delete_account, offer_setup,
    restrict_account, revoke_invite, set_account_limits, set_account_role, set_block,
    set_display_name,
};
use dates::show_dates;
use messages::{advance_positions, delete_messages, edit_message, send_message, set_reaction};
use nodes::{
    admit_node, create_join_token, exchange_authority, operators, prefer_leader, retire_node,
    revoke_join_token,
};
use rooms::{
    create_room, create_webhook, delete_webhook, invite_to_room, join_room, kick_from_room,
    leave_room, post_by_webhook, set_member_role, set_topic,
};
pub use ruling::{Decision, Remember};
use ruling::{Ruling, Stop, close_session};
use sessions::{end_session, open_session, try_password};
use spending::{Paid, pay, payer};

/// Decides `command`.
///
/// `now` has the times of its entry. `position_of(n)` is where the n-th of the command's events
/// (from 0) will stand in the log.
///
/// # Errors
/// [`Broken`] if the state cannot be read; the node must stop. Refusals are answers, not errors.
pub fn decide(
    lookup: &impl Lookup,
    now: Now,
    position_of: impl Fn(u64) -> Position,
    command: &Command,
) -> Result<Decision, Broken> {
    let log_time = now.log_time;
    let mut decision = match command.origin {
        Origin::Session { session, number } => {
            in_session(lookup, log_time, position_of, session, number, command)?
        }
        Origin::Once(id) => match lookup.remembered_once(&id)? {
            Some(remembered) => return Ok(recall(remembered, command, 0)),
            None => asked_once(lookup, log_time, position_of, command)?,
        },
    };
    // What is answered from memory was shown in dates before.
    if decision.remember == Remember::Yes {
        show_dates(&mut decision, now);
    }
    Ok(decision)
}

/// Decides a request outside of sessions that no remembered answer answers.
fn asked_once(
    lookup: &impl Lookup,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    command: &Command,
) -> Result<Decision, Broken> {
    let pool = OncePool::of(lookup, &command.operation)?;
    if matches!(pool, OncePool::Webhook(_)) && lookup.once_answers(pool)? >= pool.answers_max() {
        let what = Bound::WebhookKeys;
        return Ok(Decision {
            answer: Err(Rejection::TooMany { what }),
            events: Vec::new(),
            remember: Remember::No,
            spent: None,
            decided_in: None,
            pool,
        });
    }
    let operation = &command.operation;
    let paid = match payer(lookup, operation)? {
        Some(account) => match pay(lookup, now, account, operation)? {
            Ok(paid) => paid,
            Err(rejection) => return Ok(refused(rejection)),
        },
        None => None,
    };
    let ruling = within_quotas(paid, operation)
        .and_then(|()| outside_session(lookup, now, position_of, command));
    let decision = conclude(ruling, Vec::new(), paid)?;
    Ok(Decision { pool, ..decision })
}

fn in_session(
    lookup: &impl Lookup,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    id: SessionId,
    number: u64,
    command: &Command,
) -> Result<Decision, Broken> {
    let refuse = |rejection| Ok(refused(rejection));
    let Some(session) = lookup.session(id)? else {
        return refuse(Rejection::SessionExpired);
    };
    let last = session.requests.last();
    match session.requests.admit(number) {
        Admission::Used => {
            return match lookup.remembered(id, number)? {
                Some(remembered) => Ok(recall(remembered, command, last)),
                None => refuse(Rejection::RequestTooOld { last }),
            };
        }
        Admission::TooOld => return refuse(Rejection::RequestTooOld { last }),
        Admission::OutOfRange => return refuse(Rejection::RequestOutOfRange { last }),
        Admission::Fresh => {}
    }
    let is_suspended = |account: Account| account.suspended;
    let suspended = lookup.account(session.account)?.is_some_and(is_suspended);
    if session.closed || session.expires_at <= now || suspended {
        return refuse(Rejection::SessionExpired);
    }
    let paid = match pay(lookup, now, session.account, &command.operation)? {
        Ok(paid) => paid,
        Err(rejection) => return refuse(rejection),
    };
    let renewal = renewal(&session, now);
    // The renewal is the command's first event, if there is one.
    let offset = renewal.len() as u64;
    let position_of = |event| position_of(event + offset);
    let ruling = within_quotas(paid, &command.operation)
        .and_then(|()| rule(lookup, now, position_of, &session, &command.operation));
    conclude(ruling, renewal, paid)
}

fn within_quotas(paid: Option<Paid>, operation: &Operation) -> Result<(), Stop> {
    Ok(paid.map_or(Ok(()), |paid| paid.check_quotas(operation))?)
}

/// Returns the decision on a request that never reached its rule.
fn refused(rejection: Rejection) -> Decision {
    Decision {
        answer: Err(rejection),
        events: Vec::new(),
        remember: Remember::No,
        spent: None,
        decided_in: None,
        pool: OncePool::default(),
    }
}

/// Runs the rule of a command of a session.
fn rule(
    lookup: &impl Lookup,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    session: &Session,
    operation: &Operation,
) -> Ruling {
    let by = session.account;
    match operation {
        Operation::DeleteAccount { password_version } => {
            delete_account::delete_account(lookup, now, by, *password_version)
        }
        Operation::ChangePassword {
            password_version,
            password_hash,
        } => {
            change_password::change_password(lookup, now, session, *password_version, password_hash)
        }
        Operation::SetDisplayName { display_name } => {
            set_display_name::set_display_name(by, display_name)
        }
        Operation::SetBlock { name, blocked } => set_block::set_block(lookup, by, name, *blocked),
        Operation::CloseSession => Ok(close_session(session.id, now)),
        Operation::EndSession { session } => end_session::end_session(lookup, now, by, *session),
        Operation::SendMessage {
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
        Operation::EditMessage { message, text } => {
            edit_message::edit_message(lookup, by, now, *message, text)
        }
        Operation::SetReaction {
            message,
            reaction,
            present,
        } => set_reaction::set_reaction(lookup, by, *message, reaction, *present),
        Operation::AdvancePositions { positions } => {
            advance_positions::advance_positions(lookup, by, positions)
        }
        Operation::DeleteMessages {
            messages,
            for_everyone,
        } => delete_messages::delete_messages(lookup, by, now, messages, *for_everyone),
        Operation::CreateRoom { .. }
        | Operation::JoinRoom { .. }
        | Operation::LeaveRoom { .. }
        | Operation::InviteToRoom { .. }
        | Operation::KickFromRoom { .. }
        | Operation::SetTopic { .. }
        | Operation::SetMemberRole { .. }
        | Operation::CreateWebhook { .. }
        | Operation::DeleteWebhook { .. } => rule_of_rooms(lookup, now, by, operation),
        Operation::SetAccountRole { .. }
        | Operation::SetSuspended { .. }
        | Operation::EndSessions { .. }
        | Operation::ResetPassword { .. }
        | Operation::RemoveAccount { .. }
        | Operation::CreateBot { .. }
        | Operation::CreateInvite { .. }
        | Operation::RevokeInvite { .. }
        | Operation::SetAccountLimits { .. } => rule_of_admins(lookup, now, by, operation),
        Operation::CreateAccount { .. }
        | Operation::OpenSession { .. }
        | Operation::TryPassword { .. }
        | Operation::OfferSetup { .. }
        | Operation::AdmitNode { .. }
        | Operation::RetireNode { .. }
        | Operation::ExchangeAuthority { .. }
        | Operation::ByOperator { .. }
        | Operation::MakeFirstOperator { .. }
        | Operation::ResetOperators { .. }
        | Operation::PostByWebhook { .. } => {
            Err(Rejection::SessionMisplaced { needed: false }.into())
        }
    }
}

fn rule_of_rooms(
    lookup: &impl Lookup,
    now: Timestamp,
    by: AccountId,
    operation: &Operation,
) -> Ruling {
    match operation {
        Operation::CreateRoom {
            name,
            topic,
            public,
        } => create_room::create_room(lookup, now, by, name, topic, *public),
        Operation::JoinRoom { name } => join_room::join_room(lookup, by, name),
        Operation::LeaveRoom { name } => leave_room::leave_room(lookup, by, name),
        Operation::InviteToRoom { name, account } => {
            invite_to_room::invite_to_room(lookup, by, name, account)
        }
        Operation::KickFromRoom { name, account } => {
            kick_from_room::kick_from_room(lookup, by, name, account)
        }
        Operation::SetTopic { name, topic } => set_topic::set_topic(lookup, by, name, topic),
        Operation::SetMemberRole {
            name,
            account,
            role,
        } => set_member_role::set_member_role(lookup, by, name, account, *role),
        Operation::CreateWebhook {
            name,
            account,
            token,
        } => create_webhook::create_webhook(lookup, now, by, name, account, *token),
        Operation::DeleteWebhook { webhook } => {
            delete_webhook::delete_webhook(lookup, by, *webhook)
        }
        _ => unreachable!("the caller has looked"),
    }
}

/// Runs the rule of a command that only an administrator may give.
fn rule_of_admins(
    lookup: &impl Lookup,
    now: Timestamp,
    by: AccountId,
    operation: &Operation,
) -> Ruling {
    let is_admin = |found: Account| found.is_admin();
    if !lookup.account(by)?.is_some_and(is_admin) {
        return Err(Rejection::NotAllowed.into());
    }
    match operation {
        Operation::SetAccountRole { name, role } => {
            set_account_role::set_account_role(lookup, name, *role)
        }
        Operation::SetSuspended { name, suspended } => {
            restrict_account::set_suspended(lookup, now, by, name, *suspended)
        }
        Operation::EndSessions { name } => restrict_account::end_sessions(lookup, now, by, name),
        Operation::ResetPassword {
            name,
            password_hash,
        } => restrict_account::reset_password(lookup, now, by, name, password_hash),
        Operation::RemoveAccount { name } => delete_account::remove_account(lookup, now, by, name),
        Operation::CreateBot { name, token } => create_bot::create_bot(lookup, now, name, *token),
        Operation::CreateInvite { code, ttl_ms, uses } => {
            create_invite::create_invite(lookup, now, by, *code, *ttl_ms, *uses)
        }
        Operation::RevokeInvite { invite } => revoke_invite::revoke_invite(lookup, *invite),
        Operation::SetAccountLimits { values } => {
            set_account_limits::set_account_limits(lookup, values)
        }
        _ => unreachable!("the caller has looked"),
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
        OperatorRequest::CreateOperator { name, token } => {
            operators::create_operator(lookup, now, by, name, *token)
        }
        OperatorRequest::RevokeOperator { name } => operators::revoke_operator(lookup, name),
    }
}

fn outside_session(
    lookup: &impl Lookup,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    command: &Command,
) -> Ruling {
    match &command.operation {
        Operation::CreateAccount {
            name,
            password_hash,
            grant,
        } => create_account::create_account(lookup, now, name, password_hash, *grant),
        Operation::OpenSession {
            account,
            password_version,
            token,
            label,
            keys,
            renewed_hash,
        } => {
            let asked = open_session::Asked {
                account: *account,
                password_version: *password_version,
                token: *token,
                label,
                keys,
                renewed_hash: renewed_hash.as_deref(),
            };
            open_session::open_session(lookup, now, asked)
        }
        Operation::TryPassword { keys } => try_password::try_password(lookup, now, keys),
        Operation::OfferSetup { token } => offer_setup::offer_setup(lookup, *token),
        Operation::AdmitNode { pass, known_last } => {
            admit_node::admit_node(lookup, now, *pass, *known_last)
        }
        Operation::RetireNode { node } => retire_node::retire_node(lookup, *node),
        Operation::ExchangeAuthority {
            generation,
            authority,
            is_final,
        } => exchange_authority::exchange_authority(lookup, *generation, *authority, *is_final),
        Operation::ByOperator {
            credential,
            request,
        } => rule_of_operators(lookup, now, credential, request),
        Operation::MakeFirstOperator { token } => {
            operators::make_first_operator(lookup, now, *token)
        }
        Operation::ResetOperators { token } => operators::reset_operators(lookup, now, *token),
        Operation::PostByWebhook { token, text, .. } => {
            post_by_webhook::post_by_webhook(lookup, now, position_of, token, text)
        }
        _ => Err(Rejection::SessionMisplaced { needed: true }.into()),
    }
}

fn renewal(session: &Session, now: Timestamp) -> Vec<Event> {
    // In both directions: log time may have been set back.
    if now.0.abs_diff(session.used_at.0) < SESSION_RENEW_MS {
        return Vec::new();
    }
    let end = session.began_at.plus_ms(SESSION_WHOLE_MS);
    let expires_at = match session.expires_at > end {
        // A program's.
        true => session.expires_at,
        false => now.plus_ms(SESSION_MS).min(end),
    };
    vec![Event::SessionRenewed {
        session: session.id,
        expires_at,
        used_at: now,
    }]
}

fn recall(remembered: Remembered, command: &Command, last: u64) -> Decision {
    let (answer, decided_in) = if remembered.digest == command.digest {
        (remembered.answer, Some(remembered.decided_in))
    } else {
        (Err(Rejection::RequestReused { last }), None)
    };
    Decision {
        answer,
        events: Vec::new(),
        remember: Remember::No,
        spent: None,
        decided_in,
        pool: OncePool::default(),
    }
}

fn conclude(ruling: Ruling, before: Vec<Event>, paid: Option<Paid>) -> Result<Decision, Broken> {
    let ruling = ruling.and_then(|(accepted, events)| match paid {
        Some(paid) => {
            let spent = paid.settle(&events)?;
            Ok((accepted, events, Some(spent)))
        }
        None => Ok((accepted, events, None)),
    });
    let (answer, events, spent) = match ruling {
        Ok((accepted, events, spent)) => {
            let events = before.into_iter().chain(events).collect();
            (Ok(accepted), events, spent)
        }
        Err(Stop::Rejected(rejection)) => (Err(rejection), before, paid.map(Paid::spent)),
        Err(Stop::Broken(broken)) => return Err(broken),
    };
    let remember = match answer {
        Err(Rejection::LoginThrottled { .. }) => Remember::No,
        _ => Remember::Yes,
    };
    Ok(Decision {
        answer,
        events,
        remember,
        spent,
        decided_in: None,
        pool: OncePool::default(),
    })
}
