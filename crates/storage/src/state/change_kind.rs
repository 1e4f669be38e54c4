//! The kinds of changes that a stream carries besides messages, with their numbers in the database.
//!
//! Always true: a number keeps its meaning.

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// The kinds of changes, with the numbers under which they are stored.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        impl Kind {
            /// Returns the kind that is stored as this number.
            pub(crate) fn of(number: i64) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// A message was edited.
    Edited = 1,
    /// A message was deleted for everyone.
    Deleted = 2,
    /// `account` deleted a message for itself.
    Hidden = 3,
    /// `subject` added the reaction `value`.
    ReactionAdded = 4,
    /// `subject` took the reaction `value` away.
    ReactionRemoved = 5,
    /// A direct conversation between `by_account` (low) and `subject` (high) was opened.
    Opened = 6,
    /// `subject` became a member.
    Joined = 7,
    /// `by_account` ended the membership of `subject`.
    Left = 8,
    /// `subject` has the role with number `value`.
    RoleChanged = 9,
    /// The topic is `value`.
    TopicChanged = 10,
    /// `by_account` invited `account`.
    Invited = 11,
    /// Something about `account` itself.
    AccountChanged = 12,
}
