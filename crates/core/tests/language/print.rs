//! Prints the result of a command in lines that people can compare.

use conclave_core::{
    Accepted, AccountId, AccountLimits, AccountRole, Answer, ConversationId, Event, Progress,
    Rejection, Sequence, Timestamp,
};

use super::{World, parse::UNITS};

/// Maximum length of a text that is printed whole, in bytes; of a longer one the length is printed.
const TEXT_SHOWN_MAX: usize = 60;

/// Maximum number of mentions that are printed by name; more are counted.
const MENTIONS_SHOWN_MAX: usize = 4;

pub(super) fn answer(world: &World, answer: &Answer) -> String {
    let accepted = match answer {
        Ok(accepted) => accepted,
        Err(rejection) => return refusal(rejection),
    };
    let of = |id: &AccountId| account(world, *id);
    let told = match accepted {
        Accepted::AccountCreated { account } => format!("AccountCreated account={}", of(account)),
        Accepted::AccountDeleted => "AccountDeleted".to_owned(),
        Accepted::SessionOpened {
            session,
            account,
            expires_at,
        } => format!(
            "SessionOpened session={session} account={} expires_at={}",
            of(account),
            time(*expires_at)
        ),
        Accepted::SessionClosed => "SessionClosed".to_owned(),
        Accepted::MessageSent {
            conversation,
            sequence,
            sent_at,
            position,
        } => {
            let event = position.0 & ((1 << conclave_core::ids::POSITION_EVENT_BITS) - 1);
            format!(
                "MessageSent conversation={conversation} sequence={sequence} sent_at={} \
                 position={}/{event}",
                time(*sent_at),
                position.index()
            )
        }
        Accepted::PositionAdvanced => "PositionAdvanced".to_owned(),
        Accepted::Done => "Done".to_owned(),
        Accepted::RoomEntered { conversation } => {
            format!("RoomEntered conversation={conversation}")
        }
        Accepted::InviteCreated { invite, expires_at } => {
            format!(
                "InviteCreated invite={invite} expires_at={}",
                time(*expires_at)
            )
        }
        Accepted::BotCreated { account, session } => {
            format!("BotCreated account={} session={session}", of(account))
        }
        Accepted::WebhookCreated { webhook, account } => {
            format!("WebhookCreated webhook={webhook} account={}", of(account))
        }
        Accepted::PasswordTried => "PasswordTried".to_owned(),
        Accepted::JoinTokenCreated { expires_at } => {
            format!("JoinTokenCreated expires_at={}", time(*expires_at))
        }
        Accepted::NodeAdmitted { node, voter } => {
            format!("NodeAdmitted node={node} voter={voter}")
        }
        Accepted::MessagesDeleted { count } => format!("MessagesDeleted count={count}"),
    };
    format!("= {told}")
}

pub(super) fn refusal(rejection: &Rejection) -> String {
    let last = match rejection {
        Rejection::RequestReused { last }
        | Rejection::RequestTooOld { last }
        | Rejection::RequestOutOfRange { last } => format!(" last={last}"),
        _ => String::new(),
    };
    format!("! {}{last}: {rejection}", rejection.reason())
}

pub(super) fn event(world: &World, event: &Event) -> String {
    match event {
        Event::SessionOpened { .. }
        | Event::SessionRenewed { .. }
        | Event::SessionClosed { .. }
        | Event::SessionForgotten { .. } => of_session(world, event),
        Event::SetupOffered { .. }
        | Event::InviteCreated { .. }
        | Event::InviteUsed { .. }
        | Event::InviteRemoved { .. }
        | Event::LoginFailed { .. }
        | Event::LoginKnown { .. }
        | Event::LoginForgotten { .. }
        | Event::LoginForgiven { .. } => of_admission(world, event),
        Event::JoinTokenCreated { .. }
        | Event::JoinTokenRemoved { .. }
        | Event::OperatorCreated { .. }
        | Event::OperatorRemoved { .. }
        | Event::NodeAdmitted { .. }
        | Event::NodeRetired { .. }
        | Event::AuthorityExchanged { .. }
        | Event::LeaderPreferred { .. }
        | Event::AccountLimitsChanged { .. } => of_nodes(event),
        Event::MessageSent { .. }
        | Event::MessageEdited { .. }
        | Event::ReactionChanged { .. }
        | Event::PositionAdvanced { .. }
        | Event::MessageHidden { .. }
        | Event::MessageDeleted { .. } => of_message(world, event),
        Event::AccountCreated { .. }
        | Event::AccountDeleted { .. }
        | Event::PasswordChanged { .. }
        | Event::PasswordRehashed { .. }
        | Event::AccountSuspended { .. }
        | Event::DisplayNameChanged { .. }
        | Event::AccountRoleChanged { .. }
        | Event::BlockChanged { .. } => of_account(world, event),
        _ => of_room(world, event),
    }
}

