//! Serves conversations and their messages to clients.

use std::sync::Arc;

use conclave_core::{
    Accepted, AccountId, AccountName, ConversationId, Rejection, RoomName, Sequence,
    limits::PAGE_BYTES_MAX,
};
use conclave_storage::state::{self as rows, ConversationRow, HistoryFrom, HistoryPage};
use conclave_wire::{
    Problem, Reason, request,
    v1::{self, chat_service_server::ChatService},
};
use tonic::{Request, Streaming};

use self::{
    flight::sent,
    send_stream::{Responses, SendStream},
};
use crate::{
    api::{
        edge::{self, Answer},
        search,
    },
    auth::account_limiters::Paced,
    context::{
        access::{accepted, held_back, position_of},
        call::Call,
        node_context::NodeContext,
    },
    protocol::{pages, show},
};

pub(crate) mod flight;
pub(crate) mod send_stream;

/// Number of messages on a page if the client sets none.
const MESSAGES_DEFAULT: usize = 50;
/// Number of conversations on a page if the client sets none.
const CONVERSATIONS_DEFAULT: usize = 100;
/// Number of members that gave a reaction on a page if the client sets none.
const REACTORS_DEFAULT: usize = 100;

pub(crate) struct Chat {
    pub(crate) shared: Arc<NodeContext>,
}

/// Conversation that a request names.
enum Which {
    With(String),
    Room(String),
    Number(ConversationId),
}

impl Which {
    fn of(asked: Option<v1::list_messages_request::Conversation>) -> Result<Self, Problem> {
        use v1::list_messages_request::Conversation as Asked;
        match asked {
            Some(Asked::PeerName(name)) => Ok(Self::With(AccountName::new(name)?.key())),
            Some(Asked::RoomName(name)) => Ok(Self::Room(RoomName::new(name)?.key())),
            Some(Asked::ConversationId(id)) => Ok(Self::Number(ConversationId(id))),
            None => Err(Problem::refused(
                Reason::ConversationMissing,
                "the request names no conversation",
            )),
        }
    }
}

/// A page of messages, and how far its reader has read.
struct Found {
    id: ConversationId,
    page: HistoryPage,
    /// The conversation as its reader sees it; only with the newest page.
    own: Option<ConversationRow>,
    /// Number of unread messages of other accounts before the page.
    unread_before: u64,
}

/// Result of reading a page; `None` if the two accounts have not written to each other yet.
type Page = Result<Option<Found>, Rejection>;

fn find_page(
    reader: &rows::Reader,
    account: AccountId,
    which: &Which,
    from: HistoryFrom,
    size: usize,
) -> Result<Page, rows::ReadError> {
    let id = match which {
        Which::Number(id) => *id,
        Which::Room(key) => match reader.room_by_key(account, key)? {
            Some(room) => room.id,
            None => return Ok(Err(Rejection::NoSuchConversation)),
        },
        Which::With(key) => match reader.direct_with(account, key)? {
            Some(id) => id,
            None if reader.account_by_key(key)?.is_some() => return Ok(Ok(None)),
            None => return Ok(Err(Rejection::NoSuchAccount)),
        },
    };
    // A room that the account could see and join, but has not joined, is answered like a missing
    // one: a caller that is not a member gets the same answer everywhere.
    let own = match from {
        HistoryFrom::End => conversation_of(reader, account, id)?,
        HistoryFrom::Before(_) | HistoryFrom::After(_) | HistoryFrom::Around(_) => None,
    };
    let Some(page) = reader.history(account, id, from, size)? else {
        return Ok(Err(Rejection::NoSuchConversation));
    };
    // The edge of an empty page is the position that was asked for.
    let edge = match from {
        HistoryFrom::End => u64::MAX,
        HistoryFrom::Before(before) | HistoryFrom::Around(before) => before.0,
        HistoryFrom::After(after) => after.0.saturating_add(1),
    };
    let edge = Sequence(edge.min(page.sequence_last.0 + 1));
    let edge = page.rows.first().map_or(edge, |row| row.sequence);
    // Counted after the page was read: messages that arrive in between are newer than the page.
    let unread_before = reader.unread_before(account, id, edge)?;
    Ok(Ok(Some(Found {
        id,
        page,
        own,
        unread_before,
    })))
}

/// Returns the conversation with this number as its member sees it.
fn conversation_of(
    reader: &rows::Reader,
    account: AccountId,
    id: ConversationId,
) -> Result<Option<ConversationRow>, rows::ReadError> {
    let after = id.0.checked_sub(1).map(ConversationId);
    let mut rows = reader.conversations(account, after, 1)?;
    Ok(rows.pop().filter(|row| row.id == id))
}

