//! From what came of a command to lines that people can compare.

use conclave_core::{
    Accepted, AccountId, Answer, Event, Progress, Rejection, Timestamp, TokenHash,
};

use super::{World, parse::UNITS};

/// Texts longer than this many bytes are told by their length.
const TEXT_SHOWN_MAX: usize = 60;

pub(super) fn answer(world: &World, answer: &Answer) -> String {
    let accepted = match answer {
        Ok(accepted) => accepted,
        Err(rejection) => return refusal(rejection),
    };
    match accepted {
        Accepted::AccountCreated { account: id } => {
            format!("= AccountCreated account={}", account(world, *id))
        }
        Accepted::AccountDeleted => "= AccountDeleted".to_owned(),
        Accepted::SessionOpened {
            session,
            account: id,
            expires_at,
        } => format!(
            "= SessionOpened session={session} account={} expires_at={}",
            account(world, *id),
            time(*expires_at)
        ),
        Accepted::SessionClosed => "= SessionClosed".to_owned(),
        Accepted::MessageSent {
            conversation,
            sequence,
            sent_at,
            position,
        } => {
            let event = position.0 & ((1 << conclave_core::ids::POSITION_EVENT_BITS) - 1);
            format!(
                "= MessageSent conversation={conversation} sequence={sequence} sent_at={} \
                 position={}/{event}",
                time(*sent_at),
                position.index()
            )
        }
        Accepted::PositionAdvanced => "= PositionAdvanced".to_owned(),
        Accepted::MessagesDeleted { count } => format!("= MessagesDeleted count={count}"),
    }
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
    let of = |id: &AccountId| account(world, *id);
    match event {
        Event::AccountCreated {
            account, name, at, ..
        } => format!(
            "AccountCreated account={} name={name} at={}",
            of(account),
            time(*at)
        ),
        Event::AccountDeleted { account } => format!("AccountDeleted account={}", of(account)),
        Event::SessionOpened {
            session,
            account,
            token: hash,
            at,
            expires_at,
        } => format!(
            "SessionOpened session={session} account={} token={} at={} expires_at={}",
            of(account),
            token(hash),
            time(*at),
            time(*expires_at)
        ),
        Event::SessionRenewed {
            session,
            expires_at,
        } => format!(
            "SessionRenewed session={session} expires_at={}",
            time(*expires_at)
        ),
        Event::SessionClosed { session, forget_at } => {
            format!(
                "SessionClosed session={session} forget_at={}",
                time(*forget_at)
            )
        }
        Event::SessionForgotten { session } => format!("SessionForgotten session={session}"),
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
        Event::MessageSent {
            conversation,
            sequence,
            by,
            at,
            text,
        } => {
            let text = match text.as_str() {
                long if long.len() > TEXT_SHOWN_MAX => format!("({} bytes)", long.len()),
                short => format!("{short:?}"),
            };
            format!(
                "MessageSent conversation={conversation} sequence={sequence} by={} at={} {text}",
                of(by),
                time(*at)
            )
        }
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
            "MessageHidden conversation={conversation} sequence={sequence} account={}",
            of(account)
        ),
        Event::MessageDeleted {
            conversation,
            sequence,
            at,
        } => format!(
            "MessageDeleted conversation={conversation} sequence={sequence} at={}",
            time(*at)
        ),
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

/// In the form in which scripts set the clock.
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

fn token(hash: &TokenHash) -> String {
    let end = hash
        .0
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(hash.0.len());
    String::from_utf8_lossy(&hash.0[..end]).into_owned()
}