fn of_nodes(event: &Event) -> String {
    match event {
        Event::JoinTokenCreated {
            expires_at,
            voter,
            by,
            ..
        } => {
            format!(
                "JoinTokenCreated expires_at={} voter={voter} by={by}",
                time(*expires_at)
            )
        }
        Event::OperatorCreated { name, by, .. } => match by {
            Some(by) => format!("OperatorCreated {name} by={by}"),
            None => format!("OperatorCreated {name}"),
        },
        Event::OperatorRemoved { name } => format!("OperatorRemoved {name}"),
        Event::JoinTokenRemoved { .. } => "JoinTokenRemoved".to_owned(),
        Event::NodeAdmitted { node } => format!("NodeAdmitted node={node}"),
        Event::NodeRetired { node } => format!("NodeRetired node={node}"),
        Event::AuthorityExchanged {
            generation,
            is_final,
            ..
        } => format!("AuthorityExchanged generation={generation} final={is_final}"),
        Event::LeaderPreferred { node } => match node {
            Some(node) => format!("LeaderPreferred node={node}"),
            None => "LeaderPreferred nobody".to_owned(),
        },
        Event::AccountLimitsChanged { limits } => {
            let defaults = AccountLimits::default();
            let others = limits
                .iter()
                .filter(|(limit, value)| defaults.get(*limit) != *value);
            let told = others.map(|(limit, value)| format!(" {}={value}", limit.name()));
            format!("AccountLimitsChanged{}", told.collect::<String>())
        }
        other => panic!("{other:?} is not about nodes"),
    }
}

fn of_account(world: &World, event: &Event) -> String {
    let of = |id: &AccountId| account(world, *id);
    match event {
        Event::AccountCreated {
            account,
            name,
            password_hash,
            role,
            at,
        } => {
            let role = match role {
                AccountRole::User => String::new(),
                other => format!(" role={other:?}"),
            };
            let password = match password_hash.as_str() {
                "" => " without password",
                _ => "",
            };
            format!(
                "AccountCreated account={} name={name} at={}{role}{password}",
                of(account),
                time(*at)
            )
        }
        Event::AccountDeleted { account } => format!("AccountDeleted account={}", of(account)),
        Event::PasswordChanged {
            account,
            password_version,
            ..
        } => format!(
            "PasswordChanged account={} version={password_version}",
            of(account)
        ),
        Event::PasswordRehashed { account, .. } => {
            format!("PasswordRehashed account={}", of(account))
        }
        Event::AccountSuspended { account, suspended } => format!(
            "AccountSuspended account={} suspended={suspended}",
            of(account)
        ),
        Event::DisplayNameChanged {
            account,
            display_name,
        } => format!(
            "DisplayNameChanged account={} {:?}",
            of(account),
            display_name.as_str()
        ),
        Event::AccountRoleChanged { account, role } => {
            format!("AccountRoleChanged account={} role={role:?}", of(account))
        }
        Event::BlockChanged {
            account,
            other,
            blocked,
        } => format!(
            "BlockChanged account={} other={} blocked={blocked}",
            of(account),
            of(other)
        ),
        other => panic!("{other:?} is not about an account"),
    }
}

