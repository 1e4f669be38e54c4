//! The chain: one digest over every answer and event since the first entry.
//!
//! Replicas compare it to notice at once that they differ. Always true: two different lists of
//! facts are never fed as the same bytes; every value has a fixed or a stated length. How a fact is
//! fed never changes: a new kind of event gets a new number, and an event that says more is a new
//! kind. So nodes of two builds that decide alike have the same chain.

use blake3::Hasher;
use conclave_core::{
    AccessEvent, AccountEvent, AccountId, AckPolicy, Allowance, ClusterEvent, ConversationEvent,
    Event, MessageEvent, OperatorName, Position, RoomEvent, SentMessage, SessionEvent,
};

use crate::state::column::{account_role_number, member_role_number};

/// Feeds one answer, as it is kept.
pub(crate) fn answer(hasher: &mut Hasher, answer: &[u8]) {
    hasher.update(b"a");
    bytes(hasher, answer);
}

/// Feeds what an account has used after it has paid for a request.
pub(crate) fn allowance(hasher: &mut Hasher, account: AccountId, allowance: &Allowance) {
    let totals = [account.0, allowance.conversations, allowance.stored_bytes];
    let values = totals.into_iter().chain(allowance.full_at);
    words(hasher, b"u", values);
}

/// Feeds one event.
pub(crate) fn event(hasher: &mut Hasher, position: Position, event: &Event) {
    match event {
        Event::Account(event) => of_account(hasher, position, event),
        Event::Access(event) => of_access(hasher, position, event),
        Event::Session(event) => of_session(hasher, position, event),
        Event::Conversation(event) => of_conversation(hasher, position, event),
        Event::Message(event) => of_message(hasher, position, event),
        Event::Room(event) => of_room(hasher, position, event),
        Event::Cluster(event) => of_cluster(hasher, position, event),
    }
}

