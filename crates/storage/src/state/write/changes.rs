//! What a stream carries besides messages: one row for each change, in log order, without texts.
//!
//! Always true: how many rows are kept depends on the entries only. The oldest go first, and
//! `changes_after` says up to where they are gone.

use std::borrow::Cow;

use conclave_core::{
    AccountEvent, AccountId, ConversationEvent, ConversationId, Event, MessageEvent, Position,
    RoomEvent, Sequence, limits::CHANGES_KEPT_MAX,
};
use rusqlite::params;

use super::writer::Writer;
use crate::state::{
    ApplyError,
    change_kind::Kind,
    column::{member_role_number, number, stored},
};

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
        Event::Account(event) => change_of_account(event),
        Event::Conversation(event) => change_of_conversation(event),
        Event::Message(event) => change_of_message(event),
        Event::Room(event) => change_of_room(event),
        Event::Access(_) | Event::Session(_) | Event::Cluster(_) => None,
    }
}

fn change_of_account(event: &AccountEvent) -> Option<(Kind, Columns<'_>)> {
    match event {
        AccountEvent::PasswordChanged { account, .. }
        | AccountEvent::DisplayNameChanged { account, .. }
        | AccountEvent::RoleChanged { account, .. }
        | AccountEvent::BlockChanged { account, .. } => {
            let columns = Columns {
                account: Some(*account),
                ..Columns::default()
            };
            Some((Kind::AccountChanged, columns))
        }
        AccountEvent::Created { .. }
        | AccountEvent::PasswordRehashed { .. }
        | AccountEvent::Suspended { .. }
        | AccountEvent::Deleted { .. }
        | AccountEvent::LimitsChanged { .. } => None,
    }
}

fn change_of_conversation(event: &ConversationEvent) -> Option<(Kind, Columns<'_>)> {
    match event {
        ConversationEvent::Opened {
            conversation,
            members: (low, high),
            ..
        } => {
            let columns = Columns {
                by: Some(*low),
                ..about(*conversation, *high)
            };
            Some((Kind::Opened, columns))
        }
        // Read from the rows of members and of conversations.
        ConversationEvent::PositionAdvanced { .. } | ConversationEvent::Forgotten { .. } => None,
    }
}

fn change_of_message(event: &MessageEvent) -> Option<(Kind, Columns<'_>)> {
    Some(match event {
        // Read from the rows of messages.
        MessageEvent::Sent(_) => return None,
        MessageEvent::Edited {
            conversation,
            sequence,
            ..
        } => (Kind::Edited, of_message(*conversation, *sequence)),
        MessageEvent::Deleted {
            conversation,
            sequence,
            ..
        } => (Kind::Deleted, of_message(*conversation, *sequence)),
        MessageEvent::Hidden {
            conversation,
            sequence,
            account,
        } => {
            let columns = Columns {
                account: Some(*account),
                ..of_message(*conversation, *sequence)
            };
            (Kind::Hidden, columns)
        }
        MessageEvent::ReactionChanged {
            conversation,
            sequence,
            account,
            reaction,
            present,
            // Read from its own table when the change is shown.
            count: _,
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
            (kind, columns)
        }
    })
}

fn change_of_room(event: &RoomEvent) -> Option<(Kind, Columns<'_>)> {
    Some(match event {
        RoomEvent::MemberJoined {
            conversation,
            account,
            ..
        } => (Kind::Joined, about(*conversation, *account)),
        RoomEvent::MemberLeft {
            conversation,
            account,
            by,
        } => {
            let columns = Columns {
                by: Some(*by),
                ..about(*conversation, *account)
            };
            (Kind::Left, columns)
        }
        RoomEvent::MemberRoleChanged {
            conversation,
            account,
            role,
        } => {
            let columns = Columns {
                value: Some(Cow::Owned(member_role_number(*role).to_string())),
                ..about(*conversation, *account)
            };
            (Kind::RoleChanged, columns)
        }
        RoomEvent::TopicChanged {
            conversation,
            topic,
        } => {
            let columns = Columns {
                conversation: Some(*conversation),
                value: Some(Cow::Borrowed(topic.as_str())),
                ..Columns::default()
            };
            (Kind::TopicChanged, columns)
        }
        RoomEvent::MemberInvited {
            conversation,
            account,
            by,
        } => {
            let columns = Columns {
                conversation: Some(*conversation),
                account: Some(*account),
                by: Some(*by),
                ..Columns::default()
            };
            (Kind::Invited, columns)
        }
        RoomEvent::Created { .. }
        | RoomEvent::RetentionChanged { .. }
        | RoomEvent::InvitationRemoved { .. }
        | RoomEvent::WebhookCreated { .. }
        | RoomEvent::WebhookDeleted { .. } => return None,
    })
}

fn of_message<'a>(conversation: ConversationId, sequence: Sequence) -> Columns<'a> {
    Columns {
        conversation: Some(conversation),
        sequence: Some(sequence),
        ..Columns::default()
    }
}

fn about<'a>(conversation: ConversationId, account: AccountId) -> Columns<'a> {
    Columns {
        conversation: Some(conversation),
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