fn of_session(world: &World, event: &Event) -> String {
    match event {
        Event::SessionOpened {
            session,
            account: id,
            token,
            label,
            at,
            began_at,
            expires_at,
        } => {
            let began = match began_at == at {
                true => String::new(),
                false => format!(" began_at={}", time(*began_at)),
            };
            let label = match label.as_str() {
                "" => String::new(),
                label => format!(" label={label:?}"),
            };
            format!(
                "SessionOpened session={session} account={} token={} at={}{began} \
                 expires_at={}{label}",
                account(world, *id),
                filled(&token.0),
                time(*at),
                time(*expires_at)
            )
        }
        Event::SessionRenewed {
            session,
            expires_at,
            used_at,
        } => format!(
            "SessionRenewed session={session} expires_at={} used_at={}",
            time(*expires_at),
            time(*used_at)
        ),
        Event::SessionClosed { session, forget_at } => format!(
            "SessionClosed session={session} forget_at={}",
            time(*forget_at)
        ),
        Event::SessionForgotten { session } => format!("SessionForgotten session={session}"),
        other => panic!("{other:?} is not about a session"),
    }
}

fn of_admission(world: &World, event: &Event) -> String {
    match event {
        Event::SetupOffered { token } => format!("SetupOffered token={}", filled(&token.0)),
        Event::InviteCreated {
            invite,
            code,
            by,
            expires_at,
            uses,
        } => format!(
            "InviteCreated invite={invite} code={} by={} expires_at={} uses={uses}",
            filled(&code.0),
            account(world, *by),
            time(*expires_at)
        ),
        Event::InviteUsed { invite, uses_left } => {
            format!("InviteUsed invite={invite} uses_left={uses_left}")
        }
        Event::InviteRemoved { invite } => format!("InviteRemoved invite={invite}"),
        Event::LoginFailed {
            key,
            failures,
            not_before,
            at,
        } => format!(
            "LoginFailed key={} failures={failures} not_before={} at={}",
            filled(&key.0),
            time(*not_before),
            time(*at)
        ),
        Event::LoginForgiven { key } => format!("LoginForgiven key={}", filled(&key.0)),
        Event::LoginKnown {
            account: id,
            place,
            at,
        } => format!(
            "LoginKnown account={} place={} at={}",
            account(world, *id),
            filled(&place.0),
            time(*at)
        ),
        Event::LoginForgotten { account: id, place } => format!(
            "LoginForgotten account={} place={}",
            account(world, *id),
            filled(&place.0)
        ),
        other => panic!("{other:?} lets nobody in"),
    }
}

fn of_room(world: &World, event: &Event) -> String {
    let of = |id: &AccountId| account(world, *id);
    let place = |conversation: &ConversationId, id: &AccountId| {
        format!("conversation={conversation} account={}", of(id))
    };
    match event {
        Event::ConversationOpened {
            conversation,
            members: (a, b),
            at,
        } => format!(
            "ConversationOpened conversation={conversation} members={},{} at={}",
            of(a),
            of(b),
            time(*at)
        ),
        Event::RoomCreated {
            conversation,
            name,
            topic,
            public,
            at,
        } => format!(
            "RoomCreated conversation={conversation} name={name} {} public={public} at={}",
            shown(topic.as_str()),
            time(*at)
        ),
        Event::MemberJoined {
            conversation,
            account,
            role,
            progress: to,
        } => format!(
            "MemberJoined {} role={role:?} {}",
            place(conversation, account),
            progress(*to)
        ),
        Event::MemberLeft {
            conversation,
            account,
            by,
        } => format!("MemberLeft {} by={}", place(conversation, account), of(by)),
        Event::MemberRoleChanged {
            conversation,
            account,
            role,
        } => format!(
            "MemberRoleChanged {} role={role:?}",
            place(conversation, account)
        ),
        Event::TopicChanged {
            conversation,
            topic,
        } => format!(
            "TopicChanged conversation={conversation} {}",
            shown(topic.as_str())
        ),
        Event::MemberInvited {
            conversation,
            account,
            by,
        } => format!(
            "MemberInvited {} by={}",
            place(conversation, account),
            of(by)
        ),
        Event::InvitationRemoved {
            conversation,
            account,
        } => format!("InvitationRemoved {}", place(conversation, account)),
        Event::WebhookCreated {
            webhook,
            token,
            conversation,
            account,
            by,
            at,
        } => format!(
            "WebhookCreated webhook={webhook} token={} {} by={} at={}",
            filled(&token.0),
            place(conversation, account),
            of(by),
            time(*at)
        ),
        Event::WebhookDeleted { webhook } => format!("WebhookDeleted webhook={webhook}"),
        other => panic!("{other:?} is not about a conversation"),
    }
}

