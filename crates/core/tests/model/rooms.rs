//! Conversations as an observer sees them: their members and their messages.

use std::collections::{BTreeMap, BTreeSet};

use conclave_core::{
    AccountId, ConversationEvent, ConversationId, Event, MemberRole, MessageEvent, MessageRef,
    Progress, Reaction, RoomEvent, RoomRetention, SentMessage, Sequence, Timestamp,
    limits::{FORGET_MESSAGES_MAX, MENTIONS_MAX, REACTION_KINDS_MAX, REACTIONS_OF_ONE_MAX},
};

use super::Observer;

/// A conversation, also one that was closed.
#[derive(Default)]
pub(super) struct Seen {
    /// The two people of a direct conversation.
    pub(super) pair: BTreeSet<AccountId>,
    /// Key of the room's name, while the room exists.
    pub(super) name: Option<String>,
    pub(super) public: bool,
    pub(super) members: BTreeMap<AccountId, MemberRole>,
    pub(super) invited: BTreeSet<AccountId>,
    /// Senders of its messages.
    pub(super) by: Vec<AccountId>,
    /// Log times of its messages.
    at: Vec<Timestamp>,
    /// How many of them are forgotten.
    forgotten: u64,
    retention: RoomRetention,
    /// How many messages of a sender are not counted any more: all of them were forgotten while it
    /// was not a member.
    uncounted: BTreeMap<AccountId, u64>,
    deleted: BTreeSet<Sequence>,
    reactions: BTreeSet<(Sequence, AccountId, Reaction)>,
}

impl Seen {
    pub(super) fn role(&self, account: Option<AccountId>) -> Option<MemberRole> {
        self.members.get(&account?).copied()
    }

    pub(super) fn sender(&self, sequence: Sequence) -> Option<AccountId> {
        let place = (sequence.0 as usize).checked_sub(1)?;
        self.by.get(place).copied()
    }

    fn stands(&self, sequence: Sequence) -> bool {
        let is_kept = sequence.0 > self.forgotten && self.sender(sequence).is_some();
        is_kept && !self.deleted.contains(&sequence)
    }

    fn end(&self) -> Sequence {
        Sequence(self.by.len() as u64)
    }
}

impl Observer {
    /// Checks after every command that every room has a member and an owner.
    pub(super) fn check_rooms(&self) {
        for (id, seen) in self
            .conversations
            .iter()
            .filter(|(_, seen)| seen.name.is_some())
        {
            assert!(!seen.members.is_empty(), "room {id} is empty and there");
            let hooks: BTreeSet<_> = self
                .webhooks
                .values()
                .map(|(_, _, account, _)| account)
                .collect();
            let people: Vec<_> = seen
                .members
                .iter()
                .filter(|(id, _)| !hooks.contains(id))
                .collect();
            assert!(!people.is_empty(), "only webhooks are left in room {id}");
            let owned = people.iter().any(|(_, role)| **role == MemberRole::Owner);
            assert!(owned, "room {id} has no owner");
            let governing = seen
                .members
                .iter()
                .filter(|(_, role)| **role > MemberRole::Member);
            let mut governing = governing.map(|(id, _)| id);
            assert!(
                !governing.any(|id| hooks.contains(id)),
                "a webhook governs room {id}"
            );
        }
    }

    pub(super) fn forget_member(&mut self, account: AccountId) {
        for seen in self.conversations.values_mut() {
            let gone = seen.members.remove(&account);
            assert!(
                gone.is_none() || !seen.pair.is_empty(),
                "it is still in a room"
            );
            seen.invited.remove(&account);
        }
    }

    fn seen(&mut self, id: ConversationId) -> &mut Seen {
        self.conversations.get_mut(&id).expect("it was opened")
    }

    fn add(&mut self, id: ConversationId, seen: Seen) {
        self.conversation_last += 1;
        assert_eq!(id.0, self.conversation_last, "numbered without gaps");
        self.conversations.insert(id, seen);
    }

