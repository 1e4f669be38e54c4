//! The kinds of spending that are counted apart for each account.
//!
//! Always true: the number of a kind is its place in every list of rates and buckets, also on
//! disk.

/// How many kinds of spending there are.
pub const SPENDS: usize = 8;

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spend {
    /// Messages sent.
    Messages = 0,
    /// Bytes of texts, sent or edited.
    Bytes = 1,
    /// Messages edited.
    Edits = 2,
    /// Reactions added or taken away.
    Reactions = 3,
    /// Messages deleted, for the sender alone or for all.
    Deletions = 4,
    /// Requests that say what was read.
    Positions = 5,
    /// Rooms created.
    Rooms = 6,
    /// Everything else that is stored.
    Changes = 7,
}

impl Spend {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; SPENDS] = [
        Self::Messages,
        Self::Bytes,
        Self::Edits,
        Self::Reactions,
        Self::Deletions,
        Self::Positions,
        Self::Rooms,
        Self::Changes,
    ];

    /// Returns what there were too many of, in words for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Bytes => "bytes of text",
            Self::Edits => "edits",
            Self::Reactions => "reactions",
            Self::Deletions => "deletions",
            Self::Positions => "marks of what was read",
            Self::Rooms => "new rooms",
            Self::Changes => "changes",
        }
    }
}