fn of_message(world: &World, event: &Event) -> String {
    let of = |id: &AccountId| account(world, *id);
    let place = |conversation: &ConversationId, sequence: &Sequence| {
        format!("conversation={conversation} sequence={sequence}")
    };
    match event {
        Event::MessageSent {
            conversation,
            sequence,
            by,
            at,
            text,
            reply_to,
            action,
            ordinal,
            mentions,
        } => {
            let reply = reply_to.map_or(String::new(), |to| format!(" reply_to={to}"));
            let action = if *action { " action" } else { "" };
            format!(
                "MessageSent {} by={} at={} ordinal={ordinal} {}{reply}{action}{}",
                place(conversation, sequence),
                of(by),
                time(*at),
                shown(text.as_str()),
                mentioned(world, mentions)
            )
        }
        Event::MessageEdited {
            conversation,
            sequence,
            at,
            text,
            mentions,
        } => format!(
            "MessageEdited {} at={} {}{}",
            place(conversation, sequence),
            time(*at),
            shown(text.as_str()),
            mentioned(world, mentions)
        ),
        Event::ReactionChanged {
            conversation,
            sequence,
            account,
            reaction,
            present,
        } => format!(
            "ReactionChanged {} account={} {:?} present={present}",
            place(conversation, sequence),
            of(account),
            reaction.as_str()
        ),
        Event::PositionAdvanced {
            conversation,
            account,
            progress: to,
        } => format!(
            "PositionAdvanced conversation={conversation} account={} {}",
            of(account),
            progress(*to)
        ),
        Event::MessageHidden {
            conversation,
            sequence,
            account,
        } => format!(
            "MessageHidden {} account={}",
            place(conversation, sequence),
            of(account)
        ),
        Event::MessageDeleted {
            conversation,
            sequence,
            at,
        } => format!(
            "MessageDeleted {} at={}",
            place(conversation, sequence),
            time(*at)
        ),
        other => panic!("{other:?} is not about a message"),
    }
}

fn shown(text: &str) -> String {
    match text {
        long if long.len() > TEXT_SHOWN_MAX => format!("({} bytes)", long.len()),
        short => format!("{short:?}"),
    }
}

fn mentioned(world: &World, mentions: &[AccountId]) -> String {
    let names: Vec<_> = mentions.iter().map(|id| account(world, *id)).collect();
    match names.len() {
        0 => String::new(),
        many if many > MENTIONS_SHOWN_MAX => format!(" mentions={many} members"),
        _ => format!(" mentions={}", names.join(",")),
    }
}

pub(super) fn account(world: &World, id: AccountId) -> String {
    match world.names.get(&id) {
        Some(name) => format!("{id}:{name}"),
        None => id.to_string(),
    }
}

pub(super) fn progress(progress: Progress) -> String {
    format!("delivered={} read={}", progress.delivered, progress.read)
}

/// Prints a time in the form in which scripts set the clock.
fn time(time: Timestamp) -> String {
    let mut ms = time.0;
    let mut text = String::new();
    for (unit, unit_ms) in UNITS {
        if ms >= unit_ms {
            text += &format!("{}{unit}", ms / unit_ms);
            ms %= unit_ms;
        }
    }
    if ms > 0 || text.is_empty() {
        text += &ms.to_string();
    }
    text
}

/// Returns the name without the zeros that fill it up.
fn filled(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}
