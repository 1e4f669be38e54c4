//! The cluster version: which operations the log may hold, and by which rules they are decided.
//!
//! It is part of the state. A new cluster has [`ClusterVersion::FIRST`] until the log says another
//! one; from then on it never falls. A build applies a range of versions ([`VersionRange::BUILD`]),
//! and rules ask the state for the version at their entry, never the build for its own.
//!
//! | Version | What it adds |
//! |---|---|
//! | 1 | everything before there was a second one |
//! | 2 | an admission says which versions the machine can apply, and the log refuses an older one |
//! | 3 | acknowledgements wait for all voters, if an operator wants that |
//! | 3 | witnesses, which keep the log alone |
//! | 3 | messages have the log time of their entry, and are forgotten by age and number |
//! | 3 | acts of administrators and operators are recorded |
//!
//! Which operation needs which version is in `decide/introduced.rs`. Always true: a version that a
//! release has had keeps its meaning.

use std::fmt;

/// A version of operations and rules, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterVersion(pub u32);

impl ClusterVersion {
    /// The version of a state whose log has not said another one.
    pub const FIRST: Self = Self(1);
    /// Admissions say which versions the machine can apply.
    pub const ADMISSION_SAYS_VERSION: Self = Self(2);
    /// Members may be witnesses, which keep the log alone.
    pub const WITNESSES: Self = Self(3);
    /// The log says which voters an acknowledgement waits for, and which members lost their vote
    /// because it waited for them.
    pub const ACK_POLICY: Self = Self(3);
    /// Messages have the log time of their entry, and are forgotten by age and number.
    pub const RETENTION: Self = Self(3);
    /// Acts of administrators and operators are recorded.
    pub const AUDIT: Self = Self(3);
}

impl fmt::Display for ClusterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The cluster versions that a build can apply: both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// The lowest one.
    pub oldest: ClusterVersion,
    /// The highest one.
    pub newest: ClusterVersion,
}

impl VersionRange {
    /// The versions of this build. The oldest one is that of the previous release, or older.
    pub const BUILD: Self = Self {
        oldest: ClusterVersion::FIRST,
        newest: ClusterVersion::RETENTION,
    };

    /// Returns this range without the versions after `newest`: as an earlier build has it.
    #[must_use]
    pub fn up_to(self, newest: ClusterVersion) -> Self {
        Self {
            oldest: self.oldest,
            newest: newest.clamp(self.oldest, self.newest),
        }
    }

    /// Returns whether a version lies in the range.
    #[must_use]
    pub fn contains(self, version: ClusterVersion) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }
}
