//! A node for tests that does what a script says: answers, refuses, hangs or cuts connections.

use std::{
    collections::{BTreeSet, VecDeque},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use crate::tests::flaky_connection::FlakyConnection;
use conclave_core::Rejection;
use conclave_wire::{
    Problem,
    v1::{
        self, chat_service_server::*, live_service_server::*, send_message_result::Outcome,
        session_service_server::*,
    },
};
use futures::{Stream, StreamExt as _, stream};
use tokio::{
    net::TcpListener,
    sync::{Barrier, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// Steps of a script: each says what to do with one request that changes something.
pub(crate) enum Step {
    Answer,
    /// Answer, and name this node as the leader.
    AnswerNaming(String),
    Problem(Problem),
    /// Tell a problem, and name this node as the leader.
    ProblemNaming(Problem, String),
    /// Break all connections, without an answer.
    Cut,
    /// Never answer.
    Hang,
}

/// Requests in the order of arrival.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) sends: Mutex<Vec<v1::RequestId>>,
    pub(crate) logins: Mutex<Vec<v1::OpenSessionRequest>>,
    pub(crate) texts: Mutex<Vec<(v1::RequestId, String)>>,
    pub(crate) subscribes: Mutex<Vec<v1::SubscribeRequest>>,
    pub(crate) advances: Mutex<Vec<Vec<v1::Progress>>>,
    pub(crate) typing: Mutex<Vec<u64>>,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) in_flight_max: AtomicUsize,
}

/// One item of a stream.
pub(crate) type Part = Result<v1::SubscribeResponse, Problem>;

pub(crate) struct Fake {
    pub(crate) address: String,
    pub(crate) node: Node,
    server: JoinHandle<()>,
}

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) seen: Arc<Seen>,
    pub(crate) request_last: Arc<AtomicU64>,
    script: Arc<Mutex<VecDeque<Step>>>,
    /// The step for every request after the end of the script.
    then: Arc<dyn Fn() -> Step + Send + Sync>,
    streams: Arc<Mutex<VecDeque<Vec<Part>>>>,
    /// Conversations that the caller is not in.
    pub(crate) gone: Arc<Mutex<BTreeSet<u64>>>,
    /// The leader that the node names when it is asked for the session.
    pub(crate) leader: Arc<Mutex<Option<String>>>,
    /// Whether the session has ended, when it is asked for.
    pub(crate) ended: Arc<AtomicBool>,
    cut: watch::Sender<u64>,
    gate: Option<Arc<Barrier>>,
}

impl Fake {
    /// Starts a node that does `script` step by step and answers everything after it.
    pub(crate) async fn start(script: Vec<Step>) -> Self {
        Self::build(script, || Step::Answer, Vec::new(), None).await
    }

    /// Starts a node that always does the same.
    pub(crate) async fn always(step: impl Fn() -> Step + Send + Sync + 'static) -> Self {
        Self::build(Vec::new(), step, Vec::new(), None).await
    }

    /// Starts a node that answers only when `count` requests are under way.
    pub(crate) async fn gated(count: usize) -> Self {
        let gate = Some(Arc::new(Barrier::new(count)));
        Self::build(Vec::new(), || Step::Answer, Vec::new(), gate).await
    }

    /// Starts a node with these streams, one for each call; the last one stays open.
    pub(crate) async fn streaming(streams: Vec<Vec<Part>>) -> Self {
        Self::build(Vec::new(), || Step::Answer, streams, None).await
    }

