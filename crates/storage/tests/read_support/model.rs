//! Expected results of readers, derived from the events alone, in the simplest way there is.

use std::collections::{BTreeMap, BTreeSet};

use conclave_core::{
    AccountEvent, ConversationEvent, Event, MessageEvent, Position, RoomEvent, SentMessage,
};

/// A message, as its events left it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) position: Position,
    pub(crate) by: u64,
    pub(crate) text: Option<String>,
    pub(crate) mentions: Vec<u64>,
    pub(crate) reactions: BTreeSet<(String, u64)>,
}

/// A member, as its events left it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Member {
    pub(crate) since: Position,
    pub(crate) read: u64,
    pub(crate) advanced_at: Option<Position>,
}

/// Everything that happened.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) events: Vec<(Position, Event)>,
    pub(crate) accounts: BTreeSet<u64>,
    /// Messages by conversation and sequence.
    pub(crate) messages: BTreeMap<(u64, u64), Message>,
    /// Members by conversation and account.
    pub(crate) members: BTreeMap<(u64, u64), Member>,
    pub(crate) directs: BTreeSet<u64>,
    /// Of each conversation: where messages were forgotten last.
    forgotten_at: BTreeMap<u64, Position>,
    /// Messages that an account has hidden, by account, conversation and sequence.
    hidden: BTreeSet<(u64, u64, u64)>,
    /// Mentions added by an edit to a message that the account had read, by the same key.
    late: BTreeSet<(u64, u64, u64)>,
}

impl Model {
    pub(crate) fn apply(&mut self, position: Position, event: &Event) {
        self.events.push((position, event.clone()));
        match event {
            Event::Account(AccountEvent::Created { account, .. }) => {
                self.accounts.insert(account.0);
            }
            Event::Account(AccountEvent::Deleted { account }) => {
                self.accounts.remove(&account.0);
                self.members.retain(|(_, member), _| *member != account.0);
            }
            Event::Conversation(ConversationEvent::Opened {
                conversation,
                members,
                ..
            }) => {
                self.directs.insert(conversation.0);
                for member in [members.0, members.1] {
                    let key = (conversation.0, member.0);
                    self.members.insert(key, Member::default());
                }
            }
            Event::Room(RoomEvent::MemberJoined {
                conversation,
                account,
                progress,
                ..
            }) => {
                let member = Member {
                    since: position,
                    read: progress.read.0,
                    advanced_at: None,
                };
                self.members.insert((conversation.0, account.0), member);
                self.read_late(account.0, conversation.0, progress.read.0);
            }
            Event::Room(RoomEvent::MemberLeft {
                conversation,
                account,
                ..
            }) => {
                self.members.remove(&(conversation.0, account.0));
            }
            Event::Conversation(ConversationEvent::PositionAdvanced {
                conversation,
                account,
                progress,
            }) => {
                let key = (conversation.0, account.0);
                let member = self.members.get_mut(&key).unwrap();
                member.read = progress.read.0;
                member.advanced_at = Some(position);
                self.read_late(account.0, conversation.0, progress.read.0);
            }
            Event::Message(MessageEvent::Hidden {
                conversation,
                sequence,
                account,
            }) => {
                let key = (account.0, conversation.0, sequence.0);
                self.hidden.insert(key);
            }
            Event::Conversation(ConversationEvent::Forgotten {
                conversation,
                through,
            }) => {
                let is_kept = |of: u64, sequence: u64| of != conversation.0 || sequence > through.0;
                self.messages.retain(|(of, at), _| is_kept(*of, *at));
                self.hidden.retain(|(_, of, at)| is_kept(*of, *at));
                self.late.retain(|(_, of, at)| is_kept(*of, *at));
                self.forgotten_at.insert(conversation.0, position);
            }
            _ => self.apply_to_message(position, event),
        }
    }

