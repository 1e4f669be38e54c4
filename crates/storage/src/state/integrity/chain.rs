//! The chain: one digest over every answer and event since the first entry.
//!
//! Replicas compare it to notice at once that they differ. Always true: two different lists of
//! facts are never fed as the same bytes; every value has a fixed or a stated length.

use blake3::Hasher;
use conclave_core::{AccountId, Allowance, Event, OperatorName, Position};

use crate::state::column::{account_role_number, member_role_number};

/// Feeds one answer, as it is kept.
pub(crate) fn answer(hasher: &mut Hasher, json: &str) {
    hasher.update(b"a");
    bytes(hasher, json.as_bytes());
}

/// Feeds what an account has used after it has paid for a request.
pub(crate) fn allowance(hasher: &mut Hasher, account: AccountId, allowance: &Allowance) {
    let totals = [account.0, allowance.conversations, allowance.stored_bytes];
    let values = totals.into_iter().chain(allowance.full_at);
    words(hasher, b"u", values);
}

/// Feeds one event.
pub(crate) fn event(hasher: &mut Hasher, position: Position, event: &Event) {
    let mut put = |kind, values: &[u64]| head(hasher, kind, position, values);
    match event {
        Event::AccountCreated {
            account,
            name,
            password_hash,
            role,
            at,
        } => {
            put(
                1,
                &[account.0, at.0, account_role_number(*role).cast_unsigned()],
            );
            bytes(hasher, name.as_str().as_bytes());
            bytes(hasher, password_hash.as_bytes());
        }
        Event::AccountDeleted { account } => put(2, &[account.0]),
        Event::SessionOpened {
            session,
            account,
            token,
            label,
            at,
            began_at,
            expires_at,
        } => {
            let numbers = [session.0, account.0, at.0, began_at.0, expires_at.0];
            put(3, &numbers);
            bytes(hasher, &token.0);
            bytes(hasher, label.as_str().as_bytes());
        }
        Event::SessionRenewed {
            session,
            expires_at,
            used_at,
        } => put(4, &[session.0, expires_at.0, used_at.0]),
        Event::SessionClosed { session, forget_at } => put(5, &[session.0, forget_at.0]),
        Event::SessionForgotten { session } => put(6, &[session.0]),
        Event::ConversationOpened {
            conversation,
            members: (a, b),
            at,
        } => put(7, &[conversation.0, a.0, b.0, at.0]),
        other => event_of_messages(hasher, position, other),
    }
}

/// Feeds an event about messages or their changes.
fn event_of_messages(hasher: &mut Hasher, position: Position, event: &Event) {
    let mut put = |kind, values: &[u64]| head(hasher, kind, position, values);
    match event {
        Event::MessageSent {
            conversation,
            sequence,
            by,
            at,
            text,
            reply_to,
            action,
            ordinal,
            mentions,
        } => {
            let reply_to = reply_to.map_or(0, |sequence| sequence.0);
            let values = [conversation.0, sequence.0, by.0, at.0, reply_to, *ordinal];
            put(8, &values);
            hasher.update(&[u8::from(*action)]);
            bytes(hasher, text.as_str().as_bytes());
            numbers(hasher, mentions);
        }
        Event::PositionAdvanced {
            conversation,
            account,
            progress,
        } => {
            let far = [progress.delivered.0, progress.read.0];
            put(9, &[conversation.0, account.0, far[0], far[1]]);
        }
        Event::MessageHidden {
            conversation,
            sequence,
            account,
        } => put(10, &[conversation.0, sequence.0, account.0]),
        Event::MessageDeleted {
            conversation,
            sequence,
            at,
        } => put(11, &[conversation.0, sequence.0, at.0]),
        Event::MessageEdited {
            conversation,
            sequence,
            at,
            text,
            mentions,
        } => {
            put(22, &[conversation.0, sequence.0, at.0]);
            bytes(hasher, text.as_str().as_bytes());
            numbers(hasher, mentions);
        }
        Event::ReactionChanged {
            conversation,
            sequence,
            account,
            reaction,
            present,
        } => {
            let values = [conversation.0, sequence.0, account.0, u64::from(*present)];
            put(23, &values);
            bytes(hasher, reaction.as_str().as_bytes());
        }
        other => event_of_people(hasher, position, other),
    }
}

