//! Writes direct conversations, rooms, and their members.

use conclave_core::{
    AccountId, Conversation, ConversationEvent, ConversationId, Kind, MemberRole, Membership,
    Position, Progress, RoomEvent, RoomName, RoomRetention, Sequence, Timestamp, Topic,
};
use rusqlite::params;

use crate::state::{
    ApplyError,
    column::{member_role_number, stored},
    write::{sweep::Orphan, writer::Writer},
};

impl Writer {
    pub(super) fn write_conversation(
        &mut self,
        position: Position,
        event: &ConversationEvent,
    ) -> Result<(), ApplyError> {
        match event {
            ConversationEvent::Opened {
                conversation,
                members,
                at,
            } => self.open_direct(position, *conversation, *members, *at),
            ConversationEvent::PositionAdvanced {
                conversation,
                account,
                progress,
            } => self.write_progress(position, *conversation, *account, *progress),
            ConversationEvent::Forgotten {
                conversation,
                through,
            } => self.forget(position, *conversation, *through),
        }
    }

    fn open_direct(
        &mut self,
        position: Position,
        conversation: ConversationId,
        members: (AccountId, AccountId),
        at: Timestamp,
    ) -> Result<(), ApplyError> {
        let (low, high) = members;
        let sql = "INSERT INTO conversations
                (id, direct_low, direct_high, opened_at, message_last)
            VALUES (?1, ?2, ?3, ?4, 0)";
        let row = [conversation.0, low.0, high.0, at.0].map(stored);
        self.change_one(sql, row)?;
        // An account that writes to itself is one member.
        let members_distinct = if low == high {
            &[low][..]
        } else {
            &[low, high]
        };
        for member in members_distinct {
            let membership = Membership::default();
            self.insert_member(position, conversation, *member, membership, 0)?;
        }
        self.meta.conversation_last = conversation;
        let row = Conversation {
            id: conversation,
            kind: Kind::Direct(low, high),
            sequence_last: Sequence(0),
            forgotten: Sequence(0),
            retention: RoomRetention::default(),
        };
        let caches = self.caches.get_mut();
        caches.conversations.insert(conversation, row);
        caches.directs.insert(members, conversation);
        Ok(())
    }