    fn apply_to_message(&mut self, position: Position, event: &Event) {
        let numbers = |ids: &[conclave_core::AccountId]| ids.iter().map(|id| id.0).collect();
        match event {
            Event::Message(MessageEvent::Sent(SentMessage {
                conversation,
                sequence,
                by,
                text,
                mentions,
                ..
            })) => {
                let message = Message {
                    position,
                    by: by.0,
                    text: Some(text.as_str().to_owned()),
                    mentions: numbers(mentions),
                    reactions: BTreeSet::new(),
                };
                self.messages.insert((conversation.0, sequence.0), message);
            }
            Event::Message(MessageEvent::Edited {
                conversation,
                sequence,
                text,
                mentions,
                ..
            }) => {
                let message = self.message_mut(conversation.0, sequence.0);
                message.text = Some(text.as_str().to_owned());
                let before = std::mem::replace(&mut message.mentions, numbers(mentions));
                let after = message.mentions.clone();
                self.mention_by_edit((conversation.0, sequence.0), &before, &after);
            }
            Event::Message(MessageEvent::Deleted {
                conversation,
                sequence,
                ..
            }) => {
                let message = self.message_mut(conversation.0, sequence.0);
                message.text = None;
                message.reactions.clear();
                let before = std::mem::take(&mut message.mentions);
                self.mention_by_edit((conversation.0, sequence.0), &before, &[]);
            }
            Event::Message(MessageEvent::ReactionChanged {
                conversation,
                sequence,
                account,
                reaction,
                present,
                ..
            }) => {
                let message = self.message_mut(conversation.0, sequence.0);
                let reaction = (reaction.as_str().to_owned(), account.0);
                if *present {
                    message.reactions.insert(reaction);
                } else {
                    message.reactions.remove(&reaction);
                }
            }
            _ => {}
        }
    }

    fn mention_by_edit(&mut self, message: (u64, u64), before: &[u64], after: &[u64]) {
        let (conversation, sequence) = message;
        for account in before.iter().filter(|account| !after.contains(account)) {
            self.late.remove(&(*account, conversation, sequence));
        }
        for account in after.iter().filter(|account| !before.contains(account)) {
            let member = self.members.get(&(conversation, *account));
            if member.is_some_and(|member| member.read >= sequence) {
                self.late.insert((*account, conversation, sequence));
            }
        }
    }

    fn read_late(&mut self, account: u64, conversation: u64, read: u64) {
        let is_read =
            |(a, c, s): &(u64, u64, u64)| (*a, *c) == (account, conversation) && *s <= read;
        self.late.retain(|key| !is_read(key));
    }

    /// Returns the number of an account's late mentions in a conversation that are shown.
    pub(crate) fn late(&self, account: u64, conversation: u64) -> usize {
        let own = self.late.difference(&self.hidden);
        own.filter(|(a, c, _)| (*a, *c) == (account, conversation))
            .count()
    }

    fn message_mut(&mut self, conversation: u64, sequence: u64) -> &mut Message {
        self.messages.get_mut(&(conversation, sequence)).unwrap()
    }

    pub(crate) fn is_hidden(&self, account: u64, conversation: u64, sequence: u64) -> bool {
        self.hidden.contains(&(account, conversation, sequence))
    }

    /// Returns the messages of a conversation that an account sees, in order.
    pub(crate) fn history(
        &self,
        account: u64,
        conversation: u64,
    ) -> impl Iterator<Item = (u64, &Message)> {
        self.messages
            .range((conversation, 0)..=(conversation, u64::MAX))
            .map(|((_, sequence), message)| (*sequence, message))
            .filter(move |(sequence, _)| !self.is_hidden(account, conversation, *sequence))
    }

    /// Returns the unread messages of a conversation.
    pub(crate) fn unread(&self, account: u64, conversation: u64) -> Vec<&Message> {
        let read = self.members[&(conversation, account)].read;
        self.history(account, conversation)
            .filter(|(sequence, message)| {
                *sequence > read && message.by != account && message.text.is_some()
            })
            .map(|(_, message)| message)
            .collect()
    }

