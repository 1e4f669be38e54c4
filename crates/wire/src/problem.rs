//! Everything that can go wrong with a call, as gRPC reports it: the one place where errors are
//! translated, in both directions.
//!
//! On the wire a problem is a canonical code, a sentence for people, `ErrorInfo` with a stable
//! reason, `RetryInfo` where waiting helps and `BadRequest` where a field is to blame. What a
//! caller may do next depends on the [`Problem`] alone.

use std::{collections::HashMap, time::Duration};

use conclave_core::Rejection;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "conclave";

/// How long a client should wait before it asks a cluster without a leader again.
const RETRY_NO_LEADER: Duration = Duration::from_millis(100);
/// How long a client should wait before it asks a busy node again.
const RETRY_BUSY: Duration = Duration::from_millis(50);

/// How long a client should wait before it asks a cluster without space again.
const RETRY_NO_SPACE: Duration = Duration::from_secs(1);

const NO_SPACE: &str =
    "the disks of the cluster are nearly full: only what deletes or ends something is done";

/// The reason why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The rules, or a bound that is checked before them, refused the request. Nothing was changed,
    /// and the same request will be refused again.
    #[error("{sentence}")]
    Refused {
        /// The stable reason, such as `NAME_TAKEN`.
        reason: String,
        /// Explanation for people.
        sentence: String,
        /// The greatest request number of the session, where it matters.
        request_last: Option<u64>,
    },
    /// The call carries no session, or one that has ended. Log in.
    #[error("{sentence}")]
    SessionExpired {
        /// Explanation for people.
        sentence: String,
    },
    /// Too much is under way; nothing was proposed. Ask again later, here or elsewhere.
    #[error("the node has too much under way")]
    Busy,
    /// No leader, or no majority. The outcome of the request may be unknown: ask again with the
    /// same number.
    #[error("no leader is elected{}", known(*.nodes_reachable))]
    NoLeader {
        /// Number of nodes that answered, and of all nodes, if known.
        nodes_reachable: Option<(u32, u32)>,
    },
    /// No outcome in time. The request may have been executed: ask again with the same number.
    #[error("no outcome within {waited_ms} ms: the request may or may not have been executed")]
    OutcomeUnknown {
        /// How long the node waited, in milliseconds.
        waited_ms: u64,
    },
    /// Too many log-ins have failed. Nothing was tried: wait, then log in again.
    #[error("too many log-ins have failed; wait {} s", .wait_ms.div_ceil(1000))]
    LoginThrottled {
        /// How long the caller has to wait, in milliseconds.
        wait_ms: u64,
    },
    /// The account has asked for too much in a short time. Nothing was done, and the number was not
    /// used: make the same request again after the wait.
    #[error("{sentence}")]
    RateLimited {
        /// Explanation for people.
        sentence: String,
        /// How long to wait, in milliseconds.
        wait_ms: u64,
    },
    /// The disks are too full for anything that grows. Nothing was proposed: delete something, or
    /// make room, and ask again.
    #[error("{NO_SPACE}")]
    NoSpace,
    /// The node has not applied the requested position. Ask another node at once.
    #[error("the node is behind")]
    Behind,
    /// The node has not heard a leader for so long that it may not give out its data any more: the
    /// caller may have been logged out meanwhile. Ask another node.
    #[error("this node is cut off from the cluster; ask another node")]
    CutOff,
    /// The node is stopping. Ask another node; there is no need to wait.
    #[error("the node is stopping")]
    GoingAway,
    /// The node is broken and stops. Ask another node.
    #[error("the node cannot serve: {sentence}")]
    Broken {
        /// Explanation for people, without details that would help an attacker.
        sentence: String,
    },
    /// The call was meant for another cluster or node, or for the other kind of port.
    #[error("{sentence}")]
    WrongAddressee {
        /// `WRONG_CLUSTER`, `WRONG_NODE` or `WRONG_PORT`.
        reason: String,
        /// Explanation for people.
        sentence: String,
    },
}

