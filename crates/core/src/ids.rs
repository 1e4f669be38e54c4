//! The numbers by which things are known. All are assigned by the log, none by a clock or dice.
//!
//! Always true: identifiers of accounts, sessions and conversations are never used twice.

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Returns the number that follows.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("64-bit numbers do not run out"))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// An account. A name that is used again after a deletion gets a new one.
    AccountId
}
number! {
    /// An exactly-once session of an account: a login.
    SessionId
}
number! {
    /// A conversation: two people, or a room.
    ConversationId
}
number! {
    /// An invite: a code with which accounts can be created.
    InviteId
}
number! {
    /// A webhook: an address to which programs post messages for a room.
    WebhookId
}
number! {
    /// A node of the cluster. The log assigns the number when a machine joins.
    NodeId
}

number! {
    /// The place of a message in its conversation: 1, 2, 3 … without gaps.
    Sequence
}

/// Milliseconds since 1970-01-01 UTC, in log time: stamped by the leader that proposed the entry
/// and never running backwards, whatever the leaders' clocks say.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Returns this time and `ms` milliseconds more; the end of time instead of an overflow.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Bits of a [`Position`] that number the events of one log entry.
pub const POSITION_EVENT_BITS: u32 = 20;

/// The position of an event in the log: entry and place within the entry. The same on every node,
/// strictly growing, so a reader may resume at one on any node.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Returns the position of event `event` (from 0) of the log entry `index`.
    ///
    /// # Panics
    /// If the entry has more events than the bounds of [`crate::limits`] allow, or the log more
    /// than 2^43 entries: both are broken promises, not input.
    #[must_use]
    pub fn new(index: u64, event: u64) -> Self {
        assert!(
            event < 1 << POSITION_EVENT_BITS,
            "an entry has more events than its bound"
        );
        assert!(
            index < 1 << (63 - POSITION_EVENT_BITS),
            "the log index does not fit a position"
        );
        Self(index << POSITION_EVENT_BITS | event)
    }

    /// Returns the log entry that this position lies in.
    #[must_use]
    pub fn index(self) -> u64 {
        self.0 >> POSITION_EVENT_BITS
    }

    /// Returns the last position that entry `index` can have.
    #[must_use]
    pub fn end_of(index: u64) -> Self {
        Self::new(index, (1 << POSITION_EVENT_BITS) - 1)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl TryFrom<&[u8]> for $name {
            type Error = std::array::TryFromSliceError;
            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                bytes.try_into().map(Self)
            }
        }
    };
}

bytes! {
    /// BLAKE3 of a secret: a session's token, an invite's code, a webhook's address, the setup
    /// token, a machine's join token. The secret itself is never stored or logged.
    TokenHash, 32
}
bytes! {
    /// BLAKE3 of what log-ins are slowed down by: an account's name, a network address, both, a
    /// device, or a session.
    ThrottleKey, 16
}
bytes! {
    /// The client's 128 random bits that name one request made outside a session.
    OnceId, 16
}

bytes! {
    /// The first bytes of a join token's hash: by them people tell tokens apart. No two tokens of
    /// a cluster that can be used have the same.
    JoinTokenId, 4
}

bytes! {
    /// SHA-256 of the certificate of an authority: which one peers trust. It is no secret.
    AuthorityId, 32
}

impl AuthorityId {
    /// Stands in the place of one that is wanted and still to be made.
    pub const WANTED: Self = Self([0; 32]);
}

impl std::fmt::Debug for AuthorityId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthorityId(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

impl JoinTokenId {
    /// Returns the id of the token with this hash.
    #[must_use]
    pub fn of(token: &TokenHash) -> Self {
        let [a, b, c, d, ..] = token.0;
        Self([a, b, c, d])
    }
}

impl std::fmt::Display for JoinTokenId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for JoinTokenId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JoinTokenId({self})")
    }
}

impl Default for ThrottleKey {
    /// Returns the key of nothing.
    fn default() -> Self {
        Self([0; 16])
    }
}

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl std::fmt::Debug for ThrottleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ThrottleKey(…)")
    }
}

impl std::fmt::Debug for OnceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnceId(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// A digest of what a request asks for and of its client (the client's nonce), made where the
/// request arrives. Two requests with the same number are the same if their digests are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u64);