/// Feeds an event about an account, or the limits of all.
fn of_account(hasher: &mut Hasher, position: Position, event: &AccountEvent) {
    let mut put = |kind, values: &[u64]| head(hasher, kind, position, values);
    match event {
        AccountEvent::Created {
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
        AccountEvent::Deleted { account } => put(2, &[account.0]),
        AccountEvent::PasswordChanged {
            account,
            password_hash,
            password_version,
        } => {
            put(12, &[account.0, *password_version]);
            bytes(hasher, password_hash.as_bytes());
        }
        AccountEvent::DisplayNameChanged {
            account,
            display_name,
        } => {
            put(13, &[account.0]);
            bytes(hasher, display_name.as_str().as_bytes());
        }
        AccountEvent::RoleChanged { account, role } => {
            put(14, &[account.0, account_role_number(*role).cast_unsigned()]);
        }
        AccountEvent::BlockChanged {
            account,
            other,
            blocked,
        } => put(15, &[account.0, other.0, u64::from(*blocked)]),
        AccountEvent::PasswordRehashed {
            account,
            password_hash,
        } => {
            put(62, &[account.0]);
            bytes(hasher, password_hash.as_bytes());
        }
        AccountEvent::Suspended { account, suspended } => {
            put(63, &[account.0, u64::from(*suspended)]);
        }
        AccountEvent::LimitsChanged { limits } => {
            let values: Vec<u64> = limits.iter().map(|(_, value)| value).collect();
            put(65, &values);
        }
    }
}

/// Feeds an event about what allows log-ins and new accounts.
fn of_access(hasher: &mut Hasher, position: Position, event: &AccessEvent) {
    let mut put = |kind, values: &[u64]| head(hasher, kind, position, values);
    match event {
        AccessEvent::SetupOffered { token } => {
            put(16, &[]);
            bytes(hasher, &token.0);
        }
        AccessEvent::InviteCreated {
            invite,
            code,
            by,
            expires_at,
            uses,
        } => {
            put(17, &[invite.0, by.0, expires_at.0, u64::from(*uses)]);
            bytes(hasher, &code.0);
        }
        AccessEvent::InviteUsed { invite, uses_left } => {
            put(18, &[invite.0, u64::from(*uses_left)])
        }
        AccessEvent::InviteRemoved { invite } => put(19, &[invite.0]),
        AccessEvent::LoginFailed {
            key,
            failures,
            not_before,
            at,
        } => {
            put(20, &[u64::from(*failures), not_before.0, at.0]);
            bytes(hasher, &key.0);
        }
        AccessEvent::LoginForgiven { key } => {
            put(21, &[]);
            bytes(hasher, &key.0);
        }
        AccessEvent::LoginKnown { account, place, at } => {
            put(60, &[account.0, at.0]);
            bytes(hasher, &place.0);
        }
        AccessEvent::LoginForgotten { account, place } => {
            put(61, &[account.0]);
            bytes(hasher, &place.0);
        }
    }
}

/// Feeds an event about a session.
fn of_session(hasher: &mut Hasher, position: Position, event: &SessionEvent) {
    let mut put = |kind, values: &[u64]| head(hasher, kind, position, values);
    match event {
        SessionEvent::Opened {
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
        SessionEvent::Renewed {
            session,
            expires_at,
            used_at,
        } => put(4, &[session.0, expires_at.0, used_at.0]),
        SessionEvent::Closed { session, forget_at } => put(5, &[session.0, forget_at.0]),
        SessionEvent::Forgotten { session } => put(6, &[session.0]),
    }
}

/// Feeds an event about a conversation of either kind.
fn of_conversation(hasher: &mut Hasher, position: Position, event: &ConversationEvent) {
    let mut put = |kind, values: &[u64]| head(hasher, kind, position, values);
    match event {
        ConversationEvent::Opened {
            conversation,
            members: (a, b),
            at,
        } => put(7, &[conversation.0, a.0, b.0, at.0]),
        ConversationEvent::PositionAdvanced {
            conversation,
            account,
            progress,
        } => {
            let far = [progress.delivered.0, progress.read.0];
            put(9, &[conversation.0, account.0, far[0], far[1]]);
        }
        ConversationEvent::Forgotten {
            conversation,
            through,
        } => put(69, &[conversation.0, through.0]),
    }
}

/// Feeds an event about a message.
fn of_message(hasher: &mut Hasher, position: Position, event: &MessageEvent) {
    let mut put = |kind, values: &[u64]| head(hasher, kind, position, values);
    match event {
        MessageEvent::Sent(SentMessage {
            conversation,
            sequence,
            by,
            at,
            text,
            reply_to,
            action,
            ordinal,
            mentions,
        }) => {
            let reply_to = reply_to.map_or(0, |sequence| sequence.0);
            let values = [conversation.0, sequence.0, by.0, at.0, reply_to, *ordinal];
            put(8, &values);
            hasher.update(&[u8::from(*action)]);
            bytes(hasher, text.as_str().as_bytes());
            numbers(hasher, mentions);
        }
        MessageEvent::Hidden {
            conversation,
            sequence,
            account,
        } => put(10, &[conversation.0, sequence.0, account.0]),
        MessageEvent::Deleted {
            conversation,
            sequence,
            at,
        } => put(11, &[conversation.0, sequence.0, at.0]),
        MessageEvent::Edited {
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
        MessageEvent::ReactionChanged {
            conversation,
            sequence,
            account,
            reaction,
            present,
            count,
        } => {
            let present = u64::from(*present);
            let values = [conversation.0, sequence.0, account.0, present, *count];
            put(23, &values);
            bytes(hasher, reaction.as_str().as_bytes());
        }
    }
}

/// Feeds an event about a room.
fn of_room(hasher: &mut Hasher, position: Position, event: &RoomEvent) {
    let mut put = |kind, values: &[u64]| head(hasher, kind, position, values);
    match event {
        RoomEvent::Created {
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
        RoomEvent::MemberJoined {
            conversation,
            account,
            role,
            progress,
        } => {
            let role = member_role_number(*role).cast_unsigned();
            let far = [progress.delivered.0, progress.read.0];
            put(25, &[conversation.0, account.0, role, far[0], far[1]]);
        }
        RoomEvent::MemberLeft {
            conversation,
            account,
            by,
        } => put(26, &[conversation.0, account.0, by.0]),
        RoomEvent::MemberRoleChanged {
            conversation,
            account,
            role,
        } => {
            let role = member_role_number(*role).cast_unsigned();
            put(27, &[conversation.0, account.0, role]);
        }
        RoomEvent::TopicChanged {
            conversation,
            topic,
        } => {
            put(28, &[conversation.0]);
            bytes(hasher, topic.as_str().as_bytes());
        }
        RoomEvent::RetentionChanged {
            conversation,
            retention,
        } => {
            let [age, messages] = [retention.age_ms, retention.messages];
            let is_set = [u64::from(age.is_some()), u64::from(messages.is_some())];
            let values = [age.unwrap_or(0), messages.unwrap_or(0)];
            let [[has_age, has_number], [age, number]] = [is_set, values];
            put(70, &[conversation.0, has_age, age, has_number, number]);
        }
        RoomEvent::MemberInvited {
            conversation,
            account,
            by,
        } => put(29, &[conversation.0, account.0, by.0]),
        RoomEvent::InvitationRemoved {
            conversation,
            account,
        } => put(30, &[conversation.0, account.0]),
        RoomEvent::WebhookCreated {
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
        RoomEvent::WebhookDeleted { webhook } => put(32, &[webhook.0]),
    }
}

/// Feeds an event about the cluster.
fn of_cluster(hasher: &mut Hasher, position: Position, event: &ClusterEvent) {
    let mut put = |kind, values: &[u64]| head(hasher, kind, position, values);
    match event {
        ClusterEvent::JoinTokenCreated {
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
        ClusterEvent::JoinTokenRemoved { token } => {
            put(34, &[]);
            bytes(hasher, &token.0);
        }
        ClusterEvent::OperatorCreated {
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
        ClusterEvent::OperatorRemoved { name } => {
            put(39, &[]);
            bytes(hasher, name.as_str().as_bytes());
        }
        ClusterEvent::NodeAdmitted { node } => put(35, &[node.0]),
        ClusterEvent::NodeRetired { node } => put(36, &[node.0]),
        ClusterEvent::AuthorityRotated {
            generation,
            authority,
            is_final,
        } => {
            put(64, &[*generation, u64::from(*is_final)]);
            bytes(hasher, &authority.0);
        }
        ClusterEvent::VersionRaised { to } => put(66, &[u64::from(to.0)]),
        ClusterEvent::RetentionChanged { retention } => {
            let may_exceed = u64::from(retention.rooms_may_exceed);
            let each = retention.each;
            let total = retention.total_messages;
            put(71, &[each.age_ms, each.messages, may_exceed, total]);
        }
        ClusterEvent::LeaderPreferred { node } => put(37, &[node.map_or(0, |node| node.0)]),
        ClusterEvent::AckPolicyChanged { policy } => {
            put(67, &[u64::from(*policy == AckPolicy::All)]);
        }
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
    fn batched_and_single_numbers_feed_the_same_bytes() {
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
    fn every_kind_of_event_is_hashed_under_its_own_number() {
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