/// Feeds an event about accounts, or about what allows log-ins and new accounts.
fn event_of_people(hasher: &mut Hasher, position: Position, event: &Event) {
    let mut put = |kind, values: &[u64]| head(hasher, kind, position, values);
    match event {
        Event::PasswordChanged {
            account,
            password_hash,
            password_version,
        } => {
            put(12, &[account.0, *password_version]);
            bytes(hasher, password_hash.as_bytes());
        }
        Event::DisplayNameChanged {
            account,
            display_name,
        } => {
            put(13, &[account.0]);
            bytes(hasher, display_name.as_str().as_bytes());
        }
        Event::AccountRoleChanged { account, role } => {
            put(14, &[account.0, account_role_number(*role).cast_unsigned()]);
        }
        Event::BlockChanged {
            account,
            other,
            blocked,
        } => put(15, &[account.0, other.0, u64::from(*blocked)]),
        Event::SetupOffered { token } => {
            put(16, &[]);
            bytes(hasher, &token.0);
        }
        Event::InviteCreated {
            invite,
            code,
            by,
            expires_at,
            uses,
        } => {
            put(17, &[invite.0, by.0, expires_at.0, u64::from(*uses)]);
            bytes(hasher, &code.0);
        }
        Event::InviteUsed { invite, uses_left } => put(18, &[invite.0, u64::from(*uses_left)]),
        Event::InviteRemoved { invite } => put(19, &[invite.0]),
        Event::LoginFailed {
            key,
            failures,
            not_before,
            at,
        } => {
            put(20, &[u64::from(*failures), not_before.0, at.0]);
            bytes(hasher, &key.0);
        }
        Event::LoginForgiven { key } => {
            put(21, &[]);
            bytes(hasher, &key.0);
        }
        Event::LoginKnown { account, place, at } => {
            put(60, &[account.0, at.0]);
            bytes(hasher, &place.0);
        }
        Event::LoginForgotten { account, place } => {
            put(61, &[account.0]);
            bytes(hasher, &place.0);
        }
        Event::PasswordRehashed {
            account,
            password_hash,
        } => {
            put(62, &[account.0]);
            bytes(hasher, password_hash.as_bytes());
        }
        Event::AccountSuspended { account, suspended } => {
            put(63, &[account.0, u64::from(*suspended)]);
        }
        other => event_of_nodes(hasher, position, other),
    }
}

/// Feeds an event about the nodes of the cluster.
fn event_of_nodes(hasher: &mut Hasher, position: Position, event: &Event) {
    let mut put = |kind, values: &[u64]| head(hasher, kind, position, values);
    match event {
        Event::JoinTokenCreated {
            token,
            expires_at,
            voter,
            by,
            at,
        } => {
            put(33, &[expires_at.0, u64::from(*voter), at.0]);
            bytes(hasher, &token.0);
            bytes(hasher, by.as_str().as_bytes());
        }
        Event::JoinTokenRemoved { token } => {
            put(34, &[]);
            bytes(hasher, &token.0);
        }
        Event::OperatorCreated {
            name,
            token,
            by,
            at,
        } => {
            put(38, &[at.0, u64::from(by.is_some())]);
            bytes(hasher, name.as_str().as_bytes());
            bytes(hasher, &token.0);
            // A name is never empty.
            let by = by.as_ref().map_or("", OperatorName::as_str);
            bytes(hasher, by.as_bytes());
        }
        Event::OperatorRemoved { name } => {
            put(39, &[]);
            bytes(hasher, name.as_str().as_bytes());
        }
        Event::NodeAdmitted { node } => put(35, &[node.0]),
        Event::NodeRetired { node } => put(36, &[node.0]),
        Event::AuthorityExchanged {
            generation,
            authority,
            is_final,
        } => {
            put(64, &[*generation, u64::from(*is_final)]);
            bytes(hasher, &authority.0);
        }
        Event::LeaderPreferred { node } => put(37, &[node.map_or(0, |node| node.0)]),
        Event::AccountLimitsChanged { limits } => {
            let values: Vec<u64> = limits.iter().map(|(_, value)| value).collect();
            put(65, &values);
        }
        other => event_of_rooms(hasher, position, other),
    }
}

