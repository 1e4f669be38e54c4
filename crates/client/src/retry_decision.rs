//! Decides what follows from a failed attempt, and is the only place that does.
//!
//! Always true: a failure counts as "certainly not done" only if the request never left this
//! machine or a node says that it refused it before executing it.

use std::{error::Error, fmt, io, time::Duration};

use conclave_wire::{Problem, Reason};
use tonic::{Code, ConnectError, Status};

use crate::{CallError, rpc::Kind, trust::Distrust};

/// Wait before a cluster without space is asked again: its nodes check the space every second.
const NO_SPACE_WAIT: Duration = Duration::from_secs(1);

/// Failure of one attempt.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A node reports a problem.
    Problem(Problem),
    /// The connection failed: the request was never sent.
    NotConnected {
        cause: String,
        /// `Some`: the node was reached and its certificate was not accepted.
        distrust: Option<Distrust>,
    },
    /// The connection broke, or a program that is no node answered.
    Lost(String),
    /// The node did not answer in time.
    Silent,
}

/// The next step of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RetryDecision {
    /// Tell the caller that the rules refuse the request.
    Refused { reason: Reason, sentence: String },
    /// Tell the caller to log in.
    LogIn { sentence: String },
    /// This number certainly was not and will not be executed for this request: take one above
    /// `last`. With `restart`, do so even if that is lower than the client's next number.
    NewNumber { last: u64, restart: bool },
    /// The request was not executed: make it again, with the same number, after the wait.
    Wait(Duration),
    /// The request was not executed, because the cluster has too much to do: make it again here,
    /// with the same number, after a wait that grows. Another node would pass it on to the same
    /// leader, which makes more work of it.
    BackOff,
    /// Tell the caller that the outcome cannot be known any more.
    Unknown,
    /// Ask another node, with the same number.
    Elsewhere {
        /// Whether this attempt may have been, or may still be, executed.
        maybe_done: bool,
        /// Whether to wait first.
        wait: bool,
    },
}

impl RetryDecision {
    /// Returns the error of a failure that every node would repeat; `None` if the request may
    /// succeed later, or elsewhere. For requests whose outcome is certain.
    pub(crate) fn refusal(self) -> Option<CallError> {
        match self {
            Self::Refused { reason, sentence } => Some(CallError::Refused { reason, sentence }),
            Self::LogIn { sentence } => Some(CallError::SessionExpired {
                sentence,
                certain: true,
            }),
            Self::NewNumber { .. }
            | Self::Unknown
            | Self::Wait(_)
            | Self::BackOff
            | Self::Elsewhere { .. } => None,
        }
    }
}

