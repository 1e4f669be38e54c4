//! Prints the result of a command in lines that people can compare.

mod conversations;

use conclave_core::{
    Accepted, AccessEvent, AccountEvent, AccountId, AccountLimits, AccountRole, Answer,
    ClusterEvent, ConversationEvent, Event, MessageEvent, Progress, Rejection, SessionEvent,
    Timestamp,
};

use super::{World, line::UNITS};
use conversations::{of_message, of_room};

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
        Accepted::Later(bytes) => format!("Later {bytes:?}"),
    };
    format!("= {told}")
}

/// Returns the name of a rejection as the protocol writes it.
fn named(rejection: &Rejection) -> String {
    let whole = format!("{rejection:?}");
    let name = whole.split(' ').next().unwrap_or_default();
    let mut named = String::new();
    for (at, letter) in name.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            named.push('_');
        }
        named.push(letter.to_ascii_uppercase());
    }
    named
}

pub(super) fn refusal(rejection: &Rejection) -> String {
    let last = match rejection {
        Rejection::RequestReused { last }
        | Rejection::RequestTooOld { last }
        | Rejection::RequestOutOfRange { last } => format!(" last={last}"),
        _ => String::new(),
    };
    format!("! {}{last}: {rejection}", named(rejection))
}

pub(super) fn event(world: &World, event: &Event) -> String {
    match event {
        Event::Session(SessionEvent::Opened { .. })
        | Event::Session(SessionEvent::Renewed { .. })
        | Event::Session(SessionEvent::Closed { .. })
        | Event::Session(SessionEvent::Forgotten { .. }) => of_session(world, event),
        Event::Access(AccessEvent::SetupOffered { .. })
        | Event::Access(AccessEvent::InviteCreated { .. })
        | Event::Access(AccessEvent::InviteUsed { .. })
        | Event::Access(AccessEvent::InviteRemoved { .. })
        | Event::Access(AccessEvent::LoginFailed { .. })
        | Event::Access(AccessEvent::LoginKnown { .. })
        | Event::Access(AccessEvent::LoginForgotten { .. })
        | Event::Access(AccessEvent::LoginForgiven { .. }) => of_admission(world, event),
        Event::Cluster(ClusterEvent::JoinTokenCreated { .. })
        | Event::Cluster(ClusterEvent::JoinTokenRemoved { .. })
        | Event::Cluster(ClusterEvent::OperatorCreated { .. })
        | Event::Cluster(ClusterEvent::OperatorRemoved { .. })
        | Event::Cluster(ClusterEvent::NodeAdmitted { .. })
        | Event::Cluster(ClusterEvent::NodeRetired { .. })
        | Event::Cluster(ClusterEvent::AuthorityRotated { .. })
        | Event::Cluster(ClusterEvent::VersionRaised { .. })
        | Event::Cluster(ClusterEvent::LeaderPreferred { .. })
        | Event::Cluster(ClusterEvent::AckPolicyChanged { .. })
        | Event::Cluster(ClusterEvent::RetentionChanged { .. })
        | Event::Account(AccountEvent::LimitsChanged { .. }) => of_nodes(event),
        Event::Message(MessageEvent::Sent(_))
        | Event::Message(MessageEvent::Edited { .. })
        | Event::Message(MessageEvent::ReactionChanged { .. })
        | Event::Conversation(ConversationEvent::PositionAdvanced { .. })
        | Event::Message(MessageEvent::Hidden { .. })
        | Event::Message(MessageEvent::Deleted { .. }) => of_message(world, event),
        Event::Account(AccountEvent::Created { .. })
        | Event::Account(AccountEvent::Deleted { .. })
        | Event::Account(AccountEvent::PasswordChanged { .. })
        | Event::Account(AccountEvent::PasswordRehashed { .. })
        | Event::Account(AccountEvent::Suspended { .. })
        | Event::Account(AccountEvent::DisplayNameChanged { .. })
        | Event::Account(AccountEvent::RoleChanged { .. })
        | Event::Account(AccountEvent::BlockChanged { .. }) => of_account(world, event),
        _ => of_room(world, event),
    }
}

