//! Every limit of an account: its name, its default and its least value.
//!
//! A limit is a number with a name, so that a new one needs no new field anywhere. Rates are
//! tokens per minute with a burst; quotas are totals.

use crate::{
    allowance::spend::SPENDS,
    limits::{DELETE_MESSAGES_MAX, TEXT_BYTES_MAX},
};

/// The greatest value of any limit: 2^40, a tebibyte, so that products fit 64 bits after a division
/// and no code needs to tell it from "without a limit".
pub const ACCOUNT_LIMIT_MAX: u64 = 1 << 40;

/// How many limits there are: two for each kind of spending, and the quotas.
pub const ACCOUNT_LIMITS: usize = 2 * SPENDS + QUOTAS;

const QUOTAS: usize = 2;

/// The name, the default and the least value (other than 0) of each limit. A rate or quota of 0
/// means: without a limit.
///
/// The defaults are far above what people and most programs do, and far below what one account
/// needs to fill a disk or a log: see `docs/security.md`.
pub(crate) const TABLE: [(&str, u64, u64); ACCOUNT_LIMITS] = [
    // 200 a second; half a minute of it at once.
    ("messages-per-minute", 12_000, 1),
    ("messages-burst", 6_000, 1),
    // 256 KiB a second, sixteen of the longest texts; a quarter of a minute of it at once.
    ("bytes-per-minute", 15 * MIB, 1),
    ("bytes-burst", 4 * MIB, TEXT_BYTES_MAX as u64),
    ("edits-per-minute", 600, 1),
    ("edits-burst", 600, 1),
    ("reactions-per-minute", 1_200, 1),
    ("reactions-burst", 600, 1),
    // Messages named, not requests.
    ("deletions-per-minute", 6_000, 1),
    ("deletions-burst", 5_000, DELETE_MESSAGES_MAX as u64),
    // What was read or delivered: a device says it about once for each message that arrives.
    ("positions-per-minute", 12_000, 1),
    ("positions-burst", 6_000, 1),
    ("rooms-per-minute", 10, 1),
    ("rooms-burst", 300, 1),
    // Everything else: sessions, conversations, members, webhooks, names, blocks.
    ("changes-per-minute", 600, 1),
    ("changes-burst", 3_000, 1),
    // Texts and the rows around them.
    ("stored-bytes", 4 * 1024 * MIB, 1),
    // Opened by the account; others may open more with it.
    ("conversations", 10_000, 1),
];

const MIB: u64 = 1024 * 1024;

/// One of the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountLimit(pub(crate) usize);

impl AccountLimit {
    /// How much an account may keep, in bytes.
    pub const STORED_BYTES: Self = Self(2 * SPENDS);
    /// How many conversations an account may open.
    pub const CONVERSATIONS: Self = Self(2 * SPENDS + 1);

    /// Returns all limits, in the order in which they are shown and stored.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..ACCOUNT_LIMITS).map(Self)
    }

    /// Returns the limit with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|limit| limit.name() == name)
    }

    /// Returns the limit with this number: its place in the order.
    #[must_use]
    pub fn numbered(number: u64) -> Option<Self> {
        let place = usize::try_from(number).ok()?;
        (place < ACCOUNT_LIMITS).then_some(Self(place))
    }

    /// Returns its place in the order, from 0.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0 as u64
    }

    /// Returns its name, as people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        TABLE[self.0].0
    }

    pub(crate) fn is_burst(self) -> bool {
        self.0 < 2 * SPENDS && self.0 % 2 == 1
    }
}