fn known(nodes: Option<(u32, u32)>) -> String {
    nodes.map_or_else(String::new, |(up, all)| {
        format!(" ({up} of {all} nodes reachable)")
    })
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let sentence = rejection.to_string();
        let request_last = match rejection {
            Rejection::RequestReused { last }
            | Rejection::RequestTooOld { last }
            | Rejection::RequestOutOfRange { last } => Some(last),
            _ => None,
        };
        match rejection {
            Rejection::SessionExpired => Self::SessionExpired { sentence },
            Rejection::LoginThrottled { wait_ms } => Self::LoginThrottled { wait_ms },
            Rejection::RateLimited { wait_ms, .. } => Self::RateLimited { sentence, wait_ms },
            rejection => Self::Refused {
                reason: rejection.reason().to_owned(),
                sentence,
                request_last,
            },
        }
    }
}

impl From<conclave_text::Refused> for Problem {
    fn from(refused: conclave_text::Refused) -> Self {
        Self::Refused {
            reason: refused.reason.to_owned(),
            sentence: refused.sentence,
            request_last: None,
        }
    }
}

impl Problem {
    /// Returns the stable reason of `ErrorInfo`.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused { reason, .. } | Self::WrongAddressee { reason, .. } => reason,
            Self::SessionExpired { .. } => "SESSION_EXPIRED",
            Self::Busy => "BUSY",
            Self::NoLeader { .. } => "NO_LEADER",
            Self::OutcomeUnknown { .. } => "OUTCOME_UNKNOWN",
            Self::CutOff => "CUT_OFF",
            Self::GoingAway => "GOING_AWAY",
            Self::LoginThrottled { .. } => "LOGIN_THROTTLED",
            Self::RateLimited { .. } => "RATE_LIMITED",
            Self::NoSpace => "NO_SPACE",
            Self::Behind => "BEHIND",
            Self::Broken { .. } => "NODE_BROKEN",
        }
    }

    /// Returns the problem as a gRPC status.
    #[must_use]
    pub fn to_status(&self) -> Status {
        let mut metadata = HashMap::new();
        let mut details = ErrorDetails::new();
        match self {
            Self::Refused {
                reason,
                sentence,
                request_last,
            } => {
                if let Some(last) = request_last {
                    metadata.insert("request_last".to_owned(), last.to_string());
                }
                if let Some(field) = field_of(reason) {
                    details.add_bad_request_violation(field, sentence.clone());
                }
            }
            Self::NoLeader { nodes_reachable } => {
                if let Some((up, all)) = nodes_reachable {
                    metadata.insert("nodes_reachable".to_owned(), up.to_string());
                    metadata.insert("nodes".to_owned(), all.to_string());
                }
                details.set_retry_info(Some(RETRY_NO_LEADER));
            }
            Self::OutcomeUnknown { waited_ms } => {
                metadata.insert("waited_ms".to_owned(), waited_ms.to_string());
            }
            Self::Busy | Self::Behind => {
                details.set_retry_info(Some(RETRY_BUSY));
            }
            Self::NoSpace => {
                details.set_retry_info(Some(RETRY_NO_SPACE));
            }
            Self::LoginThrottled { wait_ms } | Self::RateLimited { wait_ms, .. } => {
                metadata.insert("wait_ms".to_owned(), wait_ms.to_string());
                details.set_retry_info(Some(Duration::from_millis(*wait_ms)));
            }
            Self::SessionExpired { .. }
            | Self::GoingAway
            | Self::CutOff
            | Self::Broken { .. }
            | Self::WrongAddressee { .. } => {}
        }
        details.set_error_info(self.reason(), DOMAIN, metadata);
        Status::with_error_details(self.code(), self.to_string(), details)
    }

    fn code(&self) -> Code {
        match self {
            Self::Refused { reason, .. } => code_of(reason),
            Self::SessionExpired { .. } => Code::Unauthenticated,
            Self::Busy | Self::LoginThrottled { .. } | Self::RateLimited { .. } | Self::NoSpace => {
                Code::ResourceExhausted
            }
            Self::NoLeader { .. }
            | Self::GoingAway
            | Self::CutOff
            | Self::Behind
            | Self::Broken { .. } => Code::Unavailable,
            Self::OutcomeUnknown { .. } => Code::DeadlineExceeded,
            Self::WrongAddressee { .. } => Code::FailedPrecondition,
        }
    }

    /// Returns the problem behind a status, if it came from a node of Conclave. A status without
    /// our `ErrorInfo` (a broken connection, a proxy, another program) is `None`: nothing is known.
    #[must_use]
    pub fn from_status(status: &Status) -> Option<Self> {
        let details = status.check_error_details().ok()?;
        let info = details.error_info()?;
        if info.domain != DOMAIN {
            return None;
        }
        let sentence = status.message().to_owned();
        let number = |key: &str| info.metadata.get(key).and_then(|value| value.parse().ok());
        Some(match info.reason.as_str() {
            "SESSION_EXPIRED" => Self::SessionExpired { sentence },
            "BUSY" => Self::Busy,
            "NO_LEADER" => Self::NoLeader {
                nodes_reachable: Option::zip(
                    number("nodes_reachable").and_then(|n| u32::try_from(n).ok()),
                    number("nodes").and_then(|n| u32::try_from(n).ok()),
                ),
            },
            "OUTCOME_UNKNOWN" => Self::OutcomeUnknown {
                waited_ms: number("waited_ms").unwrap_or(0),
            },
            "CUT_OFF" => Self::CutOff,
            "GOING_AWAY" => Self::GoingAway,
            "LOGIN_THROTTLED" => Self::LoginThrottled {
                wait_ms: number("wait_ms").unwrap_or(0),
            },
            "RATE_LIMITED" => Self::RateLimited {
                sentence,
                wait_ms: number("wait_ms").unwrap_or(0),
            },
            "NO_SPACE" => Self::NoSpace,
            "BEHIND" => Self::Behind,
            "NODE_BROKEN" => Self::Broken { sentence },
            "WRONG_CLUSTER" | "WRONG_NODE" | "WRONG_PORT" | "NODE_RETIRED" => {
                Self::WrongAddressee {
                    reason: info.reason.clone(),
                    sentence,
                }
            }
            reason => Self::Refused {
                reason: reason.to_owned(),
                sentence,
                request_last: number("request_last"),
            },
        })
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        problem.to_status()
    }
}