    pub(super) fn read_conversation(&mut self, event: &Event) {
        match event {
            Event::Conversation(ConversationEvent::Opened {
                conversation,
                members: (a, b),
                at,
            }) => {
                assert!(a <= b, "the lower number comes first");
                assert!(
                    self.is_alive(*a) && self.is_alive(*b),
                    "a member does not exist"
                );
                let pair = BTreeSet::from([*a, *b]);
                let again = self.conversations.values().any(|seen| seen.pair == pair);
                assert!(!again, "two people have two conversations");
                assert_eq!(*at, self.date);
                let members = pair.iter().map(|id| (*id, MemberRole::Member)).collect();
                let seen = Seen {
                    pair,
                    members,
                    ..Seen::default()
                };
                self.add(*conversation, seen);
            }
            Event::Room(RoomEvent::Created {
                conversation,
                name,
                public,
                at,
                ..
            }) => {
                let name = Some(name.as_str().to_lowercase());
                let taken = self.conversations.values().any(|seen| seen.name == name);
                assert!(!taken, "two rooms have one name");
                assert_eq!(*at, self.date);
                let seen = Seen {
                    name,
                    public: *public,
                    ..Seen::default()
                };
                self.add(*conversation, seen);
            }
            Event::Room(RoomEvent::RetentionChanged {
                conversation,
                retention,
            }) => {
                let cluster = self.retention;
                assert!(cluster.rooms_may_exceed || cluster.allows(*retention));
                self.seen(*conversation).retention = *retention;
            }
            Event::Conversation(ConversationEvent::Forgotten {
                conversation,
                through,
            }) => self.read_forgotten(*conversation, *through),
            Event::Room(RoomEvent::TopicChanged { conversation, .. }) => {
                assert!(
                    self.seen(*conversation).name.is_some(),
                    "there is no such room"
                );
            }
            _ => self.read_member(event),
        }
    }

    fn read_member(&mut self, event: &Event) {
        match event {
            Event::Room(RoomEvent::MemberJoined {
                conversation,
                account,
                role,
                progress,
            }) => {
                assert!(self.is_alive(*account), "a missing account joined");
                self.progress.insert((*conversation, *account), *progress);
                let seen = self.seen(*conversation);
                assert!(seen.name.is_some(), "there is no such room");
                let all = Progress {
                    delivered: seen.end(),
                    read: seen.end(),
                };
                assert_eq!(*progress, all, "a new member has read everything");
                let first = seen.members.is_empty();
                assert_eq!(
                    *role == MemberRole::Owner,
                    first,
                    "the first member owns the room"
                );
                let before = seen.members.insert(*account, *role);
                assert_eq!(before, None, "a member joined twice");
                seen.invited.remove(account);
            }
            Event::Room(RoomEvent::MemberLeft {
                conversation,
                account,
                ..
            }) => {
                self.progress.remove(&(*conversation, *account));
                let seen = self.seen(*conversation);
                seen.members.remove(account).expect("only members leave");
                if seen.members.is_empty() {
                    seen.name = None;
                    seen.invited.clear();
                }
            }
            Event::Room(RoomEvent::MemberRoleChanged {
                conversation,
                account,
                role,
            }) => {
                let before = self.seen(*conversation).members.insert(*account, *role);
                let before = before.expect("only members have a role");
                assert_ne!(before, *role, "a role did not change");
            }
            Event::Room(RoomEvent::MemberInvited {
                conversation,
                account,
                ..
            }) => {
                assert!(self.is_alive(*account), "a missing account was invited");
                let seen = self.seen(*conversation);
                assert!(!seen.members.contains_key(account), "a member was invited");
                assert!(
                    seen.invited.insert(*account),
                    "an account was invited twice"
                );
            }
            Event::Room(RoomEvent::InvitationRemoved {
                conversation,
                account,
            }) => {
                let gone = self.seen(*conversation).invited.remove(account);
                assert!(gone, "there was no invitation");
            }
            other => panic!("{other:?} is not about a conversation"),
        }
    }

