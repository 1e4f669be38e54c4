//! What was shown is marked as read once, however the node answers.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use conclave_core::Rejection;
use conclave_wire::{
    Problem,
    v1::{self, chat_service_server::*, session_service_server::*},
};
use tokio::task::AbortHandle;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

use super::*;

/// Conversations of the tests.
const LOBBY: u64 = 5;
const NEWS: u64 = 6;

/// State of a node that knows what is unread, and may refuse or be silent.
#[derive(Default)]
struct State {
    /// Conversations that the caller has left.
    left: BTreeSet<u64>,
    is_silent: bool,
    /// Number of unread messages before any page.
    unread_before: u64,
    /// Number of pages that were asked for.
    pages: usize,
    /// Read positions that were accepted, in their order.
    read: Vec<(u64, u64)>,
}

#[derive(Clone, Default)]
struct Node(Arc<Mutex<State>>);

/// A running node, which ends with this.
struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Node {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Waits for ever while the node is silent.
    async fn speak(&self) {
        if self.state().is_silent {
            std::future::pending::<()>().await;
        }
    }

    /// Starts the node; returns the marks of a client of it.
    async fn start(&self) -> (Marks, Running) {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let router = Server::builder()
            .add_service(ChatServiceServer::new(self.clone()))
            .add_service(SessionServiceServer::new(self.clone()));
        let server = tokio::spawn(router.serve_with_incoming(incoming));
        let client = Client::builder()
            .endpoints([address.to_string()])
            .token("token")
            .attempt_timeout(Duration::from_secs(1))
            .total_timeout(Duration::from_secs(2))
            .build()
            .unwrap();
        (Marks::new(client, true), Running(server.abort_handle()))
    }
}

/// Shows messages, each of which ends at the byte of its sequence.
fn show(marks: &mut Marks, conversation: u64, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        marks.wrote(sequence, conversation, sequence, sequence);
    }
}

#[tokio::test]
async fn messages_of_a_left_conversation_do_not_hold_up_others() {
    let node = Node::default();
    let (mut marks, _running) = node.start().await;
    for conversation in [LOBBY, NEWS] {
        show(&mut marks, conversation, 1..=1);
    }
    marks.mark(1).await.unwrap();
    assert_eq!(node.state().read, [(LOBBY, 1), (NEWS, 1)]);

    for conversation in [LOBBY, NEWS] {
        show(&mut marks, conversation, 2..=3);
    }
    node.state().left.insert(LOBBY);
    marks.mark(3).await.unwrap();
    assert_eq!(node.state().read[2..], [(NEWS, 3)]);
    assert!(!marks.is_owed());

    // A conversation that is left before its first mark.
    node.state().left.insert(7);
    show(&mut marks, 7, 1..=1);
    marks.mark(3).await.unwrap();
    assert!(!marks.is_owed());
}

#[tokio::test]
async fn marks_that_a_silent_node_did_not_take_are_owed() {
    let node = Node::default();
    let (mut marks, _running) = node.start().await;
    show(&mut marks, LOBBY, 1..=1);
    marks.mark(1).await.unwrap();

    node.state().is_silent = true;
    show(&mut marks, LOBBY, 2..=2);
    show(&mut marks, NEWS, 2..=2);
    for _ in 0..2 {
        let error = marks.mark(2).await.unwrap_err();
        assert!(matches!(error, CallError::NotDone { .. }), "{error:?}");
        assert!(marks.is_owed());
    }
    // Its call is given up.
    let given_up = tokio::time::timeout(Duration::from_millis(50), marks.mark(2)).await;
    assert!(given_up.is_err() && marks.is_owed());
    // What comes meanwhile takes no more room.
    show(&mut marks, LOBBY, 3..=1000);
    assert_eq!(marks.untaken(), 0);

    node.state().is_silent = false;
    marks.mark(1000).await.unwrap();
    assert!(!marks.is_owed());
    assert_eq!(node.state().read[1..], [(LOBBY, 1000), (NEWS, 2)]);
}

#[tokio::test]
async fn an_unknown_outcome_of_a_mark_is_still_owed() {
    let node = Node::default();
    let (mut marks, _running) = node.start().await;
    show(&mut marks, LOBBY, 1..=1);
    marks.mark(1).await.unwrap();
    node.state().is_silent = true;
    show(&mut marks, LOBBY, 2..=2);
    let error = marks.mark(2).await.unwrap_err();
    assert!(matches!(error, CallError::Unknown { .. }), "{error:?}");
    node.state().is_silent = false;
    marks.mark(2).await.unwrap();
    assert_eq!(node.state().read[1..], [(LOBBY, 2)]);
}

