//! The table of calls: the request of each call, and the expected answer for each caller.

mod accounts;
mod chat;
mod live;
mod rooms;

use std::fmt;

use prost::Message;

use crate::world::{Caller, Facts};

/// Answer of a call that is not refused.
pub(crate) const OK: &str = "ok";
/// Answers about objects that the caller may not know of, as if they did not exist.
pub(crate) const HIDING: [&str; 3] = [HIDDEN, "NO_SUCH_WEBHOOK", "NO_SUCH_SESSION"];
const HIDDEN: &str = "NO_SUCH_CONVERSATION";
const NO: &str = "NOT_ALLOWED";
const NO_OPERATOR: &str = "NOT_AN_OPERATOR";
const LOG_IN: &str = "SESSION_EXPIRED";

/// Expected answer for each caller: [`OK`], or the reason of the refusal.
#[derive(Clone, Copy)]
pub(crate) struct Expected {
    /// Callers without a valid session.
    signed_out: &'static str,
    /// Callers outside the private room, or outside the conversation of two others.
    stranger: &'static str,
    passer_by: &'static str,
    kicked: &'static str,
    blocked: &'static str,
    member: &'static str,
    owner: &'static str,
    /// An administrator that is in no room.
    admin: &'static str,
    /// An operator, which has no session; `None`: the answer for callers without a session.
    operator: Option<&'static str>,
}

/// A call that needs no session.
const ANY_CALLER: Expected = Expected {
    signed_out: OK,
    ..ACCOUNTS
};
/// A call that every account may make.
const ACCOUNTS: Expected = Expected {
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
/// A call that members of a conversation may make.
const MEMBERS: Expected = Expected {
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
/// A call that only the members may make that govern a room.
const GOVERNORS: Expected = Expected {
    passer_by: "NOT_A_MEMBER",
    member: NO,
    ..MEMBERS
};
/// A call that administrators may make.
const ADMINS: Expected = Expected {
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
/// A call that administrators and operators may make.
const ADMINS_AND_OPERATORS: Expected = Expected {
    operator: Some(OK),
    ..ADMINS
};

/// A call that only operators may make: no caller with a session, not even an administrator's.
const OPERATORS: Expected = Expected {
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

impl Expected {
    pub(crate) fn to(&self, caller: Caller) -> &'static str {
        match caller {
            Caller::Anonymous
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

/// Function that makes the bytes of a request.
type Make = Box<dyn Fn(&Facts) -> Vec<u8> + Send + Sync>;

/// One call with its request and expected answers.
pub(crate) struct Row {
    pub(crate) call: &'static str,
    /// Name of the request, if the table has several for the call.
    case: &'static str,
    pub(crate) told: Expected,
    /// Whether an allowed call takes something from other callers or from its own.
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
        told: Expected,
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

/// Returns all rows.
pub(crate) fn rows() -> Vec<Row> {
    let of_files = [accounts::rows(), chat::rows(), rooms::rows(), live::rows()];
    of_files.into_iter().flatten().collect()
}