    fn insert_member(
        &mut self,
        position: Position,
        conversation: ConversationId,
        account: AccountId,
        membership: Membership,
        sent_read: u64,
    ) -> Result<(), ApplyError> {
        let sql = "INSERT INTO members (conversation, account, delivered, read, sent_read,
                advanced_at, role, joined_at)
            VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7)";
        let [id, of, delivered, read, sent_read, at] = [
            conversation.0,
            account.0,
            membership.progress.delivered.0,
            membership.progress.read.0,
            sent_read,
            position.0,
        ]
        .map(stored);
        let role = member_role_number(membership.role);
        let row = params![id, of, delivered, read, sent_read, role, at];
        self.change_one(sql, row)?;
        let caches = self.caches.get_mut();
        caches.members.insert((conversation, account), membership);
        Ok(())
    }

    pub(super) fn write_room(
        &mut self,
        position: Position,
        event: &RoomEvent,
    ) -> Result<(), ApplyError> {
        match event {
            RoomEvent::Created {
                conversation,
                name,
                topic,
                public,
                at,
            } => self.create_room(*conversation, name, topic, *public, *at),
            RoomEvent::MemberJoined {
                conversation,
                account,
                role,
                progress,
            } => self.join(position, *conversation, *account, *role, *progress),
            RoomEvent::MemberLeft {
                conversation,
                account,
                ..
            } => self.leave(*conversation, *account),
            RoomEvent::MemberRoleChanged {
                conversation,
                account,
                role,
            } => self.set_role(*conversation, *account, *role),
            RoomEvent::TopicChanged {
                conversation,
                topic,
            } => {
                let sql = "UPDATE conversations SET topic = ?2 WHERE id = ?1";
                self.change_one(sql, params![stored(conversation.0), topic.as_str()])
            }
            RoomEvent::RetentionChanged {
                conversation,
                retention,
            } => self.set_retention(*conversation, *retention),
            RoomEvent::MemberInvited {
                conversation,
                account,
                by,
            } => {
                let sql = "INSERT INTO invitations (conversation, account, by_account)
                    VALUES (?1, ?2, ?3)";
                self.change_one(sql, [conversation.0, account.0, by.0].map(stored))
            }
            RoomEvent::InvitationRemoved {
                conversation,
                account,
            } => {
                let sql = "DELETE FROM invitations WHERE conversation = ?1 AND account = ?2";
                self.change_one(sql, [conversation.0, account.0].map(stored))
            }
            RoomEvent::WebhookCreated {
                webhook,
                token,
                conversation,
                account,
                by,
                at,
            } => {
                let sql = "INSERT INTO webhooks
                        (id, token, conversation, account, by_account, created_at)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                let [id, room, of, made_by, since] =
                    [webhook.0, conversation.0, account.0, by.0, at.0].map(stored);
                self.change_one(sql, params![id, token.0, room, of, made_by, since])?;
                self.meta.webhook_last = *webhook;
                Ok(())
            }
            RoomEvent::WebhookDeleted { webhook } => {
                self.change_one("DELETE FROM webhooks WHERE id = ?1", [stored(webhook.0)])
            }
        }
    }

    fn set_role(
        &mut self,
        conversation: ConversationId,
        account: AccountId,
        role: MemberRole,
    ) -> Result<(), ApplyError> {
        let sql = "UPDATE members SET role = ?3 WHERE conversation = ?1 AND account = ?2";
        let (id, of) = (stored(conversation.0), stored(account.0));
        self.change_one(sql, params![id, of, member_role_number(role)])?;
        let members = &mut self.caches.get_mut().members;
        if let Some(known) = members.get_mut(&(conversation, account)) {
            known.role = role;
        }
        Ok(())
    }

    fn set_retention(
        &mut self,
        conversation: ConversationId,
        retention: RoomRetention,
    ) -> Result<(), ApplyError> {
        let sql = "UPDATE conversations SET keep_ms = ?2, keep_messages = ?3 WHERE id = ?1";
        let kept = [retention.age_ms, retention.messages];
        let [age, messages] = kept.map(|value| value.map(stored));
        self.change_one(sql, params![stored(conversation.0), age, messages])?;
        let conversations = &mut self.caches.get_mut().conversations;
        if let Some(known) = conversations.get_mut(&conversation) {
            known.retention = retention;
        }
        Ok(())
    }

    fn create_room(
        &mut self,
        conversation: ConversationId,
        name: &RoomName,
        topic: &Topic,
        public: bool,
        at: Timestamp,
    ) -> Result<(), ApplyError> {
        let sql = "INSERT INTO conversations
                (id, opened_at, name, key, topic, public, members, message_last)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0)";
        let key = name.key();
        let (id, since) = (stored(conversation.0), stored(at.0));
        let row = params![id, since, name.as_str(), key, topic.as_str(), public];
        self.change_one(sql, row)?;
        self.meta.conversation_last = conversation;
        self.meta.rooms += 1;
        let row = Conversation {
            id: conversation,
            kind: Kind::Room { public, members: 0 },
            sequence_last: Sequence(0),
            forgotten: Sequence(0),
            retention: RoomRetention::default(),
        };
        let caches = self.caches.get_mut();
        caches.conversations.insert(conversation, row);
        caches.room_keys.insert(key, conversation);
        Ok(())
    }

    fn join(
        &mut self,
        position: Position,
        conversation: ConversationId,
        account: AccountId,
        role: MemberRole,
        progress: Progress,
    ) -> Result<(), ApplyError> {
        // An account that was here before may have sent messages.
        let sent = self.sent_up_to(conversation, account, progress.read)?;
        let membership = Membership {
            progress,
            role,
            sent,
        };
        self.insert_member(position, conversation, account, membership, sent)?;
        self.caches.get_mut().add_room(account, conversation);
        // What was late before it left is as read as everything else here.
        self.read_late_mentions(conversation, account, progress.read)?;
        let sql = "DELETE FROM invitations WHERE conversation = ?1 AND account = ?2";
        self.run(sql, [conversation.0, account.0].map(stored))?;
        self.count_members(conversation, 1)
    }

    fn count_members(&mut self, id: ConversationId, more: i64) -> Result<(), ApplyError> {
        let sql = "UPDATE conversations SET members = members + ?2 WHERE id = ?1";
        self.change_one(sql, params![stored(id.0), more])?;
        if let Some(known) = self.caches.get_mut().conversations.get_mut(&id)
            && let Kind::Room { members, .. } = &mut known.kind
        {
            *members = members.saturating_add_signed(more);
        }
        Ok(())
    }

    /// Removes one member; a room without members goes with everything in it.
    fn leave(&mut self, id: ConversationId, account: AccountId) -> Result<(), ApplyError> {
        self.count_members(id, -1)?;
        if !self.remove_member(id, account)? {
            return Ok(());
        }
        let sql = "SELECT key FROM conversations WHERE id = ?1";
        let key: String = self
            .connection
            .prepare_cached(sql)?
            .query_row([stored(id.0)], |row| row.get(0))?;
        self.caches.get_mut().room_keys.remove(key.as_str());
        // The name is free at once; the rest is swept away.
        let sql = "UPDATE conversations SET name = NULL, key = NULL WHERE id = ?1";
        self.change_one(sql, [stored(id.0)])?;
        self.run(
            "DELETE FROM invitations WHERE conversation = ?1",
            [stored(id.0)],
        )?;
        self.meta.rooms -= 1;
        Ok(())
    }

    /// Removes a member; returns whether it was the last one. Then the conversation is an orphan.
    pub(super) fn remove_member(
        &mut self,
        id: ConversationId,
        account: AccountId,
    ) -> Result<bool, ApplyError> {
        let sql = "DELETE FROM members WHERE conversation = ?1 AND account = ?2";
        self.change_one(sql, [stored(id.0), stored(account.0)])?;
        let caches = self.caches.get_mut();
        caches.members.remove(&(id, account));
        caches.remove_room(account, id);
        let sql = "SELECT 1 FROM members WHERE conversation = ?1 LIMIT 1";
        if self.exists(sql, stored(id.0))? {
            return Ok(false);
        }
        self.add_orphan(Orphan::Conversation(id))?;
        Ok(true)
    }
}