    pub(super) fn read_webhook(&mut self, event: &Event) {
        match event {
            Event::Room(RoomEvent::WebhookCreated {
                webhook,
                token,
                conversation,
                account,
                by,
                at,
            }) => {
                self.webhook_last += 1;
                assert_eq!(
                    webhook.0, self.webhook_last,
                    "webhooks are numbered without gaps"
                );
                assert_eq!(*at, self.date);
                let in_use = self.webhooks.values().any(|(used, ..)| used == token);
                assert!(!in_use, "two webhooks have one address");
                let is_member = self.seen(*conversation).members.contains_key(account);
                assert!(is_member, "a webhook is not in its room");
                let row = (*token, *conversation, *account, *by);
                self.webhooks.insert(*webhook, row);
            }
            Event::Room(RoomEvent::WebhookDeleted { webhook }) => {
                let (_, _, account, _) = self.webhooks.remove(webhook).expect("there is one");
                self.hooks_gone.insert(account);
            }
            other => panic!("{other:?} is not about a webhook"),
        }
    }

    pub(super) fn read_message(&mut self, event: &Event) {
        match event {
            Event::Message(MessageEvent::Sent(_)) => self.read_sent(event),
            Event::Message(MessageEvent::Edited {
                conversation,
                sequence,
                at,
                mentions,
                ..
            }) => {
                assert_eq!(*at, self.date);
                let seen = self.seen(*conversation);
                assert!(seen.stands(*sequence), "no message was edited");
                let by = seen.sender(*sequence).expect("it stands");
                check_mentions(seen, by, mentions);
                self.check_unblocked(*conversation);
            }
            Event::Message(MessageEvent::ReactionChanged {
                conversation,
                sequence,
                account,
                reaction,
                present,
                ..
            }) => {
                let message = MessageRef {
                    conversation: *conversation,
                    sequence: *sequence,
                };
                self.read_reaction(message, *account, reaction, *present);
            }
            Event::Conversation(ConversationEvent::PositionAdvanced {
                conversation,
                account,
                progress,
            }) => self.read_progress(*conversation, *account, *progress),
            Event::Message(MessageEvent::Hidden {
                conversation,
                sequence,
                account,
            }) => {
                let seen = self.seen(*conversation);
                assert!(seen.members.contains_key(account), "a stranger deleted");
                assert!(seen.stands(*sequence), "no message was hidden");
                let new = self.hidden.insert((*conversation, *sequence, *account));
                assert!(new, "a message was hidden twice");
            }
            Event::Message(MessageEvent::Deleted {
                conversation,
                sequence,
                ..
            }) => {
                let seen = self.seen(*conversation);
                assert!(seen.stands(*sequence), "no message was deleted");
                seen.deleted.insert(*sequence);
                seen.reactions.retain(|(of, ..)| of != sequence);
            }
            other => panic!("{other:?} is not about a message"),
        }
    }

    /// Checks that each forgotten message was too old or one too many.
    fn read_forgotten(&mut self, id: ConversationId, through: Sequence) {
        let (now, cluster) = (self.time.0, self.retention);
        let seen = self.seen(id);
        let kept = match seen.pair.is_empty() {
            true => cluster.of_room(seen.retention),
            false => cluster.each,
        };
        assert!(through.0 > seen.forgotten, "nothing is forgotten");
        assert!(
            through.0 - seen.forgotten <= FORGET_MESSAGES_MAX as u64,
            "too many at once"
        );
        assert!(through <= seen.end(), "more is forgotten than there is");
        for sequence in seen.forgotten + 1..=through.0 {
            let is_old = now - seen.at[sequence as usize - 1].0 >= kept.age_ms;
            let is_surplus = seen.end().0 - sequence >= kept.messages;
            let is_due = (kept.age_ms > 0 && is_old) || (kept.messages > 0 && is_surplus);
            assert!(is_due, "message {sequence} is forgotten too early");
        }
        seen.forgotten = through.0;
        seen.reactions.retain(|(of, ..)| *of > through);
        self.hidden
            .retain(|(of, sequence, _)| *of != id || *sequence > through);
    }