impl Chat {
    async fn send(
        &self,
        call: Call,
        request: v1::SendMessageRequest,
    ) -> Result<v1::SendMessageResponse, Problem> {
        let outcome = self.shared.propose_in_session(&call, request).await?;
        sent(&outcome)
    }

    async fn send_all(
        &self,
        call: Call,
        requests: Streaming<v1::SendMessagesRequest>,
    ) -> Result<Responses, Problem> {
        let shared = &self.shared;
        shared.refuse_if_away()?;
        let token = call.credential.session()?;
        let session = shared.session(token, &call).await?;
        if let Err(rejection) = session.of_account.check_and_count(Paced::Stream) {
            return Err(held_back(rejection.into(), &session.of_account, call.deadline).await);
        }
        let place = shared.sends.enter(session.account)?;
        let stream = SendStream::new(shared.clone(), call.credential, session, requests);
        Ok(stream.start(token, place))
    }

    async fn list(
        &self,
        call: Call,
        request: v1::ListMessagesRequest,
    ) -> Result<v1::ListMessagesResponse, Problem> {
        use v1::list_messages_request::From as Asked;
        let which = Which::of(request.conversation)?;
        let (from, after) = match request.from {
            Some(Asked::BeforeSequence(before)) => (HistoryFrom::Before(Sequence(before)), 0),
            Some(Asked::AfterSequence(after)) => (HistoryFrom::After(Sequence(after)), after),
            Some(Asked::AroundSequence(at)) => (HistoryFrom::Around(Sequence(at)), 0),
            None => (HistoryFrom::End, 0),
        };
        let size = request::page_size(request.page_size, MESSAGES_DEFAULT);
        let read = move |reader: &rows::Reader, session: &rows::SessionRow| {
            find_page(reader, session.account, &which, from, size)
        };
        let found = self
            .shared
            .read_in_session(&call, request.read, read)
            .await??;
        let Some(found) = found else {
            return Ok(v1::ListMessagesResponse {
                page_size: pages::page_size(size),
                ..Default::default()
            });
        };
        let page = found.page;
        // At the end of the conversation, later messages follow its last message.
        let last = page.sequence_last.0.max(after);
        Ok(v1::ListMessagesResponse {
            conversation_id: found.id.0,
            sequence_read: found.own.as_ref().map_or(0, |own| own.progress.read.0),
            unread: found.own.as_ref().map_or(0, |own| own.unread),
            unread_before: found.unread_before,
            previous_before_sequence: page.older.map_or(0, |older| older.0),
            next_after_sequence: page.newer.map_or(last, |newer| newer.0),
            messages: page.rows.into_iter().map(show::message).collect(),
            page_size: pages::page_size(size),
            forgotten_through: page.forgotten.0,
        })
    }

    async fn unread(
        &self,
        call: Call,
        request: v1::ListUnreadRequest,
    ) -> Result<v1::ListUnreadResponse, Problem> {
        let count = request::page_size(request.count, MESSAGES_DEFAULT);
        let read = move |reader: &rows::Reader, session: &rows::SessionRow| {
            reader.unread(session.account, count)
        };
        let rows = self
            .shared
            .read_in_session(&call, request.read, read)
            .await?;
        let bytes: usize = rows.iter().map(rows::MessageRow::bytes).sum();
        Ok(v1::ListUnreadResponse {
            more: rows.len() == count || bytes >= PAGE_BYTES_MAX,
            messages: rows.into_iter().map(show::message).collect(),
            page_size: pages::page_size(count),
        })
    }

    async fn conversations(
        &self,
        call: Call,
        request: v1::ListConversationsRequest,
    ) -> Result<v1::ListConversationsResponse, Problem> {
        let size = request::page_size(request.page_size, CONVERSATIONS_DEFAULT);
        let after = pages::number_of(&request.page_token)?.map(ConversationId);
        let with_last = request.with_last_message;
        let size = match with_last {
            true => size.min(pages::WITH_LAST_MAX),
            false => size,
        };
        let read = move |reader: &rows::Reader, session: &rows::SessionRow| match with_last {
            true => reader.conversations_with_last(session.account, after, size),
            false => reader.conversations(session.account, after, size),
        };
        let rows = self
            .shared
            .read_in_session(&call, request.read, read)
            .await?;
        let next = rows.last().filter(|_| rows.len() == size);
        Ok(v1::ListConversationsResponse {
            next_page_token: pages::token_of_number(next.map(|last| last.id.0)),
            conversations: rows.into_iter().map(show::conversation).collect(),
            page_size: pages::page_size(size),
        })
    }

