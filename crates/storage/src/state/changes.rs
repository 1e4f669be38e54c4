//! What a stream tells besides messages: one row for each change, in log order, without texts.
//!
//! Always true: how many rows are kept depends on the entries only. The oldest go first, and
//! `changes_after` says up to where they are gone.

use conclave_core::{
    AccountId, ConversationId, Event, Position,
    limits::{CHANGES_KEPT_MAX, SWEEP_ROWS_PER_ENTRY},
};
use rusqlite::params;

use super::{
    ApplyError,
    column::{count, member_role_number, number, stored},
    writer::Writer,
};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// The kinds of changes, with the numbers under which they are stored.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        impl Kind {
            /// The kind that is stored as this number.
            pub(super) fn of(number: i64) -> Option<Self> {
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

/// A row, as far as it is not the same for all.
struct Change<'a> {
    kind: Kind,
    conversation: Option<ConversationId>,
    /// For whom alone; `None`: for all members.
    account: Option<AccountId>,
    sequence: Option<u64>,
    subject: Option<AccountId>,
    by: Option<AccountId>,
    value: Option<&'a str>,
}

impl Change<'_> {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            conversation: None,
            account: None,
            sequence: None,
            subject: None,
            by: None,
            value: None,
        }
    }
}

impl Writer {
    /// Keeps what a stream tells of an event, if it is one of these kinds.
    pub(super) fn write_change(
        &mut self,
        position: Position,
        event: &Event,
    ) -> Result<(), ApplyError> {
        let role;
        let change = match event {
            Event::MessageEdited {
                conversation,
                sequence,
                ..
            } => Change {
                conversation: Some(*conversation),
                sequence: Some(sequence.0),
                ..Change::new(Kind::Edited)
            },
            Event::MessageDeleted {
                conversation,
                sequence,
                ..
            } => Change {
                conversation: Some(*conversation),
                sequence: Some(sequence.0),
                ..Change::new(Kind::Deleted)
            },
            Event::MessageHidden {
                conversation,
                sequence,
                account,
            } => Change {
                conversation: Some(*conversation),
                sequence: Some(sequence.0),
                account: Some(*account),
                ..Change::new(Kind::Hidden)
            },
            Event::ReactionChanged {
                conversation,
                sequence,
                account,
                reaction,
                present,
            } => Change {
                conversation: Some(*conversation),
                sequence: Some(sequence.0),
                subject: Some(*account),
                value: Some(reaction.as_str()),
                ..Change::new(match present {
                    true => Kind::ReactionAdded,
                    false => Kind::ReactionRemoved,
                })
            },
            Event::ConversationOpened {
                conversation,
                members: (low, high),
                ..
            } => Change {
                conversation: Some(*conversation),
                subject: Some(*high),
                by: Some(*low),
                ..Change::new(Kind::Opened)
            },
            Event::MemberJoined {
                conversation,
                account,
                ..
            } => Change {
                conversation: Some(*conversation),
                subject: Some(*account),
                ..Change::new(Kind::Joined)
            },
            Event::MemberLeft {
                conversation,
                account,
                by,
            } => Change {
                conversation: Some(*conversation),
                subject: Some(*account),
                by: Some(*by),
                ..Change::new(Kind::Left)
            },
            Event::MemberRoleChanged {
                conversation,
                account,
                role: given,
            } => {
                role = member_role_number(*given).to_string();
                Change {
                    conversation: Some(*conversation),
                    subject: Some(*account),
                    value: Some(&role),
                    ..Change::new(Kind::RoleChanged)
                }
            }
            Event::TopicChanged {
                conversation,
                topic,
            } => Change {
                conversation: Some(*conversation),
                value: Some(topic.as_str()),
                ..Change::new(Kind::TopicChanged)
            },
            Event::MemberInvited {
                conversation,
                account,
                by,
            } => Change {
                conversation: Some(*conversation),
                account: Some(*account),
                by: Some(*by),
                ..Change::new(Kind::Invited)
            },
            Event::PasswordChanged { account, .. }
            | Event::DisplayNameChanged { account, .. }
            | Event::AccountRoleChanged { account, .. }
            | Event::BlockChanged { account, .. } => Change {
                account: Some(*account),
                ..Change::new(Kind::AccountChanged)
            },
            _ => return Ok(()),
        };
        self.insert_change(position, &change)
    }

    fn insert_change(&mut self, position: Position, change: &Change<'_>) -> Result<(), ApplyError> {
        let sql = "INSERT INTO changes
                (position, kind, conversation, account, sequence, subject, by_account, value)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        self.change_one(
            sql,
            params![
                stored(position.0),
                change.kind as i64,
                change.conversation.map(|id| stored(id.0)),
                change.account.map(|id| stored(id.0)),
                change.sequence.map(stored),
                change.subject.map(|id| stored(id.0)),
                change.by.map(|id| stored(id.0)),
                change.value,
            ],
        )?;
        self.meta.changes += 1;
        Ok(())
    }

    /// Forgets the oldest changes beyond the bound; called at the end of every entry.
    pub(super) fn trim_changes(&mut self) -> Result<(), ApplyError> {
        let surplus = self.meta.changes.saturating_sub(CHANGES_KEPT_MAX);
        if surplus == 0 {
            return Ok(());
        }
        // An entry can bring more than one sweep takes: then the next ones take the rest.
        let goes = (SWEEP_ROWS_PER_ENTRY as u64).min(surplus);
        let sql = "SELECT position FROM changes ORDER BY position LIMIT 1 OFFSET ?1";
        let last = self
            .connection
            .prepare_cached(sql)?
            .query_row([stored(goes - 1)], |row| number(row, 0))?;
        let sql = "DELETE FROM changes WHERE position IN
            (SELECT position FROM changes ORDER BY position LIMIT ?1)";
        let gone = self.run(sql, [count(goes as usize)])?;
        self.meta.changes -= gone as u64;
        self.meta.changes_after = Position(last);
        Ok(())
    }
}
