//! The table: what each call asks for, and what each caller is told.

mod accounts;
mod chat;
mod live;
mod rooms;

use std::fmt;

use prost::Message;

use crate::world::{Caller, Facts};

/// Not refused.
pub(crate) const OK: &str = "ok";
/// What is told of what one may not know of, as if it did not exist.
pub(crate) const HIDING: [&str; 3] = [HIDDEN, "NO_SUCH_WEBHOOK", "NO_SUCH_SESSION"];
const HIDDEN: &str = "NO_SUCH_CONVERSATION";
const NO: &str = "NOT_ALLOWED";
const NO_OPERATOR: &str = "NOT_AN_OPERATOR";
const LOG_IN: &str = "SESSION_EXPIRED";

/// What each caller is told: [`OK`], or the reason of the refusal.
#[derive(Clone, Copy)]
pub(crate) struct Told {
    /// Everybody without a session that may be used.
    signed_out: &'static str,
    /// Who is not in the private room, or not in the conversation of two others.
    stranger: &'static str,
    passer_by: &'static str,
    kicked: &'static str,
    blocked: &'static str,
    member: &'static str,
    owner: &'static str,
    /// An administrator that is in no room.
    admin: &'static str,
    /// An operator, which has no session; `None`: what those without one are told.
    operator: Option<&'static str>,
}

/// A call that needs no session.
const ANYBODY: Told = Told {
    signed_out: OK,
    ..ACCOUNTS
};
/// A call that every account may make.
const ACCOUNTS: Told = Told {
    signed_out: LOG_IN,
    stranger: OK,
    passer_by: OK,
    kicked: OK,
    blocked: OK,
    member: OK,
    owner: OK,
    admin: OK,
    operator: None,
};
/// A call that those in a conversation may make.
const MEMBERS: Told = Told {
    signed_out: LOG_IN,
    stranger: HIDDEN,
    passer_by: HIDDEN,
    kicked: HIDDEN,
    blocked: HIDDEN,
    member: OK,
    owner: OK,
    admin: HIDDEN,
    operator: None,
};
/// A call that those may make who govern a room.
const GOVERNORS: Told = Told {
    passer_by: "NOT_A_MEMBER",
    member: NO,
    ..MEMBERS
};
/// A call that administrators may make.
const ADMINS: Told = Told {
    signed_out: LOG_IN,
    stranger: NO,
    passer_by: NO,
    kicked: NO,
    blocked: NO,
    member: NO,
    owner: NO,
    admin: OK,
    operator: None,
};

/// A call that operators may make: nobody with a session, an administrator's neither.
const OPERATORS: Told = Told {
    signed_out: NO_OPERATOR,
    stranger: NO_OPERATOR,
    passer_by: NO_OPERATOR,
    kicked: NO_OPERATOR,
    blocked: NO_OPERATOR,
    member: NO_OPERATOR,
    owner: NO_OPERATOR,
    admin: NO_OPERATOR,
    operator: Some(OK),
};

impl Told {
    pub(crate) fn to(&self, caller: Caller) -> &'static str {
        match caller {
            Caller::Nobody
            | Caller::Garbage
            | Caller::Guess
            | Caller::Closed
            | Caller::Ended
            | Caller::Superseded
            | Caller::Gone
            | Caller::Expired => self.signed_out,
            Caller::Stranger | Caller::Third | Caller::Program => self.stranger,
            Caller::PasserBy => self.passer_by,
            Caller::Kicked => self.kicked,
            Caller::Blocked => self.blocked,
            Caller::Member => self.member,
            Caller::Owner => self.owner,
            Caller::Admin => self.admin,
            Caller::Operator => self.operator.unwrap_or(self.signed_out),
        }
    }
}

/// Makes the bytes of a request.
type Make = Box<dyn Fn(&Facts) -> Vec<u8> + Send + Sync>;

/// One call.
pub(crate) struct Row {
    pub(crate) call: &'static str,
    /// Which of the requests that the call knows, if there are several.
    case: &'static str,
    pub(crate) told: Told,
    /// Whoever is allowed this takes something from others or itself.
    pub(crate) alone: bool,
    pub(crate) request: Make,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.case {
            "" => f.write_str(self.call),
            case => write!(f, "{} ({case})", self.call),
        }
    }
}

impl Row {
    fn new<M: Message>(
        call: &'static str,
        told: Told,
        request: impl Fn(&Facts) -> M + Send + Sync + 'static,
    ) -> Self {
        Self {
            call,
            case: "",
            told,
            alone: false,
            request: Box::new(move |facts| request(facts).encode_to_vec()),
        }
    }

    fn case(self, case: &'static str) -> Self {
        Self { case, ..self }
    }

    fn alone(self) -> Self {
        Self {
            alone: true,
            ..self
        }
    }
}

/// All of them.
pub(crate) fn rows() -> Vec<Row> {
    let of_files = [accounts::rows(), chat::rows(), rooms::rows(), live::rows()];
    of_files.into_iter().flatten().collect()
}