fn code_of(reason: &str) -> Code {
    match reason {
        "NAME_TAKEN" | "NAME_ALIKE" | "TOKEN_IN_USE" | "NODE_NUMBER_TAKEN" | "ADDRESS_TAKEN" => {
            Code::AlreadyExists
        }
        "NO_SUCH_ACCOUNT"
        | "NO_SUCH_CONVERSATION"
        | "NO_SUCH_MESSAGE"
        | "NO_SUCH_NODE"
        | "NO_SUCH_CHECK"
        | "NO_SUCH_WEBHOOK"
        | "NO_SUCH_SESSION" => Code::NotFound,
        "WRONG_CREDENTIALS" | "NOT_A_PEER" => Code::Unauthenticated,
        "NOT_YOUR_MESSAGE"
        | "NOT_ALLOWED"
        | "NOT_AN_OPERATOR"
        | "ACCOUNT_SUSPENDED"
        | "BLOCKED"
        | "REGISTRATION_CLOSED"
        | "INVITE_INVALID"
        | "JOIN_REFUSED"
        | "PEER_ROLE"
        | "JOIN_TOKEN_INVALID"
        | "SETUP_TOKEN_INVALID" => Code::PermissionDenied,
        "QUOTA_EXCEEDED" | "TOO_MANY_ACCOUNTS" | "TOO_MANY" | "TOO_MANY_VOTERS"
        | "TOO_MANY_MEMBERS" | "REQUEST_TOO_LONG" => Code::ResourceExhausted,
        "LAST_VOTER"
        | "WOULD_LOSE_QUORUM"
        | "LEARNER_BEHIND"
        | "NODE_UNREACHABLE"
        | "NOT_TAKEN_OVER"
        | "RECIPIENT_GONE"
        | "NO_AUTHORITY_KEY"
        | "WOULD_LOSE_AUTHORITY"
        | "LAST_OF_ITS_KIND"
        | "LAST_OPERATOR"
        | "NOT_A_MEMBER"
        | "MESSAGE_GONE"
        | "NO_STREAM" => Code::FailedPrecondition,
        "REQUEST_TOO_OLD" => Code::OutOfRange,
        _ => Code::InvalidArgument,
    }
}

