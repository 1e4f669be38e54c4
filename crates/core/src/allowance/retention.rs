//! How long messages are kept: what an operator sets for the cluster, and what a room sets for
//! itself.
//!
//! Always true: a room keeps no more than the cluster unless the operator allows it; a value of 0
//! means without a limit.

use crate::limits::{RETENTION_AGE_MS_MAX, RETENTION_AGE_MS_MIN, RETENTION_MESSAGES_MAX};

/// What one conversation keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Longest age of a message, in milliseconds of log time; 0: without a limit.
    pub age_ms: u64,
    /// Number of the newest messages that are kept, deleted ones included; 0: without a limit.
    pub messages: u64,
}

/// What a room has set for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomRetention {
    /// See [`Retention::age_ms`]; `None`: as the cluster.
    pub age_ms: Option<u64>,
    /// See [`Retention::messages`]; `None`: as the cluster.
    pub messages: Option<u64>,
}

/// What an operator has set for the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterRetention {
    /// What each conversation keeps.
    pub each: Retention,
    /// Whether rooms may keep more than `each` says.
    pub rooms_may_exceed: bool,
    /// Number of messages of all conversations together, deleted ones included; 0: without a limit.
    pub total_messages: u64,
}

/// What an operator changes of it; `None`: as before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionChange {
    /// See [`Retention::age_ms`].
    pub age_ms: Option<u64>,
    /// See [`Retention::messages`].
    pub messages: Option<u64>,
    /// See [`ClusterRetention::rooms_may_exceed`].
    pub rooms_may_exceed: Option<bool>,
    /// See [`ClusterRetention::total_messages`].
    pub total_messages: Option<u64>,
}

impl Retention {
    /// Returns whether both values are ones that can be set.
    #[must_use]
    pub fn is_valid(self) -> bool {
        is_age(self.age_ms) && is_number(self.messages)
    }
}

impl RoomRetention {
    /// Returns whether both values are ones that can be set.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.age_ms.is_none_or(is_age) && self.messages.is_none_or(is_number)
    }
}

impl ClusterRetention {
    /// Returns this with a change.
    #[must_use]
    pub fn with(self, change: RetentionChange) -> Self {
        Self {
            each: Retention {
                age_ms: change.age_ms.unwrap_or(self.each.age_ms),
                messages: change.messages.unwrap_or(self.each.messages),
            },
            rooms_may_exceed: change.rooms_may_exceed.unwrap_or(self.rooms_may_exceed),
            total_messages: change.total_messages.unwrap_or(self.total_messages),
        }
    }

    /// Returns whether its values are ones that can be set.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.each.is_valid() && is_number(self.total_messages)
    }

    /// Returns how many messages are one too many, if there are so many in all.
    #[must_use]
    pub fn surplus(self, messages: u64) -> u64 {
        match self.total_messages {
            0 => 0,
            total => messages.saturating_sub(total),
        }
    }

    /// Returns what a room keeps that has set this.
    #[must_use]
    pub fn of_room(self, own: RoomRetention) -> Retention {
        let part = |own: Option<u64>, cluster: u64| match own {
            None => cluster,
            Some(own) if self.rooms_may_exceed => own,
            Some(own) => stricter(own, cluster),
        };
        Retention {
            age_ms: part(own.age_ms, self.each.age_ms),
            messages: part(own.messages, self.each.messages),
        }
    }

    /// Returns whether a room may set this.
    #[must_use]
    pub fn allows(self, own: RoomRetention) -> bool {
        let kept = self.of_room(own);
        own.age_ms.is_none_or(|age_ms| age_ms == kept.age_ms)
            && own
                .messages
                .is_none_or(|messages| messages == kept.messages)
    }
}

fn is_age(age_ms: u64) -> bool {
    age_ms == 0 || (RETENTION_AGE_MS_MIN..=RETENTION_AGE_MS_MAX).contains(&age_ms)
}

fn is_number(messages: u64) -> bool {
    messages <= RETENTION_MESSAGES_MAX
}

/// Returns the smaller limit, of which 0 is none.
fn stricter(one: u64, other: u64) -> u64 {
    match (one, other) {
        (0, limit) | (limit, 0) => limit,
        (one, other) => one.min(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn cluster(age_ms: u64, messages: u64, rooms_may_exceed: bool) -> ClusterRetention {
        ClusterRetention {
            each: Retention { age_ms, messages },
            rooms_may_exceed,
            total_messages: 0,
        }
    }

    fn own(age_ms: Option<u64>, messages: Option<u64>) -> RoomRetention {
        RoomRetention { age_ms, messages }
    }

    #[test]
    fn a_room_keeps_no_more_than_the_cluster_unless_allowed() {
        let cases = [
            (own(None, None), (30 * DAY, 100), (30 * DAY, 100)),
            (own(Some(DAY), None), (DAY, 100), (DAY, 100)),
            (own(Some(90 * DAY), Some(7)), (30 * DAY, 7), (90 * DAY, 7)),
            (own(Some(0), Some(0)), (30 * DAY, 100), (0, 0)),
            (own(Some(0), Some(500)), (30 * DAY, 100), (0, 500)),
        ];
        for (own, strict, lenient) in cases {
            for (rooms_may_exceed, (age_ms, messages)) in [(false, strict), (true, lenient)] {
                let cluster = cluster(30 * DAY, 100, rooms_may_exceed);
                let kept = Retention { age_ms, messages };
                assert_eq!(cluster.of_room(own), kept, "{own:?}");
                let is_as_set = own.age_ms.is_none_or(|own| own == age_ms)
                    && own.messages.is_none_or(|own| own == messages);
                assert_eq!(cluster.allows(own), is_as_set, "{own:?}");
            }
        }
    }

    #[test]
    fn a_room_may_limit_what_the_cluster_does_not() {
        let cluster = cluster(0, 0, false);
        let set = own(Some(DAY), Some(10));
        assert!(cluster.allows(set));
        let kept = Retention {
            age_ms: DAY,
            messages: 10,
        };
        assert_eq!(cluster.of_room(set), kept);
        assert!(cluster.allows(own(Some(0), Some(0))));
    }

    #[test]
    fn values_out_of_range_are_told() {
        for age_ms in [0, RETENTION_AGE_MS_MIN, RETENTION_AGE_MS_MAX] {
            assert!(own(Some(age_ms), None).is_valid(), "{age_ms}");
        }
        for age_ms in [
            1,
            RETENTION_AGE_MS_MIN - 1,
            RETENTION_AGE_MS_MAX + 1,
            u64::MAX,
        ] {
            assert!(!own(Some(age_ms), None).is_valid(), "{age_ms}");
            assert!(!cluster(age_ms, 0, true).is_valid(), "{age_ms}");
        }
        assert!(own(None, Some(RETENTION_MESSAGES_MAX)).is_valid());
        assert!(!own(None, Some(RETENTION_MESSAGES_MAX + 1)).is_valid());
    }
}
