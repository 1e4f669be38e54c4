//! What a stream carries besides messages: one row for each change, in log order, without texts.
//!
//! Always true: how many rows are kept depends on the entries only. The oldest go first, and
//! `changes_after` says up to where they are gone.

use std::borrow::Cow;

use conclave_core::{
    AccountId, ConversationId, Event, Position, Sequence, limits::CHANGES_KEPT_MAX,
};
use rusqlite::params;

use super::writer::Writer;
use crate::state::{
    ApplyError,
    column::{member_role_number, number, stored},
};

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

/// A row, as far as it is not the same for all.
#[derive(Default)]
struct Columns<'a> {
    conversation: Option<ConversationId>,
    /// The only account that sees it; `None`: all members.
    account: Option<AccountId>,
    sequence: Option<Sequence>,
    subject: Option<AccountId>,
    by: Option<AccountId>,
    value: Option<Cow<'a, str>>,
}

/// Returns the change that a stream carries for an event; `None` if the event is not of these
/// kinds.
fn change_of(event: &Event) -> Option<(Kind, Columns<'_>)> {
    match event {
        Event::MessageEdited {
            conversation,
            sequence,
            ..
        } => Some((Kind::Edited, of_message(*conversation, *sequence))),
        Event::MessageDeleted {
            conversation,
            sequence,
            ..
        } => Some((Kind::Deleted, of_message(*conversation, *sequence))),
        Event::MessageHidden {
            conversation,
            sequence,
            account,
        } => {
            let columns = Columns {
                account: Some(*account),
                ..of_message(*conversation, *sequence)
            };
            Some((Kind::Hidden, columns))
        }
        Event::ReactionChanged {
            conversation,
            sequence,
            account,
            reaction,
            present,
        } => {
            let columns = Columns {
                subject: Some(*account),
                value: Some(Cow::Borrowed(reaction.as_str())),
                ..of_message(*conversation, *sequence)
            };
            let kind = match present {
                true => Kind::ReactionAdded,
                false => Kind::ReactionRemoved,
            };
            Some((kind, columns))
        }
        Event::PasswordChanged { account, .. }
        | Event::DisplayNameChanged { account, .. }
        | Event::AccountRoleChanged { account, .. }
        | Event::BlockChanged { account, .. } => {
            let columns = Columns {
                account: Some(*account),
                ..Columns::default()
            };
            Some((Kind::AccountChanged, columns))
        }
        other => change_of_conversation(other),
    }
}

fn of_message<'a>(conversation: ConversationId, sequence: Sequence) -> Columns<'a> {
    Columns {
        conversation: Some(conversation),
        sequence: Some(sequence),
        ..Columns::default()
    }
}

fn change_of_conversation(event: &Event) -> Option<(Kind, Columns<'_>)> {
    let (kind, conversation, columns) = match event {
        Event::ConversationOpened {
            conversation,
            members: (low, high),
            ..
        } => {
            let columns = Columns {
                subject: Some(*high),
                by: Some(*low),
                ..Columns::default()
            };
            (Kind::Opened, conversation, columns)
        }
        Event::MemberJoined {
            conversation,
            account,
            ..
        } => (Kind::Joined, conversation, about(*account)),
        Event::MemberLeft {
            conversation,
            account,
            by,
        } => {
            let columns = Columns {
                by: Some(*by),
                ..about(*account)
            };
            (Kind::Left, conversation, columns)
        }
        Event::MemberRoleChanged {
            conversation,
            account,
            role,
        } => {
            let columns = Columns {
                value: Some(Cow::Owned(member_role_number(*role).to_string())),
                ..about(*account)
            };
            (Kind::RoleChanged, conversation, columns)
        }
        Event::TopicChanged {
            conversation,
            topic,
        } => {
            let columns = Columns {
                value: Some(Cow::Borrowed(topic.as_str())),
                ..Columns::default()
            };
            (Kind::TopicChanged, conversation, columns)
        }
        Event::MemberInvited {
            conversation,
            account,
            by,
        } => {
            let columns = Columns {
                account: Some(*account),
                by: Some(*by),
                ..Columns::default()
            };
            (Kind::Invited, conversation, columns)
        }
        _ => return None,
    };
    let columns = Columns {
        conversation: Some(*conversation),
        ..columns
    };
    Some((kind, columns))
}

fn about<'a>(account: AccountId) -> Columns<'a> {
    Columns {
        subject: Some(account),
        ..Columns::default()
    }
}

impl Writer {
    /// Keeps the change that a stream carries for an event, if the event is of one of these kinds.
    pub(crate) fn write_change(
        &mut self,
        position: Position,
        event: &Event,
    ) -> Result<(), ApplyError> {
        let Some((kind, columns)) = change_of(event) else {
            return Ok(());
        };
        let sql = "INSERT INTO changes
                (position, kind, conversation, account, sequence, subject, by_account, value)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let row = params![
            stored(position.0),
            kind as i64,
            columns.conversation.map(|id| stored(id.0)),
            columns.account.map(|id| stored(id.0)),
            columns.sequence.map(|sequence| stored(sequence.0)),
            columns.subject.map(|id| stored(id.0)),
            columns.by.map(|id| stored(id.0)),
            columns.value,
        ];
        self.change_one(sql, row)?;
        self.meta.changes += 1;
        Ok(())
    }

    /// Forgets the oldest changes beyond the bound; called at the end of every entry. That is
    /// never more than the entry has brought.
    pub(crate) fn trim_changes(&mut self) -> Result<(), ApplyError> {
        let surplus = self.meta.changes.saturating_sub(CHANGES_KEPT_MAX);
        if surplus == 0 {
            return Ok(());
        }
        let sql = "SELECT position FROM changes ORDER BY position LIMIT 1 OFFSET ?1";
        let last = self
            .connection
            .prepare_cached(sql)?
            .query_row([stored(surplus - 1)], |row| number(row, 0))?;
        let gone = self.run("DELETE FROM changes WHERE position <= ?1", [stored(last)])?;
        self.meta.changes -= gone as u64;
        self.meta.changes_after = Position(last);
        Ok(())
    }
}
