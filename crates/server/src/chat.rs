//! Messages, as clients see them.

use std::{pin::Pin, sync::Arc};

use conclave_core::{Accepted, AccountId, AccountName, ConversationId, Position, Sequence};
use conclave_replica::rows::{self, Delivery, HistoryFrom, MessageRow};
use conclave_wire::{
    Problem, request,
    v1::{self, chat_service_server::ChatService},
};
use futures::Stream;
use tonic::{Request, Response, Status};

use crate::{
    access::{accepted, position_of},
    accounts::bad_page_token,
    follow,
    node::Shared,
};

/// Messages on a page if the client does not say.
const MESSAGES_DEFAULT: usize = 50;
/// Conversations on a page if the client does not say.
const CONVERSATIONS_DEFAULT: usize = 100;

pub(crate) struct Chat {
    pub(crate) shared: Arc<Shared>,
}

/// A stored message as clients see it.
pub(crate) fn message(row: MessageRow) -> v1::Message {
    let delivery = match row.delivery {
        Delivery::Queued => v1::Delivery::Queued,
        Delivery::Delivered => v1::Delivery::Delivered,
        Delivery::Read => v1::Delivery::Read,
    };
    v1::Message {
        conversation_id: row.conversation.0,
        sequence: row.sequence.0,
        position: row.position.0,
        sender_id: row.by.0,
        sender_name: row.by_name.unwrap_or_default(),
        recipient_name: row.recipient_name.unwrap_or_default(),
        sent_at_ms: row.sent_at.0,
        deleted: row.text.is_none(),
        text: row.text.unwrap_or_default(),
        delivery: delivery.into(),
    }
}

fn conversation(row: rows::ConversationRow) -> v1::Conversation {
    v1::Conversation {
        id: row.id.0,
        peer_name: row.peer_name.unwrap_or_default(),
        sequence_last: row.sequence_last.0,
        sequence_delivered: row.progress.delivered.0,
        sequence_read: row.progress.read.0,
        unread: row.unread,
    }
}

/// Which conversation is asked for.
enum Which {
    With(String),
    Number(ConversationId),
}

impl Which {
    fn of(asked: Option<v1::list_messages_request::Conversation>) -> Result<Self, Problem> {
        use v1::list_messages_request::Conversation as Asked;
        match asked {
            Some(Asked::PeerName(name)) => Ok(Self::With(AccountName::new(name)?.key())),
            Some(Asked::ConversationId(id)) => Ok(Self::Number(ConversationId(id))),
            None => Err(Problem::Refused {
                reason: "CONVERSATION_MISSING".to_owned(),
                sentence: "the request names no conversation".to_owned(),
                request_last: None,
            }),
        }
    }
}

/// What reading a page came to.
enum Found {
    Page(ConversationId, Box<rows::HistoryPage>),
    /// The two have not written to each other yet.
    NoneYet,
    NoSuchAccount,
    NoSuchConversation,
}

fn find_page(
    reader: &rows::Reader,
    account: AccountId,
    which: &Which,
    from: HistoryFrom,
    size: usize,
) -> Result<Found, rows::ReadError> {
    let id = match which {
        Which::Number(id) => *id,
        Which::With(key) => match reader.direct_with(account, key)? {
            Some(id) => id,
            None if reader.account_by_key(key)?.is_some() => return Ok(Found::NoneYet),
            None => return Ok(Found::NoSuchAccount),
        },
    };
    let page = reader.history(account, id, from, size)?;
    Ok(page.map_or(Found::NoSuchConversation, |page| {
        Found::Page(id, Box::new(page))
    }))
}