/// Returns the field of the request that a refusal is about.
fn field_of(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "NAME_EMPTY" | "NAME_TOO_LONG" | "NAME_CHARACTER" => "name",
        "PASSWORD_TOO_SHORT" | "PASSWORD_TOO_LONG" | "PASSWORD_CHARACTER" => "password",
        "TEXT_EMPTY" | "TEXT_TOO_LONG" => "text",
        "PATTERN_INVALID" => "pattern",
        "REQUEST_OUT_OF_RANGE" | "REQUEST_REUSED" => "request.number",
        "LIST_EMPTY" | "LIST_TOO_LONG" => "messages",
        "REQUEST_ID_INVALID" => "request_id",
        "TOKEN_INVALID" => "token",
        "PAGE_TOKEN_INVALID" => "page_token",
        "REQUEST_MISSING" => "request",
        "RECIPIENT_MISSING" => "to",
        "CONVERSATION_MISSING" => "conversation",
        "MESSAGE_MISSING" => "message",
        "REACTION_INVALID" => "reaction",
        "ROLE_MISSING" => "role",
        "CODE_INVALID" => "code",
        "ACCOUNT_LIMIT_INVALID" => "limits",
        "QUERY_INVALID" => "query",
        "RESUME_TOKEN_INVALID" => "resume_token",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_survives_the_wire() {
        let sentence = || "a sentence".to_owned();
        let problems = [
            Problem::from(Rejection::NameTaken),
            Problem::from(Rejection::RequestReused { last: 7 }),
            Problem::from(Rejection::SessionExpired),
            Problem::Busy,
            Problem::NoLeader {
                nodes_reachable: Some((2, 5)),
            },
            Problem::NoLeader {
                nodes_reachable: None,
            },
            Problem::OutcomeUnknown { waited_ms: 12 },
            Problem::GoingAway,
            Problem::CutOff,
            Problem::LoginThrottled { wait_ms: 2000 },
            Problem::RateLimited {
                sentence: sentence(),
                wait_ms: 12,
            },
            Problem::NoSpace,
            Problem::Behind,
            Problem::WrongAddressee {
                reason: "WRONG_NODE".to_owned(),
                sentence: sentence(),
            },
        ];
        for problem in problems {
            let seen = Problem::from_status(&problem.to_status());
            assert_eq!(seen.as_ref(), Some(&problem));
        }
        let broken = Problem::Broken {
            sentence: sentence(),
        }
        .to_status();
        assert!(matches!(
            Problem::from_status(&broken),
            Some(Problem::Broken { .. })
        ));
    }

    #[test]
    fn a_foreign_status_says_nothing_of_the_outcome() {
        assert_eq!(
            Problem::from_status(&Status::unavailable("connection reset")),
            None
        );
    }

    #[test]
    fn every_reason_has_the_code_that_its_document_tells() {
        let document = include_str!("../../../docs/protocol.md");
        let (_, errors) = document.split_once("\n## Errors\n").unwrap();
        let mut reasons = 0;
        for row in errors.lines().take_while(|line| !line.starts_with("## ")) {
            let mut cells = row.split('|').map(str::trim).skip(1);
            let (Some(code), Some(named)) = (cells.next(), cells.next()) else {
                continue;
            };
            let code = code.trim_matches('`').replace('_', "").to_lowercase();
            // What stands between back-ticks: every second piece.
            for reason in named.split('`').skip(1).step_by(2) {
                if reason == "RetryInfo" {
                    continue;
                }
                let problem = with_reason(reason);
                assert_eq!(problem.reason(), reason);
                let told = format!("{:?}", problem.to_status().code()).to_lowercase();
                assert_eq!(told, code, "{reason}");
                reasons += 1;
            }
        }
        assert!(reasons > 50, "the table was not found: {reasons}");
    }

    /// Returns the problem with this reason.
    fn with_reason(reason: &str) -> Problem {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, DOMAIN, HashMap::new());
        let status = Status::with_error_details(Code::Unknown, "a sentence", details);
        Problem::from_status(&status).unwrap()
    }
}
