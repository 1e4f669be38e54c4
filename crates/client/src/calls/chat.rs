//! Conversations and their messages.

use conclave_core::{
    ConversationId, MessageRef, MessageText, Position, Progress, Recipient, Sequence, Timestamp,
};
use conclave_wire::{Reason, v1};

use crate::{
    CallError, Client, Freshness, RequestKey,
    calls::account::{all_pages, page_size},
};

/// A stored message: it is on disk on a majority of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Conversation of the message.
    pub conversation: ConversationId,
    /// Sequence of the message in its conversation.
    pub sequence: Sequence,
    /// Position of the message in the log.
    pub position: Position,
    /// Time at which the message was sent, in log time.
    pub sent_at: Timestamp,
}

/// A message to send: a text, and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Text of the message: 1 byte to 16 KiB.
    pub text: String,
    /// The message of the same conversation that it answers.
    pub reply_to: Option<Sequence>,
    /// Whether the text says what the sender does: `/me waves` is `waves` with this set.
    pub action: bool,
}

impl From<&str> for Outgoing {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Outgoing {
    fn from(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}

/// Offsets of the days in a query from those of UTC.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Days {
    /// Minutes by which the days begin before those of UTC.
    pub utc_offset_minutes: i32,
    /// Days that have another offset.
    pub day_offsets: Vec<v1::DayOffset>,
}

/// A page of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// The last messages.
    #[default]
    Newest,
    /// The nearest messages before this sequence.
    Before(Sequence),
    /// The nearest messages after this sequence.
    After(Sequence),
    /// Half of the page before this sequence, the rest from it on.
    Around(Sequence),
}

impl Client {
    /// Sends a message, exactly once if this succeeds.
    ///
    /// Many may be under way at once; beyond [`crate::IN_FLIGHT_MAX`] they wait for their turn.
    /// Messages sent at the same time may be stored in any order.
    ///
    /// # Errors
    /// [`CallError`]. After [`CallError::Unknown`] use [`Client::send_again`].
    pub async fn send(&self, to: &Recipient, text: impl Into<String>) -> Result<Sent, CallError> {
        self.send_message(to, &text.into().into()).await
    }

    /// Sends a message with all its fields, as [`Client::send`] does.
    ///
    /// # Errors
    /// As [`Client::send`]; `NO_SUCH_MESSAGE` if it answers a message that does not exist.
    pub async fn send_message(
        &self,
        to: &Recipient,
        message: &Outgoing,
    ) -> Result<Sent, CallError> {
        let request = send_request(to, message)?;
        self.call(request).await.map(Sent::from)
    }

