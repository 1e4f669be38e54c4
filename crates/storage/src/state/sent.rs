//! SQL for how many messages of a conversation are one member's, without counting them.
//!
//! Each message carries how many its sender had sent by then. Between two people the last message
//! gives both numbers, since what is not one's is the other's. In a room the member's own last
//! message is looked up, for which rooms alone have an index. If none is kept, the member's row
//! says how many are forgotten; so a sequence before what is kept gives the number of those.

/// SQL for how many of the messages up to a sequence are an account's: pieces of SQL that give
/// the conversation, the account and the sequence.
macro_rules! sent_up_to {
    ($conversation:literal, $account:literal, $sequence:literal) => {
        concat!(
            "coalesce((SELECT iif(last.in_room = 0,
                iif(last.by_account = ",
            $account,
            ", last.ordinal, last.sequence - last.ordinal),
                (SELECT own.ordinal FROM messages own INDEXED BY messages_by_sender
                WHERE own.in_room = 1 AND own.conversation = last.conversation
                    AND own.by_account = ",
            $account,
            " AND own.sequence <= last.sequence
                ORDER BY own.sequence DESC LIMIT 1))
            FROM messages last INDEXED BY messages_sequence
            WHERE last.conversation = ",
            $conversation,
            " AND last.sequence <= ",
            $sequence,
            " ORDER BY last.sequence DESC LIMIT 1),
            (SELECT gone.sent_forgotten FROM members gone WHERE gone.conversation = ",
            $conversation,
            " AND gone.account = ",
            $account,
            "), 0)"
        )
    };
}
pub(super) use sent_up_to;

/// The same for all messages.
macro_rules! sent {
    ($conversation:literal, $account:literal) => {
        sent_up_to!($conversation, $account, "9223372036854775807")
    };
}
pub(super) use sent;
