//! Counts an attempt with a password before it is verified; the next ones have to wait, longer each
//! time, never for ever. `open_session` says what success forgives.
//!
//! Always true: an attempt from a place that the account knows (an address or a device from which
//! it was logged in to), or in a session, is counted there and nowhere else; it waits for nothing
//! that others have done. Every other attempt is counted for the account, for the address, and for
//! both together.

use crate::{
    Accepted, AccessEvent, Event, LoginKeys, Lookup, Rejection, Throttle, ThrottleKey, Timestamp,
    decide::ruling::{Ruling, Stop},
    limits::{
        THROTTLE_FIRST_MS, THROTTLE_FORGET_MS, THROTTLE_FREE_ACCOUNT, THROTTLE_FREE_ADDRESS,
        THROTTLE_MAX_MS, THROTTLES_MAX, THROTTLES_SWEPT_MAX,
    },
};

/// Returns where an attempt is counted that may wait apart from all others; `None` if it may not.
pub(crate) fn apart(lookup: &impl Lookup, keys: &LoginKeys) -> Result<Option<ThrottleKey>, Stop> {
    if keys.session.is_some() {
        return Ok(keys.session);
    }
    for place in keys.device.into_iter().chain([keys.pair]) {
        if lookup.is_place(&place)? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

pub(crate) fn try_password(lookup: &impl Lookup, now: Timestamp, keys: &LoginKeys) -> Ruling {
    let counted = match apart(lookup, keys)? {
        Some(place) => vec![(place, THROTTLE_FREE_ACCOUNT)],
        None => vec![
            (keys.account, THROTTLE_FREE_ACCOUNT),
            (keys.address, THROTTLE_FREE_ADDRESS),
            // Makes no attempt wait: it says how much of the address's count is the account's.
            (keys.pair, u32::MAX),
        ],
    };
    let mut held: Vec<(ThrottleKey, u32, Option<Throttle>)> = Vec::new();
    let mut wait_ms = 0;
    for (key, free) in counted {
        // Keys of different kinds differ; should two be the same, it is counted once.
        if held.iter().any(|(own, ..)| *own == key) {
            continue;
        }
        let before = lookup.throttle(&key)?;
        wait_ms = wait_ms.max(before.map_or(0, |before| before.left_ms(now)));
        held.push((key, free, before));
    }
    if wait_ms > 0 {
        return Err(Rejection::LoginThrottled { wait_ms }.into());
    }
    let mut events = make_room(lookup, now, &held)?;
    for (key, free, before) in held {
        let failures = remembered(before, now).saturating_add(1);
        events.push(Event::Access(AccessEvent::LoginFailed {
            key,
            failures,
            not_before: now.plus_ms(wait_of(failures, free)),
            at: now,
        }));
    }
    Ok((Accepted::PasswordTried, events))
}

/// Forgets keys that are forgiven by now, and as many others as the bound asks for.
fn make_room(
    lookup: &impl Lookup,
    now: Timestamp,
    held: &[(ThrottleKey, u32, Option<Throttle>)],
) -> Result<Vec<Event>, Stop> {
    let own = |key: &ThrottleKey| held.iter().any(|(own, ..)| own == key);
    let before = Timestamp(now.0.saturating_sub(THROTTLE_FORGET_MS));
    let mut goes = lookup.throttles_old(before, THROTTLES_SWEPT_MAX)?;
    goes.retain(|key| !own(key));
    let added = held.iter().filter(|(.., before)| before.is_none()).count() as u64;
    let kept = lookup.throttles()? + added - goes.len() as u64;
    let excess = usize::try_from(kept.saturating_sub(THROTTLES_MAX)).unwrap_or(usize::MAX);
    if excess > 0 {
        // Its own keys and those that go already may be among the first.
        let limit = excess.saturating_add(held.len() + goes.len());
        let first = lookup.throttles_first(limit)?.into_iter();
        let others = first.filter(|key| !own(key) && !goes.contains(key));
        let others: Vec<ThrottleKey> = others.take(excess).collect();
        goes.extend(others);
    }
    let forgotten = goes
        .into_iter()
        .map(|key| Event::Access(AccessEvent::LoginForgiven { key }));
    Ok(forgotten.collect())
}

/// Returns the failures that still count.
fn remembered(before: Option<Throttle>, now: Timestamp) -> u32 {
    before
        .filter(|before| now.0.saturating_sub(before.failed_at.0) <= THROTTLE_FORGET_MS)
        .map_or(0, |before| before.failures)
}

/// Returns what success makes of the count of an address: the share of one account goes.
pub(crate) fn forgive_share(
    lookup: &impl Lookup,
    now: Timestamp,
    address: ThrottleKey,
    share: u32,
) -> Result<Option<Event>, Stop> {
    let Some(before) = lookup.throttle(&address)? else {
        return Ok(None);
    };
    let failures = before.failures.saturating_sub(share);
    Ok(Some(match failures {
        0 => Event::Access(AccessEvent::LoginForgiven { key: address }),
        1..=THROTTLE_FREE_ADDRESS => Event::Access(AccessEvent::LoginFailed {
            key: address,
            failures,
            not_before: now,
            at: before.failed_at,
        }),
        _ => Event::Access(AccessEvent::LoginFailed {
            key: address,
            failures,
            not_before: before.not_before,
            at: before.failed_at,
        }),
    }))
}

/// Returns how long the next attempt has to wait after so many failures.
fn wait_of(failures: u32, free: u32) -> u64 {
    let further = failures
        .checked_sub(free)
        .and_then(|over| over.checked_sub(1));
    match further {
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
        let waits: Vec<u64> = (4..=14).map(|failures| wait_of(failures, 5)).collect();
        let expected = [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60].map(|seconds| seconds * 1000);
        assert_eq!(waits, expected);
        assert_eq!(wait_of(u32::MAX, 5), THROTTLE_MAX_MS);
        assert_eq!(wait_of(u32::MAX, u32::MAX), 0);
    }

    #[test]
    fn a_login_wait_stays_bounded_when_log_time_goes_back() {
        let held = |failed_at, not_before| Throttle {
            failures: 13,
            failed_at: Timestamp(failed_at),
            not_before: Timestamp(not_before),
        };
        let (year, now) = (365 * 24 * 60 * 60 * 1000, Timestamp(1000));
        assert_eq!(held(1000, 61_000).left_ms(now), 60_000);
        assert_eq!(held(0, 1000).left_ms(now), 0);
        assert_eq!(
            held(year, year + 60_000).left_ms(now),
            0,
            "failed in the future"
        );
        assert_eq!(held(0, year).left_ms(now), THROTTLE_MAX_MS);
    }
}
