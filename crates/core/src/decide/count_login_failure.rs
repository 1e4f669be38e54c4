//! Counts a failed log-in against the name and the address: the next ones have to wait, longer
//! each time, never for ever.

use super::Ruling;
use crate::{
    Accepted, Event, Lookup, ThrottleKey, Timestamp,
    limits::{
        THROTTLE_FIRST_MS, THROTTLE_FORGET_MS, THROTTLE_FREE_ACCOUNT, THROTTLE_FREE_ADDRESS,
        THROTTLE_MAX_MS, THROTTLES_MAX,
    },
};

pub(super) fn count_login_failure(
    lookup: &impl Lookup,
    now: Timestamp,
    account: ThrottleKey,
    address: ThrottleKey,
) -> Ruling {
    let mut events = Vec::new();
    let mut latest = now;
    let mut room_needed = 0;
    let counted = [
        (account, THROTTLE_FREE_ACCOUNT),
        (address, THROTTLE_FREE_ADDRESS),
    ];
    for (key, free) in counted {
        let before = lookup.throttle(&key)?;
        if before.is_none() {
            room_needed += 1;
        }
        let remembered = before
            .filter(|before| now.0.saturating_sub(before.failed_at.0) <= THROTTLE_FORGET_MS)
            .map_or(0, |before| before.failures);
        let failures = remembered.saturating_add(1);
        let not_before = now.plus_ms(wait_ms(failures, free));
        latest = latest.max(not_before);
        events.push(Event::LoginFailed {
            key,
            failures,
            not_before,
            at: now,
        });
    }
    // The two themselves may be among the first, so two more are asked for.
    let excess = (lookup.throttles()? + room_needed).saturating_sub(THROTTLES_MAX);
    if excess > 0 {
        let first = lookup.throttles_first(4)?.into_iter();
        let others = first.filter(|key| *key != account && *key != address);
        let goes = others.take(excess as usize);
        let forgiven: Vec<Event> = goes.map(|key| Event::LoginForgiven { key }).collect();
        events.splice(0..0, forgiven);
    }
    let accepted = Accepted::LoginFailureCounted { not_before: latest };
    Ok((accepted, events))
}

/// How long the next log-in has to wait after so many failures.
fn wait_ms(failures: u32, free: u32) -> u64 {
    match failures.checked_sub(free + 1) {
        None => 0,
        Some(further) => THROTTLE_FIRST_MS
            .checked_shl(further)
            .filter(|ms| further < 32 && *ms < THROTTLE_MAX_MS)
            .unwrap_or(THROTTLE_MAX_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_a_minute_and_no_further() {
        let waits: Vec<u64> = (4..=14).map(|failures| wait_ms(failures, 5)).collect();
        let expected = [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60].map(|seconds| seconds * 1000);
        assert_eq!(waits, expected);
        assert_eq!(wait_ms(u32::MAX, 5), THROTTLE_MAX_MS);
    }
}