    async fn build(
        script: Vec<Step>,
        then: impl Fn() -> Step + Send + Sync + 'static,
        streams: Vec<Vec<Part>>,
        gate: Option<Arc<Barrier>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cut, _) = watch::channel(0);
        let node = Node {
            seen: Arc::default(),
            request_last: Arc::default(),
            script: Arc::new(Mutex::new(script.into())),
            then: Arc::new(then),
            streams: Arc::new(Mutex::new(streams.into())),
            gone: Arc::default(),
            leader: Arc::default(),
            ended: Arc::default(),
            cut: cut.clone(),
            gate,
        };
        let incoming = TcpListenerStream::new(listener).map(move |stream| {
            let cut = WatchStream::from_changes(cut.subscribe());
            stream.map(|stream| FlakyConnection { stream, cut })
        });
        let router = Server::builder()
            .add_service(ChatServiceServer::new(node.clone()))
            .add_service(LiveServiceServer::new(node.clone()))
            .add_service(SessionServiceServer::new(node.clone()));
        let server = tokio::spawn(async move {
            router.serve_with_incoming(incoming).await.unwrap();
        });
        Self {
            address,
            node,
            server,
        }
    }

    /// Stops listening and cuts all connections.
    pub(crate) async fn stop(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
        self.node.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Adds steps to the script.
    pub(crate) fn extend(&self, steps: Vec<Step>) {
        self.node.script.lock().unwrap().extend(steps);
    }

    pub(crate) fn sends(&self) -> Vec<v1::RequestId> {
        self.node.seen.sends.lock().unwrap().clone()
    }
}

impl Node {
    async fn step<T>(&self, answer: T) -> Result<Response<T>, Status> {
        let step = self.script.lock().unwrap().pop_front();
        match step.unwrap_or_else(|| (self.then)()) {
            Step::Answer => Ok(Response::new(answer)),
            Step::AnswerNaming(leader) => {
                let mut response = Response::new(answer);
                let leader = leader.parse().unwrap();
                response.metadata_mut().insert("conclave-leader", leader);
                Ok(response)
            }
            Step::Problem(problem) => Err(problem.to_status()),
            Step::ProblemNaming(problem, leader) => {
                let mut status = problem.to_status();
                let leader = leader.parse().unwrap();
                status.metadata_mut().insert("conclave-leader", leader);
                Err(status)
            }
            Step::Cut => {
                self.cut.send_modify(|cuts| *cuts += 1);
                std::future::pending().await
            }
            Step::Hang => std::future::pending().await,
        }
    }
}

impl Node {
    /// Does a step of the script for a message of a stream.
    async fn result(
        &self,
        message: v1::SendMessageRequest,
    ) -> Result<v1::SendMessagesResponse, Status> {
        let id = message.request.unwrap();
        self.seen.sends.lock().unwrap().push(id);
        self.seen.texts.lock().unwrap().push((id, message.text));
        let answer = v1::SendMessageResponse {
            conversation_id: 1,
            sequence: id.number,
            ..Default::default()
        };
        let outcome = match self.step(answer).await {
            Ok(answer) => Outcome::Sent(answer.into_inner()),
            Err(status) => match Problem::from_status(&status).unwrap() {
                problem @ Problem::Refused {
                    request_last: None, ..
                } => Outcome::Refused(v1::Refusal {
                    code: 0,
                    reason: problem.reason().name().to_owned(),
                    sentence: problem.to_string(),
                }),
                _ => return Err(status),
            },
        };
        let result = v1::SendMessageResult {
            number: id.number,
            outcome: Some(outcome),
        };
        Ok(v1::SendMessagesResponse {
            results: vec![result],
        })
    }
}

fn unscripted<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not in the script"))
}

#[tonic::async_trait]
impl ChatService for Node {
    type SendMessagesStream =
        Pin<Box<dyn Stream<Item = Result<v1::SendMessagesResponse, Status>> + Send>>;

