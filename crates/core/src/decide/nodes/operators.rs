//! Adds and removes operators, which run the cluster's machines, each with a credential of its own.
//!
//! An operator is no account, and an administrator of accounts is no operator.
//!
//! Always true: once a cluster has an operator it always has one, and no two operators have the
//! same name or the same credential.

use crate::{
    Accepted, Bound, ClusterEvent, Event, Lookup, OperatorName, Rejection, Timestamp, TokenHash,
    decide::ruling::Ruling, limits::OPERATORS_MAX,
};

pub(crate) fn make_first_operator(
    lookup: &impl Lookup,
    now: Timestamp,
    token: TokenHash,
) -> Ruling {
    if !lookup.operators()?.is_empty() {
        return Err(Rejection::NotAllowed.into());
    }
    Ok((Accepted::Done, vec![only(token, now)]))
}

/// Ends all credentials: those that were lost may have been found by others.
pub(crate) fn reset_operators(lookup: &impl Lookup, now: Timestamp, token: TokenHash) -> Ruling {
    let removed = |name| Event::Cluster(ClusterEvent::OperatorRemoved { name });
    let mut events: Vec<Event> = lookup.operators()?.into_iter().map(removed).collect();
    events.push(only(token, now));
    Ok((Accepted::Done, events))
}

pub(crate) fn create_operator(
    lookup: &impl Lookup,
    now: Timestamp,
    by: OperatorName,
    name: &OperatorName,
    token: TokenHash,
) -> Ruling {
    let known = lookup.operators()?;
    if known.iter().any(|other| other.key() == name.key()) {
        return Err(Rejection::NameTaken.into());
    }
    if lookup.operator_by_token(&token)?.is_some() {
        return Err(Rejection::TokenInUse.into());
    }
    if known.len() >= OPERATORS_MAX {
        let what = Bound::Operators;
        return Err(Rejection::TooMany { what }.into());
    }
    let created = Event::Cluster(ClusterEvent::OperatorCreated {
        name: name.clone(),
        token,
        by: Some(by),
        at: now,
    });
    Ok((Accepted::Done, vec![created]))
}

/// Removes an operator. One that is not there is removed already.
pub(crate) fn revoke_operator(lookup: &impl Lookup, name: &OperatorName) -> Ruling {
    let known = lookup.operators()?;
    let events = match known.iter().find(|other| other.key() == name.key()) {
        Some(_) if known.len() == 1 => return Err(Rejection::LastOperator.into()),
        Some(found) => vec![Event::Cluster(ClusterEvent::OperatorRemoved {
            name: found.clone(),
        })],
        None => Vec::new(),
    };
    Ok((Accepted::Done, events))
}

fn only(token: TokenHash, at: Timestamp) -> Event {
    Event::Cluster(ClusterEvent::OperatorCreated {
        name: OperatorName::first(),
        token,
        by: None,
        at,
    })
}