    async fn reactions(
        &self,
        call: Call,
        request: v1::ListReactionsRequest,
    ) -> Result<v1::ListReactionsResponse, Problem> {
        let message = request::message_of(request.message)?;
        let reaction = conclave_text::reaction(&request.reaction)?;
        let size = request::page_size(request.page_size, REACTORS_DEFAULT);
        let after = pages::number_of(&request.page_token)?.map(AccountId);
        let read = move |reader: &rows::Reader, session: &rows::SessionRow| {
            let found = reader.reactors(session.account, message, &reaction, after, size)?;
            let is_member = match found {
                Some(_) => true,
                None => conversation_of(reader, session.account, message.conversation)?.is_some(),
            };
            let none = match is_member {
                true => Rejection::NoSuchMessage {
                    conversation: message.conversation.0,
                    sequence: message.sequence.0,
                },
                false => Rejection::NoSuchConversation,
            };
            Ok(found.ok_or(none))
        };
        let rows = self
            .shared
            .read_in_session(&call, request.read, read)
            .await??;
        let next = rows.last().filter(|_| rows.len() == size);
        Ok(v1::ListReactionsResponse {
            next_page_token: pages::token_of_number(next.map(|last| last.account.0)),
            reactors: rows.into_iter().map(show::reactor).collect(),
            page_size: pages::page_size(size),
        })
    }

    async fn advance(
        &self,
        call: Call,
        request: v1::AdvancePositionsRequest,
    ) -> Result<v1::AdvancePositionsResponse, Problem> {
        let outcome = self.shared.propose_in_session(&call, request).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::PositionAdvanced => Some(v1::AdvancePositionsResponse {
                position: position_of(&outcome),
            }),
            _ => None,
        })
    }

    async fn delete(
        &self,
        call: Call,
        request: v1::DeleteMessagesRequest,
    ) -> Result<v1::DeleteMessagesResponse, Problem> {
        let outcome = self.shared.propose_in_session(&call, request).await?;
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
    type SendMessagesStream = Responses;

    async fn send_messages(
        &self,
        requests: Request<Streaming<v1::SendMessagesRequest>>,
    ) -> Answer<Self::SendMessagesStream> {
        edge::answer(requests, |call, requests| self.send_all(call, requests)).await
    }

    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Answer<v1::SendMessageResponse> {
        edge::answer(request, |call, request| self.send(call, request)).await
    }

    async fn edit_message(
        &self,
        request: Request<v1::EditMessageRequest>,
    ) -> Answer<v1::EditMessageResponse> {
        let tell = |position| v1::EditMessageResponse { position };
        edge::done(&self.shared, request, tell).await
    }

    async fn set_reaction(
        &self,
        request: Request<v1::SetReactionRequest>,
    ) -> Answer<v1::SetReactionResponse> {
        let tell = |position| v1::SetReactionResponse { position };
        edge::done(&self.shared, request, tell).await
    }

    async fn delete_messages(
        &self,
        request: Request<v1::DeleteMessagesRequest>,
    ) -> Answer<v1::DeleteMessagesResponse> {
        edge::answer(request, |call, request| self.delete(call, request)).await
    }

    async fn advance_positions(
        &self,
        request: Request<v1::AdvancePositionsRequest>,
    ) -> Answer<v1::AdvancePositionsResponse> {
        edge::answer(request, |call, request| self.advance(call, request)).await
    }

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Answer<v1::ListMessagesResponse> {
        edge::answer(request, |call, request| self.list(call, request)).await
    }

    async fn list_unread(
        &self,
        request: Request<v1::ListUnreadRequest>,
    ) -> Answer<v1::ListUnreadResponse> {
        edge::answer(request, |call, request| self.unread(call, request)).await
    }

    async fn list_conversations(
        &self,
        request: Request<v1::ListConversationsRequest>,
    ) -> Answer<v1::ListConversationsResponse> {
        edge::answer(request, |call, request| self.conversations(call, request)).await
    }

    async fn list_reactions(
        &self,
        request: Request<v1::ListReactionsRequest>,
    ) -> Answer<v1::ListReactionsResponse> {
        edge::answer(request, |call, request| self.reactions(call, request)).await
    }

    async fn search_messages(
        &self,
        request: Request<v1::SearchMessagesRequest>,
    ) -> Answer<v1::SearchMessagesResponse> {
        edge::answer(request, |call, request| {
            search::search(&self.shared, call, request)
        })
        .await
    }
}
