//! Holds back responses to callers that are refused all the time.
//!
//! A refusal is cheap, but a caller that asks again at once for what it cannot get can ask
//! thousands of times in a second. Each address gets as many refusals at once as an honest program
//! with a mistake in it, or a building full of people, may cause; after that each refusal waits.
//!
//! Always true: a response other than a refusal is never held back, and neither is a refusal
//! because this node cannot serve at the moment or has no room, so that clients go to another node
//! without delay. A rate limit is held back where it was found to be exceeded.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, Response, StatusCode};
use tonic::{Code, Status};

use crate::{
    base::{bounded_map::BoundedMap, rate_limiter::RateLimiter},
    connections::address::Address,
    context::access::HELD_BACK_MAX,
};

/// Number of refusals of an address without a wait.
const AT_ONCE: u32 = 2000;
/// Time after which one more refusal is free of a wait.
const EVERY: Duration = Duration::from_millis(10);
/// Maximum number of addresses in memory. At the bound, addresses that owe nothing are removed; if
/// there are none, a new address is not counted.
const KEPT_MAX: usize = 65_536;

/// Refusals of each address; see the head of this file.
pub(crate) struct Refusals {
    of: Mutex<BoundedMap<Address, RateLimiter>>,
}

impl Default for Refusals {
    fn default() -> Self {
        let of = Mutex::new(BoundedMap::new(KEPT_MAX));
        Self { of }
    }
}

impl Refusals {
    /// Returns for how long to hold a response back.
    pub(crate) fn hold<T>(&self, address: Address, answer: &Response<T>) -> Duration {
        match is_refusal(answer) {
            true => self.count(address),
            false => Duration::ZERO,
        }
    }

    fn count(&self, address: Address) -> Duration {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pace) = of.entry(address, RateLimiter::owes, RateLimiter::default) else {
            return Duration::ZERO;
        };
        pace.spend(EVERY, EVERY * AT_ONCE + HELD_BACK_MAX);
        pace.ahead(EVERY * AT_ONCE).min(HELD_BACK_MAX)
    }
}

/// Returns whether the caller was refused for what it asked.
fn is_refusal<T>(answer: &Response<T>) -> bool {
    let is_error = answer.status().is_client_error();
    let is_too_many = answer.status() == StatusCode::TOO_MANY_REQUESTS;
    (is_error && !is_too_many) || code(answer.headers()).is_some_and(is_fault_of_caller)
}

/// Returns the code of a call that has ended without a response of its own.
pub(super) fn code(headers: &HeaderMap) -> Option<Code> {
    Status::from_header_map(headers).map(|status| status.code())
}

fn is_fault_of_caller(code: Code) -> bool {
    !matches!(
        code,
        Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Unavailable
            | Code::Internal
            | Code::Aborted
            | Code::DataLoss
    )
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::time::advance;

    use super::*;

    fn address(last: u8) -> Address {
        Address::of(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_refusals_slows_down_only_its_own_address() {
        let refusals = Refusals::default();
        let invalid = Status::invalid_argument("no").into_http::<()>();
        for _ in 0..AT_ONCE {
            assert_eq!(refusals.hold(address(1), &invalid), Duration::ZERO);
        }
        assert_eq!(refusals.hold(address(1), &invalid), EVERY);
        for _ in 0..10 * AT_ONCE {
            assert!(refusals.hold(address(1), &invalid) <= HELD_BACK_MAX);
        }
        assert_eq!(refusals.hold(address(2), &invalid), Duration::ZERO);
        // The length of the flood makes no difference.
        advance(HELD_BACK_MAX + EVERY).await;
        assert_eq!(refusals.hold(address(1), &invalid), Duration::ZERO);
    }

    #[test]
    fn failures_not_caused_by_the_caller_are_never_delayed() {
        let answer = |code| Status::new(code, "why").into_http::<()>();
        for code in [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Internal,
            // `BUSY` and `NO_SPACE`, with which clients go to another node.
            Code::ResourceExhausted,
        ] {
            assert!(!is_refusal(&answer(code)), "{code:?}");
        }
        let busy = Response::builder().status(429).body(()).unwrap();
        assert!(!is_refusal(&busy));
        assert!(!is_refusal(&Response::new(())));
        for code in [
            Code::InvalidArgument,
            Code::Unauthenticated,
            Code::Unimplemented,
            Code::NotFound,
        ] {
            assert!(is_refusal(&answer(code)), "{code:?}");
        }
        let unknown = Response::builder().status(404).body(()).unwrap();
        assert!(is_refusal(&unknown));
    }
}
