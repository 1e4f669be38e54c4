//! What every call has besides its message: who makes it, from where, and until when.
//!
//! gRPC and webhooks translate their requests into this; nothing behind them knows by which
//! protocol a call has come.

use std::net::SocketAddr;

use axum::http::HeaderMap;
use conclave_core::Position;
use conclave_wire::v1;

use crate::{auth::credential::Credential, base::deadline::Deadline};

/// What a call has besides its message.
#[derive(Debug)]
pub(crate) struct Call {
    /// Time by which the call must be answered.
    pub(crate) deadline: Deadline,
    /// Address of the caller, if it is known.
    pub(crate) address: Option<SocketAddr>,
    /// What the call shows of its caller.
    pub(crate) credential: Credential,
    /// Key that tells a retry from another call, if the protocol has it beside what is asked; gRPC
    /// has it inside.
    pub(crate) key: Option<String>,
}

impl Call {
    /// Returns the call of gRPC with these headers, from this address.
    pub(crate) fn in_headers(headers: &HeaderMap, address: Option<SocketAddr>) -> Self {
        Self {
            deadline: Deadline::in_headers(headers),
            address,
            credential: Credential::in_headers(headers),
            key: None,
        }
    }
}

/// How fresh the state that a call reads has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// It has everything that was acknowledged before the call.
    Latest,
    /// It has everything up to this position. This needs no quorum.
    AtLeast(Position),
}

impl Freshness {
    /// As fresh as the node is.
    pub(crate) const ANY: Self = Self::AtLeast(Position(0));
}

impl From<Option<v1::ReadOptions>> for Freshness {
    fn from(asked: Option<v1::ReadOptions>) -> Self {
        let asked = asked.unwrap_or_default();
        match asked.consistency() {
            v1::Consistency::Unspecified | v1::Consistency::Linearizable => Self::Latest,
            v1::Consistency::Stale => Self::AtLeast(Position(asked.min_position)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_fresh_unless_the_client_asks_for_less() {
        let asked = |consistency: i32, min_position| {
            Freshness::from(Some(v1::ReadOptions {
                consistency,
                min_position,
            }))
        };
        assert_eq!(Freshness::from(None), Freshness::Latest);
        assert_eq!(
            asked(v1::Consistency::Linearizable.into(), 7),
            Freshness::Latest
        );
        assert_eq!(asked(99, 7), Freshness::Latest);
        let stale = v1::Consistency::Stale.into();
        assert_eq!(asked(stale, 0), Freshness::ANY);
        assert_eq!(
            asked(stale, u64::MAX),
            Freshness::AtLeast(Position(u64::MAX))
        );
    }
}
