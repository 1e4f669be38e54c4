//! Conversations and their messages.

use conclave_core::{
    ConversationId, MessageRef, MessageText, Position, Progress, Recipient, Sequence, Timestamp,
};
use conclave_wire::v1;

use crate::{CallError, Client, Follow, Freshness, RequestKey, account::page_size};

/// A message has its place: it is on disk on a majority of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its place there.
    pub sequence: Sequence,
    /// Its place in the log.
    pub position: Position,
    /// When it was sent, in log time.
    pub sent_at: Timestamp,
}

/// Which page of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// The last messages.
    #[default]
    Newest,
    /// The nearest ones before this.
    Before(Sequence),
    /// The nearest ones after this.
    After(Sequence),
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
        let request = send_request(to, text.into())?;
        self.change(request).await.map(Sent::from)
    }

    /// Asks for the outcome of a message that is unknown; sends it if it was not sent. Everything
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
        let request = send_request(to, text.into())?;
        self.change_again(request, key).await.map(Sent::from)
    }

    /// A page of the conversation with a person or of that number, in ascending order.
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
        };
        let request = v1::ListMessagesRequest {
            conversation: Some(conversation),
            from: match page {
                Page::Newest => None,
                Page::Before(sequence) => Some(From::BeforeSequence(sequence.0)),
                Page::After(sequence) => Some(From::AfterSequence(sequence.0)),
            },
            page_size: page_size(count),
            read: Some(freshness.options()),
        };
        self.ask(request).await
    }

    /// The oldest unread messages of all conversations. They stay unread until
    /// [`Client::advance`] says otherwise.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn unread(
        &self,
        count: usize,
        freshness: Freshness,
    ) -> Result<Vec<v1::Message>, CallError> {
        let request = v1::ListUnreadRequest {
            count: page_size(count),
            read: Some(freshness.options()),
        };
        Ok(self.ask(request).await?.messages)
    }

    /// The first `count_max` conversations of the caller, in the order in which they were opened.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn conversations(
        &self,
        count_max: usize,
        freshness: Freshness,
    ) -> Result<Vec<v1::Conversation>, CallError> {
        let mut conversations = Vec::new();
        let mut token = String::new();
        while conversations.len() < count_max {
            let request = v1::ListConversationsRequest {
                page_size: page_size(count_max - conversations.len()),
                page_token: token.clone(),
                read: Some(freshness.options()),
            };
            let page = self.ask(request).await?;
            conversations.extend(page.conversations);
            if page.next_page_token.is_empty() || page.next_page_token == token {
                break;
            }
            token = page.next_page_token;
        }
        conversations.truncate(count_max);
        Ok(conversations)
    }

    /// Says how far the caller has come in a conversation. Positions only grow.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn advance(
        &self,
        conversation: ConversationId,
        progress: Progress,
    ) -> Result<Position, CallError> {
        let request = v1::AdvancePositionRequest {
            request: None,
            conversation_id: conversation.0,
            sequence_delivered: progress.delivered.0,
            sequence_read: progress.read.0,
        };
        Ok(Position(self.change(request).await?.position))
    }

    /// Deletes messages, all or none; gives how many were not deleted before.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_messages(
        &self,
        messages: &[MessageRef],
        for_everyone: bool,
    ) -> Result<u64, CallError> {
        let message = |message: &MessageRef| v1::MessageRef {
            conversation_id: message.conversation.0,
            sequence: message.sequence.0,
        };
        let request = v1::DeleteMessagesRequest {
            request: None,
            messages: messages.iter().map(message).collect(),
            for_everyone,
        };
        Ok(self.change(request).await?.count)
    }

    /// Follows all conversations of the caller after this position, on whichever node serves.
    #[must_use]
    pub fn follow(&self, after: Position) -> Follow {
        Follow::new(self.clone(), after)
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

fn send_request(to: &Recipient, text: String) -> Result<v1::SendMessageRequest, CallError> {
    use v1::send_message_request::To;
    // A text that no node takes costs no request number.
    let text = MessageText::new(text)?;
    let to = match to {
        Recipient::Account(name) => To::RecipientName(name.as_str().to_owned()),
        Recipient::Conversation(id) => To::ConversationId(id.0),
    };
    Ok(v1::SendMessageRequest {
        request: None,
        to: Some(to),
        text: text.as_str().to_owned(),
    })
}