/// Feeds an event about rooms.
fn event_of_rooms(hasher: &mut Hasher, position: Position, event: &Event) {
    let mut put = |kind, values: &[u64]| head(hasher, kind, position, values);
    match event {
        Event::RoomCreated {
            conversation,
            name,
            topic,
            public,
            at,
        } => {
            put(24, &[conversation.0, u64::from(*public), at.0]);
            bytes(hasher, name.as_str().as_bytes());
            bytes(hasher, topic.as_str().as_bytes());
        }
        Event::MemberJoined {
            conversation,
            account,
            role,
            progress,
        } => {
            let role = member_role_number(*role).cast_unsigned();
            let far = [progress.delivered.0, progress.read.0];
            put(25, &[conversation.0, account.0, role, far[0], far[1]]);
        }
        Event::MemberLeft {
            conversation,
            account,
            by,
        } => put(26, &[conversation.0, account.0, by.0]),
        Event::MemberRoleChanged {
            conversation,
            account,
            role,
        } => {
            let role = member_role_number(*role).cast_unsigned();
            put(27, &[conversation.0, account.0, role]);
        }
        Event::TopicChanged {
            conversation,
            topic,
        } => {
            put(28, &[conversation.0]);
            bytes(hasher, topic.as_str().as_bytes());
        }
        Event::MemberInvited {
            conversation,
            account,
            by,
        } => put(29, &[conversation.0, account.0, by.0]),
        Event::InvitationRemoved {
            conversation,
            account,
        } => put(30, &[conversation.0, account.0]),
        Event::WebhookCreated {
            webhook,
            token,
            conversation,
            account,
            by,
            at,
        } => {
            let values = [webhook.0, conversation.0, account.0, by.0, at.0];
            put(31, &values);
            bytes(hasher, &token.0);
        }
        Event::WebhookDeleted { webhook } => put(32, &[webhook.0]),
        _ => unreachable!("every other event was fed before"),
    }
}

/// Feeds the kind of an event, its place, and its numbers: as many as its kind has.
fn head(hasher: &mut Hasher, kind: u8, position: Position, values: &[u64]) {
    let values = values.iter().copied();
    words(
        hasher,
        &[b'e', kind],
        std::iter::once(position.0).chain(values),
    );
}

/// Feeds a tag and numbers. Many small pieces would each cost as much as one that holds them all.
fn words(hasher: &mut Hasher, tag: &[u8], values: impl Iterator<Item = u64>) {
    const WORD: usize = size_of::<u64>();
    let mut piece = [0; 16 * WORD];
    piece[..tag.len()].copy_from_slice(tag);
    let mut end = tag.len();
    for value in values {
        if end + WORD > piece.len() {
            hasher.update(&piece[..end]);
            end = 0;
        }
        piece[end..end + WORD].copy_from_slice(&value.to_le_bytes());
        end += WORD;
    }
    hasher.update(&piece[..end]);
}

/// Feeds numbers of accounts with their count before them.
fn numbers(hasher: &mut Hasher, accounts: &[AccountId]) {
    let count = std::iter::once(accounts.len() as u64);
    words(
        hasher,
        &[],
        count.chain(accounts.iter().map(|account| account.0)),
    );
}

/// Feeds bytes with their length before them.
pub(crate) fn bytes(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_are_fed_as_the_same_bytes_whatever_their_count() {
        for count in 0..100_u64 {
            let mut in_pieces = Hasher::new();
            words(&mut in_pieces, b"e1", 0..count);
            let mut one_by_one = Hasher::new();
            one_by_one.update(b"e1");
            (0..count).for_each(|value| {
                one_by_one.update(&value.to_le_bytes());
            });
            assert_eq!(in_pieces.finalize(), one_by_one.finalize(), "{count}");
        }
    }

    #[test]
    fn every_kind_of_event_is_fed_under_a_number_of_its_own() {
        let source = include_str!("chain.rs");
        let rules = source.split("#[cfg(test)]").next().unwrap_or_default();
        let mut numbers = BTreeSet::new();
        for call in rules.split("put(").skip(1) {
            let number = call.split(',').next().unwrap_or_default();
            assert!(numbers.insert(number), "{number} stands for two kinds");
        }
        assert!(numbers.len() > 40, "{numbers:?}");
    }
}