impl Chat {
    async fn send(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<v1::SendMessageResponse, Problem> {
        let outcome = self.shared.propose_in_session(request).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::MessageSent {
                conversation,
                sequence,
                sent_at,
                position,
            } => Some(v1::SendMessageResponse {
                conversation_id: conversation.0,
                sequence: sequence.0,
                position: position.0,
                sent_at_ms: sent_at.0,
            }),
            _ => None,
        })
    }

    async fn list(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<v1::ListMessagesResponse, Problem> {
        use v1::list_messages_request::From as Asked;
        let (metadata, _, request) = request.into_parts();
        let which = Which::of(request.conversation)?;
        let (from, after) = match request.from {
            Some(Asked::BeforeSequence(before)) => (HistoryFrom::Before(Sequence(before)), 0),
            Some(Asked::AfterSequence(after)) => (HistoryFrom::After(Sequence(after)), after),
            None => (HistoryFrom::End, 0),
        };
        let size = request::page_size(request.page_size, MESSAGES_DEFAULT);
        let read = move |reader: &rows::Reader, session: &rows::SessionRow| {
            find_page(reader, session.account, &which, from, size)
        };
        let found = self
            .shared
            .read_in_session(&metadata, request.read, read)
            .await?;
        let (id, page) = match found {
            Found::Page(id, page) => (id, *page),
            Found::NoneYet => return Ok(v1::ListMessagesResponse::default()),
            Found::NoSuchAccount => return Err(conclave_core::Rejection::NoSuchAccount.into()),
            Found::NoSuchConversation => {
                return Err(conclave_core::Rejection::NoSuchConversation.into());
            }
        };
        // At the end of the conversation whatever comes will be after its last message.
        let last = page.sequence_last.0.max(after);
        Ok(v1::ListMessagesResponse {
            conversation_id: id.0,
            previous_before_sequence: page.older.map_or(0, |older| older.0),
            next_after_sequence: page.newer.map_or(last, |newer| newer.0),
            messages: page.rows.into_iter().map(message).collect(),
        })
    }

    async fn unread(
        &self,
        request: Request<v1::ListUnreadRequest>,
    ) -> Result<v1::ListUnreadResponse, Problem> {
        let (metadata, _, request) = request.into_parts();
        let count = request::page_size(request.count, MESSAGES_DEFAULT);
        let read = move |reader: &rows::Reader, session: &rows::SessionRow| {
            reader.unread(session.account, count)
        };
        let rows = self
            .shared
            .read_in_session(&metadata, request.read, read)
            .await?;
        Ok(v1::ListUnreadResponse {
            messages: rows.into_iter().map(message).collect(),
        })
    }

    async fn conversations(
        &self,
        request: Request<v1::ListConversationsRequest>,
    ) -> Result<v1::ListConversationsResponse, Problem> {
        let (metadata, _, request) = request.into_parts();
        let size = request::page_size(request.page_size, CONVERSATIONS_DEFAULT);
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(ConversationId(token.parse().map_err(|_| bad_page_token())?)),
        };
        let read = move |reader: &rows::Reader, session: &rows::SessionRow| {
            reader.conversations(session.account, after, size)
        };
        let rows = self
            .shared
            .read_in_session(&metadata, request.read, read)
            .await?;
        let next = rows.last().filter(|_| rows.len() == size);
        Ok(v1::ListConversationsResponse {
            next_page_token: next.map_or_else(String::new, |last| last.id.to_string()),
            conversations: rows.into_iter().map(conversation).collect(),
        })
    }

    async fn advance(
        &self,
        request: Request<v1::AdvancePositionRequest>,
    ) -> Result<v1::AdvancePositionResponse, Problem> {
        let outcome = self.shared.propose_in_session(request).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::PositionAdvanced => Some(v1::AdvancePositionResponse {
                position: position_of(&outcome),
            }),
            _ => None,
        })
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteMessagesRequest>,
    ) -> Result<v1::DeleteMessagesResponse, Problem> {
        let outcome = self.shared.propose_in_session(request).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::MessagesDeleted { count } => {
                let position = position_of(&outcome);
                Some(v1::DeleteMessagesResponse {
                    count: *count,
                    position,
                })
            }
            _ => None,
        })
    }
}

#[tonic::async_trait]
impl ChatService for Chat {
    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        self.shared.reply(self.send(request).await)
    }

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        self.shared.reply(self.list(request).await)
    }

    async fn list_unread(
        &self,
        request: Request<v1::ListUnreadRequest>,
    ) -> Result<Response<v1::ListUnreadResponse>, Status> {
        self.shared.reply(self.unread(request).await)
    }

    async fn list_conversations(
        &self,
        request: Request<v1::ListConversationsRequest>,
    ) -> Result<Response<v1::ListConversationsResponse>, Status> {
        self.shared.reply(self.conversations(request).await)
    }

    async fn advance_position(
        &self,
        request: Request<v1::AdvancePositionRequest>,
    ) -> Result<Response<v1::AdvancePositionResponse>, Status> {
        self.shared.reply(self.advance(request).await)
    }

    async fn delete_messages(
        &self,
        request: Request<v1::DeleteMessagesRequest>,
    ) -> Result<Response<v1::DeleteMessagesResponse>, Status> {
        self.shared.reply(self.delete(request).await)
    }

    type FollowMessagesStream =
        Pin<Box<dyn Stream<Item = Result<v1::FollowMessagesResponse, Status>> + Send>>;

    async fn follow_messages(
        &self,
        request: Request<v1::FollowMessagesRequest>,
    ) -> Result<Response<Self::FollowMessagesStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        let after = Position(request.after_position);
        let stream = follow::start(self.shared.clone(), &metadata, after).await;
        self.shared.reply(stream)
    }
}
