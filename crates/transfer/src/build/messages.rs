//! Sends the messages in the order of time, with their reactions, edits and deletions.
//!
//! The rule of authors: an account that has left the room, or was in it only as a guest, becomes a
//! member while its messages are built, and leaves at the end. What an account cannot have written
//! (a third one in a conversation of two, a member of too many rooms) is written by the owner of
//! the room or by one of the two, with a first line that names the author; the report has each of
//! them.

use conclave_core::{
    Accepted, ConversationId, MessageOperation, MessageRef, MessageText, Operation, Recipient,
    Rejection, RoomOperation, Sequence,
};

use super::{Builder, refused};
use crate::{
    error::ImportError,
    plan::{Act, Kind, Message, PersonId, PlaceId},
    report::What,
    text,
};

impl Builder<'_, '_, '_> {
    pub(super) fn messages(&mut self, progress: &mut dyn FnMut(u64)) -> Result<(), ImportError> {
        loop {
            let page = self.plan.pile.next_page()?;
            if page.is_empty() {
                return Ok(());
            }
            for record in page {
                let act: Act = serde_json::from_slice(&record.bytes)
                    .map_err(|error| ImportError::Archive(error.to_string()))?;
                match act {
                    Act::Send(message) => {
                        self.built.messages += 1;
                        progress(self.built.messages);
                        self.send(message)?;
                    }
                    Act::Edit {
                        place,
                        id,
                        by,
                        at,
                        text,
                    } => self.edit(place, id, by, at, &text)?,
                    Act::Delete { place, id, by, at } => self.delete(place, id, by, at)?,
                }
            }
        }
    }

    fn send(&mut self, message: Message) -> Result<(), ImportError> {
        self.machine.set_date(message.at);
        let place = message.place as usize;
        if matches!(self.plan.places[place].kind, Kind::Room { .. })
            && self.conversations[place].is_none()
        {
            let why = "its room was not made";
            return self
                .plan
                .report
                .say(What::MessageLost, &message.source, why);
        }
        let reply_to = self.answered(&message)?;
        for person in &message.mentions {
            self.admit(message.place, *person)?;
        }
        let (mut parts, has_text) = text::messages(&message.text);
        if !has_text && message.deleted_at.is_none() {
            self.plan
                .report
                .say(What::TextMissing, &message.source, text::NOTHING)?;
        }
        let mut by = message.author;
        let first = match self.say(message.place, by, &parts[0], reply_to, message.action)? {
            Ok(sent) => sent,
            Err(rejection) => {
                by = self.speaker_for(message.place);
                let name = self.name(message.author);
                let named = format!("[{name}]\n{}", message.text);
                parts = text::messages(&named).0;
                let result = format!("{}: {rejection}", self.name(by));
                self.plan
                    .report
                    .say(What::AuthorReplaced, &message.source, &result)?;
                match self.say(message.place, by, &parts[0], reply_to, false)? {
                    Ok(sent) => sent,
                    Err(rejection) => {
                        let why = rejection.to_string();
                        return self
                            .plan
                            .report
                            .say(What::MessageLost, &message.source, &why);
                    }
                }
            }
        };
        self.note_sent(&message, first)?;
        if parts.len() > 1 {
            let result = format!("{} messages", parts.len());
            self.plan
                .report
                .say(What::TextSplit, &message.source, &result)?;
        }
        for part in &parts[1..] {
            if let Err(rejection) = self.say(message.place, by, part, reply_to, false)? {
                let why = rejection.to_string();
                self.plan
                    .report
                    .say(What::MessageLost, &message.source, &why)?;
            }
        }
        self.react(&message, first)?;
        for person in &message.hidden_from {
            let operation = MessageOperation::DeleteMessages {
                messages: vec![first],
                for_everyone: false,
            };
            if let Err(rejection) = self.by(*person, Operation::Message(operation))? {
                let at = format!("{}, hidden from {}", message.source, self.name(*person));
                self.plan
                    .report
                    .say(What::ChangeLost, &at, &rejection.to_string())?;
            }
        }
        Ok(())
    }

    /// Remembers what later messages call this one.
    fn note_sent(&mut self, message: &Message, sent: MessageRef) -> Result<(), ImportError> {
        if self.plan.keeps_sequences {
            if sent.sequence.0 != message.id {
                let why = format!("message {} has become {}", message.id, sent.sequence.0);
                return Err(ImportError::malformed(&message.source, message.id + 1, why));
            }
        } else if message.is_named {
            let place = u64::from(message.place);
            self.plan
                .pile
                .remember(place, message.id, sent.sequence.0)?;
        }
        Ok(())
    }

    /// Returns the message that this one answers.
    fn answered(&mut self, message: &Message) -> Result<Option<Sequence>, ImportError> {
        let Some(id) = message.reply_to else {
            return Ok(None);
        };
        let found = self.sequence(message.place, id)?;
        if found.is_none() {
            let why = "what it answers is not in the export";
            self.plan
                .report
                .say(What::ReplyWithoutMessage, &message.source, why)?;
        }
        Ok(found)
    }

    fn sequence(&self, place: PlaceId, id: u64) -> Result<Option<Sequence>, ImportError> {
        if self.plan.keeps_sequences {
            let is_there = (1..=self.sequences[place as usize]).contains(&id);
            return Ok(is_there.then_some(Sequence(id)));
        }
        Ok(self.plan.pile.recall(u64::from(place), id)?.map(Sequence))
    }

    /// Sends one message, and admits its author if need be.
    fn say(
        &mut self,
        place: PlaceId,
        by: PersonId,
        text: &MessageText,
        reply_to: Option<Sequence>,
        action: bool,
    ) -> Result<Result<MessageRef, Rejection>, ImportError> {
        let Some(to) = self.recipient(place, by) else {
            return Ok(Err(Rejection::NoSuchConversation));
        };
        let operation = Operation::Message(MessageOperation::SendMessage {
            to,
            text: text.clone(),
            reply_to,
            action,
        });
        let mut answer = self.by(by, operation.clone())?;
        if answer == Err(Rejection::NoSuchConversation) && self.admit(place, by)? {
            answer = self.by(by, operation)?;
        }
        match answer {
            Ok(Accepted::MessageSent {
                conversation,
                sequence,
                ..
            }) => {
                self.conversations[place as usize] = Some(conversation);
                self.sequences[place as usize] = sequence.0;
                Ok(Ok(MessageRef {
                    conversation,
                    sequence,
                }))
            }
            Ok(_) => Err(refused("a message", Rejection::NotAllowed)),
            Err(rejection) => Ok(Err(rejection)),
        }
    }

    /// Returns where a message of this account goes; `None` if it cannot be of this conversation.
    fn recipient(&self, place: PlaceId, by: PersonId) -> Option<Recipient> {
        if let Some(conversation) = self.conversations[place as usize] {
            return Some(Recipient::Conversation(conversation));
        }
        let Kind::Direct(low, high) = self.plan.places[place as usize].kind else {
            return None;
        };
        let peer = match by {
            by if by == low => high,
            by if by == high => low,
            _ => return None,
        };
        let name = self.plan.people[peer as usize].name.clone();
        Some(Recipient::Account(name))
    }

    /// Returns the account that says what another one cannot have said.
    fn speaker_for(&self, place: PlaceId) -> PersonId {
        match self.plan.places[place as usize].kind {
            Kind::Direct(low, _) => low,
            Kind::Room { .. } => self.owners[place as usize].unwrap_or(self.admin),
        }
    }

    /// Makes an account a guest of a room, unless it is a member; returns whether it is in it. An
    /// account that is in too many rooms leaves the first one in which it is a guest.
    fn admit(&mut self, place: PlaceId, person: PersonId) -> Result<bool, ImportError> {
        let Some(owner) = self.owners[place as usize] else {
            return Ok(false);
        };
        let members = &self.plan.places[place as usize].members;
        let is_member = members
            .binary_search_by_key(&person, |member| member.person)
            .is_ok();
        let is_guest = |places: &Vec<PlaceId>| places.contains(&place);
        if person == owner || is_member || self.guests.get(&person).is_some_and(is_guest) {
            return Ok(true);
        }
        let Kind::Room { name, .. } = self.plan.places[place as usize].kind.clone() else {
            return Ok(false);
        };
        loop {
            match self.enter(place, &name, owner, person)? {
                Ok(()) => {
                    self.guests.entry(person).or_default().push(place);
                    return Ok(true);
                }
                Err(Rejection::TooMany { .. }) => {
                    let rooms = self.guests.get_mut(&person);
                    let Some(rooms) = rooms.filter(|rooms| !rooms.is_empty()) else {
                        return Ok(false);
                    };
                    let oldest = rooms.remove(0);
                    self.leave(oldest, person)?;
                }
                Err(_) => return Ok(false),
            }
        }
    }

    /// Ends what was begun for a guest.
    pub(super) fn leave(&mut self, place: PlaceId, person: PersonId) -> Result<(), ImportError> {
        let Kind::Room { name, .. } = self.plan.places[place as usize].kind.clone() else {
            return Ok(());
        };
        let operation = RoomOperation::LeaveRoom { name };
        self.must("that a guest leaves", person, Operation::Room(operation))
    }

    fn react(&mut self, message: &Message, sent: MessageRef) -> Result<(), ImportError> {
        for (reaction, people) in &message.reactions {
            let reaction = match conclave_text::reaction(reaction) {
                Ok(reaction) => reaction,
                Err(refusal) => {
                    let at = format!("{}, {reaction}", message.source);
                    self.plan
                        .report
                        .say(What::ReactionLost, &at, &refusal.to_string())?;
                    continue;
                }
            };
            for person in people {
                let operation = Operation::Message(MessageOperation::SetReaction {
                    message: sent,
                    reaction: reaction.clone(),
                    present: true,
                });
                let mut answer = self.by(*person, operation.clone())?;
                if answer == Err(Rejection::NoSuchConversation)
                    && self.admit(message.place, *person)?
                {
                    answer = self.by(*person, operation)?;
                }
                match answer {
                    Ok(_) => self.built.reactions += 1,
                    Err(rejection) => {
                        let who = self.name(*person);
                        let at = format!("{}, {} of {who}", message.source, reaction.as_str());
                        self.plan
                            .report
                            .say(What::ReactionLost, &at, &rejection.to_string())?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the message that a later act names; `None` if it is not there.
    fn named(&self, place: PlaceId, id: u64) -> Result<Option<MessageRef>, ImportError> {
        let conversation: Option<ConversationId> = self.conversations[place as usize];
        let sequence = self.sequence(place, id)?;
        Ok(conversation
            .zip(sequence)
            .map(|(conversation, sequence)| MessageRef {
                conversation,
                sequence,
            }))
    }

    fn edit(
        &mut self,
        place: PlaceId,
        id: u64,
        by: PersonId,
        at: u64,
        text: &str,
    ) -> Result<(), ImportError> {
        self.machine.set_date(at);
        let text = text::messages(text).0.swap_remove(0);
        let Some(message) = self.named(place, id)? else {
            return Ok(());
        };
        let operation = MessageOperation::EditMessage { message, text };
        self.change(place, by, Operation::Message(operation), "an edit")
    }

    fn delete(
        &mut self,
        place: PlaceId,
        id: u64,
        by: PersonId,
        at: u64,
    ) -> Result<(), ImportError> {
        self.machine.set_date(at);
        let Some(message) = self.named(place, id)? else {
            return Ok(());
        };
        let operation = MessageOperation::DeleteMessages {
            messages: vec![message],
            for_everyone: true,
        };
        self.change(place, by, Operation::Message(operation), "a deletion")
    }

    fn change(
        &mut self,
        place: PlaceId,
        by: PersonId,
        operation: Operation,
        what: &str,
    ) -> Result<(), ImportError> {
        let mut answer = self.by(by, operation.clone())?;
        if answer == Err(Rejection::NoSuchConversation) && self.admit(place, by)? {
            answer = self.by(by, operation)?;
        }
        if let Err(rejection) = answer {
            let source = &self.plan.places[place as usize].source;
            let at = format!("{source}, {what} of {}", self.name(by));
            self.plan
                .report
                .say(What::ChangeLost, &at, &rejection.to_string())?;
        }
        Ok(())
    }
}