impl Failure {
    /// Converts the status of a call.
    pub(crate) fn from_status(status: &Status) -> Self {
        if let Some(problem) = Problem::from_status(status) {
            return Self::Problem(problem);
        }
        let mut cause = status.source();
        while let Some(error) = cause {
            if error.is::<ConnectError>() {
                return Self::not_connected(error);
            }
            cause = error.source();
        }
        // The transport on either side reports like this that the time limit of the request has
        // passed.
        if matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded) {
            return Self::Silent;
        }
        Self::Lost(status.message().to_owned())
    }

    fn not_connected(error: &(dyn Error + 'static)) -> Self {
        let error = innermost(error);
        // What is inside an error of I/O is not its source.
        let inside = error.downcast_ref().and_then(io::Error::get_ref);
        Self::NotConnected {
            cause: error.to_string(),
            distrust: inside.and_then(|inside| inside.downcast_ref()).copied(),
        }
    }

    /// Returns why the certificate of the node was not accepted, if that is the failure.
    pub(crate) fn distrust(&self) -> Option<Distrust> {
        match self {
            Self::NotConnected { distrust, .. } => *distrust,
            Self::Problem(_) | Self::Lost(_) | Self::Silent => None,
        }
    }

    /// Returns the reason and the session's greatest number, if this request's number is wrong.
    pub(crate) fn number_refused(&self) -> Option<(Reason, u64)> {
        match self {
            Self::Problem(Problem::Refused {
                reason,
                request_last: Some(last),
                ..
            }) => Some((*reason, *last)),
            _ => None,
        }
    }

    /// Returns whether this failure of request `first` says that request `behind` of the same
    /// session, behind it in the same entry, was not executed by this attempt either.
    pub(crate) fn covers(&self, first: u64, behind: u64) -> bool {
        match self {
            Self::Problem(Problem::SessionExpired { .. }) => true,
            Self::Problem(Problem::Refused {
                reason: Reason::RequestOutOfRange,
                ..
            }) => behind > first,
            _ => false,
        }
    }

    /// Decides what follows, for a request of this kind. `maybe_done` says that an earlier attempt
    /// with the same number may have been executed.
    pub(crate) fn next(self, kind: Kind, maybe_done: bool) -> RetryDecision {
        let problem = match self {
            Self::Problem(problem) => problem,
            Self::NotConnected { .. } => return elsewhere(false, true),
            Self::Lost(_) | Self::Silent => return elsewhere(true, true),
        };
        match problem {
            Problem::Refused {
                reason,
                sentence,
                request_last,
            } => {
                let last = match (kind, request_last) {
                    (Kind::Numbered, Some(last)) => last,
                    _ => return RetryDecision::Refused { reason, sentence },
                };
                match (reason, maybe_done) {
                    // Another request has this number, so this one was never executed under it.
                    (Reason::RequestReused, _) | (Reason::RequestTooOld, false) => {
                        RetryDecision::NewNumber {
                            last,
                            restart: false,
                        }
                    }
                    (Reason::RequestOutOfRange, false) => RetryDecision::NewNumber {
                        last,
                        restart: true,
                    },
                    (Reason::RequestTooOld, true) => RetryDecision::Unknown,
                    // An earlier copy that is still on its way may yet come into range.
                    (Reason::RequestOutOfRange, true) => elsewhere(true, true),
                    _ => RetryDecision::Refused { reason, sentence },
                }
            }
            Problem::SessionExpired { sentence } => RetryDecision::LogIn { sentence },
            Problem::Busy if kind == Kind::Numbered => RetryDecision::BackOff,
            // What is neither forwarded nor proposed another node may have room for.
            Problem::Busy => elsewhere(false, true),
            Problem::RateLimited { wait_ms, .. } => {
                RetryDecision::Wait(Duration::from_millis(wait_ms))
            }
            Problem::NoSpace => RetryDecision::Wait(NO_SPACE_WAIT),
            // None of these concerns the whole cluster: another node may serve at once.
            Problem::GoingAway | Problem::CutOff | Problem::Behind => elsewhere(false, false),
            // An earlier attempt may have logged in; this one was refused before it was executed.
            Problem::LoginThrottled { .. } if maybe_done => RetryDecision::Unknown,
            problem @ Problem::LoginThrottled { .. } => RetryDecision::Refused {
                reason: problem.reason(),
                sentence: problem.to_string(),
            },
            Problem::WrongAddressee { .. } => elsewhere(false, true),
            Problem::NoLeader { .. } | Problem::OutcomeUnknown { .. } | Problem::Broken { .. } => {
                elsewhere(true, true)
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(problem) => problem.fmt(f),
            Self::NotConnected { cause, .. } => write!(f, "cannot connect: {cause}"),
            Self::Lost(cause) => write!(f, "the connection was lost: {cause}"),
            Self::Silent => f.write_str("the node did not answer in time"),
        }
    }
}

fn elsewhere(maybe_done: bool, wait: bool) -> RetryDecision {
    RetryDecision::Elsewhere { maybe_done, wait }
}

/// Returns the innermost cause, the only one that is specific: "connection refused".
fn innermost<'e>(mut error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

#[cfg(test)]
mod tests {
    use conclave_core::Rejection;

    use super::*;

    const NEW: RetryDecision = RetryDecision::NewNumber {
        last: 7,
        restart: false,
    };
    const RESTART: RetryDecision = RetryDecision::NewNumber {
        last: 7,
        restart: true,
    };
    const DOOR: RetryDecision = RetryDecision::Elsewhere {
        maybe_done: false,
        wait: true,
    };
    const DOUBT: RetryDecision = RetryDecision::Elsewhere {
        maybe_done: true,
        wait: true,
    };

    #[test]
    fn each_failure_has_its_retry_decision() {
        let refused = |rejection: Rejection| RetryDecision::Refused {
            reason: Reason::from(&rejection),
            sentence: rejection.to_string(),
        };
        let rule = |rejection: Rejection| Failure::Problem(rejection.into());
        let problem = Failure::Problem;
        let no_leader = || Problem::NoLeader {
            nodes_reachable: None,
        };
        let broken = || Problem::Broken {
            sentence: String::new(),
        };
        let (reused, too_old, out_of_range) = (
            || Rejection::RequestReused { last: 7 },
            || Rejection::RequestTooOld { last: 7 },
            || Rejection::RequestOutOfRange { last: 7 },
        );
        let at_once = || RetryDecision::Elsewhere {
            maybe_done: false,
            wait: false,
        };
        let throttled = || Problem::LoginThrottled { wait_ms: 1000 };
        let limited = || Problem::RateLimited {
            sentence: String::new(),
            wait_ms: 70,
        };
        let pause = |ms| RetryDecision::Wait(Duration::from_millis(ms));
        let cases: [(Failure, Kind, bool, RetryDecision); 24] = [
            (problem(limited()), Kind::Numbered, true, pause(70)),
            (problem(Problem::NoSpace), Kind::Once, false, pause(1000)),
            (problem(Problem::Behind), Kind::Read, false, at_once()),
            (
                problem(throttled()),
                Kind::Once,
                false,
                RetryDecision::Refused {
                    reason: Reason::LoginThrottled,
                    sentence: throttled().to_string(),
                },
            ),
            (
                problem(throttled()),
                Kind::Once,
                true,
                RetryDecision::Unknown,
            ),
            (
                rule(Rejection::NameTaken),
                Kind::Once,
                true,
                refused(Rejection::NameTaken),
            ),
            (
                rule(Rejection::NoSuchAccount),
                Kind::Numbered,
                true,
                refused(Rejection::NoSuchAccount),
            ),
            (rule(reused()), Kind::Numbered, false, NEW),
            (rule(reused()), Kind::Numbered, true, NEW),
            (rule(reused()), Kind::Once, true, refused(reused())),
            (rule(too_old()), Kind::Numbered, false, NEW),
            (
                rule(too_old()),
                Kind::Numbered,
                true,
                RetryDecision::Unknown,
            ),
            (rule(out_of_range()), Kind::Numbered, false, RESTART),
            (rule(out_of_range()), Kind::Numbered, true, DOUBT),
            (
                problem(Problem::Busy),
                Kind::Numbered,
                false,
                RetryDecision::BackOff,
            ),
            (problem(Problem::Busy), Kind::Read, false, DOOR),
            (problem(Problem::Busy), Kind::Once, false, DOOR),
            (problem(no_leader()), Kind::Numbered, false, DOUBT),
            (problem(broken()), Kind::Numbered, false, DOUBT),
            (
                problem(Problem::OutcomeUnknown { waited_ms: 1 }),
                Kind::Numbered,
                false,
                DOUBT,
            ),
            (
                problem(Problem::GoingAway),
                Kind::Numbered,
                false,
                at_once(),
            ),
            (problem(Problem::CutOff), Kind::Read, false, at_once()),
            (Failure::Lost("reset".into()), Kind::Numbered, false, DOUBT),
            (
                Failure::NotConnected {
                    cause: "refused".into(),
                    distrust: None,
                },
                Kind::Numbered,
                false,
                DOOR,
            ),
        ];
        for (failure, kind, maybe_done, expected) in cases {
            let told = format!("{failure:?} {kind:?} {maybe_done}");
            assert_eq!(failure.next(kind, maybe_done), expected, "{told}");
        }
        assert_eq!(Failure::Silent.next(Kind::Numbered, false), DOUBT);
    }

    #[test]
    fn only_some_failures_cover_requests_behind_the_first() {
        let rule = |rejection: Rejection| Failure::Problem(rejection.into());
        let far = rule(Rejection::RequestOutOfRange { last: 7 });
        assert!(far.covers(300, 301));
        // A lower number may be in range.
        assert!(!far.covers(300, 200));
        assert!(rule(Rejection::SessionExpired).covers(300, 200));
        for failure in [
            rule(Rejection::RequestTooOld { last: 7 }),
            rule(Rejection::RequestReused { last: 7 }),
            rule(Rejection::NoSuchAccount),
            Failure::Problem(Problem::Busy),
            Failure::Silent,
        ] {
            assert!(!failure.covers(300, 301), "{failure:?}");
        }
    }

    #[test]
    fn a_status_of_a_proxy_counts_as_a_lost_request() {
        let failure = Failure::from_status(&Status::unavailable("proxy"));
        assert!(matches!(failure, Failure::Lost(_)), "{failure:?}");
        let failure = Failure::from_status(&Status::cancelled("Timeout expired"));
        assert!(matches!(failure, Failure::Silent), "{failure:?}");
    }
}