    async fn send_messages(
        &self,
        request: Request<Streaming<v1::SendMessagesRequest>>,
    ) -> Result<Response<Self::SendMessagesStream>, Status> {
        let node = self.clone();
        let messages = request.into_inner().flat_map(|request| {
            let messages = request.map(|request| request.messages);
            stream::iter(messages.unwrap_or_default())
        });
        let responses = messages.then(move |message| {
            let node = node.clone();
            async move { node.result(message).await }
        });
        let mut is_over = false;
        // The stream ends with its first failure.
        let responses = responses.take_while(move |response| {
            let goes_on = !std::mem::replace(&mut is_over, response.is_err());
            async move { goes_on }
        });
        Ok(Response::new(Box::pin(responses)))
    }

    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        let request = request.into_inner();
        let id = request.request.unwrap();
        self.seen.sends.lock().unwrap().push(id);
        let text = (id, request.text);
        self.seen.texts.lock().unwrap().push(text);
        let in_flight = self.seen.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        let max = &self.seen.in_flight_max;
        max.fetch_max(in_flight, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            gate.wait().await;
        }
        self.seen.in_flight.fetch_sub(1, Ordering::SeqCst);
        let answer = v1::SendMessageResponse {
            conversation_id: 1,
            sequence: id.number,
            ..Default::default()
        };
        self.step(answer).await
    }

    async fn list_messages(
        &self,
        _: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        unscripted()
    }

    async fn list_unread(
        &self,
        _: Request<v1::ListUnreadRequest>,
    ) -> Result<Response<v1::ListUnreadResponse>, Status> {
        self.step(v1::ListUnreadResponse::default()).await
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

    async fn advance_positions(
        &self,
        request: Request<v1::AdvancePositionsRequest>,
    ) -> Result<Response<v1::AdvancePositionsResponse>, Status> {
        let progress = request.into_inner().progress;
        let gone = self.gone.lock().unwrap();
        let is_gone = progress.iter().any(|p| gone.contains(&p.conversation_id));
        self.seen.advances.lock().unwrap().push(progress);
        if is_gone {
            return Err(Problem::from(Rejection::NoSuchConversation).to_status());
        }
        Ok(Response::new(v1::AdvancePositionsResponse::default()))
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
impl LiveService for Node {
    type SubscribeStream =
        Pin<Box<dyn Stream<Item = Result<v1::SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let mut subscribes = self.seen.subscribes.lock().unwrap();
        subscribes.push(request.into_inner());
        let mut streams = self.streams.lock().unwrap();
        let parts = stream::iter(streams.pop_front().unwrap_or_default())
            .map(|part| part.map_err(|problem| problem.to_status()));
        let stream: Self::SubscribeStream = if streams.is_empty() {
            Box::pin(parts.chain(stream::pending()))
        } else {
            Box::pin(parts)
        };
        Ok(Response::new(stream))
    }

    async fn set_typing(
        &self,
        request: Request<v1::SetTypingRequest>,
    ) -> Result<Response<v1::SetTypingResponse>, Status> {
        let conversation = request.into_inner().conversation_id;
        self.seen.typing.lock().unwrap().push(conversation);
        Ok(Response::new(v1::SetTypingResponse {}))
    }

    async fn set_presence(
        &self,
        _: Request<v1::SetPresenceRequest>,
    ) -> Result<Response<v1::SetPresenceResponse>, Status> {
        unscripted()
    }

    async fn get_presence(
        &self,
        _: Request<v1::GetPresenceRequest>,
    ) -> Result<Response<v1::GetPresenceResponse>, Status> {
        unscripted()
    }
}

#[tonic::async_trait]
impl SessionService for Node {
    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        self.seen.logins.lock().unwrap().push(request.into_inner());
        self.step(v1::OpenSessionResponse::default()).await
    }

    async fn close_session(
        &self,
        _: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        self.step(v1::CloseSessionResponse::default()).await
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

    async fn get_session(
        &self,
        _: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::GetSessionResponse>, Status> {
        if self.ended.load(Ordering::SeqCst) {
            return Err(Problem::from(Rejection::SessionExpired).to_status());
        }
        let mut response = Response::new(v1::GetSessionResponse {
            request_number_last: self.request_last.load(Ordering::SeqCst),
            ..Default::default()
        });
        if let Some(leader) = self.leader.lock().unwrap().as_ref() {
            let leader = leader.parse().unwrap();
            response.metadata_mut().insert("conclave-leader", leader);
        }
        Ok(response)
    }
}
