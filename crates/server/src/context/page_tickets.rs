//! Tickets with which a browser that is signed in at one node takes its session to another node,
//! whose cookies it keeps apart.
//!
//! The node where the browser is signed in makes a ticket for each other node and sends the
//! session's token to that node (`PeerService.OfferSession`); the browser gets the ticket, and
//! hands it to the other node. So the ticket works after the first node has died.
//!
//! Always true: a ticket works once, at one node, and for [`TICKET_LIFE`]; a node keeps a bounded
//! number of them, and only the hash of each.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use conclave_core::TokenHash;
use conclave_wire::request::TOKEN_BYTES;
use tokio::time::Instant;

/// How long a ticket works.
pub(crate) const TICKET_LIFE: Duration = Duration::from_secs(60);
/// Maximum number of tickets of one node. At the bound, another one is refused, and the person
/// signs in at that node.
const TICKETS_MAX: usize = 16_384;

/// Tickets that this node takes.
#[derive(Default)]
pub(crate) struct PageTickets {
    of: Mutex<HashMap<TokenHash, Offer>>,
}

/// The session that a ticket stands for.
struct Offer {
    token: [u8; TOKEN_BYTES],
    until: Instant,
}

impl PageTickets {
    /// Keeps a session for the browser that shows the ticket with this hash; returns whether there
    /// was room.
    pub(crate) fn keep(&self, ticket: TokenHash, token: [u8; TOKEN_BYTES]) -> bool {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if of.len() >= TICKETS_MAX {
            of.retain(|_, offer| offer.until > now);
        }
        if of.len() >= TICKETS_MAX {
            return false;
        }
        let until = now + TICKET_LIFE;
        of.insert(ticket, Offer { token, until });
        true
    }

    /// Returns whether there is such a ticket.
    pub(crate) fn has(&self, ticket: &TokenHash) -> bool {
        let of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.contains_key(ticket)
    }

    /// Uses up a ticket; returns the token of its session.
    pub(crate) fn take(&self, ticket: &TokenHash) -> Option<[u8; TOKEN_BYTES]> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let offer = of.remove(ticket)?;
        (offer.until > Instant::now()).then_some(offer.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> TokenHash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        TokenHash(hash)
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_works_once_and_for_a_minute() {
        let tickets = PageTickets::default();
        assert!(tickets.keep(hash(1), [1; TOKEN_BYTES]));
        assert!(tickets.keep(hash(2), [2; TOKEN_BYTES]));
        assert_eq!(tickets.take(&hash(1)), Some([1; TOKEN_BYTES]));
        assert_eq!(tickets.take(&hash(1)), None);
        assert_eq!(tickets.take(&hash(3)), None);
        tokio::time::advance(TICKET_LIFE).await;
        assert_eq!(tickets.take(&hash(2)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn tickets_are_bounded_and_expired_ones_make_room() {
        let tickets = PageTickets::default();
        for number in 0..TICKETS_MAX {
            assert!(tickets.keep(hash(number), [0; TOKEN_BYTES]));
        }
        assert!(!tickets.keep(hash(TICKETS_MAX), [0; TOKEN_BYTES]));
        tokio::time::advance(TICKET_LIFE).await;
        assert!(tickets.keep(hash(TICKETS_MAX), [0; TOKEN_BYTES]));
    }
}
