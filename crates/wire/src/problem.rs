//! Everything that can go wrong with a call, as gRPC reports it: the one place where errors are
//! translated, in both directions.
//!
//! On the wire a problem is a canonical code, a sentence for people, `ErrorInfo` with a stable
//! reason, `RetryInfo` where waiting helps and `BadRequest` where a field is to blame. What a
//! caller may do next depends on the [`Problem`] alone.

use std::{collections::HashMap, time::Duration};

use conclave_core::Rejection;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::Reason;

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "conclave";

/// How long a client should wait before it asks a cluster without a leader again.
const RETRY_NO_LEADER: Duration = Duration::from_millis(100);
/// How long a client should wait before it asks a busy node again.
const RETRY_BUSY: Duration = Duration::from_millis(50);

/// How long a client should wait before it asks a cluster without space again.
const RETRY_NO_SPACE: Duration = Duration::from_secs(1);

const NO_SPACE: &str =
    "the disks of the cluster are nearly full: only requests that delete or end something succeed";

/// The reason why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The rules, or a bound that is checked before them, refused the request. Nothing was changed,
    /// and the same request will be refused again.
    #[error("{sentence}")]
    Refused {
        /// The reason, such as [`Reason::NameTaken`].
        reason: Reason,
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
        /// Such as [`Reason::WrongCluster`], [`Reason::WrongNode`] or [`Reason::WrongPort`].
        reason: Reason,
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
        let reason = Reason::from(&rejection);
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
            _ => Self::Refused {
                reason,
                sentence,
                request_last,
            },
        }
    }
}

impl From<conclave_text::Refused> for Problem {
    fn from(refused: conclave_text::Refused) -> Self {
        Self::Refused {
            reason: refused.fault.into(),
            sentence: refused.sentence,
            request_last: None,
        }
    }
}

impl Problem {
    /// Returns the refusal of a request before the rules were asked.
    #[must_use]
    pub fn refused(reason: Reason, sentence: impl Into<String>) -> Self {
        Self::Refused {
            reason,
            sentence: sentence.into(),
            request_last: None,
        }
    }

    /// Returns the reason of `ErrorInfo`.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused { reason, .. } | Self::WrongAddressee { reason, .. } => *reason,
            Self::SessionExpired { .. } => Reason::SessionExpired,
            Self::Busy => Reason::Busy,
            Self::NoLeader { .. } => Reason::NoLeader,
            Self::OutcomeUnknown { .. } => Reason::OutcomeUnknown,
            Self::CutOff => Reason::CutOff,
            Self::GoingAway => Reason::GoingAway,
            Self::LoginThrottled { .. } => Reason::LoginThrottled,
            Self::RateLimited { .. } => Reason::RateLimited,
            Self::NoSpace => Reason::NoSpace,
            Self::Behind => Reason::Behind,
            Self::Broken { .. } => Reason::NodeBroken,
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
                if let Some(field) = reason.field() {
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
        details.set_error_info(self.reason().name(), DOMAIN, metadata);
        Status::with_error_details(self.reason().code(), self.to_string(), details)
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
        Some(match Reason::named(&info.reason) {
            Reason::SessionExpired => Self::SessionExpired { sentence },
            Reason::Busy => Self::Busy,
            Reason::NoLeader => Self::NoLeader {
                nodes_reachable: Option::zip(
                    number("nodes_reachable").and_then(|n| u32::try_from(n).ok()),
                    number("nodes").and_then(|n| u32::try_from(n).ok()),
                ),
            },
            Reason::OutcomeUnknown => Self::OutcomeUnknown {
                waited_ms: number("waited_ms").unwrap_or(0),
            },
            Reason::CutOff => Self::CutOff,
            Reason::GoingAway => Self::GoingAway,
            Reason::LoginThrottled => Self::LoginThrottled {
                wait_ms: number("wait_ms").unwrap_or(0),
            },
            Reason::RateLimited => Self::RateLimited {
                sentence,
                wait_ms: number("wait_ms").unwrap_or(0),
            },
            Reason::NoSpace => Self::NoSpace,
            Reason::Behind => Self::Behind,
            Reason::NodeBroken => Self::Broken { sentence },
            reason @ (Reason::WrongCluster
            | Reason::WrongNode
            | Reason::WrongPort
            | Reason::NodeRetired) => Self::WrongAddressee { reason, sentence },
            reason => Self::Refused {
                reason,
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

#[cfg(test)]
mod tests {
    use tonic::Code;

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
                reason: Reason::WrongNode,
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
    fn a_problem_that_passes_says_how_long_to_wait() {
        let wait = |problem: Problem| {
            let details = Status::from(problem).check_error_details().unwrap();
            let retry = details.retry_info().and_then(|retry| retry.retry_delay);
            retry.map(|delay| delay.as_millis())
        };
        let no_leader = Problem::NoLeader {
            nodes_reachable: None,
        };
        let limited = Problem::RateLimited {
            sentence: "too many".to_owned(),
            wait_ms: 70,
        };
        for (problem, expected) in [
            (Problem::Busy, Some(50)),
            (Problem::Behind, Some(50)),
            (no_leader, Some(100)),
            (Problem::NoSpace, Some(1000)),
            (Problem::LoginThrottled { wait_ms: 2000 }, Some(2000)),
            (limited, Some(70)),
            (Problem::GoingAway, None),
            (Problem::CutOff, None),
            (Problem::OutcomeUnknown { waited_ms: 12 }, None),
            (Rejection::NameTaken.into(), None),
            (Rejection::SessionExpired.into(), None),
        ] {
            assert_eq!(wait(problem.clone()), expected, "{problem:?}");
        }
    }

    #[test]
    fn a_foreign_status_carries_no_problem() {
        assert_eq!(
            Problem::from_status(&Status::unavailable("connection reset")),
            None
        );
    }

    #[test]
    fn every_reason_has_its_documented_code() {
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
                assert_eq!(problem.reason().name(), reason);
                let told = format!("{:?}", problem.to_status().code()).to_lowercase();
                assert_eq!(told, code, "{reason}");
                reasons += 1;
            }
        }
        assert!(reasons > 50, "the table was not found: {reasons}");
    }

    #[test]
    fn every_reason_is_in_the_document() {
        let document = include_str!("../../../docs/protocol.md");
        for reason in Reason::ALL {
            assert_eq!(Reason::named(reason.name()), *reason);
            let name = format!("`{reason}`");
            assert!(
                document.contains(&name),
                "{name} is not in docs/protocol.md"
            );
        }
    }

    /// Returns the problem with this reason.
    fn with_reason(reason: &str) -> Problem {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, DOMAIN, HashMap::new());
        let status = Status::with_error_details(Code::Unknown, "a sentence", details);
        Problem::from_status(&status).unwrap()
    }
}
