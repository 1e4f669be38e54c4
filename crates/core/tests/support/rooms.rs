//! Writes conversations and their members.

use conclave_core::{
    AccountId, Conversation, ConversationEvent, ConversationId, Event, Kind, Membership, Position,
    RoomEvent, RoomRetention, Sequence, Webhook,
};

use super::Memory;

impl Memory {
    pub(super) fn write_conversation(&mut self, position: Position, event: &Event) {
        match event {
            Event::Conversation(ConversationEvent::Opened {
                conversation,
                members: (a, b),
                ..
            }) => {
                self.add_conversation(*conversation, Kind::Direct(*a, *b));
                self.directs.insert((*a, *b), *conversation);
                for member in [a, b] {
                    self.members
                        .insert((*conversation, *member), Membership::default());
                }
            }
            Event::Room(RoomEvent::Created {
                conversation,
                name,
                public,
                ..
            }) => {
                let kind = Kind::Room {
                    public: *public,
                    members: 0,
                };
                self.add_conversation(*conversation, kind);
                let before = self.rooms.insert(name.key(), *conversation);
                assert_eq!(before, None, "a name was given to two rooms");
            }
            Event::Room(RoomEvent::WebhookCreated {
                webhook,
                token,
                conversation,
                account,
                by,
                ..
            }) => {
                assert_eq!(*webhook, self.webhook_last.next(), "a number is skipped");
                self.webhook_last = *webhook;
                let row = Webhook {
                    id: *webhook,
                    conversation: *conversation,
                    account: *account,
                    by: *by,
                };
                self.webhooks.insert(*webhook, (row, *token));
            }
            Event::Room(RoomEvent::WebhookDeleted { webhook }) => {
                self.webhooks.remove(webhook).expect("it was made");
            }
            Event::Room(RoomEvent::RetentionChanged {
                conversation,
                retention,
            }) => {
                let row = self.conversations.get_mut(conversation);
                row.expect("it was made").retention = *retention;
            }
            Event::Conversation(ConversationEvent::Forgotten {
                conversation,
                through,
            }) => self.forget(*conversation, *through),
            Event::Room(RoomEvent::TopicChanged { conversation, .. }) => {
                let is_there = self.rooms.values().any(|id| id == conversation);
                assert!(is_there, "only rooms have a topic");
            }
            _ => self.write_member(position, event),
        }
    }

    fn write_member(&mut self, position: Position, event: &Event) {
        match event {
            Event::Room(RoomEvent::MemberJoined {
                conversation,
                account,
                role,
                progress,
            }) => {
                let key = (*conversation, *account);
                let member = Membership {
                    progress: *progress,
                    role: *role,
                    sent: self.sent(*conversation, *account),
                };
                let before = self.members.insert(key, member);
                assert_eq!(before, None, "a member joined twice");
                self.joined_at.insert(key, position);
                self.invitations.remove(&key);
                self.read_late(*conversation, *account, *progress);
                *self.member_count(*conversation) += 1;
            }
            Event::Room(RoomEvent::MemberLeft {
                conversation,
                account,
                ..
            }) => {
                *self.member_count(*conversation) -= 1;
                self.remove_member(*conversation, *account);
            }
            Event::Room(RoomEvent::MemberRoleChanged {
                conversation,
                account,
                role,
            }) => {
                let member = self.members.get_mut(&(*conversation, *account));
                let member = member.expect("only members have a role");
                assert_ne!(member.role, *role, "a role did not change");
                member.role = *role;
            }
            Event::Room(RoomEvent::MemberInvited {
                conversation,
                account,
                ..
            }) => {
                let new = self.invitations.insert((*conversation, *account));
                assert!(new, "an account was invited twice");
            }
            Event::Room(RoomEvent::InvitationRemoved {
                conversation,
                account,
            }) => {
                let gone = self.invitations.remove(&(*conversation, *account));
                assert!(gone, "there was no invitation");
            }
            other => panic!("{other:?} is not about a member"),
        }
    }

    fn add_conversation(&mut self, id: ConversationId, kind: Kind) {
        assert_eq!(id, self.conversation_last.next(), "a number is skipped");
        self.conversation_last = id;
        let row = Conversation {
            id,
            kind,
            sequence_last: Sequence(0),
            forgotten: Sequence(0),
            retention: RoomRetention::default(),
        };
        self.conversations.insert(id, row);
    }

    fn member_count(&mut self, id: ConversationId) -> &mut u64 {
        match self.conversations.get_mut(&id).map(|row| &mut row.kind) {
            Some(Kind::Room { members, .. }) => members,
            other => panic!("{other:?} is no room"),
        }
    }

    /// Removes a member; the conversation is removed with its last member.
    pub(super) fn remove_member(&mut self, id: ConversationId, account: AccountId) {
        let gone = self.members.remove(&(id, account));
        gone.expect("only members leave");
        self.joined_at.remove(&(id, account));
        self.sent_forgotten.remove(&(id, account));
        if self.members_of(id).is_empty() {
            self.conversations.remove(&id);
            self.directs.retain(|_, of| *of != id);
            self.rooms.retain(|_, of| *of != id);
            self.invitations.retain(|(of, _)| *of != id);
            self.messages.retain(|(of, _), _| *of != id);
            self.sent_at.retain(|(of, _), _| *of != id);
            self.hidden.retain(|(of, _, _)| *of != id);
            self.reactions
                .retain(|(message, ..)| message.conversation != id);
        }
    }

    /// Returns the number of messages that an account has sent in a conversation, as far as it is
    /// known: that of its last one, or of its last forgotten one.
    pub(super) fn sent(&self, id: ConversationId, by: AccountId) -> u64 {
        let mut all = self.messages.iter().rev();
        let last = all.find(|((of, _), head)| *of == id && head.by == by);
        let forgotten = self.sent_forgotten.get(&(id, by)).copied();
        last.map_or(forgotten.unwrap_or(0), |(key, _)| self.sent_at[key].1)
    }

    /// Removes the oldest messages of a conversation and everything about them.
    fn forget(&mut self, id: ConversationId, through: Sequence) {
        let row = self.conversations.get_mut(&id).expect("it was opened");
        assert!(row.forgotten < through, "nothing is forgotten");
        assert!(
            through <= row.sequence_last,
            "more is forgotten than there is"
        );
        row.forgotten = through;
        let is_gone = |of: ConversationId, sequence: Sequence| of == id && sequence <= through;
        let gone = self
            .messages
            .extract_if(.., |(of, at), _| is_gone(*of, *at));
        for (key, head) in gone {
            let (_, ordinal) = self.sent_at.remove(&key).expect("it was sent");
            if self.members.contains_key(&(id, head.by)) {
                self.sent_forgotten.insert((id, head.by), ordinal);
            }
        }
        self.hidden.retain(|(of, at, _)| !is_gone(*of, *at));
        self.mentions.retain(|(of, at, _)| !is_gone(*of, *at));
        self.late.retain(|(of, at, _)| !is_gone(*of, *at));
        self.reactions
            .retain(|(message, ..)| !is_gone(message.conversation, message.sequence));
    }
}