    /// Asks again for the unknown outcome of a message; sends it if it was not sent. Everything
    /// must be as it was the first time.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn send_again(
        &self,
        key: RequestKey,
        to: &Recipient,
        text: impl Into<String>,
    ) -> Result<Sent, CallError> {
        self.send_message_again(key, to, &text.into().into()).await
    }

    /// Sends a message with all its fields, as [`Client::send`] does.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn send_message_again(
        &self,
        key: RequestKey,
        to: &Recipient,
        message: &Outgoing,
    ) -> Result<Sent, CallError> {
        let request = send_request(to, message)?;
        self.retry(request, key).await.map(Sent::from)
    }

    /// Replaces the text of one of the caller's messages, which keeps its place and its time.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_YOUR_MESSAGE`, `NO_SUCH_MESSAGE`, `MESSAGE_GONE`, `BLOCKED`.
    pub async fn edit_message(
        &self,
        message: MessageRef,
        text: impl Into<String>,
    ) -> Result<Position, CallError> {
        // A text that no node accepts costs no request number.
        let text = MessageText::new(text)?;
        let request = v1::EditMessageRequest {
            request: None,
            message: Some(reference(&message)),
            text: text.as_str().to_owned(),
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Adds a reaction to a message (an emoji or a short word), or removes it. Does nothing if that
    /// is the state already.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_MESSAGE`, `MESSAGE_GONE`, `TOO_MANY`, `LINE_INVALID`,
    /// `REACTION_INVALID`, `BLOCKED`.
    pub async fn set_reaction(
        &self,
        message: MessageRef,
        reaction: &str,
        present: bool,
    ) -> Result<Position, CallError> {
        let request = v1::SetReactionRequest {
            request: None,
            message: Some(reference(&message)),
            reaction: reaction.to_owned(),
            present,
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Returns one page of the messages that a query finds, of those that the caller may see, the
    /// newest first. The syntax of a query is in `docs/protocol.md`. Its days begin as `days` says.
    /// `page_token` is from the page before, empty for the first.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn search(
        &self,
        query: &str,
        days: &Days,
        page_size: u32,
        page_token: &str,
    ) -> Result<v1::SearchMessagesResponse, CallError> {
        let request = v1::SearchMessagesRequest {
            query: query.to_owned(),
            page_size,
            page_token: page_token.to_owned(),
            utc_offset_minutes: days.utc_offset_minutes,
            day_offsets: days.day_offsets.clone(),
        };
        self.ask(request).await
    }

    /// Returns a page of a conversation or a room, in ascending order.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn messages(
        &self,
        conversation: &Recipient,
        page: Page,
        count: usize,
        freshness: Freshness,
    ) -> Result<v1::ListMessagesResponse, CallError> {
        use v1::list_messages_request::{Conversation, From};
        let conversation = match conversation {
            Recipient::Account(name) => Conversation::PeerName(name.as_str().to_owned()),
            Recipient::Conversation(id) => Conversation::ConversationId(id.0),
            Recipient::Room(name) => Conversation::RoomName(name.as_str().to_owned()),
        };
        let request = v1::ListMessagesRequest {
            conversation: Some(conversation),
            from: match page {
                Page::Newest => None,
                Page::Before(sequence) => Some(From::BeforeSequence(sequence.0)),
                Page::After(sequence) => Some(From::AfterSequence(sequence.0)),
                Page::Around(sequence) => Some(From::AroundSequence(sequence.0)),
            },
            page_size: page_size(count),
            read: Some(freshness.options()),
        };
        self.ask(request).await
    }

    /// Returns the oldest unread messages of all conversations. They stay unread until
    /// [`Client::advance`] marks them as read.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn unread(
        &self,
        count: usize,
        freshness: Freshness,
    ) -> Result<Vec<v1::Message>, CallError> {
        Ok(self.unread_page(count, freshness).await?.messages)
    }

    /// Returns the oldest unread messages of all conversations, and whether there may be more.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn unread_page(
        &self,
        count: usize,
        freshness: Freshness,
    ) -> Result<v1::ListUnreadResponse, CallError> {
        let request = v1::ListUnreadRequest {
            count: page_size(count),
            read: Some(freshness.options()),
        };
        self.ask(request).await
    }

    /// Returns the first `count_max` conversations of the caller, in the order in which they were
    /// opened.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn conversations(
        &self,
        count_max: usize,
        freshness: Freshness,
    ) -> Result<Vec<v1::Conversation>, CallError> {
        self.conversations_as(count_max, freshness, false).await
    }

    /// Returns the same, each with its last message.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn conversations_with_last(
        &self,
        count_max: usize,
        freshness: Freshness,
    ) -> Result<Vec<v1::Conversation>, CallError> {
        self.conversations_as(count_max, freshness, true).await
    }

    async fn conversations_as(
        &self,
        count_max: usize,
        freshness: Freshness,
        with_last_message: bool,
    ) -> Result<Vec<v1::Conversation>, CallError> {
        all_pages(count_max, async |page_size, page_token| {
            let request = v1::ListConversationsRequest {
                page_size,
                page_token,
                read: Some(freshness.options()),
                with_last_message,
            };
            let page = self.ask(request).await?;
            Ok((page.conversations, page.next_page_token))
        })
        .await
    }

    /// Returns the first `count_max` members that gave a reaction to a message, in the order of
    /// their numbers.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_MESSAGE`, `REACTION_INVALID`.
    pub async fn reactors(
        &self,
        message: MessageRef,
        reaction: &str,
        count_max: usize,
        freshness: Freshness,
    ) -> Result<Vec<v1::Reactor>, CallError> {
        all_pages(count_max, async |page_size, page_token| {
            let request = v1::ListReactionsRequest {
                message: Some(reference(&message)),
                reaction: reaction.to_owned(),
                page_size,
                page_token,
                read: Some(freshness.options()),
            };
            let page = self.ask(request).await?;
            Ok((page.reactors, page.next_page_token))
        })
        .await
    }

    /// Advances the caller's delivered and read positions in 1 to
    /// [`conclave_core::limits::POSITIONS_PER_REQUEST_MAX`] conversations, all or none. Positions
    /// only grow.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_CONVERSATION` if the caller is not in one of them.
    pub async fn advance(
        &self,
        progress: &[(ConversationId, Progress)],
    ) -> Result<Position, CallError> {
        let one = |(conversation, progress): &(ConversationId, Progress)| v1::Progress {
            conversation_id: conversation.0,
            sequence_delivered: progress.delivered.0,
            sequence_read: progress.read.0,
        };
        let request = v1::AdvancePositionsRequest {
            request: None,
            progress: progress.iter().map(one).collect(),
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Advances positions as [`Client::advance`] does, but leaves out the conversations that the
    /// caller is no longer in: then one call for each conversation is made.
    ///
    /// # Errors
    /// [`CallError`]. Some of the positions may have been advanced; asking again does no harm.
    pub async fn advance_where_member(
        &self,
        progress: &[(ConversationId, Progress)],
    ) -> Result<(), CallError> {
        match self.advance(progress).await {
            Ok(_) => return Ok(()),
            Err(error) if !is_gone(&error) => return Err(error),
            Err(_) if progress.len() <= 1 => return Ok(()),
            Err(_) => {}
        }
        for one in progress {
            match self.advance(std::slice::from_ref(one)).await {
                Err(error) if !is_gone(&error) => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Deletes messages, all or none; returns how many were not deleted before.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_messages(
        &self,
        messages: &[MessageRef],
        for_everyone: bool,
    ) -> Result<u64, CallError> {
        let request = v1::DeleteMessagesRequest {
            request: None,
            messages: messages.iter().map(reference).collect(),
            for_everyone,
        };
        Ok(self.call(request).await?.count)
    }
}

impl From<v1::SendMessageResponse> for Sent {
    fn from(sent: v1::SendMessageResponse) -> Self {
        Self {
            conversation: ConversationId(sent.conversation_id),
            sequence: Sequence(sent.sequence),
            position: Position(sent.position),
            sent_at: Timestamp(sent.sent_at_ms),
        }
    }
}

/// Builds the request that sends a message; refuses a text that no node accepts.
pub(crate) fn send_request(
    to: &Recipient,
    message: &Outgoing,
) -> Result<v1::SendMessageRequest, CallError> {
    use v1::send_message_request::To;
    // A text that no node accepts costs no request number.
    let text = MessageText::new(message.text.as_str())?;
    let to = match to {
        Recipient::Account(name) => To::RecipientName(name.as_str().to_owned()),
        Recipient::Conversation(id) => To::ConversationId(id.0),
        Recipient::Room(name) => To::RoomName(name.as_str().to_owned()),
    };
    Ok(v1::SendMessageRequest {
        request: None,
        to: Some(to),
        text: text.as_str().to_owned(),
        reply_to: message.reply_to.map_or(0, |sequence| sequence.0),
        action: message.action,
    })
}

fn reference(message: &MessageRef) -> v1::MessageRef {
    v1::MessageRef {
        conversation_id: message.conversation.0,
        sequence: message.sequence.0,
    }
}

fn is_gone(error: &CallError) -> bool {
    error.reason() == Some(Reason::NoSuchConversation)
}