    /// Returns the conversations of an account.
    pub(crate) fn conversations(&self, account: u64) -> Vec<u64> {
        let own = self.members.keys().filter(|(_, member)| *member == account);
        own.map(|(conversation, _)| *conversation).collect()
    }

    /// Returns position and kind of every event that an account may see.
    pub(crate) fn stream(&self, account: u64) -> Vec<(Position, &'static str)> {
        let kinds = self.events.iter().filter_map(|(position, event)| {
            let kind = self.told(account, *position, event)?;
            Some((*position, kind))
        });
        kinds.collect()
    }

    /// Returns the kind as which an event is delivered to an account, or `None` if it is not
    /// delivered.
    fn told(&self, account: u64, at: Position, event: &Event) -> Option<&'static str> {
        let member = |conversation: u64| {
            let member = self.members.get(&(conversation, account))?;
            (member.since <= at).then_some(member)
        };
        let sees = |conversation: u64, sequence: u64| {
            member(conversation).is_some()
                && self.messages.contains_key(&(conversation, sequence))
                && !self.is_hidden(account, conversation, sequence)
        };
        let (kind, is_told) = match event {
            Event::Message(MessageEvent::Sent(SentMessage {
                conversation: c,
                sequence: s,
                ..
            })) => ("sent", sees(c.0, s.0)),
            Event::Message(MessageEvent::Edited {
                conversation: c,
                sequence: s,
                ..
            }) => ("edited", sees(c.0, s.0)),
            Event::Message(MessageEvent::Deleted {
                conversation: c,
                sequence: s,
                ..
            }) => ("deleted", sees(c.0, s.0)),
            Event::Message(MessageEvent::ReactionChanged {
                conversation: c,
                sequence: s,
                ..
            }) => ("reaction", sees(c.0, s.0)),
            Event::Message(MessageEvent::Hidden { account: whose, .. }) => {
                ("hidden", whose.0 == account)
            }
            Event::Conversation(ConversationEvent::Opened { conversation, .. }) => {
                ("opened", member(conversation.0).is_some())
            }
            Event::Conversation(ConversationEvent::Forgotten { conversation, .. })
                if self.forgotten_at.get(&conversation.0) == Some(&at) =>
            {
                ("forgotten", member(conversation.0).is_some())
            }
            Event::Room(RoomEvent::MemberJoined { conversation, .. }) => {
                ("joined", member(conversation.0).is_some())
            }
            Event::Room(RoomEvent::MemberLeft {
                conversation,
                account: who,
                ..
            }) => ("left", who.0 == account || member(conversation.0).is_some()),
            Event::Room(RoomEvent::MemberRoleChanged { conversation, .. }) => {
                ("role", member(conversation.0).is_some())
            }
            Event::Room(RoomEvent::TopicChanged { conversation, .. }) => {
                ("topic", member(conversation.0).is_some())
            }
            Event::Room(RoomEvent::MemberInvited { account: user, .. }) => {
                ("invited", user.0 == account)
            }
            Event::Account(AccountEvent::PasswordChanged { account: whose, .. })
            | Event::Account(AccountEvent::DisplayNameChanged { account: whose, .. })
            | Event::Account(AccountEvent::RoleChanged { account: whose, .. })
            | Event::Account(AccountEvent::BlockChanged { account: whose, .. }) => {
                ("account", whose.0 == account)
            }
            Event::Conversation(ConversationEvent::PositionAdvanced {
                conversation,
                account: who,
                ..
            }) => {
                let is_last = self
                    .members
                    .get(&(conversation.0, who.0))
                    .is_some_and(|member| member.advanced_at == Some(at));
                let is_near = who.0 == account || self.directs.contains(&conversation.0);
                let is_told = is_last && is_near && member(conversation.0).is_some();
                ("advanced", is_told)
            }
            _ => return None,
        };
        is_told.then_some(kind)
    }
}
