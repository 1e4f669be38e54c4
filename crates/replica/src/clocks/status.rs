//! How the clock of a node is, for its operator.

/// How far a clock may be from the median before its node says so, in milliseconds: more than a
/// reading can be wrong and than an ordinary time service leaves, less than people notice.
pub const CLOCK_SKEW_MAX_MS: u64 = 10_000;

/// How this node's clock is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockStatus {
    /// How far it is ahead of the median of the voters, in milliseconds; negative: behind. `None`
    /// while it is not known what a majority says.
    pub skew_ms: Option<i64>,
    /// Whether that is more than [`CLOCK_SKEW_MAX_MS`].
    pub is_skewed: bool,
}
