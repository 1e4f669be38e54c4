//! The chain: one digest over every answer and event since the first entry.
//!
//! Replicas compare it to notice at once that they differ. Always true: two different lists of
//! facts are never fed as the same bytes; every value has a fixed or a stated length.

use blake3::Hasher;
use conclave_core::{Event, Position};

/// Feeds one answer, as it is kept.
pub(super) fn answer(hasher: &mut Hasher, json: &str) {
    hasher.update(b"a");
    bytes(hasher, json.as_bytes());
}

/// Feeds one event.
pub(super) fn event(hasher: &mut Hasher, position: Position, event: &Event) {
    let mut put = |kind: u8, values: &[u64]| {
        hasher.update(&[b'e', kind]);
        hasher.update(&position.0.to_le_bytes());
        for value in values {
            hasher.update(&value.to_le_bytes());
        }
    };
    match event {
        Event::AccountCreated {
            account,
            name,
            password_hash,
            at,
        } => {
            put(1, &[account.0, at.0]);
            bytes(hasher, name.as_str().as_bytes());
            bytes(hasher, password_hash.as_bytes());
        }
        Event::AccountDeleted { account } => put(2, &[account.0]),
        Event::SessionOpened {
            session,
            account,
            token,
            at,
            expires_at,
        } => {
            put(3, &[session.0, account.0, at.0, expires_at.0]);
            bytes(hasher, &token.0);
        }
        Event::SessionRenewed {
            session,
            expires_at,
        } => put(4, &[session.0, expires_at.0]),
        Event::SessionClosed { session, forget_at } => put(5, &[session.0, forget_at.0]),
        Event::SessionForgotten { session } => put(6, &[session.0]),
        Event::ConversationOpened {
            conversation,
            members: (a, b),
            at,
        } => put(7, &[conversation.0, a.0, b.0, at.0]),
        Event::MessageSent {
            conversation,
            sequence,
            by,
            at,
            text,
        } => {
            put(8, &[conversation.0, sequence.0, by.0, at.0]);
            bytes(hasher, text.as_str().as_bytes());
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
    }
}

/// Feeds bytes with their length before them.
pub(super) fn bytes(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}