#[tokio::test]
async fn nothing_is_marked_over_an_unshown_message() {
    let node = Node::default();
    let (mut marks, _running) = node.start().await;
    node.state().unread_before = 2;
    show(&mut marks, LOBBY, 3..=4);
    marks.mark(4).await.unwrap();
    show(&mut marks, LOBBY, 5..=5);
    marks.mark(5).await.unwrap();
    assert!(node.state().read.is_empty());
    assert!(!marks.is_owed());
    assert_eq!(node.state().pages, 1, "it asks once");

    // A read position has moved, but not far enough; then all of them are read.
    marks.look_again(LOBBY);
    marks.mark(5).await.unwrap();
    assert!(node.state().read.is_empty());
    node.state().unread_before = 0;
    marks.look_again(LOBBY);
    marks.mark(5).await.unwrap();
    assert_eq!(node.state().read, [(LOBBY, 5)]);
    assert_eq!(node.state().pages, 3);
}

#[tokio::test]
async fn messages_left_in_the_pipe_are_not_marked() {
    let node = Node::default();
    let (mut marks, _running) = node.start().await;
    for sequence in 1..=3 {
        marks.wrote(10 * sequence, LOBBY, sequence, 0);
    }
    marks.mark(19).await.unwrap();
    assert_eq!(node.state().read, [(LOBBY, 1)]);
    assert_eq!((marks.untaken(), marks.is_owed()), (2, true));
}

fn unscripted<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("no test asks for it"))
}

#[tonic::async_trait]
impl ChatService for Node {
    type SendMessagesStream = futures::stream::Pending<Result<v1::SendMessagesResponse, Status>>;

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        use v1::list_messages_request::Conversation;
        self.speak().await;
        let mut state = self.state();
        state.pages += 1;
        match request.into_inner().conversation {
            Some(Conversation::ConversationId(id)) if !state.left.contains(&id) => {
                Ok(Response::new(v1::ListMessagesResponse {
                    unread_before: state.unread_before,
                    ..Default::default()
                }))
            }
            _ => Err(Problem::from(Rejection::NoSuchConversation).to_status()),
        }
    }

    async fn advance_positions(
        &self,
        request: Request<v1::AdvancePositionsRequest>,
    ) -> Result<Response<v1::AdvancePositionsResponse>, Status> {
        self.speak().await;
        let mut state = self.state();
        let progress = request.into_inner().progress;
        if progress
            .iter()
            .any(|one| state.left.contains(&one.conversation_id))
        {
            return Err(Problem::from(Rejection::NoSuchConversation).to_status());
        }
        let read = progress
            .iter()
            .map(|one| (one.conversation_id, one.sequence_read));
        state.read.extend(read);
        Ok(Response::new(v1::AdvancePositionsResponse::default()))
    }

    async fn send_messages(
        &self,
        _: Request<Streaming<v1::SendMessagesRequest>>,
    ) -> Result<Response<Self::SendMessagesStream>, Status> {
        unscripted()
    }

    async fn send_message(
        &self,
        _: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        unscripted()
    }

    async fn list_unread(
        &self,
        _: Request<v1::ListUnreadRequest>,
    ) -> Result<Response<v1::ListUnreadResponse>, Status> {
        unscripted()
    }

    async fn list_conversations(
        &self,
        _: Request<v1::ListConversationsRequest>,
    ) -> Result<Response<v1::ListConversationsResponse>, Status> {
        unscripted()
    }

    async fn list_reactions(
        &self,
        _: Request<v1::ListReactionsRequest>,
    ) -> Result<Response<v1::ListReactionsResponse>, Status> {
        unscripted()
    }

    async fn edit_message(
        &self,
        _: Request<v1::EditMessageRequest>,
    ) -> Result<Response<v1::EditMessageResponse>, Status> {
        unscripted()
    }

    async fn set_reaction(
        &self,
        _: Request<v1::SetReactionRequest>,
    ) -> Result<Response<v1::SetReactionResponse>, Status> {
        unscripted()
    }

    async fn search_messages(
        &self,
        _: Request<v1::SearchMessagesRequest>,
    ) -> Result<Response<v1::SearchMessagesResponse>, Status> {
        unscripted()
    }

    async fn delete_messages(
        &self,
        _: Request<v1::DeleteMessagesRequest>,
    ) -> Result<Response<v1::DeleteMessagesResponse>, Status> {
        unscripted()
    }
}

#[tonic::async_trait]
impl SessionService for Node {
    async fn get_session(
        &self,
        _: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::GetSessionResponse>, Status> {
        Ok(Response::new(v1::GetSessionResponse::default()))
    }

    async fn open_session(
        &self,
        _: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        unscripted()
    }

    async fn close_session(
        &self,
        _: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        unscripted()
    }

    async fn list_sessions(
        &self,
        _: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        unscripted()
    }

    async fn end_session(
        &self,
        _: Request<v1::EndSessionRequest>,
    ) -> Result<Response<v1::EndSessionResponse>, Status> {
        unscripted()
    }
}