fn of_nodes(event: &Event) -> String {
    match event {
        Event::Cluster(ClusterEvent::JoinTokenCreated {
            expires_at,
            voter,
            by,
            ..
        }) => {
            format!(
                "JoinTokenCreated expires_at={} voter={voter} by={by}",
                time(*expires_at)
            )
        }
        Event::Cluster(ClusterEvent::OperatorCreated { name, by, .. }) => match by {
            Some(by) => format!("OperatorCreated {name} by={by}"),
            None => format!("OperatorCreated {name}"),
        },
        Event::Cluster(ClusterEvent::OperatorRemoved { name }) => format!("OperatorRemoved {name}"),
        Event::Cluster(ClusterEvent::JoinTokenRemoved { .. }) => "JoinTokenRemoved".to_owned(),
        Event::Cluster(ClusterEvent::NodeAdmitted { node }) => format!("NodeAdmitted node={node}"),
        Event::Cluster(ClusterEvent::NodeRetired { node }) => format!("NodeRetired node={node}"),
        Event::Cluster(ClusterEvent::AuthorityRotated {
            generation,
            is_final,
            ..
        }) => format!("AuthorityRotated generation={generation} final={is_final}"),
        Event::Cluster(ClusterEvent::VersionRaised { to }) => format!("VersionRaised to={to}"),
        Event::Cluster(ClusterEvent::RetentionChanged { retention }) => {
            let rooms = match retention.rooms_may_exceed {
                true => "longer",
                false => "shorter",
            };
            let total = match retention.total_messages {
                0 => String::new(),
                total => format!(" total={total}"),
            };
            format!(
                "RetentionChanged age={} messages={} rooms={rooms}{total}",
                time(Timestamp(retention.each.age_ms)),
                retention.each.messages
            )
        }
        Event::Cluster(ClusterEvent::LeaderPreferred { node }) => match node {
            Some(node) => format!("LeaderPreferred node={node}"),
            None => "LeaderPreferred none".to_owned(),
        },
        Event::Cluster(ClusterEvent::AckPolicyChanged { policy }) => {
            format!("AckPolicyChanged {policy:?}")
        }
        Event::Account(AccountEvent::LimitsChanged { limits }) => {
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
        Event::Account(AccountEvent::Created {
            account,
            name,
            password_hash,
            role,
            at,
        }) => {
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
        Event::Account(AccountEvent::Deleted { account }) => {
            format!("AccountDeleted account={}", of(account))
        }
        Event::Account(AccountEvent::PasswordChanged {
            account,
            password_version,
            ..
        }) => format!(
            "PasswordChanged account={} version={password_version}",
            of(account)
        ),
        Event::Account(AccountEvent::PasswordRehashed { account, .. }) => {
            format!("PasswordRehashed account={}", of(account))
        }
        Event::Account(AccountEvent::Suspended { account, suspended }) => format!(
            "AccountSuspended account={} suspended={suspended}",
            of(account)
        ),
        Event::Account(AccountEvent::DisplayNameChanged {
            account,
            display_name,
        }) => format!(
            "DisplayNameChanged account={} {:?}",
            of(account),
            display_name.as_str()
        ),
        Event::Account(AccountEvent::RoleChanged { account, role }) => {
            format!("AccountRoleChanged account={} role={role:?}", of(account))
        }
        Event::Account(AccountEvent::BlockChanged {
            account,
            other,
            blocked,
        }) => format!(
            "BlockChanged account={} other={} blocked={blocked}",
            of(account),
            of(other)
        ),
        other => panic!("{other:?} is not about an account"),
    }
}

fn of_session(world: &World, event: &Event) -> String {
    match event {
        Event::Session(SessionEvent::Opened {
            session,
            account: id,
            token,
            label,
            at,
            began_at,
            expires_at,
        }) => {
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
        Event::Session(SessionEvent::Renewed {
            session,
            expires_at,
            used_at,
        }) => format!(
            "SessionRenewed session={session} expires_at={} used_at={}",
            time(*expires_at),
            time(*used_at)
        ),
        Event::Session(SessionEvent::Closed { session, forget_at }) => format!(
            "SessionClosed session={session} forget_at={}",
            time(*forget_at)
        ),
        Event::Session(SessionEvent::Forgotten { session }) => {
            format!("SessionForgotten session={session}")
        }
        other => panic!("{other:?} is not about a session"),
    }
}

fn of_admission(world: &World, event: &Event) -> String {
    match event {
        Event::Access(AccessEvent::SetupOffered { token }) => {
            format!("SetupOffered token={}", filled(&token.0))
        }
        Event::Access(AccessEvent::InviteCreated {
            invite,
            code,
            by,
            expires_at,
            uses,
        }) => format!(
            "InviteCreated invite={invite} code={} by={} expires_at={} uses={uses}",
            filled(&code.0),
            account(world, *by),
            time(*expires_at)
        ),
        Event::Access(AccessEvent::InviteUsed { invite, uses_left }) => {
            format!("InviteUsed invite={invite} uses_left={uses_left}")
        }
        Event::Access(AccessEvent::InviteRemoved { invite }) => {
            format!("InviteRemoved invite={invite}")
        }
        Event::Access(AccessEvent::LoginFailed {
            key,
            failures,
            not_before,
            at,
        }) => format!(
            "LoginFailed key={} failures={failures} not_before={} at={}",
            filled(&key.0),
            time(*not_before),
            time(*at)
        ),
        Event::Access(AccessEvent::LoginForgiven { key }) => {
            format!("LoginForgiven key={}", filled(&key.0))
        }
        Event::Access(AccessEvent::LoginKnown {
            account: id,
            place,
            at,
        }) => format!(
            "LoginKnown account={} place={} at={}",
            account(world, *id),
            filled(&place.0),
            time(*at)
        ),
        Event::Access(AccessEvent::LoginForgotten { account: id, place }) => format!(
            "LoginForgotten account={} place={}",
            account(world, *id),
            filled(&place.0)
        ),
        other => panic!("{other:?} is not about access"),
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