    fn read_sent(&mut self, event: &Event) {
        let Event::Message(MessageEvent::Sent(SentMessage {
            conversation,
            sequence,
            by,
            at,
            reply_to,
            ordinal,
            mentions,
            ..
        })) = event
        else {
            unreachable!("the caller has checked the kind");
        };
        assert_eq!(*at, self.date, "a message is not of its entry's date");
        let now = self.time;
        let seen = self.seen(*conversation);
        assert!(seen.members.contains_key(by), "a stranger wrote");
        let members = seen.members.keys().copied().collect::<BTreeSet<_>>();
        let there = seen.pair.is_empty() || members == seen.pair;
        assert!(there, "a message went to a missing account");
        let answers = reply_to.is_none_or(|to| seen.sender(to).is_some());
        assert!(answers, "an answer to nothing");
        check_mentions(seen, *by, mentions);
        let kept = &seen.by[seen.forgotten as usize..];
        let keeps_none = !kept.contains(by);
        seen.by.push(*by);
        seen.at.push(now);
        assert_eq!(*sequence, seen.end(), "a sequence has a gap");
        let sent = seen.by.iter().filter(|sender| *sender == by).count() as u64;
        let uncounted = seen.uncounted.entry(*by).or_default();
        if keeps_none && *ordinal == 1 {
            *uncounted = sent - 1;
        }
        assert_eq!(
            *ordinal,
            sent - *uncounted,
            "a sender's messages are numbered"
        );
        self.check_unblocked(*conversation);
    }

    fn check_unblocked(&self, id: ConversationId) {
        let pair = &self.conversations[&id].pair;
        let among = |(by, of): &(AccountId, AccountId)| pair.contains(by) && pair.contains(of);
        assert!(
            !self.blocks.iter().any(among),
            "something went to an account that blocked"
        );
    }

    fn read_reaction(
        &mut self,
        message: MessageRef,
        account: AccountId,
        reaction: &Reaction,
        present: bool,
    ) {
        if present {
            self.check_unblocked(message.conversation);
        }
        let seen = self.seen(message.conversation);
        assert!(seen.members.contains_key(&account), "a stranger reacted");
        assert!(seen.stands(message.sequence), "a reaction to nothing");
        let key = (message.sequence, account, reaction.clone());
        let changed = match present {
            true => seen.reactions.insert(key),
            false => seen.reactions.remove(&key),
        };
        assert!(changed, "a reaction did not change");
        let here = seen
            .reactions
            .iter()
            .filter(|(of, ..)| *of == message.sequence);
        let kinds: BTreeSet<_> = here.clone().map(|(.., kind)| kind).collect();
        assert!(kinds.len() <= REACTION_KINDS_MAX, "too many kinds");
        let own = here.filter(|(_, by, _)| *by == account).count();
        assert!(own <= REACTIONS_OF_ONE_MAX, "too many of one");
    }

    fn read_progress(&mut self, id: ConversationId, account: AccountId, to: Progress) {
        let end = self.seen(id).end();
        let is_member = self.seen(id).members.contains_key(&account);
        assert!(is_member, "a stranger advanced");
        let before = self.progress.insert((id, account), to).unwrap_or_default();
        assert!(to.delivered >= before.delivered, "delivered went back");
        assert!(to.read >= before.read, "read went back");
        assert_ne!(to, before, "nothing advanced");
        assert!(to.read <= to.delivered, "read before it was delivered");
        assert!(to.delivered <= end, "beyond the end");
    }
}

/// Checks that mentions name members other than the sender, in order, each once.
fn check_mentions(seen: &Seen, by: AccountId, mentions: &[AccountId]) {
    assert!(mentions.len() <= MENTIONS_MAX, "too many are mentioned");
    assert!(
        mentions.is_sorted_by(|a, b| a < b),
        "mentions are not in order"
    );
    assert!(!mentions.contains(&by), "a sender mentioned itself");
    let known = mentions.iter().all(|id| seen.members.contains_key(id));
    assert!(known, "a stranger was mentioned");
}
